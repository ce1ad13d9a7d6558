//! Group normalisation and the SiLU after it, in two launches: the moments of pieces of each group, then what they give for
//! every value.

use burn::tensor::{DType, Shape};
use burn_cubecl::{ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::element;

/// Units of a cube; a power of two.
const UNITS: usize = 256;
/// Values of a group that one cube sums up.
const PIECE: usize = 16 * UNITS;
/// The most pieces of a group: more would be many moments to put together, for every cube of the second launch.
const MOST_PIECES: usize = 64;
/// Values that one cube of the second launch writes.
const CHUNK: usize = 16 * UNITS;

/// What is to be done beside the arithmetic of the shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) groups: usize,
    pub(super) epsilon: f32,
    /// SiLU comes after it.
    pub(super) silu: bool,
}

/// x `[B, C, H, W]`, gamma and beta `[C]` → `[B, C, H, W]`, in memory in the order in which x is: Burn's convolutions take
/// and give channels last.
pub(super) fn group_norm(
    x: CubeTensor,
    gamma: CubeTensor,
    beta: CubeTensor,
    settings: Settings,
) -> CubeTensor {
    let Settings { groups, epsilon, silu } = settings;
    let [b, c, h, w] = x.meta.shape().dims();
    let (client, device, dtype) = (x.client.clone(), x.device.clone(), x.dtype);
    let channels_last = x.meta.strides()[1] == 1 && c > 1;
    let out = empty_like(&x, channels_last);
    if b * c * h * w == 0 {
        return out;
    }
    let pieces = (c / groups * h * w).div_ceil(PIECE).min(MOST_PIECES);
    let moments =
        empty_device_contiguous_dtype(client.clone(), device, Shape::new([b, groups, pieces, 2]), DType::F32);
    let units = CubeDim::new_1d(UNITS as u32);
    moments_kernel::launch(
        &client,
        CubeCount::Static(pieces as u32, groups as u32, b as u32),
        units,
        x.clone().into_tensor_arg(),
        moments.clone().into_tensor_arg(),
        channels_last,
        UNITS,
        element(dtype),
    );
    let chunks = (c * h * w).div_ceil(CHUNK);
    normalise_kernel::launch(
        &client,
        CubeCount::Static(chunks as u32, b as u32, 1),
        units,
        x.into_tensor_arg(),
        moments.into_tensor_arg(),
        gamma.clone().into_tensor_arg(),
        beta.into_tensor_arg(),
        out.clone().into_tensor_arg(),
        epsilon,
        channels_last,
        silu,
        groups,
        [CHUNK, UNITS],
        [element(dtype), element(gamma.dtype)],
    );
    out
}

/// A tensor of the shape and the type of `x`, in whole rows of its last dimension or of channels.
fn empty_like(x: &CubeTensor, channels_last: bool) -> CubeTensor {
    let [b, c, h, w] = x.meta.shape().dims();
    let empty = |shape| empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape, x.dtype);
    if !channels_last {
        return empty(Shape::new([b, c, h, w]));
    }
    let mut out = empty(Shape::new([b, h, w, c]));
    out.meta.permute(&[0, 3, 1, 2]).expect("an order of four dimensions");
    out
}

/// Channel, row and column of value `index` of some channels of a picture, in the order in which they lie in memory.
#[cube]
fn place(
    index: usize,
    channels: usize,
    height: usize,
    width: usize,
    #[comptime] channels_last: bool,
) -> (usize, usize, usize) {
    let mut channel = index / (height * width);
    let mut pixel = index % (height * width);
    if channels_last {
        channel = index % channels;
        pixel = index / channels;
    }
    (channel, pixel / width, pixel % width)
}

/// The values of a piece: their first and the one after their last.
#[cube]
fn piece_of(piece: usize, pieces: usize, len: usize) -> (usize, usize) {
    let each = len.div_ceil(pieces);
    let start = piece * each;
    let end = start + each;
    (select(start < len, start, len), select(end < len, end, len))
}

/// Sums one number of each unit. `units` is a power of two.
#[cube]
fn total(value: f32, shared: &mut Shared<[f32]>, #[comptime] units: usize) -> f32 {
    let unit = UNIT_POS as usize;
    sync_cube();
    shared[unit] = value;
    sync_cube();
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        if unit < half {
            let other = shared[unit + half];
            shared[unit] += other;
        }
        sync_cube();
        half /= 2;
    }
    shared[0]
}

