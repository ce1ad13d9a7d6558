//! The binding to `hypersd-kernels`: f32 tensors of Burn's flex backend, seen as slices.
//!
//! Every function here has the signature and the meaning of the function of [`super`] that calls it, for tensors of
//! which [`takes`] says yes. The type of the weights is another matter: the kernels read those of dense layers and of
//! convolutions in f32, f16 and bf16, and the few numbers of biases and norms are widened here.

use burn::{
    backend::Flex,
    module::Param,
    nn::{GroupNorm, Linear, PaddingConfig2d, conv::Conv2d},
    tensor::{DType, FloatDType, Tensor, TensorData},
};
use half::{bf16, f16};
use hypersd_kernels::{
    self as kernels, Activation, Affine, AttentionShape, ConvShape, Epilogue, HeadLayout, LinearShape,
    Padding, Planes, Weights,
};

use super::backend::is_flex;

pub(super) mod memory;

/// What flex calls its tensors.
type FlexTensor = <Flex as burn::backend::BackendTypes>::FloatTensorPrimitive;

/// Whether a tensor is one that the kernels compute with.
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

/// The weights of a layer as they are stored, in row-major order.
struct Stored(FlexTensor);

impl Stored {
    fn of<const D: usize>(param: &Param<Tensor<D>>) -> Self {
        let weight = match param.val() {
            weight if matches!(weight.dtype(), DType::F16 | DType::BF16) => weight,
            weight => weight.cast(FloatDType::F32),
        };
        let weight = weight.try_into_primitive::<Flex>().expect("weights where their input is");
        Self(if weight.is_contiguous() { weight } else { weight.to_contiguous() })
    }

    fn weights(&self) -> Weights<'_> {
        const ORDERED: &str = "weights in row-major order, as `of` made them";
        match self.0.dtype() {
            DType::F16 => Weights::F16(self.0.as_slice::<f16>().expect(ORDERED)),
            DType::BF16 => Weights::BF16(self.0.as_slice::<bf16>().expect(ORDERED)),
            _ => Weights::F32(self.0.as_slice().expect(ORDERED)),
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
    let weight = Stored::of(&layer.weight);
    let [inputs, outputs] = layer.weight.dims();
    let mut shape = x.dims();
    shape[D - 1] = outputs;
    let rows = shape[..D - 1].iter().product();
    let (x, bias, residual) = (Host::new(x), optional(layer.bias.as_ref()), residual.map(Host::new));
    let (bias, residual) = (bias.as_ref().map(Host::slice), residual.as_ref().map(Host::slice));
    let extents = LinearShape { rows, inputs, outputs };
    tensor(shape, |out| {
        kernels::linear(x.slice(), weight.weights(), bias, residual, extents, out);
    })
}

/// Whether the kernels have such a convolution.
pub(super) fn has_conv2d(layer: &Conv2d) -> bool {
    layer.groups == 1
        && layer.dilation == [1, 1]
        && layer.stride[0] == layer.stride[1]
        && padding(layer).is_some()
}

fn padding(layer: &Conv2d) -> Option<Padding> {
    match layer.padding {
        PaddingConfig2d::Valid => Some(Padding::default()),
        PaddingConfig2d::Explicit(top, left, bottom, right) => Some(Padding { top, bottom, left, right }),
        PaddingConfig2d::Same => None,
    }
}

pub(super) fn conv2d(
    x: Tensor<4>,
    layer: &Conv2d,
    shift: Option<Tensor<2>>,
    residual: Option<Tensor<4>>,
) -> Tensor<4> {
    let [outputs, _, kernel_h, kernel_w] = layer.weight.dims();
    let shape = ConvShape {
        outputs,
        kernel: [kernel_h, kernel_w],
        stride: layer.stride[0],
        padding: padding(layer).expect("a convolution that `has_conv2d` accepted"),
    };
    let [b, c, h, w] = x.dims();
    let [out_h, out_w] = shape.output_size(h, w);
    let (x, weight, bias) = (Host::new(x), Stored::of(&layer.weight), optional(layer.bias.as_ref()));
    let (shift, residual) = (shift.map(Host::new), residual.map(Host::new));
    let epilogue = Epilogue {
        bias: bias.as_ref().map(Host::slice),
        shift: shift.as_ref().map(Host::slice),
        residual: residual.as_ref().map(Host::slice),
        activation: Activation::Identity,
    };
    let x = Planes::new(x.slice(), [b, c, h, w]);
    tensor([b, outputs, out_h, out_w], |out| {
        kernels::conv2d(x, weight.weights(), shape, epilogue, out);
    })
}

pub(super) fn group_norm(x: Tensor<4>, layer: &GroupNorm, activation: Activation) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let [gamma, beta] = [&layer.gamma, &layer.beta]
        .map(|parameter| Host::of(parameter.as_ref().expect("a group norm with gamma and beta")));
    let affine = Affine { gamma: gamma.slice(), beta: beta.slice(), eps: layer.epsilon as f32 };
    let mut x = Host::new(x);
    // For a large image a fresh tensor costs more than the arithmetic.
    if let Some(values) = x.own() {
        kernels::group_norm_in_place(values, [b, c, h * w], layer.num_groups, affine, activation);
        return Tensor::from_primitive::<Flex>(x.0);
    }
    let planes = Planes::new(x.slice(), [b, c, h, w]);
    tensor([b, c, h, w], |out| kernels::group_norm(planes, layer.num_groups, affine, activation, out))
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

/// x `[.., 2n]` → `[.., n]`: the first half times the GELU of the second.
pub(super) fn geglu(x: Tensor<3>) -> Tensor<3> {
    let [b, s, width] = x.dims();
    tensor([b, s, width / 2], |out| kernels::geglu(Host::new(x).slice(), width / 2, out))
}

pub(super) fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, heads: usize, causal: bool) -> Tensor<3> {
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
        kernels::attention(q.slice(), k.slice(), v.slice(), shape, out);
    })
}

