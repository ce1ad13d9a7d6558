//! Weights in the type and the order they are stored in.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use crate::gemm::PANEL;

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

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where weight `index` would be, in a slice long enough, and the bytes it takes.
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
            Self::F16(values) => values[range].convert_to_f32_slice(buffer),
            Self::BF16(values) => values[range].convert_to_f32_slice(buffer),
        }
        buffer
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

/// The weights of a layer, in one of two orders.
///
/// In panels they are read from one end to the other, without the copies that the plain order takes to be fast: it pays
/// to store them so if they are used more than once.
#[derive(Debug, Clone, Copy)]
pub enum LayerWeights<'a> {
    /// `[inputs, outputs]` of [`linear`](crate::linear()), `[outputs, inputs, height, width]` of [`conv2d`](crate::conv2d()).
    Plain(Weights<'a>),
    /// For every 16 outputs ([`PANEL`](crate::PANEL)), of which the number is a multiple, one row per input of a linear
    /// layer, or per input, row and column of a kernel: `[outputs / 16, inputs, 16]` and
    /// `[outputs / 16, inputs, height, width, 16]`.
    Panels(Weights<'a>),
}

impl<'a> LayerWeights<'a> {
    /// The weights, whatever their order.
    pub(crate) fn values(self) -> Weights<'a> {
        match self {
            Self::Plain(values) | Self::Panels(values) => values,
        }
    }

    /// Checks that there are `outputs` times `depth` of them, and that panels are whole.
    pub(crate) fn check(self, outputs: usize, depth: usize, shape: &impl std::fmt::Debug) {
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
