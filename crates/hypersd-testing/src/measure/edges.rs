//! How well the edges of a picture are the edges that it was given.

/// Edge pixels of pictures beside those they were given, a pixel apart at most (also diagonally).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EdgeTally {
    /// Edge pixels of the pictures.
    pub found: usize,
    /// Those of them that a given one is near.
    pub found_right: usize,
    /// Edge pixels that were given.
    pub given: usize,
    /// Those of them that one of the picture's is near.
    pub given_found: usize,
}

impl EdgeTally {
    /// Counts one picture: `given` and `found` are edge maps in RGB8, white on black, with rows of `width` pixels.
    ///
    /// # Panics
    /// If the two are not of one size.
    pub fn count(&mut self, given: &[u8], found: &[u8], width: usize) {
        assert_eq!(given.len(), found.len(), "bytes of the edge maps");
        let [given, found] = [given, found].map(pixels);
        self.found += number(&found);
        self.found_right += common(&found, &widened(&given, width));
        self.given += number(&given);
        self.given_found += common(&given, &widened(&found, width));
    }

    /// The share of the picture's edges that were asked for.
    #[must_use]
    pub fn precision(&self) -> f64 {
        share(self.found_right, self.found)
    }

    /// The share of the given edges that are in the picture.
    #[must_use]
    pub fn recall(&self) -> f64 {
        share(self.given_found, self.given)
    }

    /// The harmonic mean of both; 0 where nothing is right.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let (precision, recall) = (self.precision(), self.recall());
        if precision + recall == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) }
    }
}

/// Which pixels of an edge map are white.
fn pixels(rgb8: &[u8]) -> Vec<bool> {
    rgb8.chunks(3).map(|pixel| pixel[0] > 127).collect()
}

/// The edges with all their neighbours.
fn widened(edges: &[bool], width: usize) -> Vec<bool> {
    let height = edges.len() / width;
    let near = |at: usize, side: usize| at.saturating_sub(1)..(at + 2).min(side);
    let pixel = |i: usize| {
        let (y, x) = (i / width, i % width);
        near(y, height).any(|y| near(x, width).any(|x| edges[y * width + x]))
    };
    (0..edges.len()).map(pixel).collect()
}

fn number(edges: &[bool]) -> usize {
    edges.iter().filter(|&&edge| edge).count()
}

fn common(edges: &[bool], others: &[bool]) -> usize {
    edges.iter().zip(others).filter(|&(&edge, &other)| edge && other).count()
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An edge map of five rows, white in these columns of the middle row.
    fn map(columns: &[usize]) -> Vec<u8> {
        (0..5 * 8).flat_map(|i| [if i / 8 == 2 && columns.contains(&(i % 8)) { 255 } else { 0 }; 3]).collect()
    }

    #[test]
    fn edges_count_that_are_a_pixel_apart() {
        let mut tally = EdgeTally::default();
        tally.count(&map(&[0, 1, 2]), &map(&[1, 3, 7]), 8);
        assert_eq!(tally, EdgeTally { found: 3, found_right: 2, given: 3, given_found: 3 });
        assert_eq!((tally.precision(), tally.recall()), (2.0 / 3.0, 1.0));
        assert!((tally.f1() - 0.8).abs() < 1e-12);
        // The end of a row is not near the beginning of the next, but a row is near its neighbour.
        let mut shifted = map(&[]);
        shifted[(3 * 8) * 3..][..3].fill(255); // row 3, column 0
        let mut tally = EdgeTally::default();
        tally.count(&map(&[7]), &shifted, 8);
        assert_eq!(tally.found_right, 0);
        tally.count(&map(&[1]), &shifted, 8);
        assert_eq!(tally.found_right, 1);
    }

    #[test]
    fn nothing_found_is_nothing_right() {
        let mut tally = EdgeTally::default();
        tally.count(&map(&[1]), &map(&[]), 8);
        assert_eq!((tally.precision(), tally.recall(), tally.f1()), (0.0, 0.0, 0.0));
    }
}
