use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use burn::{
    module::Param,
    nn::{
        Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, Initializer, LayerNorm, LayerNormConfig,
        Linear, LinearConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{DType, Device, FloatDType, Tensor, TensorData},
};
use half::{bf16, f16};
use hypersd_testing::device;
use proptest::prelude::*;

use super::{InOrder, Interleaved, Layout, LoadOptions, Slot, SlotList, Slots, check, load, reload};
use crate::{Dtype, Error, HostData, HostTensor, MemorySource, Mismatch, TensorInfo, TensorSource, slots};

/// One of everything that a network is made of.
#[derive(Debug, Clone)]
struct Net {
    linear: Linear,
    conv: Conv2d,
    norm: GroupNorm,
    final_norm: LayerNorm,
    embedding: Embedding,
    blocks: Vec<Block>,
    to_out: [Linear; 1],
    absent: Option<Linear>,
    scale: Param<Tensor<1>>,
    grid: Param<Tensor<4>>,
    epsilon: f64,
}

slots!(Net { linear, conv, norm, final_norm, embedding, blocks, to_out, absent, scale, grid; epsilon });

#[derive(Debug, Clone)]
struct Block {
    inner: Choice,
    proj: Conv2d,
}

slots!(Block { inner, proj });

#[derive(Debug, Clone)]
enum Choice {
    Linear(Linear),
    Norm(LayerNorm),
}

slots!(Choice: Linear | Norm);

impl Net {
    fn new(device: &Device) -> Self {
        let linear = |i, o| LinearConfig::new(i, o).init(device);
        let proj = || Conv2dConfig::new([6, 4], [1, 1]).with_bias(false).init(device);
        Self {
            linear: linear(3, 5),
            conv: Conv2dConfig::new([2, 4], [3, 3]).init(device),
            norm: GroupNormConfig::new(2, 8).init(device),
            final_norm: LayerNormConfig::new(7).init(device),
            embedding: EmbeddingConfig::new(11, 3).init(device),
            blocks: vec![
                Block { inner: Choice::Linear(linear(40, 70)), proj: proj() },
                Block { inner: Choice::Norm(LayerNormConfig::new(2).init(device)), proj: proj() },
            ],
            to_out: [LinearConfig::new(4, 6).with_bias(false).init(device)],
            absent: None,
            scale: Initializer::Ones.init([1], device),
            grid: Initializer::Ones.init([2, 1, 3, 2], device),
            epsilon: 1e-5,
        }
    }

    /// Every parameter by the name that PyTorch would give it.
    fn values(&self) -> BTreeMap<&'static str, Vec<f32>> {
        let (Choice::Linear(inner), Choice::Norm(norm)) = (&self.blocks[0].inner, &self.blocks[1].inner)
        else {
            panic!("loading does not change the kind of a block")
        };
        [
            ("linear.weight", values(&self.linear.weight)),
            ("linear.bias", values(self.linear.bias.as_ref().unwrap())),
            ("conv.weight", values(&self.conv.weight)),
            ("conv.bias", values(self.conv.bias.as_ref().unwrap())),
            ("norm.weight", values(self.norm.gamma.as_ref().unwrap())),
            ("norm.bias", values(self.norm.beta.as_ref().unwrap())),
            ("final_norm.weight", values(&self.final_norm.gamma)),
            ("final_norm.bias", values(self.final_norm.beta.as_ref().unwrap())),
            ("embedding.weight", values(&self.embedding.weight)),
            ("blocks.0.inner.weight", values(&inner.weight)),
            ("blocks.0.inner.bias", values(inner.bias.as_ref().unwrap())),
            ("blocks.0.proj.weight", values(&self.blocks[0].proj.weight)),
            ("blocks.1.inner.weight", values(&norm.gamma)),
            ("blocks.1.inner.bias", values(norm.beta.as_ref().unwrap())),
            ("blocks.1.proj.weight", values(&self.blocks[1].proj.weight)),
            ("to_out.0.weight", values(&self.to_out[0].weight)),
            ("scale", values(&self.scale)),
            ("grid", values(&self.grid)),
        ]
        .into()
    }
}

