//! What holds for every form, shape, rank, type and weight.

use half::{bf16, f16};
use hypersd_core::{Dtype, HostData, HostTensor, SharedSource, TensorSource};
use hypersd_lora::{Merge, Strictness, merge};
use proptest::prelude::*;

use crate::{lora, memory, unet};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    LowRank,
    Core,
    LoHa,
    LoHaCore,
    LoKr { first: bool, second: bool, core: bool },
    Full,
}

const KINDS: [Kind; 11] = [
    Kind::LowRank,
    Kind::Core,
    Kind::LoHa,
    Kind::LoHaCore,
    Kind::LoKr { first: true, second: true, core: false },
    Kind::LoKr { first: true, second: false, core: false },
    Kind::LoKr { first: false, second: true, core: false },
    Kind::LoKr { first: false, second: false, core: false },
    Kind::LoKr { first: true, second: false, core: true },
    Kind::LoKr { first: false, second: false, core: true },
    Kind::Full,
];

/// `[out₁ · out₂, in₁ · in₂, k, k]`, or a linear where k is 0.
#[derive(Debug, Clone, Copy)]
struct Extents {
    out: [usize; 2],
    inputs: [usize; 2],
    kernel: usize,
}

impl Extents {
    fn shape(&self) -> Vec<usize> {
        let plain = vec![self.out[0] * self.out[1], self.inputs[0] * self.inputs[1]];
        if self.kernel == 0 { plain } else { [plain, vec![self.kernel; 2]].concat() }
    }

    fn positions(&self) -> usize {
        self.kernel.max(1) * self.kernel.max(1)
    }
}

/// One module for a weight, as its file has it.
#[derive(Debug, Clone)]
struct Made {
    kind: Kind,
    extents: Extents,
    rank: usize,
    alpha: Option<f32>,
    pieces: Vec<(&'static str, HostTensor<'static>)>,
}

/// Numbers between -1 and 1 in one of the types of files: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn tensor(&mut self, shape: &[usize]) -> HostTensor<'static> {
        let mut number = || (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        let x: Vec<f32> = (0..shape.iter().product()).map(|_| number()).collect();
        let data = match self.next() % 3 {
            0 => HostData::F16(x.into_iter().map(f16::from_f32).collect()),
            1 => HostData::BF16(x.into_iter().map(bf16::from_f32).collect()),
            _ => HostData::F32(x.into()),
        };
        HostTensor { shape: shape.to_vec(), data }
    }
}

impl Made {
    fn new(kind: Kind, extents: Extents, rank: usize, alpha: Option<f32>, numbers: &mut Numbers) -> Self {
        let Extents { out: [o1, o2], inputs: [i1, i2], kernel } = extents;
        let (out, inputs, positions) = (o1 * o2, i1 * i2, extents.positions());
        let core = [rank, rank, kernel.max(1), kernel.max(1)];
        let bare =
            |shape: [usize; 2]| if kernel == 0 { shape.to_vec() } else { [&shape[..], &[1, 1]].concat() };
        let shapes: Vec<(&str, Vec<usize>)> = match kind {
            Kind::LowRank => vec![
                ("lora_up.weight", bare([out, rank])),
                ("lora_down.weight", [&[rank], &extents.shape()[1..]].concat()),
            ],
            Kind::Core => vec![
                ("lora_up.weight", bare([out, rank])),
                ("lora_down.weight", bare([rank, inputs])),
                ("lora_mid.weight", core.to_vec()),
            ],
            Kind::LoHa => vec![
                ("hada_w1_a", vec![out, rank]),
                ("hada_w1_b", vec![rank, inputs * positions]),
                ("hada_w2_a", vec![out, rank]),
                ("hada_w2_b", vec![rank, inputs * positions]),
            ],
            Kind::LoHaCore => vec![
                ("hada_w1_a", vec![rank, out]),
                ("hada_w1_b", vec![rank, inputs]),
                ("hada_t1", core.to_vec()),
                ("hada_w2_a", vec![rank, out]),
                ("hada_w2_b", vec![rank, inputs]),
                ("hada_t2", core.to_vec()),
            ],
            Kind::LoKr { first, second, core: with_core } => {
                let one = match first {
                    true => vec![("lokr_w1", vec![o1, i1])],
                    false => vec![("lokr_w1_a", vec![o1, rank]), ("lokr_w1_b", vec![rank, i1])],
                };
                let two = match (second, with_core) {
                    (true, _) if kernel == 0 => vec![("lokr_w2", vec![o2, i2])],
                    (true, _) => vec![("lokr_w2", vec![o2, i2, kernel, kernel])],
                    (_, true) => vec![
                        ("lokr_w2_a", vec![rank, o2]),
                        ("lokr_w2_b", vec![rank, i2]),
                        ("lokr_t2", core.to_vec()),
                    ],
                    (_, false) => {
                        vec![("lokr_w2_a", vec![o2, rank]), ("lokr_w2_b", vec![rank, i2 * positions])]
                    }
                };
                [one, two].concat()
            }
            Kind::Full => vec![("diff", extents.shape())],
        };
        let mut pieces: Vec<_> =
            shapes.into_iter().map(|(piece, shape)| (piece, numbers.tensor(&shape))).collect();
        pieces.extend(alpha.map(|alpha| ("alpha", HostTensor::from_f32([], vec![alpha]))));
        Self { kind, extents, rank, alpha, pieces }
    }

