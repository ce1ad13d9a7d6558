//! Numbers of the command line, which say what they expected.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    str::FromStr,
};

/// A parser of whole numbers from 0 up, of what `expected` says.
pub(crate) fn whole(
    expected: &'static str,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| text.trim().parse().map_err(|_| format!("expected {expected}"))
}

/// `--seed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seed {
    Given(u64),
    /// One that `-1` asked for.
    Drawn(u64),
}

impl Seed {
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Given(seed) | Self::Drawn(seed) => seed,
        }
    }
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            // Of 32 bits, which every other program takes as a seed. The standard library asks the system for its keys.
            "-1" => Ok(Self::Drawn(RandomState::new().hash_one(()) & u64::from(u32::MAX))),
            text => text.parse().map(Self::Given).map_err(|_| {
                format!("expected a whole number from 0 to {}, or -1 to have one drawn", u64::MAX)
            }),
        }
    }
}

/// As it was asked for.
impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(seed) => seed.fmt(f),
            Self::Drawn(_) => f.write_str("-1"),
        }
    }
}
