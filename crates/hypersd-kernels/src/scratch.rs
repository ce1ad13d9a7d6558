//! Working memory that outlives the call that asked for it.
//!
//! A fresh allocation of many megabytes costs a page fault every 4 KiB, which is more than some kernels do with it.
//! Buffers therefore go back to one pool and are taken from there again; the pool grows to what the largest layers of
//! a model need at the same time and stays there until [`release_scratch`].

#![expect(unsafe_code, reason = "views cache lines and pages as the f32 they hold")]

use std::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
    sync::{Mutex, PoisonError},
};

#[cfg(target_os = "linux")]
use memmap2::{Advice, MmapMut};

/// One cache line: buffers start on one, so that a 16-wide panel row never straddles two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Room for so many values that is an odd number of cache lines: rows a power of two apart would fight for the same few sets
/// of a cache.
pub(crate) fn odd_lines(values: usize) -> usize {
    (values.div_ceil(16) | 1) * 16
}

static POOL: Mutex<Vec<Memory>> = Mutex::new(Vec::new());

/// How much larger than asked for a pooled buffer may be; more would keep the large ones from those who need them.
const LARGEST_FIT: usize = 4;

/// Lines of a huge page.
#[cfg(target_os = "linux")]
const HUGE: usize = (2 << 20) / size_of::<Line>();

/// Frees the working memory that the kernels keep between calls.
///
/// Call it after the last use of a large model; the next kernel allocates what it needs again.
pub fn release_scratch() {
    let buffers = std::mem::take(&mut *POOL.lock().unwrap_or_else(PoisonError::into_inner));
    drop(buffers);
}

/// Where a buffer lives.
enum Memory {
    Heap(Vec<Line>),
    /// Pages of 2 MiB if the system has any: with small ones, looking up addresses takes a tenth of a convolution.
    #[cfg(target_os = "linux")]
    Pages(MmapMut),
}

impl Memory {
    /// Room for `lines` lines, set to zero.
    fn new(lines: usize) -> Self {
        #[cfg(target_os = "linux")]
        if lines >= HUGE
            && let Ok(map) = MmapMut::map_anon(lines * size_of::<Line>())
        {
            // A refusal only means small pages.
            let _ = map.advise(Advice::HugePage);
            return Self::Pages(map);
        }
        Self::Heap(vec![Line([0.0; 16]); lines])
    }

    fn lines(&self) -> usize {
        match self {
            Self::Heap(lines) => lines.len(),
            #[cfg(target_os = "linux")]
            Self::Pages(map) => map.len() / size_of::<Line>(),
        }
    }

    fn start(&mut self) -> *mut f32 {
        match self {
            Self::Heap(lines) => lines.as_mut_ptr().cast(),
            #[cfg(target_os = "linux")]
            Self::Pages(map) => map.as_mut_ptr().cast(),
        }
    }
}

/// A buffer of f32 with unspecified contents, aligned to a cache line; it goes back to the pool when dropped.
pub(crate) struct Scratch {
    /// Taken when dropped.
    memory: Option<Memory>,
    /// Of `memory`, which does not move.
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: it owns the memory that its pointer points to, as a Vec does.
unsafe impl Send for Scratch {}
// SAFETY: as above.
unsafe impl Sync for Scratch {}

impl Scratch {
    /// A buffer of `len` values.
    pub(crate) fn take(len: usize) -> Self {
        let lines = len.div_ceil(16);
        let pooled = {
            let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
            let smallest = |fits: &dyn Fn(usize) -> bool| {
                (0..pool.len()).filter(|&i| fits(pool[i].lines())).min_by_key(|&i| pool[i].lines())
            };
            let best = smallest(&|room| (lines..=lines * LARGEST_FIT).contains(&room));
            // One that is too small goes when a larger one comes, or one of every size would stay.
            let outgrown = || smallest(&|room| (lines / LARGEST_FIT..lines).contains(&room));
            best.or_else(outgrown).map(|i| pool.swap_remove(i))
        };
        let mut memory = match pooled {
            Some(memory) if memory.lines() >= lines => memory,
            outgrown => {
                drop(outgrown);
                Memory::new(lines)
            }
        };
        let start = NonNull::new(memory.start()).expect("kernel bug: memory at address zero");
        Self { memory: Some(memory), start, len }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        POOL.lock().unwrap_or_else(PoisonError::into_inner).extend(self.memory.take());
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the memory is initialised, aligned, at least `len` long and owned by `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_as_long_as_asked() {
        for len in [0, 1, 15, 16, 17, 1000, 1 << 20] {
            let mut scratch = Scratch::take(len);
            scratch.fill(1.0);
            assert_eq!(scratch.len(), len);
            assert_eq!(scratch.as_ptr() as usize % 64, 0);
        }
        release_scratch();
    }
}