    fn piece(&self, name: &str, abs: bool) -> Vec<f64> {
        let (_, tensor) = self.pieces.iter().find(|(piece, _)| *piece == name).unwrap();
        tensor.to_f32().iter().map(|&x| if abs { f64::from(x).abs() } else { f64::from(x) }).collect()
    }

    /// Element `[o, i, p]` of `alpha / rank · Δ` in f64, as in the papers; or the sum of its terms' sizes.
    fn delta(&self, abs: bool) -> Vec<f64> {
        let Extents { out: [o1, o2], inputs: [i1, i2], .. } = self.extents;
        let (out, inputs, positions, rank) = (o1 * o2, i1 * i2, self.extents.positions(), self.rank);
        let get = |name: &str| self.piece(name, abs);
        // Σ_r left[o, r] · right[r, i, p]
        let product = |left: Vec<f64>, right: Vec<f64>, inputs: usize| {
            move |o: usize, i: usize, p: usize| -> f64 {
                (0..rank).map(|r| left[o * rank + r] * right[(r * inputs + i) * positions + p]).sum()
            }
        };
        // Σ_rq core[r, q, p] · left(r, o) · right[q, i]
        let core = |core: Vec<f64>, left: Vec<f64>, right: Vec<f64>, of: [usize; 2], row_major: bool| {
            move |o: usize, i: usize, p: usize| -> f64 {
                let left = |r: usize| if row_major { left[o * rank + r] } else { left[r * of[0] + o] };
                let terms = (0..rank * rank)
                    .map(|rq| core[rq * positions + p] * left(rq / rank) * right[rq % rank * of[1] + i]);
                terms.sum()
            }
        };
        let scale = self.alpha.map_or(1.0, |alpha| f64::from(alpha) / rank as f64);
        let scale = if abs { scale.abs() } else { scale };
        let all = |scale: f64, element: &dyn Fn(usize, usize, usize) -> f64| {
            let indices = (0..out * inputs * positions)
                .map(|at| (at / positions / inputs, at / positions % inputs, at % positions));
            indices.map(|(o, i, p)| scale * element(o, i, p)).collect()
        };
        match self.kind {
            Kind::LowRank => all(scale, &product(get("lora_up.weight"), get("lora_down.weight"), inputs)),
            Kind::Core => {
                let [mid, up, down] = ["lora_mid.weight", "lora_up.weight", "lora_down.weight"].map(get);
                all(scale, &core(mid, up, down, [out, inputs], true))
            }
            Kind::LoHa => {
                let one = product(get("hada_w1_a"), get("hada_w1_b"), inputs);
                let two = product(get("hada_w2_a"), get("hada_w2_b"), inputs);
                all(scale, &|o, i, p| one(o, i, p) * two(o, i, p))
            }
            Kind::LoHaCore => {
                let one = core(get("hada_t1"), get("hada_w1_a"), get("hada_w1_b"), [out, inputs], false);
                let two = core(get("hada_t2"), get("hada_w2_a"), get("hada_w2_b"), [out, inputs], false);
                all(scale, &|o, i, p| one(o, i, p) * two(o, i, p))
            }
            Kind::LoKr { first, second, core: with_core } => {
                let one: Box<dyn Fn(usize, usize) -> f64> = if first {
                    let one = get("lokr_w1");
                    Box::new(move |o, i| one[o * i1 + i])
                } else {
                    let (a, b) = (get("lokr_w1_a"), get("lokr_w1_b"));
                    Box::new(move |o, i| (0..rank).map(|r| a[o * rank + r] * b[r * i1 + i]).sum())
                };
                let two: Box<dyn Fn(usize, usize, usize) -> f64> = if second {
                    let two = get("lokr_w2");
                    Box::new(move |o, i, p| two[(o * i2 + i) * positions + p])
                } else if with_core {
                    Box::new(core(get("lokr_t2"), get("lokr_w2_a"), get("lokr_w2_b"), [o2, i2], false))
                } else {
                    Box::new(product(get("lokr_w2_a"), get("lokr_w2_b"), i2))
                };
                let scale = if first && second { 1.0 } else { scale };
                all(scale, &|o, i, p| one(o / o2, i / i2) * two(o % o2, i % i2, p))
            }
            Kind::Full => get("diff"),
        }
    }
}

