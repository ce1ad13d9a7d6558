//! Seeds of several pictures, and of those that name none.

use std::hash::{BuildHasher, RandomState};

/// A seed that nobody chose: of 32 bits, which every program takes as one.
pub(crate) fn drawn_seed() -> u64 {
    random() & u64::from(u32::MAX)
}

/// The standard library asks the system for its keys.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// The seeds of so many pictures, of which a request names the first.
pub(crate) fn seeds(first: u64, count: usize) -> impl Iterator<Item = u64> {
    (0..count as u64).map(move |index| first.wrapping_add(index))
}
