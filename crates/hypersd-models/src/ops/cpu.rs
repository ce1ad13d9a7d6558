//! The binding to `hypersd-kernels`: f32 tensors of Burn's flex backend, seen as slices.
//!
//! Every function here has the signature and the meaning of the function of [`super`] that calls it, for tensors of
//! which [`takes`] says yes. The type of the weights is another matter: the kernels read those of dense layers and of
//! convolutions in f32, f16 and bf16, and the few numbers of biases and norms are widened here.

use burn::{
    backend::Flex,
    module::Param,
    nn::GroupNorm,
    tensor::{DType, FloatDType, Tensor, TensorData},
};
use half::{bf16, f16};
use hypersd_core::Products;
use hypersd_kernels::{
    self as kernels, Activation, Affine, AttentionShape, ConvShape, Epilogue, HeadLayout, LayerWeights,
    LinearShape, Padding, Planes, Weights,
};

use crate::{
    backend::is_flex,
    weights::{Conv2d, Form, Int8, Linear, Weight},
};

pub(super) mod memory;

/// Rows of a feed-forward that are computed at a time: enough for every thread to have some.
const FEED_FORWARD_ROWS: usize = if cfg!(test) { 8 } else { 1024 };

/// What flex calls its tensors.
type FlexTensor = <Flex as burn::backend::BackendTypes>::FloatTensorPrimitive;

/// True where a tensor is one that the kernels compute with.
pub(super) fn takes<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && is_flex(&x.device())
}

/// A tensor as its elements, in row-major order.
struct Host(FlexTensor);

impl Host {
    fn new<const D: usize>(x: Tensor<D>) -> Self {
        let x = x.try_into_primitive::<Flex>().expect("a tensor of the flex backend, as `takes` says");
        Self(if x.as_slice::<f32>().is_some() { x } else { x.to_contiguous() })
    }

    /// A parameter of few elements, in f32 whatever it is stored in.
    fn of<const D: usize>(param: &Param<Tensor<D>>) -> Self {
        Self::new(param.val().cast(FloatDType::F32))
    }

    fn slice(&self) -> &[f32] {
        self.0.as_slice().expect("f32 in row-major order, as `new` made it")
    }

    /// The elements to write to, if nobody else holds them.
    fn own(&mut self) -> Option<&mut [f32]> {
        let whole = size_of_val(self.slice()) == self.0.bytes().len(); // and not a view of a larger tensor
        if whole { self.0.try_storage_mut() } else { None }
    }
}

/// Feature maps, and those that are appended to their channels.
struct Maps {
    x: Host,
    shape: [usize; 4],
    skip: Option<(Host, usize)>,
}

impl Maps {
    fn new(x: Tensor<4>, skip: Option<Tensor<4>>) -> Self {
        let skip = skip.map(|skip| {
            let [_, channels, _, _] = skip.dims();
            (Host::new(skip), channels)
        });
        Self { shape: x.dims(), x: Host::new(x), skip }
    }

    fn planes(&self) -> Planes<'_> {
        let x = Planes::new(self.x.slice(), self.shape);
        self.skip.iter().fold(x, |x, (skip, channels)| x.join(skip.slice(), *channels))
    }
}

/// The weight of a layer as it is kept.
enum Stored {
    Float { weight: FlexTensor, panels: bool, products: Products },
    Int8(Int8),
}

impl Stored {
    fn new<const D: usize>(weight: &Weight<D>) -> Self {
        let products = weight.products();
        match weight.form() {
            Form::Burn(weight) => {
                Self::Float { weight: Self::elements(weight.clone()), panels: false, products }
            }
            Form::Panels(weight) => {
                Self::Float { weight: Self::elements(weight.clone()), panels: true, products }
            }
            Form::Int8(weight) => Self::Int8(weight.clone()),
        }
    }

