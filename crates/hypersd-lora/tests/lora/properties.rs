//! What holds for every shape, rank, type and weight.

use half::{bf16, f16};
use hypersd_core::{Dtype, HostData, HostTensor, SharedSource, TensorSource};
use hypersd_lora::{Merge, Strictness, merge};
use proptest::prelude::*;

use crate::{lora, memory, unet};

/// A weight and two LoRA modules for it.
#[derive(Debug, Clone)]
struct Case {
    base: HostTensor<'static>,
    factors: [Factors; 2],
}

#[derive(Debug, Clone)]
struct Factors {
    down: HostTensor<'static>,
    up: HostTensor<'static>,
    alpha: Option<f32>,
}

fn tensor(shape: Vec<usize>) -> impl Strategy<Value = HostTensor<'static>> {
    let elements = prop::collection::vec(-2.0_f32..2.0, shape.iter().product::<usize>());
    (elements, prop::sample::select(vec![Dtype::F32, Dtype::F16, Dtype::BF16])).prop_map(move |(x, dtype)| {
        let data = match dtype {
            Dtype::F16 => HostData::F16(x.into_iter().map(f16::from_f32).collect()),
            Dtype::BF16 => HostData::BF16(x.into_iter().map(bf16::from_f32).collect()),
            _ => HostData::F32(x.into()),
        };
        HostTensor { shape: shape.clone(), data }
    })
}

fn factors(out: usize, tail: Vec<usize>) -> impl Strategy<Value = Factors> {
    (1_usize..6, prop::option::of(-8.0_f32..8.0)).prop_flat_map(move |(rank, alpha)| {
        let up = if tail.len() == 3 { vec![out, rank, 1, 1] } else { vec![out, rank] };
        (tensor([&[rank], &tail[..]].concat()), tensor(up)).prop_map(move |(down, up)| Factors {
            down,
            up,
            alpha,
        })
    })
}

prop_compose! {
    /// Up to three blocks of 128 rows.
    fn case()(out in prop_oneof![1_usize..9, 120_usize..300], tail in prop_oneof![
        (1_usize..20).prop_map(|n| vec![n]),
        (1_usize..20).prop_map(|n| vec![n, 1, 1]),
        (1_usize..5).prop_map(|n| vec![n, 3, 3]),
    ])(
        base in tensor([&[out], &tail[..]].concat()),
        factors in [factors(out, tail.clone()), factors(out, tail.clone())],
    ) -> Case {
        Case { base, factors }
    }
}

impl Case {
    fn base(&self) -> SharedSource {
        memory([("w.weight", self.base.clone())])
    }

    fn merge(&self, layers: &[(usize, f32)]) -> Merge {
        let file = |&(which, weight): &(usize, f32)| {
            let Factors { down, up, alpha } = self.factors[which].clone();
            let alpha = alpha.map(|alpha| ("lora_unet_w.alpha", HostTensor::from_f32([], vec![alpha])));
            let factors = [("lora_unet_w.lora_down.weight", down), ("lora_unet_w.lora_up.weight", up)];
            lora(memory(factors.into_iter().chain(alpha)), weight)
        };
        let loras: Vec<_> = layers.iter().map(file).collect();
        merge(&[unet(self.base())], &loras, Strictness::Strict).unwrap()
    }

    fn merged(&self, layers: &[(usize, f32)]) -> Vec<f32> {
        self.merge(layers).sources[0].tensor("w.weight").unwrap().to_f32().into_owned()
    }