#[cfg(test)]
mod tests {
    //! The kernels against Burn's own operations, through the binding. Their accuracy against f64 is tested where
    //! they are.

    use burn::{
        nn::{GroupNormConfig, LinearConfig, conv::Conv2dConfig},
        tensor::{Device, Distribution, activation},
    };
    use hypersd_testing::{Array, assert_close};

    use super::*;
    use crate::ops::{self, backend::in_type};

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

    #[test]
    fn linear_is_burns() {
        for bias in [true, false] {
            let layer = LinearConfig::new(40, 72).with_bias(bias).init(&Device::flex());
            let (x, residual) = (random([2, 13, 40]), random([2, 13, 72]));
            assert_same("linear", linear(x.clone(), &layer, None), layer.forward(x.clone()));
            let want = layer.forward(x.clone()) + residual.clone();
            assert_same("linear plus residual", linear(x, &layer, Some(residual)), want);
        }
    }

    #[test]
    fn a_transposed_input_is_read_in_its_order() {
        let layer = LinearConfig::new(24, 16).init(&Device::flex());
        let x = random([2, 24, 9]).swap_dims(1, 2);
        assert_same("linear", linear(x.clone(), &layer, None), layer.forward(x));
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
            let layer = config.with_padding(padding).init(&Device::flex());
            assert!(has_conv2d(&layer), "{name}");
            let x = random([2, channels[0], 11, 14]);
            let want = layer.forward(x.clone());
            assert_same(&name, conv2d(x.clone(), &layer, None, None), want.clone());

            let (shift, residual) = (random([2, channels[1]]), random(want.dims()));
            let want = want + shift.clone().reshape([2, channels[1], 1, 1]) + residual.clone();
            assert_same(&name, conv2d(x, &layer, Some(shift), Some(residual)), want);
        }
    }

    #[test]
    fn a_convolution_that_the_kernels_lack_is_left_to_burn() {
        let layer = Conv2dConfig::new([4, 4], [3, 3]).with_groups(2).init(&Device::flex());
        assert!(!has_conv2d(&layer));
        let half = in_type(&layer, DType::F16);
        let x = random([1, 4, 5, 5]);
        assert_same("half", ops::conv2d(x.clone(), &half), in_type(&half, DType::F32).forward(x));
    }

    #[test]
    fn group_norm_is_burns_in_place_and_not() {
        let layer = GroupNormConfig::new(8, 32).with_epsilon(1e-6).init(&Device::flex());
        let x = random([2, 32, 7, 5]) * 3.0 + 1.0;
        let want = activation::silu(layer.forward(x.clone()));
        assert_same("shared", group_norm(x.clone(), &layer, Activation::Silu), want.clone());
        assert_same("in place", group_norm(x, &layer, Activation::Silu), want);
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
    fn geglu_is_burns() {
        let x = random([2, 9, 48]);
        let want = x.clone().narrow(2, 0, 24) * activation::gelu(x.clone().narrow(2, 24, 24));
        assert_same("geglu", geglu(x), want);
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
            assert_same("attention", attention(q, k, v, heads, causal), want);
        }
    }
}
