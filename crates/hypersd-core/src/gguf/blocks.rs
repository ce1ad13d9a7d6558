//! ggml's blocks: a few integers with common scales, and the numbers that they stand for.
//!
//! Each product and sum is rounded to single precision in the order that ggml's reference (`dequantize_row_*`) and the Python
//! package `gguf` have, so that the results are theirs bit for bit.

use half::f16;
use rayon::prelude::*;

/// A way of keeping elements.
#[derive(Debug)]
pub(super) struct Blocks {
    /// ggml's number for it.
    number: u32,
    pub(super) name: &'static str,
    /// Elements of a block.
    pub(super) elements: usize,
    /// Bytes of a block.
    pub(super) bytes: usize,
    /// A block's elements.
    widen: fn(&[u8], &mut [f32]),
}

/// Elements of the small blocks, and of the large ones (K), which have scales for parts of 16 or 32.
const SMALL: usize = 32;
const LARGE: usize = 256;

static ALL: [Blocks; 10] = {
    const fn blocks(
        number: u32,
        name: &'static str,
        elements: usize,
        bytes: usize,
        widen: fn(&[u8], &mut [f32]),
    ) -> Blocks {
        Blocks { number, name, elements, bytes, widen }
    }
    [
        blocks(2, "Q4_0", SMALL, 18, q4_0),
        blocks(3, "Q4_1", SMALL, 20, q4_1),
        blocks(6, "Q5_0", SMALL, 22, q5_0),
        blocks(7, "Q5_1", SMALL, 24, q5_1),
        blocks(8, "Q8_0", SMALL, 34, q8_0),
        blocks(10, "Q2_K", LARGE, 84, q2_k),
        blocks(11, "Q3_K", LARGE, 110, q3_k),
        blocks(12, "Q4_K", LARGE, 144, q4_k),
        blocks(13, "Q5_K", LARGE, 176, q5_k),
        blocks(14, "Q6_K", LARGE, 210, q6_k),
    ]
};

impl Blocks {
    /// By ggml's number.
    pub(super) fn of(number: u32) -> Option<&'static Self> {
        ALL.iter().find(|blocks| blocks.number == number)
    }

    /// The elements of whole blocks.
    pub(super) fn widen_all(&self, stored: &[u8], wide: &mut [f32]) {
        /// Blocks that one core takes at once.
        const BLOCKS: usize = 1 << 10;
        let chunks = wide.par_chunks_mut(BLOCKS * self.elements).zip(stored.par_chunks(BLOCKS * self.bytes));
        chunks.for_each(|(wide, stored)| {
            for (wide, stored) in wide.chunks_exact_mut(self.elements).zip(stored.chunks_exact(self.bytes)) {
                (self.widen)(stored, wide);
            }
        });
    }
}