/// A weight and two modules for it.
#[derive(Debug, Clone)]
struct Case {
    base: HostTensor<'static>,
    made: [Made; 2],
    /// The lengths for a DoRA over the first, and whether they are of outputs.
    magnitude: (HostTensor<'static>, bool),
}

prop_compose! {
    fn case()(
        out in [1_usize..5, 1..70],
        inputs in [1_usize..4, 1..6],
        kernel in prop::sample::select(vec![0_usize, 1, 3]),
        kinds in [prop::sample::select(KINDS.to_vec()), prop::sample::select(KINDS.to_vec())],
        ranks in [1_usize..5, 1..5],
        alphas in [prop::option::of(-8.0_f32..8.0), prop::option::of(-8.0_f32..8.0)],
        of_outputs: bool,
        seed: u64,
    ) -> Case {
        let extents = Extents { out, inputs, kernel };
        let mut numbers = Numbers(seed);
        let shape = extents.shape();
        let base = numbers.tensor(&shape);
        // Both shapes are [1, 1] where there is one output.
        let of_outputs = of_outputs || shape[0] == 1;
        let lengths = if of_outputs { vec![shape[0], 1] } else { vec![1, shape[1]] };
        let magnitude = (numbers.tensor(&lengths), of_outputs);
        let mut make = |i: usize| Made::new(kinds[i], extents, ranks[i], alphas[i], &mut numbers);
        Case { base, made: [make(0), make(1)], magnitude }
    }
}

impl Case {
    fn base(&self) -> SharedSource {
        memory([("w.weight", self.base.clone()), ("other.weight", self.base.clone())])
    }

    fn merge(&self, layers: &[(usize, f32)], dora: bool) -> Merge {
        let file = |&(which, weight): &(usize, f32)| {
            let decomposed = dora && self.made[which].kind != Kind::Full;
            let magnitude = decomposed.then(|| ("dora_scale", self.magnitude.0.clone()));
            let pieces = self.made[which].pieces.iter().cloned().chain(magnitude);
            lora(memory(pieces.map(|(piece, tensor)| (format!("lora_unet_w.{piece}"), tensor))), weight)
        };
        let loras: Vec<_> = layers.iter().map(file).collect();
        merge(&[unet(self.base())], &loras, Strictness::Strict).unwrap()
    }

    fn merged(&self, layers: &[(usize, f32)]) -> Vec<f32> {
        self.merge(layers, false).sources[0].tensor("w.weight").unwrap().to_f32().into_owned()
    }

    /// The sum element by element in f64, and the sum of the terms' sizes.
    fn formula(&self, layers: &[(usize, f32)]) -> Vec<(f64, f64)> {
        let w = self.base.to_f32();
        let mut sums: Vec<_> = w.iter().map(|&w| (f64::from(w), f64::from(w).abs())).collect();
        for &(which, weight) in layers {
            let terms = self.made[which].delta(false).into_iter().zip(self.made[which].delta(true));
            for ((sum, size), (term, of_term)) in sums.iter_mut().zip(terms) {
                *sum += f64::from(weight) * term;
                *size += f64::from(weight).abs() * of_term;
            }
        }
        sums
    }