    /// In a type that the kernels read, in row-major order.
    fn elements<const D: usize>(weight: Tensor<D>) -> FlexTensor {
        let weight = match weight.dtype() {
            DType::F16 | DType::BF16 => weight,
            _ => weight.cast(FloatDType::F32),
        };
        let weight = weight.try_into_primitive::<Flex>().expect("weights where their input is");
        if weight.is_contiguous() { weight } else { weight.to_contiguous() }
    }

    fn weights(&self) -> LayerWeights<'_> {
        const ORDERED: &str = "weights in row-major order, as `elements` made them";
        let (weight, panels, products) = match self {
            Self::Float { weight, panels, products } => (weight, *panels, *products),
            Self::Int8(weight) => return LayerWeights::Int8(weight.words()),
        };
        let weights = match weight.dtype() {
            DType::F16 => Weights::F16(weight.as_slice::<f16>().expect(ORDERED)),
            DType::BF16 => Weights::BF16(weight.as_slice::<bf16>().expect(ORDERED)),
            _ => Weights::F32(weight.as_slice().expect(ORDERED)),
        };
        match (weights, products) {
            (Weights::BF16(weights), Products::Bf16) => LayerWeights::Bf16(weights),
            (weights, _) if panels => LayerWeights::Panels(weights),
            (weights, _) => LayerWeights::Plain(weights),
        }
    }
}

/// The elements of a parameter that may not be there.
fn optional<const D: usize>(param: Option<&Param<Tensor<D>>>) -> Option<Host> {
    param.map(Host::of)
}

/// The tensor of a shape whose elements `write` puts into an empty vector, in row-major order.
fn tensor<const D: usize>(shape: [usize; D], write: impl FnOnce(&mut Vec<f32>)) -> Tensor<D> {
    let mut elements = memory::room(shape.iter().product());
    write(&mut elements);
    let data = TensorData::from_bytes(memory::bytes(elements), shape, DType::F32);
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(data))
}

pub(super) fn linear<const D: usize>(x: Tensor<D>, layer: &Linear, residual: Option<Tensor<D>>) -> Tensor<D> {
    let [outputs, inputs] = layer.weight.shape();
    let mut shape = x.dims();
    shape[D - 1] = outputs;
    let rows = shape[..D - 1].iter().product();
    let weight = Stored::new(&layer.weight);
    let (x, bias, residual) = (Host::new(x), optional(layer.bias.as_ref()), residual.map(Host::new));
    let (bias, residual) = (bias.as_ref().map(Host::slice), residual.as_ref().map(Host::slice));
    let extents = LinearShape { rows, inputs, outputs };
    tensor(shape, |out| {
        kernels::linear(x.slice(), weight.weights(), bias, residual, extents, out);
    })
}

fn padding(layer: &Conv2d) -> Padding {
    let [(top, bottom), (left, right)] = layer.padding;
    Padding { top, bottom, left, right }
}

/// `skip` is appended to the channels of x.
pub(super) fn conv2d(
    x: Tensor<4>,
    skip: Option<Tensor<4>>,
    layer: &Conv2d,
    shift: Option<Tensor<2>>,
    residual: Option<Tensor<4>>,
) -> Tensor<4> {
    let weight = Stored::new(&layer.weight);
    let [outputs, _, height, width] = layer.weight.shape();
    let (kernel, stride, padding) = ([height, width], layer.stride, padding(layer));
    let shape = ConvShape { outputs, kernel, stride, padding };
    let [b, _, h, w] = x.dims();
    let [out_h, out_w] = shape.output_size(h, w);
    let (x, bias) = (Maps::new(x, skip), optional(layer.bias.as_ref()));
    let (shift, residual) = (shift.map(Host::new), residual.map(Host::new));
    let epilogue = Epilogue {
        bias: bias.as_ref().map(Host::slice),
        shift: shift.as_ref().map(Host::slice),
        residual: residual.as_ref().map(Host::slice),
        activation: Activation::Identity,
    };
    tensor([b, outputs, out_h, out_w], |out| {
        kernels::conv2d(x.planes(), weight.weights(), shape, epilogue, out);
    })
}