/// Mean and sum of squared distances from it, of one piece of one group of one picture: cube (piece, group, picture).
#[cube(launch)]
fn moments_kernel<F: Float>(
    x: &Tensor<F>,
    moments: &mut Tensor<f32>,
    #[comptime] channels_last: bool,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let (pieces, groups) = (moments.shape(2), moments.shape(1));
    let (piece, group, batch) = (CUBE_POS_X as usize, CUBE_POS_Y as usize, CUBE_POS_Z as usize);
    let channels = x.shape(1) / groups;
    let (start, end) = piece_of(piece, pieces, channels * x.shape(2) * x.shape(3));
    let mut shared = Shared::<[f32]>::new_slice(units);
    let unit = UNIT_POS as usize;

    let mut sum = f32::new(0.0);
    let mut index = start + unit;
    while index < end {
        let (channel, row, column) = place(index, channels, x.shape(2), x.shape(3), channels_last);
        let at = batch * x.stride(0)
            + (group * channels + channel) * x.stride(1)
            + row * x.stride(2)
            + column * x.stride(3);
        sum += f32::cast_from(x[at]);
        index += units;
    }
    let count = f32::cast_from(end - start);
    let mean = total(sum, &mut shared, units) / count.max(1.0);

    let mut squares = f32::new(0.0);
    let mut index = start + unit;
    while index < end {
        let (channel, row, column) = place(index, channels, x.shape(2), x.shape(3), channels_last);
        let at = batch * x.stride(0)
            + (group * channels + channel) * x.stride(1)
            + row * x.stride(2)
            + column * x.stride(3);
        let distance = f32::cast_from(x[at]) - mean;
        squares += distance * distance;
        index += units;
    }
    let squares = total(squares, &mut shared, units);
    if unit == 0 {
        let at = ((batch * groups + group) * pieces + piece) * 2;
        moments[at] = mean;
        moments[at + 1] = squares;
    }
}

/// `(x − mean) / √(variance + ε) · gamma + beta` for a chunk of a picture: cube (chunk, picture). The moments of pieces are put
/// together first (Chan, Golub, LeVeque 1979).
#[cube(launch)]
fn normalise_kernel<F: Float, P: Float>(
    x: &Tensor<F>,
    moments: &Tensor<f32>,
    gamma: &Tensor<P>,
    beta: &Tensor<P>,
    out: &mut Tensor<F>,
    epsilon: f32,
    #[comptime] channels_last: bool,
    #[comptime] silu: bool,
    #[comptime] groups: usize,
    #[comptime] sizes: [usize; 2],
    #[define(F, P)] _dtypes: [ElemType; 2],
) {
    let chunk = comptime!(sizes[0]);
    let units = comptime!(sizes[1]);
    let pieces = moments.shape(2);
    let (batch, unit) = (CUBE_POS_Y as usize, UNIT_POS as usize);
    let channels = x.shape(1) / groups;
    let of_group = channels * x.shape(2) * x.shape(3);

    let mut means = Shared::<[f32]>::new_slice(groups);
    let mut scales = Shared::<[f32]>::new_slice(groups);
    let mut group = unit;
    while group < groups {
        let first = (batch * groups + group) * pieces * 2;
        let mut sum = f32::new(0.0);
        for piece in 0..pieces {
            let (start, end) = piece_of(piece, pieces, of_group);
            sum += moments[first + 2 * piece] * f32::cast_from(end - start);
        }
        let mean = sum / f32::cast_from(of_group);
        let mut squares = f32::new(0.0);
        for piece in 0..pieces {
            let (start, end) = piece_of(piece, pieces, of_group);
            let distance = moments[first + 2 * piece] - mean;
            squares += moments[first + 2 * piece + 1] + distance * distance * f32::cast_from(end - start);
        }
        means[group] = mean;
        scales[group] = (squares / f32::cast_from(of_group) + epsilon).inverse_sqrt();
        group += units;
    }
    sync_cube();

    let all = x.shape(1) * x.shape(2) * x.shape(3);
    let start = CUBE_POS_X as usize * chunk;
    let end = select(start + chunk < all, start + chunk, all);
    let mut index = start + unit;
    while index < end {
        let (channel, row, column) = place(index, x.shape(1), x.shape(2), x.shape(3), channels_last);
        let at = batch * x.stride(0) + channel * x.stride(1) + row * x.stride(2) + column * x.stride(3);
        let group = channel / channels;
        let normed = (f32::cast_from(x[at]) - means[group]) * scales[group];
        let mut y = normed * f32::cast_from(gamma[channel]) + f32::cast_from(beta[channel]);
        if silu {
            y = y / (1.0 + (-y).exp());
        }
        let to =
            batch * out.stride(0) + channel * out.stride(1) + row * out.stride(2) + column * out.stride(3);
        out[to] = F::cast_from(y);
        index += units;
    }
}