/// The scale in two bytes.
fn scale(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Writes the low halves of 16 bytes, then the high ones; `high` are the bits above, one for each element.
fn nibbles(bytes: &[u8], high: u32, y: &mut [f32], value: impl Fn(i32) -> f32) {
    let (first, second) = y.split_at_mut(bytes.len());
    for (i, &byte) in bytes.iter().enumerate() {
        let bit = |at: usize| (high >> at & 1) << 4;
        first[i] = value((u32::from(byte & 0xf) | bit(i)) as i32);
        second[i] = value((u32::from(byte >> 4) | bit(i + bytes.len())) as i32);
    }
}

/// The bits above the halves of bytes.
fn high_bits(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// `d, q[16]`: `d · (q − 8)`
fn q4_0(x: &[u8], y: &mut [f32]) {
    let d = scale(x, 0);
    nibbles(&x[2..], 0, y, |q| d * (q - 8) as f32);
}

/// `d, m, q[16]`: `d · q + m`
fn q4_1(x: &[u8], y: &mut [f32]) {
    let (d, m) = (scale(x, 0), scale(x, 2));
    nibbles(&x[4..], 0, y, |q| d * q as f32 + m);
}

/// `d, h[4], q[16]`: `d · (q − 16)`
fn q5_0(x: &[u8], y: &mut [f32]) {
    let d = scale(x, 0);
    nibbles(&x[6..], high_bits(x, 2), y, |q| d * (q - 16) as f32);
}

/// `d, m, h[4], q[16]`: `d · q + m`
fn q5_1(x: &[u8], y: &mut [f32]) {
    let (d, m) = (scale(x, 0), scale(x, 2));
    nibbles(&x[8..], high_bits(x, 4), y, |q| d * q as f32 + m);
}

/// `d, q[32]`: `d · q`
fn q8_0(x: &[u8], y: &mut [f32]) {
    let d = scale(x, 0);
    for (y, &q) in y.iter_mut().zip(&x[2..]) {
        *y = d * f32::from(q as i8);
    }
}

/// `s[16], q[64], d, m`: 16 parts of 16 elements with a scale and a minimum of 4 bits each, `d · s · q − m · s'`
fn q2_k(x: &[u8], y: &mut [f32]) {
    let (scales, q, d, min) = (&x[..16], &x[16..80], scale(x, 80), scale(x, 82));
    for (part, y) in y.chunks_exact_mut(16).enumerate() {
        let (half, shift, side) = (part / 8, part % 8 / 2 * 2, part % 2);
        let (d, m) = (d * f32::from(scales[part] & 0xf), min * f32::from(scales[part] >> 4));
        for (y, &q) in y.iter_mut().zip(&q[half * 32 + side * 16..]) {
            *y = d * f32::from(q >> shift & 3) - m;
        }
    }
}

/// `h[32], q[64], s[12], d`: 16 parts of 16 elements with a scale of 6 bits each, `d · (s − 32) · (q − 4)`, where the bit
/// above `q` is a byte's of `h`
fn q3_k(x: &[u8], y: &mut [f32]) {
    let (high, q, packed, d) = (&x[..32], &x[32..96], &x[96..108], scale(x, 108));
    for (part, y) in y.chunks_exact_mut(16).enumerate() {
        let (half, shift, side) = (part / 8, part % 8 / 2 * 2, part % 2);
        // Four low bits in the first 8 bytes, two high ones in the last 4.
        let low = packed[part % 8] >> (part / 8 * 4) & 0xf;
        let above = packed[8 + part % 4] >> (part / 4 * 2) & 3;
        let d = d * (i32::from(low | above << 4) - 32) as f32;
        let q = q[half * 32 + side * 16..].iter().zip(&high[side * 16..]);
        for (y, (&q, &high)) in y.iter_mut().zip(q) {
            let above = high >> (part / 2) & 1;
            *y = d * (i32::from(q >> shift & 3 | above << 2) - 4) as f32;
        }
    }
}

/// Scale and minimum of a part of 32 elements, of 6 bits each, of 8 such in 12 bytes.
fn scale_and_min(packed: &[u8], part: usize) -> (u8, u8) {
    match part {
        0..4 => (packed[part] & 63, packed[part + 4] & 63),
        _ => (
            packed[part + 4] & 0xf | packed[part - 4] >> 6 << 4,
            packed[part + 4] >> 4 | packed[part] >> 6 << 4,
        ),
    }
}

/// `d, m, s[12], q[128]`: 8 parts of 32 elements, `d · s · q − m · s'`
fn q4_k(x: &[u8], y: &mut [f32]) {
    let (d, min, packed, q) = (scale(x, 0), scale(x, 2), &x[4..16], &x[16..]);
    for (part, y) in y.chunks_exact_mut(32).enumerate() {
        let (s, m) = scale_and_min(packed, part);
        let (d, m) = (d * f32::from(s), min * f32::from(m));
        for (y, &q) in y.iter_mut().zip(&q[part / 2 * 32..]) {
            *y = d * f32::from(q >> (part % 2 * 4) & 0xf) - m;
        }
    }
}

/// `d, m, s[12], h[32], q[128]`: as Q4_K, with a bit above `q` in a byte of `h`
fn q5_k(x: &[u8], y: &mut [f32]) {
    let (d, min, packed, high, q) = (scale(x, 0), scale(x, 2), &x[4..16], &x[16..48], &x[48..]);
    for (part, y) in y.chunks_exact_mut(32).enumerate() {
        let (s, m) = scale_and_min(packed, part);
        let (d, m) = (d * f32::from(s), min * f32::from(m));
        for (y, (&q, &high)) in y.iter_mut().zip(q[part / 2 * 32..].iter().zip(high)) {
            let q = q >> (part % 2 * 4) & 0xf | (high >> part & 1) << 4;
            *y = d * f32::from(q) - m;
        }
    }
}

/// `q[128], h[64], s[16], d`: 16 parts of 16 elements with a scale of 8 bits and a sign each, `d · s · (q − 32)`, where the
/// two bits above `q` are a byte's of `h`
fn q6_k(x: &[u8], y: &mut [f32]) {
    let (q, high, scales, d) = (&x[..128], &x[128..192], &x[192..208], scale(x, 208));
    for (part, y) in y.chunks_exact_mut(16).enumerate() {
        let (half, quarter, side) = (part / 8, part % 8 / 2, part % 2);
        let d = d * f32::from(scales[part] as i8);
        let q = q[half * 64 + quarter % 2 * 32 + side * 16..].iter();
        for (y, (&q, &high)) in y.iter_mut().zip(q.zip(&high[half * 32 + side * 16..])) {
            let q = q >> (quarter / 2 * 4) & 0xf | (high >> (quarter * 2) & 3) << 4;
            *y = d * (i32::from(q) - 32) as f32;
        }
    }
}