/// True where the kernels have such a convolution of an `x` enlarged to `size`.
pub(super) fn has_doubled_conv2d(x: &Tensor<4>, size: [usize; 2], layer: &Conv2d) -> bool {
    let [_, _, h, w] = x.dims();
    let [_, _, height, width] = layer.weight.shape();
    let same3x3 = [height, width] == [3, 3] && layer.stride == 1 && padding(layer) == Padding::all(1);
    size == [2 * h, 2 * w] && same3x3
}

pub(super) fn conv2d_doubled(x: Tensor<4>, layer: &Conv2d) -> Tensor<4> {
    let weight = Stored::new(&layer.weight);
    let outputs = layer.weight.shape()[0];
    let [b, _, h, w] = x.dims();
    let (x, bias) = (Maps::new(x, None), optional(layer.bias.as_ref()));
    let epilogue = Epilogue { bias: bias.as_ref().map(Host::slice), ..Epilogue::default() };
    tensor([b, outputs, 2 * h, 2 * w], |out| {
        kernels::conv2d_doubled(x.planes(), weight.weights(), outputs, epilogue, out);
    })
}

/// `skip` is appended to the channels of x.
pub(super) fn group_norm(
    x: Tensor<4>,
    skip: Option<Tensor<4>>,
    layer: &GroupNorm,
    activation: Activation,
) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let [gamma, beta] = [&layer.gamma, &layer.beta]
        .map(|parameter| Host::of(parameter.as_ref().expect("a group norm with gamma and beta")));
    let affine = Affine { gamma: gamma.slice(), beta: beta.slice(), eps: layer.epsilon as f32 };
    let mut maps = Maps::new(x, skip);
    // For a large image a fresh tensor costs more than the arithmetic.
    if maps.skip.is_none()
        && let Some(values) = maps.x.own()
    {
        kernels::group_norm_in_place(values, [b, c, h * w], layer.num_groups, affine, activation);
        return Tensor::from_primitive::<Flex>(maps.x.0);
    }
    let planes = maps.planes();
    let shape = [b, planes.channels(), h, w];
    tensor(shape, |out| kernels::group_norm(planes, layer.num_groups, affine, activation, out))
}

pub(super) fn resize_nearest(x: Tensor<4>, [h, w]: [usize; 2]) -> Tensor<4> {
    let [b, c, from_h, from_w] = x.dims();
    let x = Host::new(x);
    let planes = Planes::new(x.slice(), [b, c, from_h, from_w]);
    tensor([b, c, h, w], |out| kernels::resize_nearest(planes, [h, w], out))
}

pub(super) fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    let shape = x.dims();
    let mut x = Host::new(x);
    if let Some(values) = x.own() {
        kernels::activate_in_place(values, activation);
        return Tensor::from_primitive::<Flex>(x.0);
    }
    tensor(shape, |out| {
        out.extend_from_slice(x.slice());
        kernels::activate_in_place(out, activation);
    })
}

