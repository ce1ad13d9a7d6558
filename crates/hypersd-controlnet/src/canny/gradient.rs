//! Sobel derivatives and their magnitude, row by row, with the image's border repeated beyond it.
//!
//! The 3x3 filters are separable: sums 1 2 1 and differences -1 0 1 over three rows, then the other of the two along
//! the row. All rows are padded to whole chunks, and by a pixel on each side.

use std::array::from_fn;

use super::{LANES, chunk, chunk_mut, magnitude::Magnitude, neighbours};

/// Derivatives and magnitudes of the last rows, and what the next one needs.
pub(super) struct Gradients<'a, const C: usize, M> {
    pixels: &'a [u8],
    width: usize,
    height: usize,
    /// The row that comes next.
    y: usize,
    /// The image's rows y - 1, y, y + 1, channels apart; row i is at i % 3.
    lines: [[Vec<u8>; C]; 3],
    sums: Vec<i16>,
    differences: Vec<i16>,
    /// Of the last two rows; row i is at i % 2. They have no pixel before the first.
    dx: [Vec<i16>; 2],
    dy: [Vec<i16>; 2],
    /// Of the last three rows; row i is at i % 3. 0 outside the image.
    magnitudes: [Vec<M>; 3],
}

/// What surrounds a row.
pub(super) struct Surroundings<'a, M> {
    /// Magnitudes above, in and below the row; pixel x is at x + 1.
    pub(super) magnitudes: [&'a [M]; 3],
    /// Derivatives of the row.
    pub(super) dx: &'a [i16],
    pub(super) dy: &'a [i16],
}

impl<'a, const C: usize, M: Magnitude> Gradients<'a, C, M> {
    pub(super) fn new(pixels: &'a [u8], width: usize) -> Self {
        let inner = width.next_multiple_of(LANES);
        let outer = inner + 2;
        let mut gradients = Self {
            pixels,
            width,
            height: pixels.len() / (C * width),
            y: 0,
            lines: from_fn(|_| from_fn(|_| vec![0; outer])),
            sums: vec![0; outer],
            differences: vec![0; outer],
            dx: from_fn(|_| vec![0; inner]),
            dy: from_fn(|_| vec![0; inner]),
            magnitudes: from_fn(|_| vec![M::default(); outer]),
        };
        gradients.read_line(2, 0); // row -1 repeats row 0
        gradients.read_line(0, 0);
        gradients
    }

    /// Computes the next row; the one after the last is nothing.
    pub(super) fn advance(&mut self) {
        let y = self.y;
        self.y += 1;
        if y >= self.height {
            return self.magnitudes[y % 3].fill(M::default());
        }
        self.read_line((y + 1) % 3, (y + 1).min(self.height - 1));
        let (dx, dy, magnitudes) = (&mut self.dx[y % 2], &mut self.dy[y % 2], &mut self.magnitudes[y % 3]);
        for c in 0..C {
            let lines = [(y + 2) % 3, y % 3, (y + 1) % 3].map(|slot| &*self.lines[slot][c]);
            filter_columns(lines, &mut self.sums, &mut self.differences);
            filter_rows(&self.sums, &self.differences, dx, dy, magnitudes, c == 0);
        }
        magnitudes[self.width + 1..].fill(M::default());
    }

    /// Row y once row y + 1 is computed.
    pub(super) fn around(&self, y: usize) -> Surroundings<'_, M> {
        let magnitudes = [(y + 2) % 3, y % 3, (y + 1) % 3].map(|slot| &*self.magnitudes[slot]);
        Surroundings { magnitudes, dx: &self.dx[y % 2], dy: &self.dy[y % 2] }
    }
}

impl<const C: usize, M> Gradients<'_, C, M> {
    /// Puts a row of the image into `lines`, channels apart, with the border pixels once more beside it.
    fn read_line(&mut self, slot: usize, y: usize) {
        let width = self.width;
        let row = &self.pixels[C * width * y..][..C * width];
        for (c, line) in self.lines[slot].iter_mut().enumerate() {
            if C == 1 {
                line[1..=width].copy_from_slice(row);
            } else {
                let (pixels, _) = row.as_chunks::<C>();
                line[1..=width].iter_mut().zip(pixels).for_each(|(to, pixel)| *to = pixel[c]);
            }
            line[0] = line[1];
            line[width + 1] = line[width];
        }
    }
}

/// Sums 1 2 1 and differences -1 0 1 of three rows.
fn filter_columns(lines: [&[u8]; 3], sums: &mut [i16], differences: &mut [i16]) {
    let inner = sums.len() - 2;
    for i in (0..inner).step_by(LANES) {
        let (above, row, below) = (chunk(lines[0], i), chunk(lines[1], i), chunk(lines[2], i));
        let (sums, differences) = (chunk_mut(sums, i), chunk_mut(differences, i));
        for k in 0..LANES {
            sums[k] = i16::from(above[k]) + 2 * i16::from(row[k]) + i16::from(below[k]);
            differences[k] = i16::from(below[k]) - i16::from(above[k]);
        }
    }
    for i in inner..inner + 2 {
        let [above, row, below] = lines.map(|line| i16::from(line[i]));
        (sums[i], differences[i]) = (above + 2 * row + below, below - above);
    }
}

/// The derivatives along the row and their magnitudes. Of several channels the largest magnitude counts, and the first
/// of those that are equally large.
fn filter_rows<M: Magnitude>(
    sums: &[i16],
    differences: &[i16],
    dx: &mut [i16],
    dy: &mut [i16],
    magnitudes: &mut [M],
    first: bool,
) {
    for i in (0..dx.len()).step_by(LANES) {
        let [left, _, right] = neighbours(sums, i);
        let [before, at, after] = neighbours(differences, i);
        let (dx, dy, magnitude) = (chunk_mut(dx, i), chunk_mut(dy, i), chunk_mut(magnitudes, i + 1));
        for k in 0..LANES {
            let (x, y) = (right[k] - left[k], before[k] + 2 * at[k] + after[k]);
            let new = M::of(x, y);
            let larger = if first { -1 } else { new.above(magnitude[k]) };
            dx[k] = i16::select(larger, x, dx[k]);
            dy[k] = i16::select(larger, y, dy[k]);
            magnitude[k] = M::select(larger, new, magnitude[k]);
        }
    }
}
