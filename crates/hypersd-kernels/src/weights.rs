//! Weights in the type they are stored in.

use half::{bf16, f16, slice::HalfFloatSliceExt};

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
