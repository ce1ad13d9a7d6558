//! Working memory that outlives the call that asked for it.
//!
//! A fresh allocation of many megabytes costs a page fault every 4 KiB, which is more than some kernels do with it.
//! Buffers therefore go back to one pool and are taken from there again; the pool grows to what the largest layers of
//! a model need at the same time and stays there until [`release_scratch`].

#![expect(unsafe_code, reason = "views aligned cache lines as the f32 they consist of")]

use std::{
    ops::{Deref, DerefMut},
    slice,
    sync::{Mutex, PoisonError},
};

/// One cache line: buffers start on one, so that a 16-wide panel row never straddles two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

static POOL: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// How much larger than asked for a pooled buffer may be; more would keep the large ones from those who need them.
const LARGEST_FIT: usize = 4;

/// Frees the working memory that the kernels keep between calls.
///
/// Call it after the last use of a large model; the next kernel allocates what it needs again.
pub fn release_scratch() {
    let buffers = std::mem::take(&mut *POOL.lock().unwrap_or_else(PoisonError::into_inner));
    drop(buffers);
}

/// A buffer of f32 with unspecified contents, aligned to a cache line; it goes back to the pool when dropped.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    len: usize,
}

impl Scratch {
    /// A buffer of `len` values.
    pub(crate) fn take(len: usize) -> Self {
        let count = len.div_ceil(16);
        let pooled = {
            let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
            let fit = |lines: &Vec<Line>| (count..=count * LARGEST_FIT).contains(&lines.len());
            let best = (0..pool.len()).filter(|&i| fit(&pool[i])).min_by_key(|&i| pool[i].len());
            best.map(|i| pool.swap_remove(i))
        };
        let lines = pooled.unwrap_or_else(|| vec![Line([0.0; 16]); count]);
        Self { lines, len }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        POOL.lock().unwrap_or_else(PoisonError::into_inner).push(lines);
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is `repr(C)` around 16 f32 and has their size; `len` is at most 16 times the lines.
        unsafe { slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_as_long_as_asked() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut scratch = Scratch::take(len);
            scratch.fill(1.0);
            assert_eq!(scratch.len(), len);
            assert_eq!(scratch.as_ptr() as usize % 64, 0);
        }
        release_scratch();
    }
}