/// Some rows at a time: what lies between is four times as wide as x.
pub(super) fn feed_forward(x: Tensor<3>, proj: &Linear, out: &Linear, residual: Tensor<3>) -> Tensor<3> {
    let [b, s, d_in] = x.dims();
    let [d_out, d] = out.weight.shape();
    let (x, residual) = (Host::new(x), Host::new(residual));
    let [proj_weight, out_weight] = [proj, out].map(|layer| Stored::new(&layer.weight));
    let (proj_bias, out_bias) = (optional(proj.bias.as_ref()), optional(out.bias.as_ref()));
    let [proj_bias, out_bias] = [&proj_bias, &out_bias].map(|bias| bias.as_ref().map(Host::slice));

    let most = FEED_FORWARD_ROWS.min(b * s);
    let [mut gated, mut part] = [d, d_out].map(|width| memory::room(most * width));
    let sum = tensor([b, s, d_out], |sum| {
        for start in (0..b * s).step_by(FEED_FORWARD_ROWS) {
            let rows = FEED_FORWARD_ROWS.min(b * s - start);
            let x = &x.slice()[start * d_in..][..rows * d_in];
            let residual = &residual.slice()[start * d_out..][..rows * d_out];
            let shape = LinearShape { rows, inputs: d_in, outputs: 2 * d };
            kernels::linear_geglu(x, proj_weight.weights(), proj_bias, shape, &mut gated);
            let shape = LinearShape { rows, inputs: d, outputs: d_out };
            kernels::linear(&gated, out_weight.weights(), out_bias, Some(residual), shape, &mut part);
            sum.extend_from_slice(&part);
        }
    });
    for room in [gated, part] {
        memory::keep(room);
    }
    sum
}

/// Multiplies bf16 if `halves`.
pub(super) fn attention([q, k, v]: [Tensor<3>; 3], heads: usize, causal: bool, halves: bool) -> Tensor<3> {
    let [batch, queries, features] = q.dims();
    let width = features / heads;
    let shape = AttentionShape {
        batch,
        heads,
        queries,
        keys: k.dims()[1],
        width,
        layout: HeadLayout::TokenMajor,
        scale: (width as f32).sqrt().recip(),
        causal,
    };
    let (q, k, v) = (Host::new(q), Host::new(k), Host::new(v));
    tensor([batch, queries, features], |out| {
        let compute = if halves { kernels::attention_bf16 } else { kernels::attention };
        compute(q.slice(), k.slice(), v.slice(), shape, out);
    })
}

#[cfg(test)]
mod tests {
    //! The kernels against Burn's own operations, through the binding. Their accuracy against f64 is tested where
    //! they are.

    use burn::{
        nn::{
            self, GroupNormConfig, LinearConfig, PaddingConfig2d,
            conv::{self, Conv2dConfig},
        },
        tensor::{Device, Distribution, activation},
    };
    use hypersd_core::{HostTensor, LoadOptions, MemorySource, Slots, load};
    use hypersd_testing::{Array, assert_close};

    use super::*;
    use crate::ops;

    /// Two f32 computations of sums of up to a few thousand terms, one of them by Winograd's algorithm.
    const TOLERANCE: f64 = 5e-6;

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    fn assert_same<const D: usize>(name: &str, got: Tensor<D>, want: Tensor<D>) {
        let shape = want.dims().to_vec();
        let want = Array { shape, data: want.into_data().try_into_vec_as().expect("f32") };
        assert_close(name, got, &want, TOLERANCE);
    }

    /// What `blank` becomes if it is loaded with the parameters of a layer like it, as a file has them.
    fn loaded<N: Slots, const D: usize>(blank: N, weight: Tensor<D>, bias: &Option<Param<Tensor<1>>>) -> N {
        let tensor =
            |shape, data: TensorData| HostTensor::from_f32(shape, data.try_into_vec_as().expect("f32"));
        let weight = tensor(weight.dims().to_vec(), weight.into_data());
        let bias = bias.as_ref().map(|bias| tensor(bias.dims().to_vec(), bias.val().into_data()));
        let tensors = [("weight", Some(weight)), ("bias", bias)];
        let tensors = tensors.into_iter().filter_map(|(name, tensor)| Some((name.to_string(), tensor?)));
        let options = LoadOptions { device: Device::flex(), dtype: FloatDType::F32, ignore: &[] };
        load(blank, &tensors.collect::<MemorySource>(), &options).expect("parameters that fit")
    }

    /// The dense layer that Burn's is, with its parameters.
    fn dense(burns: &nn::Linear) -> Linear {
        let [d_in, d_out] = burns.weight.dims();
        let blank = Linear::new(d_in, d_out, &Device::flex());
        let blank = if burns.bias.is_some() { blank } else { blank.without_bias() };
        loaded(blank, burns.weight.val().transpose(), &burns.bias)
    }

