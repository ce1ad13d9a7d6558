//! PyTorch's `randn` on a CUDA device: Philox4x32-10 (Salmon et al., <https://doi.org/10.1145/2063384.2063405>)
//! through cuRAND's Box–Muller.
//!
//! Every GPU thread has its own stream, numbered by the thread; a draw of PyTorch moves all of them on. How many
//! threads share a draw depends on the GPU; see [`Rng::TorchCuda`](super::Rng::TorchCuda) for what is assumed.

use std::f32::consts::TAU;

/// 2^-32, as cuRAND spells it.
const INV: f32 = 2.3283064e-10;

#[derive(Debug, Clone)]
pub(super) struct Philox {
    key: [u32; 2],
    /// Counts the draws: PyTorch's `philox_offset` over 4, since each thread takes one block of four words.
    draws: u64,
}

impl Philox {
    pub(super) fn new(seed: u64) -> Self {
        Self { key: halves(seed), draws: 0 }
    }

    pub(super) fn normal(&mut self, n: usize) -> Vec<f32> {
        if n == 0 {
            return Vec::new(); // PyTorch launches nothing, and its offset stays
        }
        let [low, high] = halves(self.draws);
        self.draws += 1;
        (0..n as u64)
            .map(|thread| {
                let [thread_low, thread_high] = halves(thread);
                let [x, y, ..] = philox([low, high, thread_low, thread_high], self.key);
                box_muller(x, y)
            })
            .collect()
    }
}

fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// Ten rounds over a counter of four words.
fn philox([mut a, mut b, mut c, mut d]: [u32; 4], [mut k0, mut k1]: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [low0, high0] = halves(0xd251_1f53 * u64::from(a));
        let [low1, high1] = halves(0xcd9e_8d57 * u64::from(c));
        [a, b, c, d] = [high1 ^ b ^ k0, low1, high0 ^ d ^ k1, low0];
        k0 = k0.wrapping_add(0x9e37_79b9);
        k1 = k1.wrapping_add(0xbb67_ae85);
    }
    [a, b, c, d]
}

/// The first of the four normals that cuRAND makes of a block of words.
fn box_muller(x: u32, y: u32) -> f32 {
    let u = (x as f32).mul_add(INV, INV / 2.0);
    let v = (y as f32).mul_add(INV * TAU, INV * TAU / 2.0);
    (-2.0 * u.ln()).sqrt() * v.sin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_random123s_known_answers() {
        // https://github.com/DEShawResearch/random123/blob/main/tests/kat_vectors, philox4x32 10
        let known = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([!0; 4], [!0; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, words) in known {
            assert_eq!(philox(counter, key), words, "counter {counter:x?}, key {key:x?}");
        }
    }
}
