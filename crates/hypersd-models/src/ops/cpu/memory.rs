//! Memory of tensors, used again.
//!
//! The system hands out fresh memory page by page, and filling a large tensor for the first time can take longer than
//! computing it. What a tensor leaves behind therefore serves the next one of about its size.

#![expect(unsafe_code, reason = "Burn asks for the memory of a tensor as bytes that may not be initialised")]

use std::{
    mem::{self, MaybeUninit},
    slice,
    sync::{Mutex, PoisonError},
};

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

/// The fewest values worth keeping: 64 KiB.
const FEWEST: usize = 1 << 14;
/// The most values that are kept while no tensor uses them: 256 MiB.
const MOST: usize = 1 << 26;

/// What tensors left behind, the oldest first.
static LEFT: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Gives the memory that dropped tensors left behind to the system.
pub(in crate::ops) fn release() {
    let left = mem::take(&mut *LEFT.lock().unwrap_or_else(PoisonError::into_inner));
    drop(left);
}

/// An empty vector with room for `len` values, and not for many more.
pub(super) fn room(len: usize) -> Vec<f32> {
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |room: &Vec<f32>| (len..=2 * len).contains(&room.capacity());
    let best = (0..left.len()).filter(|&i| fits(&left[i])).min_by_key(|&i| left[i].capacity());
    best.map_or_else(Vec::new, |i| left.remove(i))
}

/// The bytes of `values`, whose memory is kept when they are dropped.
pub(super) fn bytes(values: Vec<f32>) -> Bytes {
    if values.len() < FEWEST {
        return Bytes::from_elems(values);
    }
    let len = size_of_val(values.as_slice());
    // SAFETY: all of these bytes are values.
    unsafe { Bytes::from_controller(Box::new(Kept(values)), len) }
}

/// Values of a tensor.
struct Kept(Vec<f32>);

impl AllocationController for Kept {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self, _: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let len = size_of_val(self.0.as_slice());
        // SAFETY: the bytes of the values, for as long as `self` is borrowed; the caller writes no uninitialised ones, and
        // any others are f32.
        Ok(unsafe { slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let len = size_of_val(self.0.as_slice());
        // SAFETY: the bytes of the values, for as long as `self` is borrowed.
        Ok(unsafe { slice::from_raw_parts(self.0.as_ptr().cast(), len) })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        left.push(mem::take(&mut self.0));
        let mut kept: usize = left.iter().map(Vec::capacity).sum();
        while kept > MOST {
            kept -= left.remove(0).capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tensor_left_serves_the_next_of_its_size() {
        // A length that no other test uses: they share what is left.
        let values: Vec<f32> = (0..31_337).map(|i| i as f32).collect();
        let start = values.as_ptr();
        let stored = bytes(values);
        assert_eq!(stored.len(), 4 * 31_337);
        assert_eq!(bytemuck(&stored)[31_336], 31_336.0);
        drop(stored);
        let again = room(31_337);
        assert_eq!((again.as_ptr(), again.len()), (start, 0));
    }

    #[test]
    fn small_tensors_and_too_much_are_not_kept() {
        drop(bytes(vec![1.0; 77]));
        assert_eq!(room(77).capacity(), 0);
        drop(bytes(Vec::from_iter(std::iter::repeat_n(0.0, MOST + 77))));
        assert_eq!(room(MOST + 77).capacity(), 0);
    }

    fn bytemuck(bytes: &Bytes) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|&value| f32::from_ne_bytes(value)).collect()
    }
}
