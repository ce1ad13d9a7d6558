//! The measure: how much of what a caption or an edge map asks for is in the pictures that the demo model draws.
//!
//! Nothing here is hypersd's. The program `examples/measure` and `tests/demo.rs` draw; what they draw is looked at here.

mod edges;
mod judge;

pub use edges::EdgeTally;
pub use judge::{Judge, Verdict};

use std::{error::Error, fs, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

/// A caption that the model was not trained on, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Caption {
    /// The prompt.
    pub caption: String,
    /// The thing in it, as the judge calls it.
    pub thing: String,
    /// The thing's colour, as the judge calls it.
    pub colour: String,
}

/// A caption of two things side by side, neither of which the model was trained on where and when the caption has them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pair {
    /// The prompt.
    pub caption: String,
    /// Both things, as the judge calls them.
    pub things: [Kind; 2],
}

/// A thing of a colour.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Kind {
    /// The thing.
    pub thing: String,
    /// Its colour.
    pub colour: String,
}

impl Pair {
    /// If both things are in the halves of a picture, whichever is on the left and whatever their colours.
    #[must_use]
    pub fn has_things(&self, seen: &[Verdict<'_>; 2]) -> bool {
        self.either_way(seen, |kind, seen| kind.thing == seen.thing)
    }

    /// If both things are in the halves of a picture, whichever is on the left, each in its colour.
    #[must_use]
    pub fn has(&self, seen: &[Verdict<'_>; 2]) -> bool {
        self.either_way(seen, |kind, seen| kind.thing == seen.thing && kind.colour == seen.colour)
    }

    fn either_way(&self, [left, right]: &[Verdict<'_>; 2], is: impl Fn(&Kind, &Verdict<'_>) -> bool) -> bool {
        let [first, second] = &self.things;
        is(first, left) && is(second, right) || is(first, right) && is(second, left)
    }
}

/// An edge map and what it is the edges of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EdgeMap {
    /// A picture in the folder `edges` beside the list: white on black, as Canny draws with thresholds 100 and 200.
    pub file: String,
    /// The prompt.
    pub caption: String,
}

/// Reads a list of [`Caption`]s, [`Pair`]s or [`EdgeMap`]s.
///
/// # Errors
/// What reading and parsing meet, naming the file.
pub fn list<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<Vec<T>, Box<dyn Error>> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// The number of pictures that have in them what their captions ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pictures that were looked at.
    pub pictures: usize,
    /// Those with the right thing.
    pub things: usize,
    /// Those with the right colour.
    pub colours: usize,
    /// Those with both.
    pub both: usize,
}

impl Tally {
    /// Counts one picture.
    pub fn count(&mut self, asked: &Caption, seen: &Verdict<'_>) {
        let [thing, colour] = [asked.thing == seen.thing, asked.colour == seen.colour];
        self.pictures += 1;
        self.things += usize::from(thing);
        self.colours += usize::from(colour);
        self.both += usize::from(thing && colour);
    }

    /// The share of all pictures that a number of them is.
    #[must_use]
    pub fn share(&self, of: usize) -> f64 {
        of as f64 / self.pictures.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_right_on_either_side_but_not_with_colours_that_changed_places() {
        let kind = |thing: &str, colour: &str| Kind { thing: thing.into(), colour: colour.into() };
        let pair = Pair { caption: String::new(), things: [kind("cat", "red"), kind("tree", "blue")] };
        let seen = |thing, colour| Verdict { thing, sure: 1.0, colour };
        let [red_cat, blue_tree] = [seen("cat", "red"), seen("tree", "blue")];
        assert!(pair.has(&[red_cat, blue_tree]) && pair.has(&[blue_tree, red_cat]));
        let changed = [seen("cat", "blue"), seen("tree", "red")];
        assert!(pair.has_things(&changed) && !pair.has(&changed));
        assert!(!pair.has_things(&[red_cat, red_cat]));
    }
}