fn values<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    assert!(param.is_initialized());
    param.val().cast(FloatDType::F32).into_data().try_into_vec_as().unwrap()
}

/// What a file for [`Net`] holds: `to_out.0` is stored as a 1x1 convolution, `blocks.1.proj` as a matrix.
const TENSORS: &[(&str, &[usize])] = &[
    ("linear.weight", &[5, 3]),
    ("linear.bias", &[5]),
    ("conv.weight", &[4, 2, 3, 3]),
    ("conv.bias", &[4]),
    ("norm.weight", &[8]),
    ("norm.bias", &[8]),
    ("final_norm.weight", &[7]),
    ("final_norm.bias", &[7]),
    ("embedding.weight", &[11, 3]),
    ("blocks.0.inner.weight", &[70, 40]),
    ("blocks.0.inner.bias", &[70]),
    ("blocks.0.proj.weight", &[4, 6, 1, 1]),
    ("blocks.1.inner.weight", &[2]),
    ("blocks.1.inner.bias", &[2]),
    ("blocks.1.proj.weight", &[4, 6]),
    ("to_out.0.weight", &[6, 4, 1, 1]),
    ("scale", &[1]),
    ("grid", &[2, 1, 3, 2]),
];

/// Integers of at most eight bits: every float type holds them exactly, so that types cannot blur an error.
fn element(name: &str, i: usize) -> f32 {
    let salt: usize = name.bytes().map(usize::from).sum();
    ((i * 37 + salt) % 255) as f32 - 127.0
}

fn elements(name: &str, shape: &[usize]) -> Vec<f32> {
    (0..shape.iter().product()).map(|i| element(name, i)).collect()
}

fn stored(x: Vec<f32>, dtype: FloatDType) -> HostData<'static> {
    match dtype {
        FloatDType::F16 => HostData::F16(x.into_iter().map(f16::from_f32).collect()),
        FloatDType::BF16 => HostData::BF16(x.into_iter().map(bf16::from_f32).collect()),
        _ => HostData::F32(x.into()),
    }
}

fn tensors(dtype: FloatDType) -> BTreeMap<String, HostTensor<'static>> {
    TENSORS
        .iter()
        .map(|(name, shape)| {
            let data = stored(elements(name, shape), dtype);
            (name.to_string(), HostTensor { shape: shape.to_vec(), data })
        })
        .collect()
}

fn source(dtype: FloatDType) -> MemorySource {
    tensors(dtype).into_iter().collect()
}

/// The parameter that a tensor becomes: matrices of a `Linear` turned, everything else as it is.
fn expected(name: &str, shape: &[usize]) -> Vec<f32> {
    let linear = ["linear.weight", "blocks.0.inner.weight", "to_out.0.weight"].contains(&name);
    if !linear {
        return elements(name, shape);
    }
    let (rows, columns) = (shape[0], shape[1]);
    (0..columns).flat_map(|i| (0..rows).map(move |o| element(name, o * columns + i))).collect()
}

fn options(dtype: FloatDType) -> LoadOptions {
    LoadOptions { device: device(), dtype, ignore: &[] }
}

fn mismatch(result: Result<Net, Error>) -> Box<Mismatch> {
    match result {
        Err(Error::Mismatch(mismatch)) => mismatch,
        other => panic!("expected a mismatch, found {other:?}"),
    }
}

const DTYPES: [FloatDType; 3] = [FloatDType::F32, FloatDType::F16, FloatDType::BF16];

#[test]
fn every_parameter_is_filled_from_every_type_in_every_type() {
    for from in DTYPES {
        for to in DTYPES {
            let net = load(Net::new(&device()), &source(from), &options(to)).unwrap();
            assert_eq!(net.linear.weight.val().dtype(), DType::from(to));
            assert_eq!(net.final_norm.gamma.val().dtype(), DType::from(to));
            let values = net.values();
            assert_eq!((values.len(), net.epsilon), (TENSORS.len(), 1e-5));
            for (name, shape) in TENSORS {
                assert_eq!(values[name], expected(name, shape), "{name}, {from:?} to {to:?}");
            }
        }
    }
}