    /// The convolution that Burn's is, with its parameters.
    fn convolution(burns: &conv::Conv2d) -> Conv2d {
        let [c_out, c_in, kernel, _] = burns.weight.dims();
        let padding = match burns.padding {
            PaddingConfig2d::Explicit(top, left, bottom, right) => [(top, bottom), (left, right)],
            _ => [(0, 0); 2],
        };
        let blank = Conv2d::new([c_in, c_out], kernel, &Device::flex());
        let blank = blank.with_stride(burns.stride[0]).with_padding(padding);
        loaded(blank, burns.weight.val(), &burns.bias)
    }

    #[test]
    fn linear_is_burns() {
        for (bias, outputs) in [(true, 80), (true, 72), (false, 72)] {
            let burns = LinearConfig::new(40, outputs).with_bias(bias).init(&Device::flex());
            let layer = dense(&burns);
            let (x, residual) = (random([2, 13, 40]), random([2, 13, outputs]));
            assert_same("linear", linear(x.clone(), &layer, None), burns.forward(x.clone()));
            let want = burns.forward(x.clone()) + residual.clone();
            assert_same("linear plus residual", linear(x, &layer, Some(residual)), want);
        }
    }

    #[test]
    fn a_transposed_input_is_read_in_its_order() {
        let burns = LinearConfig::new(24, 16).init(&Device::flex());
        let x = random([2, 24, 9]).swap_dims(1, 2);
        assert_same("linear", linear(x.clone(), &dense(&burns), None), burns.forward(x));
    }

    #[test]
    fn conv2d_is_burns() {
        let same = PaddingConfig2d::Explicit(1, 1, 1, 1);
        let right_bottom = PaddingConfig2d::Explicit(0, 0, 1, 1);
        for (channels, kernel, stride, padding) in [
            ([4, 32], 3, 1, same.clone()),
            ([32, 48], 3, 1, same.clone()),
            ([32, 32], 3, 2, same),
            ([32, 32], 3, 2, right_bottom),
            ([32, 64], 1, 1, PaddingConfig2d::Valid),
        ] {
            let name = format!("{channels:?} {kernel}x{kernel} stride {stride} {padding:?}");
            let config = Conv2dConfig::new(channels, [kernel, kernel]).with_stride([stride, stride]);
            let burns = config.with_padding(padding).init(&Device::flex());
            let layer = convolution(&burns);
            let x = random([2, channels[0], 11, 14]);
            let want = burns.forward(x.clone());
            assert_same(&name, conv2d(x.clone(), None, &layer, None, None), want.clone());

            let (shift, residual) = (random([2, channels[1]]), random(want.dims()));
            let want = want + shift.clone().reshape([2, channels[1], 1, 1]) + residual.clone();
            assert_same(&name, conv2d(x, None, &layer, Some(shift), Some(residual)), want);
        }
    }

