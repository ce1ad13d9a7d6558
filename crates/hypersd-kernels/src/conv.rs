//! Convolution of feature maps: which algorithm for which shape, and what is added on the way out.

#![expect(unsafe_code, reason = "Winograd's algorithm fills an output that is not initialised")]

use crate::{
    Activation, LayerWeights, Planes,
    elementwise::{InOut, Map, load, map},
    output::fill_shared,
    resample,
    scratch::Scratch,
    simd::Simd,
};

mod direct;
mod narrow;
mod winograd;

/// Pixels from which on Winograd's algorithm pays for any number of outputs.
const LARGE_IMAGE: usize = 1 << 16;

/// The extents of a convolution, those of its input aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Output channels.
    pub outputs: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Distance of neighbouring windows, in both directions.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: Padding,
}

/// Zeros around a feature map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns on the left.
    pub left: usize,
    /// Columns on the right.
    pub right: usize,
}

impl Padding {
    /// The same on all sides.
    #[must_use]
    pub fn all(width: usize) -> Self {
        Self { top: width, bottom: width, left: width, right: width }
    }
}

impl ConvShape {
    /// A 3x3 convolution that keeps the size.
    #[must_use]
    pub fn same3x3(outputs: usize) -> Self {
        Self { outputs, kernel: [3, 3], stride: 1, padding: Padding::all(1) }
    }

    /// A product over the channels of every pixel.
    #[must_use]
    pub fn pointwise(outputs: usize) -> Self {
        Self { outputs, kernel: [1, 1], stride: 1, padding: Padding::default() }
    }

    /// Height and width of the output for an input of `height` by `width`; zero where no window fits.
    ///
    /// # Panics
    /// If the stride is zero.
    #[must_use]
    pub fn output_size(&self, height: usize, width: usize) -> [usize; 2] {
        let Padding { top, bottom, left, right } = self.padding;
        let windows = |padded: usize, kernel: usize| match padded.checked_sub(kernel) {
            Some(room) => room / self.stride + 1,
            None => 0,
        };
        [windows(height + top + bottom, self.kernel[0]), windows(width + left + right, self.kernel[1])]
    }
}

/// The last step of a convolution, on its sums before they are written: `activation(sum + bias + shift + residual)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// `[outputs]`.
    pub bias: Option<&'a [f32]>,
    /// `[batch, outputs]`, such as a projected time embedding.
    pub shift: Option<&'a [f32]>,
    /// `[batch, outputs, output height, output width]`, such as the input of a residual block.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// Convolves `x [batch, inputs, height, width]` with `weights [outputs, inputs, kernel height, kernel width]` (or in
/// panels) and applies `epilogue`.
///
/// `out [batch, outputs, output height, output width]` is overwritten; its capacity is used again. 3x3
/// convolutions of stride 1 between 16 channels or more go through Winograd's F(4x4, 3x3), or F(2x2, 3x3) if they are
/// small, whose rounding differs from that of a plain sum.
///
/// # Panics
/// If the stride is zero, a slice has not the extent that the shapes give it, or panels of weights are not whole.
pub fn conv2d<'w>(
    x: Planes<'_>,
    weights: impl Into<LayerWeights<'w>>,
    shape: ConvShape,
    epilogue: Epilogue<'_>,
    out: &mut Vec<f32>,
) {
    assert!(shape.stride > 0, "the stride is positive");
    let size = shape.output_size(x.height(), x.width());
    let conv = Conv::new(x, weights.into(), shape, size, epilogue);
    if let LayerWeights::Int8(weights) = conv.weights {
        return narrow::int8(&conv, weights, out);
    }
    if let LayerWeights::Bf16(weights) = conv.weights
        && narrow::takes_bf16(&conv)
    {
        return narrow::bf16(&conv, weights, out);
    }
    if shape.kernel == [3, 3] && shape.stride == 1 && conv.has_many_channels() {
        // SAFETY: it writes every value of the output.
        unsafe { fill_shared(out, conv.len(), |out| winograd::conv(&conv, out)) };
    } else {
        direct::conv(&conv, out);
    }
}

