//! Hysteresis: weak edges that hang together with strong ones, over any of the eight neighbours, are edges.

use super::{LANES, ridges::NOTHING};

/// Classes of all pixels: 0 nothing, 1 weak, 2 strong. A border of nothing surrounds them.
pub(super) struct Map {
    width: usize,
    height: usize,
    /// From one row to the next: the width in whole chunks, and two pixels of border.
    stride: usize,
    /// `height + 2` rows; behind them as much as a word may reach beyond.
    classes: Vec<u8>,
}

/// The lowest bit of each byte: set for weak, and for strong once shifted down.
const LOWEST: u64 = 0x0101_0101_0101_0101;

impl Map {
    pub(super) fn new([width, height]: [usize; 2]) -> Self {
        let stride = width.next_multiple_of(LANES) + 2;
        Self { width, height, stride, classes: vec![NOTHING; stride * (height + 2) + size_of::<u64>()] }
    }

    /// Row y without its border, in whole chunks. What is beyond the width must be nothing.
    pub(super) fn row_mut(&mut self, y: usize) -> &mut [u8] {
        let start = self.start(y);
        &mut self.classes[start..start + self.stride - 2]
    }

    /// Makes every weak pixel strong that is reached from a strong one.
    pub(super) fn grow(&mut self) {
        let mut reached = Vec::new();
        for y in 0..self.height {
            for i in (self.start(y)..self.start(y) + self.width).step_by(size_of::<u64>()) {
                let mut seeds = self.seeds(i);
                while seeds != 0 {
                    reached.push(i + first_byte(seeds));
                    seeds &= seeds - 1;
                    self.flood(&mut reached);
                }
            }
        }
    }

    /// Which of the eight pixels from `i` on are strong and have a weak neighbour.
    fn seeds(&self, i: usize) -> u64 {
        let strong = (self.word(i) >> 1) & LOWEST;
        if strong == 0 {
            return 0;
        }
        let three = |i: usize| self.word(i - 1) | self.word(i) | self.word(i + 1);
        strong & (three(i - self.stride) | three(i) | three(i + self.stride))
    }

    /// Takes strong pixels off the stack, and makes strong and pushes what is weak around them, until none is left.
    fn flood(&mut self, reached: &mut Vec<usize>) {
        while let Some(i) = reached.pop() {
            for left in [i - self.stride - 1, i - 1, i + self.stride - 1] {
                let pixels = self.classes[left..].first_chunk_mut().expect("the map has a border");
                let classes = u32::from_le_bytes(*pixels);
                let mut weak = classes & 0x0001_0101; // the three pixels around i
                *pixels = (classes + weak).to_le_bytes(); // 1 becomes 2
                while weak != 0 {
                    reached.push(left + first_byte(weak.into()));
                    weak &= weak - 1;
                }
            }
        }
    }

    /// 255 for strong pixels and 0 for others, without the border, in the memory of the map.
    pub(super) fn into_edges(mut self) -> Vec<u8> {
        for y in 0..self.height {
            let (from, to) = (self.start(y), y * self.width); // to < from: nothing is overwritten that is still needed
            self.classes.copy_within(from..from + self.width, to);
            for class in &mut self.classes[to..to + self.width] {
                *class = (*class >> 1).wrapping_neg();
            }
        }
        self.classes.truncate(self.width * self.height);
        self.classes
    }

    /// Where row y begins.
    fn start(&self, y: usize) -> usize {
        (y + 1) * self.stride + 1
    }

    #[inline(always)]
    fn word(&self, i: usize) -> u64 {
        u64::from_le_bytes(*self.classes[i..].first_chunk().expect("the map has a border"))
    }
}

/// The index of the lowest byte that is not 0, of bytes that are 0 or 1.
fn first_byte(word: u64) -> usize {
    word.trailing_zeros() as usize / 8
}
