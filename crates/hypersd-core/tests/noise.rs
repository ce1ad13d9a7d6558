//! Noise against PyTorch's, and what holds for every seed and size.

use std::{collections::BTreeMap, path::Path};

use hypersd_core::{Noise, Rng};
use hypersd_testing::{Array, fixture};
use proptest::prelude::*;

/// cuRAND on a GPU has a logarithm and a sine of its own, and the published numbers have 5 digits.
const CUDA_TOLERANCE: f32 = 6e-6;

/// Of a draw longer than this, the fixture has the first and the last 32 numbers.
const WHOLE: usize = 1000;

fn reference() -> BTreeMap<String, Array> {
    fixture(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/noise.safetensors"))
}

fn draw(noise: &mut Noise, n: usize) -> Vec<f32> {
    noise.normal(&[n]).to_f32().into_owned()
}

/// Equality of every bit: -0 is not 0 here.
fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Calls `check` with each draw of each stream under `kind`, in order: name, the draw, the reference.
fn replay(kind: &str, check: impl Fn(&str, Vec<f32>, &Array)) {
    let mut streams = BTreeMap::new();
    let mut draws = 0;
    for (name, want) in &reference() {
        let fields: Vec<&str> = name.split('/').collect();
        let [found, seed, _index, n] = fields[..] else { continue };
        if found != kind {
            continue;
        }
        let noise = streams
            .entry(seed.to_owned())
            .or_insert_with(|| Noise::new(Rng::TorchCpu, seed.parse().expect("a seed")));
        check(name, draw(noise, n.parse().expect("a size")), want);
        draws += 1;
    }
    assert!(draws >= 24, "{draws} draws of kind {kind} in the fixture");
}

#[test]
fn cpu_streams_of_mixed_sizes_are_torchs() {
    replay("draws", |name, got, want| {
        let got = if got.len() <= WHOLE { got } else { [&got[..32], &got[got.len() - 32..]].concat() };
        assert_eq!(bits(&got), bits(&want.data), "{name}");
    });
}

#[test]
fn cpu_draws_of_sdxl_size_have_torchs_checksums() {
    replay("checksum", |name, got, want| {
        let fnv1a = bits(&got).iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &word| {
            (hash ^ u64::from(word)).wrapping_mul(0x0100_0000_01b3)
        });
        let want: Vec<u8> = want.data.iter().map(|&byte| byte as u8).collect();
        assert_eq!(fnv1a.to_le_bytes().as_slice(), want, "{name}");
    });
}

#[test]
fn a_cpu_latent_is_torchs() {
    let got = Noise::new(Rng::TorchCpu, 7).normal(&[1, 4, 64, 64]);
    assert_eq!(got.shape, [1, 4, 64, 64]);
    assert_eq!(bits(&got.to_f32()), bits(&reference()["whole"].data));
}

#[test]
fn cuda_seed_0_starts_as_published() {
    let got = draw(&mut Noise::new(Rng::TorchCuda, 0), 4);
    for (got, want) in got.iter().zip([-0.92466, -0.42534, -2.64385, 0.14518]) {
        assert!((got - want).abs() < CUDA_TOLERANCE, "{got}, published {want}");
    }
}

#[test]
fn cuda_takes_all_64_bits_of_a_seed_and_cpu_32() {
    let first = |rng, seed| draw(&mut Noise::new(rng, seed), 16);
    assert_ne!(first(Rng::TorchCuda, 5), first(Rng::TorchCuda, 5 + (1 << 32)));
    assert_eq!(first(Rng::TorchCpu, 5), first(Rng::TorchCpu, 5 + (1 << 32)));
}

#[test]
fn an_empty_draw_moves_nothing() {
    for rng in [Rng::TorchCpu, Rng::TorchCuda] {
        let mut noise = Noise::new(rng, 3);
        assert_eq!(noise.normal(&[2, 0, 4]).shape, [2, 0, 4]);
        assert_eq!(draw(&mut noise, 16), draw(&mut Noise::new(rng, 3), 16));
    }
}

proptest! {
    #[test]
    fn cpu_draws_of_whole_blocks_are_one_draw(seed: u64, a in 1_usize..8, b in 1_usize..8) {
        let mut noise = Noise::new(Rng::TorchCpu, seed);
        let two = [draw(&mut noise, 16 * a), draw(&mut noise, 16 * b)].concat();
        let one = draw(&mut Noise::new(Rng::TorchCpu, seed), 16 * (a + b));
        prop_assert_eq!(bits(&two), bits(&one));
    }

    #[test]
    fn small_cpu_draws_are_one_stream(seed: u64, n in 1_usize..16) {
        let mut noise = Noise::new(Rng::TorchCpu, seed);
        let single: Vec<f32> = (0..n).flat_map(|_| draw(&mut noise, 1)).collect();
        prop_assert_eq!(bits(&single), bits(&draw(&mut Noise::new(Rng::TorchCpu, seed), n)));
    }

    #[test]
    fn a_longer_cuda_draw_starts_as_a_shorter(seed: u64, n in 1_usize..200, more in 0_usize..200) {
        let short = draw(&mut Noise::new(Rng::TorchCuda, seed), n);
        let long = draw(&mut Noise::new(Rng::TorchCuda, seed), n + more);
        prop_assert_eq!(bits(&short), bits(&long[..n]));
    }

    #[test]
    fn every_number_is_finite(seed: u64, n in 0_usize..300) {
        for rng in [Rng::TorchCpu, Rng::TorchCuda] {
            prop_assert!(draw(&mut Noise::new(rng, seed), n).iter().all(|x| x.is_finite()));
        }
    }

    #[test]
    fn a_clone_goes_on_alone(seed: u64, n in 1_usize..40) {
        for rng in [Rng::TorchCpu, Rng::TorchCuda] {
            let mut noise = Noise::new(rng, seed);
            let _ = noise.normal(&[n]);
            let mut copy = noise.clone();
            let _ = copy.clone().normal(&[100]);
            prop_assert_eq!(draw(&mut noise, 9), draw(&mut copy, 9));
        }
    }
}
