//! Weights in the type and the order they are stored in.

#![expect(unsafe_code, reason = "half precision is loaded through pointers")]

use half::{bf16, f16};

use crate::{
    panel::PANEL,
    simd::{Kernel, Simd, dispatch},
};

/// Weights as stored. Half precision is widened to f32 as the weights are read; arithmetic is always f32.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// IEEE half precision.
    F16(&'a [f16]),
    /// The upper halves of 32-bit floats.
    BF16(&'a [bf16]),
}

impl Weights<'_> {
    /// The number of weights.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::BF16(values) => values.len(),
        }
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address that weight `index` would have in a slice long enough, and the bytes it takes.
    pub(crate) fn address(&self, index: usize) -> (*const u8, usize) {
        match self {
            Self::F32(values) => (values.as_ptr().wrapping_add(index).cast(), size_of::<f32>()),
            Self::F16(values) => (values.as_ptr().wrapping_add(index).cast(), size_of::<f16>()),
            Self::BF16(values) => (values.as_ptr().wrapping_add(index).cast(), size_of::<bf16>()),
        }
    }

    /// The weights from `start` on as f32, as many as `buffer` holds: in place if they are f32, else in `buffer`.
    #[inline]
    pub(crate) fn read<'b>(&'b self, start: usize, buffer: &'b mut [f32]) -> &'b [f32] {
        let range = start..start + buffer.len();
        match self {
            Self::F32(values) => return &values[range],
            Self::F16(values) => dispatch(Widen { values: &values[range], buffer }),
            Self::BF16(values) => dispatch(Widen { values: &values[range], buffer }),
        }
        buffer
    }
}

/// A type that weights are stored in.
pub(crate) trait Stored: Copy + Into<f32> {
    /// The first `LANES` of `values` as f32.
    fn load<S: Simd>(simd: S, values: &[Self]) -> S::V;
}

impl Stored for f32 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, values: &[Self]) -> S::V {
        simd.read(values)
    }
}

impl Stored for f16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, values: &[Self]) -> S::V {
        assert!(values.len() >= S::LANES, "kernel bug: fewer values than lanes");
        // SAFETY: there are as many.
        unsafe { simd.load_f16(values.as_ptr()) }
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, values: &[Self]) -> S::V {
        assert!(values.len() >= S::LANES, "kernel bug: fewer values than lanes");
        // SAFETY: there are as many.
        unsafe { simd.load_bf16(values.as_ptr()) }
    }
}

/// Writes `values` to `buffer`, which has the same length.
struct Widen<'a, T> {
    values: &'a [T],
    buffer: &'a mut [f32],
}

impl<T: Stored> Kernel for Widen<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let whole = self.values.len() / S::LANES * S::LANES;
        let (values, rest) = self.values.split_at(whole);
        let (buffer, buffer_rest) = self.buffer.split_at_mut(whole);
        for (values, to) in values.chunks_exact(S::LANES).zip(buffer.chunks_exact_mut(S::LANES)) {
            simd.write(to, T::load(simd, values));
        }
        for (&value, to) in rest.iter().zip(buffer_rest) {
            *to = value.into();
        }
    }
}

impl<'a> From<&'a [f32]> for Weights<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::F32(values)
    }
}

impl<'a> From<&'a [f16]> for Weights<'a> {
    fn from(values: &'a [f16]) -> Self {
        Self::F16(values)
    }
}

impl<'a> From<&'a [bf16]> for Weights<'a> {
    fn from(values: &'a [bf16]) -> Self {
        Self::BF16(values)
    }
}

/// The weights of a layer, in an order, and the numbers that it multiplies.
///
/// In panels they are read from one end to the other, without the copies that the plain order takes to be fast: it pays
/// to store them so if they are used more than once.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum LayerWeights<'a> {
    /// `[inputs, outputs]` of [`linear`](crate::linear()), `[outputs, inputs, height, width]` of [`conv2d`](crate::conv2d()).
    Plain(Weights<'a>),
    /// A panel for every 16 outputs ([`PANEL`]), of which the number is a multiple, with one row per input of a linear
    /// layer, or per input, row and column of a kernel: `[outputs / 16, inputs, 16]` and
    /// `[outputs / 16, inputs, height, width, 16]`.
    Panels(Weights<'a>),
    /// As [`Panels`](Self::Panels) for linear layers and 3x3 convolutions and as [`Plain`](Self::Plain) for others, to be
    /// multiplied in bf16: inputs are rounded to bf16 as well, and their products summed in f32. Pays where
    /// [`has_bf16_products`](crate::has_bf16_products) says so. What has no such products is computed in f32.
    Bf16(&'a [bf16]),
    /// In int8, as [`int8_panels`](crate::int8_panels) and, for convolutions, [`int8_rows`](crate::int8_rows) make them.
    /// Inputs are rounded to 8 bits as well, those of a row of a linear layer, or of an image of a convolution, with a scale
    /// of their own; sums are exact.
    Int8(&'a [u32]),
}

impl<'a> LayerWeights<'a> {
    /// Those that are floats, whatever their order.
    pub(crate) fn values(self) -> Weights<'a> {
        match self {
            Self::Plain(values) | Self::Panels(values) => values,
            Self::Bf16(values) => Weights::BF16(values),
            Self::Int8(_) => unreachable!("kernel bug: int8 weights are no floats"),
        }
    }

    /// The same weights of a convolution for products of f32.
    pub(crate) fn wide(self, kernel: [usize; 2]) -> Self {
        match self {
            Self::Bf16(values) if kernel == [3, 3] => Self::Panels(Weights::BF16(values)),
            Self::Bf16(values) => Self::Plain(Weights::BF16(values)),
            other => other,
        }
    }

    /// Checks that there are `outputs` times `depth` of them, and that panels are whole. Those in int8 are checked by whoever
    /// knows their order.
    pub(crate) fn check(self, outputs: usize, depth: usize, shape: &impl std::fmt::Debug) {
        if matches!(self, Self::Int8(_)) {
            return;
        }
        assert_eq!(self.values().len(), outputs * depth, "weights are {outputs} times {depth} of {shape:?}");
        let whole = matches!(self, Self::Plain(_)) || outputs.is_multiple_of(PANEL);
        assert!(whole, "{outputs} outputs of {shape:?} are no panels of {PANEL}");
    }
}

impl<'a, W: Into<Weights<'a>>> From<W> for LayerWeights<'a> {
    fn from(weights: W) -> Self {
        Self::Plain(weights.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pattern of 16 bits, from any place on and whatever the vectors leave over.
    #[test]
    fn half_precision_is_widened_exactly() {
        let f16s: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let bf16s: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        let same = |wide: f32, half: f64| wide.is_nan() && half.is_nan() || f64::from(wide) == half;
        for start in 0..17 {
            let mut buffer = vec![0.0; f16s.len() - start];
            Weights::F16(&f16s).read(start, &mut buffer);
            assert!(buffer.iter().zip(&f16s[start..]).all(|(&wide, half)| same(wide, half.to_f64())));
            Weights::BF16(&bf16s).read(start, &mut buffer);
            assert!(buffer.iter().zip(&bf16s[start..]).all(|(&wide, half)| same(wide, half.to_f64())));
        }
    }
}
