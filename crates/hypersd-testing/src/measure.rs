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

/// An edge map and what it is the edges of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EdgeMap {
    /// A picture in the folder `edges` beside the list: white on black, as Canny draws with thresholds 100 and 200.
    pub file: String,
    /// The prompt.
    pub caption: String,
}

/// Reads a list of [`Caption`]s or [`EdgeMap`]s.
///
/// # Errors
/// What reading and parsing meet, naming the file.
pub fn list<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<Vec<T>, Box<dyn Error>> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// How many pictures have in them what their captions ask for.
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