    /// `W + Σ weight · alpha/rank · up · down` element by element in f64, and the sum of the terms' sizes, to
    /// which the error of any way of adding them in f32 is relative.
    fn formula(&self, layers: &[(usize, f32)]) -> Vec<(f64, f64)> {
        let w = self.base.to_f32();
        let columns = w.len() / self.base.shape[0];
        let mut sums: Vec<_> = w.iter().map(|&w| (f64::from(w), f64::from(w.abs()))).collect();
        for &(which, weight) in layers {
            let Factors { down, up, alpha } = &self.factors[which];
            let rank = down.shape[0];
            let scale = f64::from(weight) * alpha.map_or(1.0, |alpha| f64::from(alpha) / rank as f64);
            let (down, up) = (down.to_f32(), up.to_f32());
            for (i, (sum, size)) in sums.iter_mut().enumerate() {
                for r in 0..rank {
                    let term = scale
                        * f64::from(up[i / columns * rank + r])
                        * f64::from(down[r * columns + i % columns]);
                    *sum += term;
                    *size += term.abs();
                }
            }
        }
        sums
    }
}

/// Roundings per element: two ranks of at most 5, two scalings, two sums, each at most 2^-24 of the terms' sizes.
const ROUNDINGS: f64 = 16.0 / (1 << 24) as f64;

fn close(got: &[f32], want: &[(f64, f64)]) -> Result<(), TestCaseError> {
    for (got, (want, size)) in got.iter().zip(want) {
        let error = (f64::from(*got) - want).abs();
        prop_assert!(error <= ROUNDINGS * size, "{} for {}, terms of {}", got, want, size);
    }
    Ok(())
}

fn bits(tensor: &HostTensor<'_>) -> (Dtype, Vec<usize>, Vec<u32>) {
    (tensor.dtype(), tensor.shape.clone(), tensor.to_f32().iter().map(|x| x.to_bits()).collect())
}

proptest! {
    #[test]
    fn one_file_follows_the_formula(case in case(), weight in -3.0_f32..3.0) {
        close(&case.merged(&[(0, weight)]), &case.formula(&[(0, weight)]))?;
    }

    #[test]
    fn two_files_are_the_sum_in_either_order(case in case(), a in -3.0_f32..3.0, b in -3.0_f32..3.0) {
        let want = case.formula(&[(0, a), (1, b)]);
        close(&case.merged(&[(0, a), (1, b)]), &want)?;
        close(&case.merged(&[(1, b), (0, a)]), &want)?;
    }

    #[test]
    fn the_weight_enters_linearly(case in case(), weight in -2.0_f32..2.0) {
        // Powers of two scale without rounding, so half and whole differ only in the roundings of the sums.
        let (whole, half) = (case.merged(&[(0, weight)]), case.merged(&[(0, weight / 2.0)]));
        let base = case.base.to_f32();
        let sizes = case.formula(&[(0, weight)]);
        for (((whole, half), base), (_, size)) in whole.iter().zip(&half).zip(&base[..]).zip(&sizes) {
            let [whole, half, base] = [*whole, *half, *base].map(f64::from);
            prop_assert!(((whole - base) - 2.0 * (half - base)).abs() <= 3.0 * ROUNDINGS * size);
        }
    }

    #[test]
    fn weight_zero_is_the_base_bit_for_bit(case in case()) {
        let merged = case.merge(&[(0, 0.0), (1, -0.0)]);
        prop_assert!(merged.sources[0].touched().is_empty());
        prop_assert_eq!(merged.reports[0].applied, 1);
        prop_assert_eq!(bits(&merged.sources[0].tensor("w.weight").unwrap()), bits(&case.base));
    }

    #[test]
    fn reading_repeats_and_the_base_stays(case in case(), weight in 0.5_f32..2.0) {
        let merged = case.merge(&[(0, weight), (1, -weight)]);
        let source = &merged.sources[0];
        let first = bits(&source.tensor("w.weight").unwrap());
        source.release("w.weight");
        prop_assert_eq!(&first, &bits(&source.tensor("w.weight").unwrap()));
        let mut scratch = vec![f32::NAN; 50];
        prop_assert_eq!(&first, &bits(&source.tensor_in("w.weight", &mut scratch).unwrap()));
        prop_assert_eq!(first.0, Dtype::F32);
        for name in source.touched() {
            prop_assert_eq!(bits(&source.base().tensor(name).unwrap()), bits(&case.base));
        }
    }
}
