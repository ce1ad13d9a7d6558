//! Output buffers, written once and by many threads.

#![expect(
    unsafe_code,
    reason = "marks a Vec as filled, and shares a pointer between the threads that fill it"
)]

use std::{marker::PhantomData, ops::Range};

use rayon::prelude::*;

use crate::pages;

/// Memory that several tasks write, each its own part.
///
/// Only the pointer is shared; writing through it is `unsafe` at the place that does, where the parts are seen to be
/// disjoint.
#[derive(Clone, Copy)]
pub(crate) struct Out<'a> {
    start: *mut f32,
    len: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: a pointer and a length; every access through the pointer is an unsafe operation of its own.
unsafe impl Send for Out<'_> {}
// SAFETY: as above.
unsafe impl Sync for Out<'_> {}

impl<'a> Out<'a> {
    /// A shared view of `values`.
    pub(crate) fn new(values: &'a mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), lifetime: PhantomData }
    }

    /// The number of values.
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// A pointer to value `index`, with `len` values from there on inside the buffer.
    #[inline(always)]
    pub(crate) fn at(self, index: usize, len: usize) -> *mut f32 {
        assert!(index <= self.len && len <= self.len - index, "kernel bug: {index} + {len} of {}", self.len);
        self.start.wrapping_add(index)
    }
}

/// Makes `out` hold `len` values that `write` puts there, without setting them to zero first. Keeps its capacity.
///
/// # Safety
/// `write` writes every value of the buffer it is given and reads none before.
pub(crate) unsafe fn fill(out: &mut Vec<f32>, len: usize, write: impl FnOnce(Out<'_>)) {
    out.clear();
    out.reserve_exact(len);
    pages::ask_for_huge(out.as_mut_ptr(), len);
    write(Out { start: out.as_mut_ptr(), len, lifetime: PhantomData });
    // SAFETY: the capacity is there, and the caller promises that the values are written.
    unsafe { out.set_len(len) };
}

/// Runs `task` for 0..`count` on the threads of the current rayon pool, in any order.
pub(crate) fn parallel(count: usize, task: impl Fn(usize) + Send + Sync) {
    match count {
        0 => {}
        1 => task(0),
        _ => (0..count).into_par_iter().with_max_len(1).for_each(task),
    }
}

/// Runs `work` on a thread of the current rayon pool. Whoever calls many kernels saves what each of them would otherwise
/// take to hand its work to the pool and to be woken at its end.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

/// Splits 0..`len` into `parts` nearly equal ranges and returns the one numbered `part`.
#[inline(always)]
pub(crate) fn share(len: usize, parts: usize, part: usize) -> Range<usize> {
    let start = |part: usize| len / parts * part + (len % parts).min(part);
    start(part)..start(part + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_cover_everything() {
        for (len, parts) in [(0, 1), (1, 3), (16, 3), (20, 3), (7, 7)] {
            let shares: Vec<_> = (0..parts).map(|part| share(len, parts, part)).collect();
            assert_eq!((shares[0].start, shares[parts - 1].end), (0, len));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(shares.iter().all(|share| share.len() == len / parts || share.len() == len / parts + 1));
        }
    }
}