#[test]
fn a_loaded_linear_multiplies_like_pytorch() {
    let net = load(Net::new(&device()), &source(FloatDType::F32), &options(FloatDType::F32)).unwrap();
    let x = [2.0, -1.0, 0.5];
    let y: Vec<f32> = net
        .linear
        .forward(Tensor::<2>::from_data([x], (&device(), DType::F32)))
        .into_data()
        .try_into_vec_as()
        .unwrap();
    let (w, b) = (elements("linear.weight", &[5, 3]), elements("linear.bias", &[5]));
    let want: Vec<f32> = (0..5).map(|o| b[o] + (0..3).map(|i| w[o * 3 + i] * x[i]).sum::<f32>()).collect();
    assert_eq!(y, want); // sums of a few small integers and halves: exact
}

/// A source that answers `info` for some names as it is told to.
struct Odd {
    tensors: MemorySource,
    infos: BTreeMap<&'static str, TensorInfo>,
}

impl TensorSource for Odd {
    fn origin(&self) -> String {
        "odd.safetensors".to_string()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.infos.get(name).cloned().or_else(|| self.tensors.info(name))
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        self.tensors.tensor(name)
    }
}

#[test]
fn all_that_does_not_fit_is_in_one_error() {
    let mut tensors = tensors(FloatDType::F32);
    let moved = tensors.remove("blocks.0.proj.weight").unwrap();
    tensors.insert("blocks.0.proj_in.weight".to_string(), moved);
    tensors.remove("norm.bias");
    tensors.insert("linear.weight".to_string(), HostTensor::from_f32([3, 5], vec![0.0; 15]));
    tensors.insert("conv.weight".to_string(), HostTensor::from_f32([4, 18], vec![0.0; 72]));
    let info = TensorInfo { dtype: Dtype::Other("F8_E4M3"), shape: vec![5] };
    let source = Odd { tensors: tensors.into_iter().collect(), infos: [("linear.bias", info)].into() };

    let checked = check(&Net::new(&device()), &source, &options(FloatDType::F32)).unwrap_err();
    let error = load(Net::new(&device()), &source, &options(FloatDType::F32));
    let found = mismatch(error);
    assert_eq!(
        found.missing,
        [
            ("norm.bias".to_string(), vec![]),
            ("blocks.0.proj.weight".to_string(), vec!["blocks.0.proj_in.weight".to_string()]),
        ]
    );
    assert_eq!(found.unused, ["blocks.0.proj_in.weight"]);
    assert_eq!(
        found.wrong_shape,
        [
            ("linear.weight".to_string(), vec![5, 3], vec![3, 5]),
            ("conv.weight".to_string(), vec![4, 2, 3, 3], vec![4, 18]),
        ]
    );
    assert_eq!(found.wrong_dtype, [("linear.bias".to_string(), Dtype::Other("F8_E4M3"))]);
    let message = Error::from(found).to_string();
    assert_eq!(checked.to_string(), message);
    for part in [
        "odd.safetensors: the tensors do not fit the model",
        "norm.bias",
        "(nearest: blocks.0.proj_in.weight)",
        "expected [5, 3], found [3, 5]",
        "found F8_E4M3",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn only_what_is_on_the_list_may_be_left_over() {
    let mut tensors = tensors(FloatDType::F32);
    for name in ["text_model.embeddings.position_ids", "betas"] {
        tensors.insert(name.to_string(), HostTensor::from_f32([1], vec![0.0]));
    }
    let source: MemorySource = tensors.into_iter().collect();
    let found = mismatch(load(Net::new(&device()), &source, &options(FloatDType::F32)));
    assert_eq!(found.unused, ["betas", "text_model.embeddings.position_ids"]);

    let patterns = LoadOptions { ignore: &["*.position_ids"], ..options(FloatDType::F32) };
    let found = mismatch(load(Net::new(&device()), &source, &patterns));
    assert_eq!(found.unused, ["betas"]);

    // A parameter is filled although its name is on the list.
    let patterns =
        LoadOptions { ignore: &["*.position_ids", "betas", "linear.*"], ..options(FloatDType::F32) };
    let net = load(Net::new(&device()), &source, &patterns).unwrap();
    assert_eq!(net.values()["linear.weight"], expected("linear.weight", &[5, 3]));
}

#[test]
fn an_empty_source_fills_nothing() {
    let source: MemorySource = [].into_iter().collect();
    let found = mismatch(load(Net::new(&device()), &source, &options(FloatDType::F32)));
    assert_eq!(found.missing.len(), TENSORS.len());
}

/// Notes what is read and released, and fails or lies at some names.
struct Watched {
    tensors: MemorySource,
    read: Mutex<Vec<String>>,
    released: AtomicUsize,
    fails_at: Option<&'static str>,
    short_at: Option<&'static str>,
}

impl Watched {
    fn new(tensors: MemorySource) -> Self {
        Self {
            tensors,
            read: Mutex::default(),
            released: AtomicUsize::new(0),
            fails_at: None,
            short_at: None,
        }
    }
}

impl TensorSource for Watched {
    fn origin(&self) -> String {
        "watched".to_string()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.info(name)
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        self.read.lock().unwrap().push(name.to_string());
        if self.fails_at == Some(name) {
            return Err(Error::NoSuchTensor { origin: self.origin(), name: name.to_string(), near: vec![] });
        }
        if self.short_at == Some(name) {
            return Ok(HostTensor::from_f32([1], vec![0.0]));
        }
        self.tensors.tensor(name)
    }

    fn release(&self, _name: &str) {
        self.released.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn each_tensor_is_read_once_and_released() {
    let source = Watched::new(source(FloatDType::F32));
    load(Net::new(&device()), &source, &options(FloatDType::F16)).unwrap();
    let mut read = source.read.into_inner().unwrap();
    read.sort();
    assert_eq!(read, source.tensors.names());
    assert_eq!(source.released.into_inner(), 2 * TENSORS.len(), "after reading it and after reading all");
}

/// Computes what it answers, and notes what it computed in memory of the reader.
struct Computed {
    tensors: MemorySource,
    in_scratch: Mutex<Vec<String>>,
}

impl TensorSource for Computed {
    fn origin(&self) -> String {
        "computed".to_string()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.info(name)
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        Ok(self.tensors.tensor(name)?.into_owned())
    }

    fn tensor_in<'a>(&'a self, name: &str, scratch: &'a mut Vec<f32>) -> Result<HostTensor<'a>, Error> {
        self.in_scratch.lock().unwrap().push(name.to_string());
        let HostTensor { shape, data } = self.tensors.tensor(name)?;
        let HostData::F32(data) = data else { panic!("{name} is no f32") };
        scratch.clear();
        scratch.extend_from_slice(&data);
        Ok(HostTensor { shape, data: HostData::F32(Cow::Borrowed(scratch)) })
    }
}

#[test]
fn only_what_is_copied_anyway_is_computed_in_scratch() {
    let linears = ["blocks.0.inner.weight", "linear.weight", "to_out.0.weight"].map(String::from).to_vec();
    for (dtype, expected) in [(FloatDType::F32, linears), (FloatDType::F16, source(FloatDType::F32).names())]
    {
        let source = Computed { tensors: source(FloatDType::F32), in_scratch: Mutex::default() };
        let net = load(Net::new(&device()), &source, &options(dtype)).unwrap();
        let mut in_scratch = source.in_scratch.into_inner().unwrap();
        in_scratch.sort();
        assert_eq!(in_scratch, expected, "{dtype:?}");
        let direct = load(Net::new(&device()), &source.tensors, &options(dtype)).unwrap();
        assert_eq!(net.values(), direct.values());
    }
}

#[test]
fn a_failure_while_reading_is_returned() {
    let failing = Watched { fails_at: Some("norm.weight"), ..Watched::new(source(FloatDType::F32)) };
    let error = load(Net::new(&device()), &failing, &options(FloatDType::F32)).unwrap_err();
    assert!(matches!(error, Error::NoSuchTensor { name, .. } if name == "norm.weight"));

    let lying = Watched { short_at: Some("linear.weight"), ..Watched::new(source(FloatDType::F32)) };
    let error = load(Net::new(&device()), &lying, &options(FloatDType::F32)).unwrap_err().to_string();
    assert!(error.contains("tensor \"linear.weight\": expected 15 elements, found 1"), "{error}");
}

#[test]
fn a_parameter_that_was_passed_over_is_an_error() {
    let blank = Net::new(&device());
    let named = ["conv.weight"];
    let found = mismatch(reload(blank, &source(FloatDType::F32), named, &options(FloatDType::F32)));
    let names: Vec<&str> = found.missing.iter().map(|(name, _)| name.as_str()).collect();
    let others: Vec<&str> = TENSORS.iter().map(|(name, _)| *name).filter(|name| *name != named[0]).collect();
    assert_eq!(names, others);
}

#[test]
fn reloading_reads_and_changes_only_what_is_named() {
    let net = load(Net::new(&device()), &source(FloatDType::F32), &options(FloatDType::F32)).unwrap();
    let before = net.values();
    let other = TENSORS.iter().map(|(name, shape)| {
        let x = elements(name, shape).into_iter().map(|x| x + 1.0).collect();
        (name.to_string(), HostTensor::from_f32(shape.to_vec(), x))
    });
    let source = Watched::new(other.collect());
    let named = ["linear.weight", "blocks.1.inner.weight"];
    let net = reload(net, &source, named, &options(FloatDType::F32)).unwrap();
    for (name, value) in net.values() {
        let change = if named.contains(&name) { 1.0 } else { 0.0 };
        let want: Vec<f32> = before[name].iter().map(|x| x + change).collect();
        assert_eq!(value, want, "{name}");
    }
    assert_eq!(source.read.lock().unwrap().len(), named.len());

    let net = reload(net, &source, Vec::<String>::new(), &options(FloatDType::F32)).unwrap();
    let found = mismatch(reload(net, &source, ["linear.wait"], &options(FloatDType::F32)));
    assert_eq!(found.unused, ["linear.wait"]);
}

/// A weight that is kept with two of its rows side by side.
struct Pairs {
    shape: [usize; 2],
    value: Option<TensorData>,
}

impl Slot for Pairs {
    fn shape(&self) -> Vec<usize> {
        self.shape.to_vec()
    }

    fn layout(&self, _: &Device) -> Box<dyn Layout> {
        let [rows, depth] = self.shape;
        Box::new(Interleaved { shape: vec![rows / 2, depth, 2], rows, width: 2 })
    }

    fn place(&mut self, x: TensorData, _: &Device) {
        self.value = Some(x);
    }

    fn is_filled(&self) -> bool {
        self.value.is_some()
    }
}

impl Slots for Pairs {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        list.itself(self);
    }
}

#[test]
fn a_slot_says_how_it_is_filled() {
    let source = |by: f32| -> MemorySource {
        let x = (1..=6).map(|x| by * x as f32).collect();
        [("0".to_string(), HostTensor::from_f32([2, 3], x))].into_iter().collect()
    };
    let network = vec![Pairs { shape: [2, 3], value: None }];
    let network = load(network, &source(1.0), &options(FloatDType::F32)).unwrap();
    let value = |network: &[Pairs]| network[0].value.clone().unwrap();
    assert_eq!(value(&network).shape().as_slice(), [1, 3, 2]);
    assert_eq!(value(&network).try_into_vec_as::<f32>().unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);

    // Its weights can be exchanged, though their shape tells nobody what it was.
    let network = reload(network, &source(2.0), ["0"], &options(FloatDType::F32)).unwrap();
    assert_eq!(value(&network).try_into_vec_as::<f32>().unwrap(), [2.0, 8.0, 4.0, 10.0, 6.0, 12.0]);
}

#[test]
fn a_type_that_weights_are_not_kept_in_is_refused() {
    for dtype in [FloatDType::F64, FloatDType::Flex32] {
        let error = load(Net::new(&device()), &source(FloatDType::F32), &options(dtype)).unwrap_err();
        assert!(matches!(error, Error::Argument { argument: "dtype", .. }), "{error}");
        let checked = check(&Net::new(&device()), &source(FloatDType::F32), &options(dtype)).unwrap_err();
        assert_eq!(checked.to_string(), error.to_string());
    }
}

#[test]
fn checking_reads_nothing() {
    let source = Watched::new(source(FloatDType::F32));
    check(&Net::new(&device()), &source, &options(FloatDType::F32)).unwrap();
    assert!(source.read.lock().unwrap().is_empty());
}

#[test]
fn values_that_are_not_finite_go_through() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e30, f32::MIN_POSITIVE];
    for from in DTYPES {
        for to in DTYPES {
            let x: Vec<f32> = odd.iter().copied().cycle().take(15).collect();
            let mut tensors = tensors(from);
            let data = stored(x.clone(), from);
            tensors.insert("linear.weight".to_string(), HostTensor { shape: vec![5, 3], data });
            let source: MemorySource = tensors.into_iter().collect();
            let net = load(Net::new(&device()), &source, &options(to)).unwrap();
            let got = &net.values()["linear.weight"];
            assert!(got[0].is_nan(), "{from:?} to {to:?}");
            // element (o = 0, i = 1) of the file is element (1, 0) of the parameter, of five columns
            assert_eq!((got[5], got[10]), (f32::INFINITY, f32::NEG_INFINITY), "{from:?} to {to:?}");
        }
    }
}

proptest! {
    #[test]
    fn conversion_and_transposition_are_what_the_definitions_say(
        rows in 0_usize..100,
        columns in 0_usize..100,
        seed in any::<u32>(),
        width in prop::option::of(1_usize..100),
        from in prop::sample::select(DTYPES.as_slice()),
        to in prop::sample::select(DTYPES.as_slice()),
    ) {
        // Any bits: a fixed multiplicative sequence, most of its members normal numbers of all magnitudes.
        let x: Vec<f32> = (0..rows * columns)
            .map(|i| f32::from_bits((i as u32 ^ seed).wrapping_mul(0x9E37_79B1)))
            .map(|x| if x.is_nan() { 0.1 } else { x })
            .collect();
        let data = stored(x, from);
        let narrow = |x: f32| match to {
            FloatDType::F16 => f16::from_f32(x).to_f32(),
            FloatDType::BF16 => bf16::from_f32(x).to_f32(),
            _ => x,
        };
        let read = HostTensor { shape: vec![rows, columns], data: data.clone() };
        let wide: Vec<f32> = read.to_f32().iter().map(|&x| narrow(x)).collect();
        let (layout, shape, want): (Box<dyn Layout>, _, _) = match width {
            Some(width) => {
                // From row `top` on, at most `width` rows lie side by side: their elements of column 0, of column 1, ..
                let beside = |top: usize| (0..columns).flat_map(move |i| (top..rows.min(top + width)).map(move |o| o * columns + i));
                let want: Vec<f32> = (0..rows).step_by(width).flat_map(beside).map(|i| wide[i]).collect();
                let shape = vec![rows * columns];
                (Box::new(Interleaved { shape: shape.clone(), rows, width }), shape, want)
            }
            None => {
                let shape = vec![rows, columns];
                (Box::new(InOrder { shape: shape.clone() }), shape, wide)
            }
        };
        let got = layout.arrange(data, to);
        prop_assert_eq!(got.shape().as_slice(), shape);
        prop_assert_eq!(got.dtype(), DType::from(to));
        let got: Vec<f32> = got.convert_dtype(DType::F32).try_into_vec_as().unwrap();
        prop_assert_eq!(got, want);
    }
}
