//! Memory of tensors, used again.
//!
//! The system hands out fresh memory page by page, and filling a large tensor for the first time can take longer than
//! computing it. What a tensor leaves behind therefore serves the next one of about its size.

#![expect(unsafe_code, reason = "Burn asks for the memory of a tensor as bytes that may not be initialised")]

use std::{
    mem::{self, MaybeUninit},
    slice,
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

/// The fewest values worth keeping: 64 KiB.
const FEWEST: usize = 1 << 14;

/// The memory of all tensors of these operations.
static MEMORY: Mutex<Memory> = Mutex::new(Memory { left: Vec::new(), kept: 0, used: 0, most: 0 });

struct Memory {
    /// What tensors left behind, the oldest first.
    left: Vec<Vec<f32>>,
    /// Values that there is room for in it.
    kept: usize,
    /// Values of the tensors that exist.
    used: usize,
    /// The most that there were at the same time since the last release.
    most: usize,
}

impl Memory {
    fn lock() -> MutexGuard<'static, Self> {
        MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the smallest room for `len` values, if there is one not much larger.
    fn take(&mut self, len: usize) -> Option<Vec<f32>> {
        let fits = |room: &Vec<f32>| (len..=2 * len).contains(&room.capacity());
        let best =
            (0..self.left.len()).filter(|&i| fits(&self.left[i])).min_by_key(|&i| self.left[i].capacity())?;
        let mut room = self.left.remove(best);
        room.clear();
        self.kept -= room.capacity();
        Some(room)
    }

    /// Keeps `room`, and as much of the rest as lets what is used and what is kept be twice what was ever used at once:
    /// rooms of other sizes than the next tensors' must not add up.
    fn keep(&mut self, room: Vec<f32>) {
        self.kept += room.capacity();
        self.left.push(room);
        while self.used + self.kept > 2 * self.most {
            self.kept -= self.left.remove(0).capacity();
        }
    }
}

/// Gives the memory that tensors left behind to the system.
pub(in crate::ops) fn release() {
    let mut memory = Memory::lock();
    let left = mem::take(&mut memory.left);
    (memory.kept, memory.most) = (0, memory.used);
    drop(memory);
    drop(left);
}

/// Bytes of the tensors that exist, and of what tensors left behind.
pub(in crate::ops) fn held() -> u64 {
    let memory = Memory::lock();
    ((memory.used + memory.kept) * size_of::<f32>()) as u64
}

/// An empty vector with room for `len` values, and not for many more.
pub(super) fn room(len: usize) -> Vec<f32> {
    Memory::lock().take(len).unwrap_or_default()
}

/// Keeps memory that no tensor was made of.
pub(super) fn keep(room: Vec<f32>) {
    Memory::lock().keep(room);
}

/// The bytes of `values`, whose memory is kept when they are dropped.
pub(super) fn bytes(values: Vec<f32>) -> Bytes {
    if values.len() < FEWEST {
        return Bytes::from_elems(values);
    }
    let mut memory = Memory::lock();
    memory.used += values.capacity();
    memory.most = memory.most.max(memory.used);
    drop(memory);
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
        let mut memory = Memory::lock();
        memory.used -= self.0.capacity();
        memory.keep(mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tensor_left_serves_the_next_of_about_its_size() {
        let mut memory = Memory { left: Vec::new(), kept: 0, used: 0, most: 1000 };
        let room = vec![1.0; 300];
        let start = room.as_ptr();
        memory.keep(room);
        memory.keep(Vec::with_capacity(600));
        assert!(memory.take(301).is_some_and(|room| room.capacity() == 600));
        assert!(memory.take(301).is_none());
        assert!(memory.take(100).is_none());
        assert!(memory.take(150).is_some_and(|room| room.as_ptr() == start && room.is_empty()));
        assert_eq!((memory.kept, memory.left.len()), (0, 0));
    }

    #[test]
    fn the_oldest_goes_when_there_is_twice_what_was_ever_used() {
        let mut memory = Memory { left: Vec::new(), kept: 0, used: 400, most: 750 };
        for size in [500, 600, 90] {
            memory.keep(Vec::with_capacity(size));
        }
        assert_eq!(memory.left.iter().map(Vec::capacity).collect::<Vec<_>>(), [600, 90]);
        assert_eq!(memory.kept, 690);
    }

    #[test]
    fn bytes_are_those_of_the_values() {
        for len in [77, FEWEST] {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let mut bytes = bytes(values.clone());
            bytes[3] = 0x40; // 0.0 becomes 2.0
            let (read, rest) = bytes.as_chunks();
            assert!(rest.is_empty());
            let read: Vec<f32> = read.iter().map(|&value| f32::from_le_bytes(value)).collect();
            assert_eq!((read[0], &read[1..]), (2.0, &values[1..]));
        }
    }
}
