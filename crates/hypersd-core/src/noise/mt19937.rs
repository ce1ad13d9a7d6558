//! The Mersenne Twister: Matsumoto and Nishimura, <https://doi.org/10.1145/272991.272995>.

/// Words of state.
const N: usize = 624;
/// Distance to the word that is mixed in.
const M: usize = 397;

/// The generator behind PyTorch's CPU streams (and numpy's legacy ones).
#[derive(Debug, Clone)]
pub(super) struct Mt19937 {
    state: Box<[u32; N]>,
    next: usize,
}

impl Mt19937 {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = Box::new([seed; N]);
        for j in 1..N {
            let last = state[j - 1];
            state[j] = 1_812_433_253_u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(j as u32);
        }
        Self { state, next: N }
    }

    pub(super) fn u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Two words, the first on top.
    pub(super) fn u64(&mut self) -> u64 {
        let high = u64::from(self.u32());
        high << 32 | u64::from(self.u32())
    }

    fn twist(&mut self) {
        for j in 0..N {
            let y = (self.state[j] & 0x8000_0000) | (self.state[(j + 1) % N] & 0x7fff_ffff);
            let mix = if y & 1 == 0 { 0 } else { 0x9908_b0df };
            self.state[j] = self.state[(j + M) % N] ^ (y >> 1) ^ mix;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_published_ones() {
        let mut rng = Mt19937::new(0);
        let first: [u32; 4] = std::array::from_fn(|_| rng.u32());
        assert_eq!(first, [2_357_136_044, 2_546_248_239, 3_071_714_933, 3_626_093_760]);
        // The C++ standard, [rand.predef]: the 10000th word of a default-constructed std::mt19937.
        let mut rng = Mt19937::new(5489);
        assert_eq!((0..10_000).map(|_| rng.u32()).last(), Some(4_123_659_995));
    }
}