/// Doubles height and width as [`resize_nearest`](crate::resize_nearest()) does and convolves the result as [`conv2d`] does
/// with [`ConvShape::same3x3`], in one.
///
/// Where `x` is large it is never doubled: of the nine pixels under a kernel only four differ, so that sums of weights meet
/// each of these once. That is Winograd's F(4x4, 2x2), 25 products for every 16 pixels of the output, where F(4x4, 3x3) has
/// 36.
///
/// `out [batch, outputs, 2 · height, 2 · width]` is overwritten; its capacity is used again.
///
/// # Panics
/// As [`conv2d`].
pub fn conv2d_doubled<'w>(
    x: Planes<'_>,
    weights: impl Into<LayerWeights<'w>>,
    outputs: usize,
    epilogue: Epilogue<'_>,
    out: &mut Vec<f32>,
) {
    let shape = ConvShape::same3x3(outputs);
    let size = [2 * x.height(), 2 * x.width()];
    let conv = Conv::new(x, weights.into(), shape, size, epilogue);
    let narrow = matches!(conv.weights, LayerWeights::Int8(_));
    if !narrow && conv.has_many_channels() && winograd::pays_doubled(&conv) {
        // SAFETY: it writes every value of the output.
        return unsafe { fill_shared(out, conv.len(), |out| winograd::doubled(&conv, out)) };
    }
    let mut pixels = Scratch::take(x.batch() * x.channels() * conv.area());
    if !pixels.is_empty() {
        resample::resize_nearest_to(x, size, &mut pixels);
    }
    let x = Planes::new(&pixels, [x.batch(), x.channels(), size[0], size[1]]);
    conv2d(x, conv.weights, shape, epilogue, out);
}

/// A checked convolution.
struct Conv<'a> {
    x: Planes<'a>,
    weights: LayerWeights<'a>,
    shape: ConvShape,
    /// Rows of the output.
    height: usize,
    /// Pixels per row of the output.
    width: usize,
    epilogue: Epilogue<'a>,
}

impl<'a> Conv<'a> {
    fn new(
        x: Planes<'a>,
        weights: LayerWeights<'a>,
        shape: ConvShape,
        [height, width]: [usize; 2],
        epilogue: Epilogue<'a>,
    ) -> Self {
        let ConvShape { outputs, kernel, .. } = shape;
        weights.wide(kernel).check(outputs, x.channels() * kernel[0] * kernel[1], &shape);
        let conv = Self { x, weights, shape, height, width, epilogue };
        let Epilogue { bias, shift, residual, .. } = epilogue;
        let batch = x.batch();
        assert!(bias.is_none_or(|bias| bias.len() == outputs), "bias is [{outputs}]");
        assert!(shift.is_none_or(|shift| shift.len() == batch * outputs), "shift is [{batch}, {outputs}]");
        let residual = residual.is_none_or(|residual| residual.len() == conv.len());
        assert!(residual, "residual is [{batch}, {outputs}, {height}, {width}]");
        conv
    }

    /// Values of the output.
    fn len(&self) -> usize {
        self.x.batch() * self.shape.outputs * self.area()
    }

    /// True if there are channels enough for vectors of them. For a few colours it takes a large image to make up for the
    /// sixteen outputs that Winograd computes at least.
    fn has_many_channels(&self) -> bool {
        self.x.channels() >= 16 && (self.shape.outputs >= 16 || self.area() >= LARGE_IMAGE)
    }

    /// Pixels of an output plane.
    fn area(&self) -> usize {
        self.height * self.width
    }

    /// Products per value of the output.
    fn depth(&self) -> usize {
        self.x.channels() * self.shape.kernel[0] * self.shape.kernel[1]
    }

    /// The first value of an output plane.
    fn plane(&self, image: usize, channel: usize) -> usize {
        (image * self.shape.outputs + channel) * self.area()
    }

    /// The number that the epilogue adds to every pixel of an output plane.
    fn summand(&self, image: usize, channel: usize) -> f32 {
        let Epilogue { bias, shift, .. } = self.epilogue;
        bias.map_or(0.0, |bias| bias[channel])
            + shift.map_or(0.0, |shift| shift[image * self.shape.outputs + channel])
    }

    /// Computes the pixels of the output from value `at` on: `sums` plus `summand` and the residual, after the activation.
    #[inline(always)] // as `map` is
    fn finish<'to>(&self, sums: InOut<'_, 'to>, at: usize, summand: f32) -> &'to mut [f32] {
        let Epilogue { residual, activation, .. } = self.epilogue;
        map(sums, Finish { summand, residual: residual.map(|residual| &residual[at..]), activation })
    }

    /// True if the epilogue has more to do than to add a number per plane.
    fn has_finish(&self) -> bool {
        self.epilogue.residual.is_some() || self.epilogue.activation != Activation::Identity
    }
}

/// `activation(x + summand + residual)`.
#[derive(Clone, Copy)]
struct Finish<'a> {
    summand: f32,
    residual: Option<&'a [f32]>,
    activation: Activation,
}

impl Map for Finish<'_> {
    #[inline(always)]
    fn map<S: Simd>(self, simd: S, x: S::V, index: usize, count: usize) -> S::V {
        let mut x = simd.add(x, simd.splat(self.summand));
        if let Some(residual) = self.residual {
            x = simd.add(x, load(simd, &residual[index..index + count]));
        }
        self.activation.apply(simd, x)
    }
}