    /// W + m (W' − W) by the paper's equation 5, in f64.
    fn decomposed(&self, m: f32) -> Vec<(f64, f64)> {
        let v = self.formula(&[(0, 1.0)]);
        let w = self.base.to_f32();
        let shape = &self.base.shape;
        let positions = v.len() / shape[0] / shape[1];
        let of = |at: usize| {
            let (o, i) = (at / positions / shape[1], at / positions % shape[1]);
            if self.magnitude.1 { o } else { i }
        };
        let lengths = self.magnitude.0.to_f32();
        let (mut squares, mut sizes) = (vec![0.0; lengths.len()], vec![0.0; lengths.len()]);
        for (at, (value, size)) in v.iter().enumerate() {
            squares[of(at)] += value * value;
            sizes[of(at)] += size * size;
        }
        let blend = |(at, ((value, size), &w)): (usize, (&(f64, f64), &f32))| {
            let (w, m, length) = (f64::from(w), f64::from(m), f64::from(lengths[of(at)]));
            let norm = squares[of(at)].sqrt();
            let lengthen = if norm == 0.0 { 0.0 } else { length / norm };
            // V's error is relative to its terms, and the norm's moves every element of the row.
            let spread = if norm == 0.0 { 0.0 } else { sizes[of(at)].sqrt() / norm };
            let sum = w + m * (lengthen * value - w);
            (sum, (1.0 + m.abs()) * (w.abs() + (lengthen * size).abs() * (1.0 + spread)))
        };
        v.iter().zip(&w[..]).enumerate().map(blend).collect()
    }
}

/// Roundings per element, each at most 2^-24 of the terms' sizes: two products of rank 4 in a core, their product,
/// two scalings, two sums.
const ROUNDINGS: f64 = 64.0 / (1 << 24) as f64;

fn close(got: &[f32], want: &[(f64, f64)]) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), want.len());
    for (got, (want, size)) in got.iter().zip(want) {
        let error = (f64::from(*got) - want).abs();
        prop_assert!(error <= ROUNDINGS * size, "{} for {}, terms of {}", got, want, size);
    }
    Ok(())
}

fn bits(source: &dyn TensorSource, name: &str) -> (Dtype, Vec<usize>, Vec<u32>) {
    let tensor = source.tensor(name).unwrap();
    (tensor.dtype(), tensor.shape.clone(), tensor.to_f32().iter().map(|x| x.to_bits()).collect())
}

proptest! {
    #[test]
    fn every_form_follows_its_formula(case in case(), weight in -3.0_f32..3.0) {
        close(&case.merged(&[(0, weight)]), &case.formula(&[(0, weight)]))?;
    }

    #[test]
    fn forms_add_up_in_either_order(case in case(), a in -3.0_f32..3.0, b in -3.0_f32..3.0) {
        let want = case.formula(&[(0, a), (1, b)]);
        close(&case.merged(&[(0, a), (1, b)]), &want)?;
        close(&case.merged(&[(1, b), (0, a)]), &want)?;
    }

    #[test]
    fn dora_follows_its_formula_and_is_linear_in_the_weight(case in case(), weight in -2.0_f32..2.0) {
        prop_assume!(case.made[0].kind != Kind::Full);
        for m in [weight, 1.0] {
            let merge = case.merge(&[(0, m)], true);
            let got = merge.sources[0].tensor("w.weight").unwrap();
            close(&got.to_f32(), &case.decomposed(m))?;
        }
    }

    #[test]
    fn weight_zero_is_the_base_bit_for_bit(case in case(), dora: bool) {
        let merge = case.merge(&[(0, 0.0), (1, -0.0)], dora);
        prop_assert!(merge.sources[0].touched().is_empty());
        prop_assert_eq!(merge.reports[0].applied, 1);
        prop_assert_eq!(bits(&*merge.sources[0], "w.weight"), bits(&*case.base(), "w.weight"));
    }

    /// A loaded model that reads again only what was touched before or is now cannot be told from a fresh one.
    #[test]
    fn swapping_and_restoring_leave_nothing_behind(
        case in case(),
        dora: bool,
        sets in prop::collection::vec(prop::collection::vec((0_usize..2, -2.0_f32..2.0), 0..3), 1..5),
    ) {
        let names = ["other.weight", "w.weight"];
        let base = case.base();
        let mut loaded = names.map(|name| bits(&*base, name));
        let mut before: Vec<String> = Vec::new();
        for set in sets.iter().chain([&Vec::new()]) {
            let merge = case.merge(set, dora);
            let source = &merge.sources[0];
            let now: Vec<String> = source.touched().into_iter().map(String::from).collect();
            for (name, loaded) in names.iter().zip(&mut loaded) {
                if before.iter().chain(&now).any(|touched| touched == name) {
                    *loaded = bits(&**source, name);
                    source.release(name);
                }
            }
            prop_assert_eq!(&loaded, &names.map(|name| bits(&**source, name)));
            before = now;
        }
        prop_assert_eq!(&loaded, &names.map(|name| bits(&*base, name)));
    }
}