    #[test]
    fn upsample_conv2d_is_burns() {
        let config = Conv2dConfig::new([20, 36], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        let burns = config.init(&Device::flex());
        let layer = convolution(&burns);
        for ([h, w], size) in [([6, 7], [12, 14]), ([36, 40], [72, 80]), ([36, 40], [71, 79])] {
            let x = random([2, 20, h, w]);
            let repeated = x.clone().reshape([2, 20, h, 1, w, 1]).expand([2, 20, h, 2, w, 2]);
            let large = repeated.reshape([2, 20, 2 * h, 2 * w]).narrow(2, 0, size[0]).narrow(3, 0, size[1]);
            assert_same(&format!("{size:?}"), ops::upsample_conv2d(x, size, &layer), burns.forward(large));
        }
    }

    #[test]
    fn weights_in_panels_give_the_same_bits() {
        fn in_panels<const D: usize>(weight: &Weight<D>) -> bool {
            matches!(weight.form(), Form::Panels(_))
        }
        let device = Device::flex();
        let pair = |d_in, d_out| {
            let layer = dense(&LinearConfig::new(d_in, d_out).init(&device));
            let plain = Linear { weight: layer.weight.in_burns_order(), ..layer.clone() };
            assert!(in_panels(&layer.weight) && !in_panels(&plain.weight));
            [layer, plain]
        };
        let ([proj, plain_proj], [out, plain_out]) = (pair(21, 48), pair(24, 32));
        let (x, residual) = (random([2, 13, 21]), random([2, 13, 32]));
        let want = ops::linear(x.clone(), &plain_proj).into_data();
        assert_eq!(ops::linear(x.clone(), &proj).into_data(), want);
        let want = ops::feed_forward(x.clone(), &plain_proj, &plain_out, residual.clone()).into_data();
        assert_eq!(ops::feed_forward(x, &proj, &out, residual).into_data(), want);

        for stride in [1, 2] {
            let config = Conv2dConfig::new([20, 32], [3, 3]).with_stride([stride, stride]);
            let config = config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
            let (layer, x) = (convolution(&config.init(&device)), random([1, 20, 11, 14]));
            let plain = Conv2d { weight: layer.weight.in_burns_order(), ..layer.clone() };
            assert!(in_panels(&layer.weight) && !in_panels(&plain.weight));
            assert_eq!(ops::conv2d(x.clone(), &layer).into_data(), ops::conv2d(x, &plain).into_data());
        }
    }

    /// On the CPU the kernels compute in f32; another type is left to Burn, which knows nothing of panels.
    #[test]
    fn a_type_that_the_kernels_lack_is_left_to_burn() {
        let device = Device::flex();
        let burns = LinearConfig::new(24, 32).init(&device);
        let x = random([2, 9, 24]);
        let got = ops::linear(x.clone().cast(FloatDType::F64), &dense(&burns)).cast(FloatDType::F32);
        assert_same("linear", got, burns.forward(x));

        let padding = PaddingConfig2d::Explicit(1, 0, 0, 2);
        let burns =
            Conv2dConfig::new([4, 16], [3, 3]).with_stride([2, 2]).with_padding(padding).init(&device);
        let x = random([1, 4, 7, 6]);
        let got = ops::conv2d(x.clone().cast(FloatDType::F64), &convolution(&burns)).cast(FloatDType::F32);
        assert_same("conv2d", got, burns.forward(x));
    }

    /// Weights and inputs in 8 bits; where another type is left to Burn, the weights alone.
    #[test]
    fn int8_is_near_burns() {
        const EIGHT_BITS: f64 = 5e-2;
        let near = |name, got: Tensor<4>, want: Tensor<4>| {
            let shape = want.dims().to_vec();
            let want = Array { shape, data: want.into_data().try_into_vec_as().expect("f32") };
            assert_close(name, got.cast(FloatDType::F32), &want, EIGHT_BITS);
        };
        let device = Device::flex();
        let burns = LinearConfig::new(24, 32).init(&device);
        let blank = crate::multiply_in(Linear::new(24, 32, &device), Products::Int8);
        let layer = loaded(blank, burns.weight.val().transpose(), &burns.bias);
        assert!(matches!(layer.weight.form(), Form::Int8(_)));
        let (x, want) = (random([1, 2, 9, 24]), |x: Tensor<4>| burns.forward(x));
        near("linear", ops::linear(x.clone(), &layer), want(x.clone()));
        near("linear of f64", ops::linear(x.clone().cast(FloatDType::F64), &layer), want(x));

        for kernel in [1, 3] {
            let padding = PaddingConfig2d::Explicit(kernel / 2, kernel / 2, kernel / 2, kernel / 2);
            let config = Conv2dConfig::new([20, 24], [kernel, kernel]).with_padding(padding);
            let burns = config.init(&device);
            let blank = Conv2d::new([20, 24], kernel, &device).with_padding([(kernel / 2, kernel / 2); 2]);
            let layer = loaded(crate::multiply_in(blank, Products::Int8), burns.weight.val(), &burns.bias);
            assert!(matches!(layer.weight.form(), Form::Int8(_)));
            let x = random([2, 20, 11, 14]);
            let want = burns.forward(x.clone());
            near("conv2d", ops::conv2d(x.clone(), &layer), want.clone());
            near("conv2d of f64", ops::conv2d(x.cast(FloatDType::F64), &layer), want);
        }
    }

    #[test]
    fn group_norm_is_burns_in_place_and_not() {
        let layer = GroupNormConfig::new(8, 32).with_epsilon(1e-6).init(&Device::flex());
        let x = random([2, 32, 7, 5]) * 3.0 + 1.0;
        let want = activation::silu(layer.forward(x.clone()));
        assert_same("shared", group_norm(x.clone(), None, &layer, Activation::Silu), want.clone());
        assert_same("in place", group_norm(x, None, &layer, Activation::Silu), want);
    }

    #[test]
    fn what_is_joined_is_computed_with_as_its_concatenation() {
        let (x, skip) = (random([2, 20, 7, 5]), random([2, 12, 7, 5]));
        let joined = || ops::Joined::new(x.clone(), skip.clone());
        let both = Tensor::cat(vec![x.clone(), skip.clone()], 1);
        let norm = GroupNormConfig::new(4, 32).init(&Device::flex()); // one group reaches from x into skip
        let want = ops::group_norm_silu(both.clone(), &norm).into_data();
        assert_eq!(ops::group_norm_silu_joined(joined(), &norm).into_data(), want);
        let conv = convolution(&Conv2dConfig::new([32, 16], [1, 1]).init(&Device::flex()));
        assert_eq!(ops::conv2d_joined(joined(), &conv).into_data(), ops::conv2d(both, &conv).into_data());
    }

    #[test]
    fn a_part_of_a_tensor_is_not_written_to() {
        let x = random([4, 6]);
        let whole = x.clone().into_data();
        let part = x.clone().narrow(0, 0, 2);
        assert_same("silu", activate(part.clone(), Activation::Silu), activation::silu(part));
        assert_eq!(x.into_data(), whole);
    }

    #[test]
    fn a_feed_forward_is_burns() {
        let proj = LinearConfig::new(20, 48).init(&Device::flex());
        let out = LinearConfig::new(24, 20).init(&Device::flex());
        let (x, residual) = (random([2, 9, 20]), random([2, 9, 20]));
        let wide = proj.forward(x.clone());
        let gated = wide.clone().narrow(2, 0, 24) * activation::gelu(wide.narrow(2, 24, 24));
        let want = out.forward(gated) + residual.clone();
        assert_same("feed-forward", feed_forward(x, &dense(&proj), &dense(&out), residual), want);
    }

    #[test]
    fn attention_is_the_softmax_of_the_products() {
        for causal in [false, true] {
            let (heads, d, s) = (3, 40, 21);
            let [q, k, v] = [(); 3].map(|()| random([2, s, heads * d]));
            let split = |x: &Tensor<3>| x.clone().reshape([2, s, heads, d]).swap_dims(1, 2);
            let scores = split(&q).matmul(split(&k).swap_dims(2, 3)) / (d as f64).sqrt();
            let above = Tensor::<2>::ones([s, s], &Device::flex()).triu(1) * if causal { -1e9 } else { 0.0 };
            let weights = activation::softmax(scores + above.reshape([1, 1, s, s]), 3);
            let want = weights.matmul(split(&v)).swap_dims(1, 2).reshape([2, s, heads * d]);
            assert_same("attention", attention([q, k, v], heads, causal, false), want);
        }
    }
}
