//! Tensors in host memory, as weight files hold them.

use std::borrow::Cow;

use half::{bf16, f16, slice::HalfFloatSliceExt};

/// Element type of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an [`F32`](Self::F32).
    BF16,
    /// IEEE 754 double precision; read as [`F32`](Self::F32), rounded to nearest.
    F64,
    /// 8 bits with a sign, 4 of an exponent and 3 of a mantissa, without infinities (`torch.float8_e4m3fn`); read as
    /// [`F16`](Self::F16), which holds each of its values.
    F8E4M3,
    /// The upper half of an [`F16`](Self::F16) (`torch.float8_e5m2`), and read as one.
    F8E5M2,
    /// Integers (`position_ids` are I64), by their name. They are no weights; a number that stands in one, such as a LoRA's
    /// alpha, is read as [`F32`](Self::F32), rounded to nearest.
    Integer(&'static str),
    /// Blocks of integers with scales, by ggml's name for them, such as Q4_K; read as [`F32`](Self::F32).
    Blocks(&'static str),
    /// Anything else a file may hold: known by name, never read.
    Other(&'static str),
}

impl Dtype {
    /// True for what weights may be stored in: every kind of number but integers.
    #[must_use]
    pub fn is_weight(self) -> bool {
        !matches!(self, Self::Integer(_) | Self::Other(_))
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F64 => "F64",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::Integer(name) | Self::Blocks(name) | Self::Other(name) => name,
        })
    }
}

/// A tensor's type and shape, known without reading its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: Dtype,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

/// A float tensor in row-major order, borrowed from a mapped file where that is possible.
#[derive(Debug, Clone)]
pub struct HostTensor<'a> {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The elements, as many as the extents multiply to.
    pub data: HostData<'a>,
}

/// The elements of a [`HostTensor`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum HostData<'a> {
    /// Single precision.
    F32(Cow<'a, [f32]>),
    /// Half precision.
    F16(Cow<'a, [f16]>),
    /// bfloat16.
    BF16(Cow<'a, [bf16]>),
}

impl<'a> HostTensor<'a> {
    /// A tensor that owns single-precision elements.
    ///
    /// # Panics
    /// If the number of elements is not the product of the extents.
    #[must_use]
    pub fn from_f32(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> HostTensor<'static> {
        let shape = shape.into();
        assert_eq!(shape.iter().product::<usize>(), data.len(), "elements of a {shape:?} tensor");
        HostTensor { shape, data: HostData::F32(Cow::Owned(data)) }
    }

    /// The same tensor, borrowed: what a source that holds tensors in memory hands out.
    #[must_use]
    pub fn view(&self) -> HostTensor<'_> {
        let data = match &self.data {
            HostData::F32(x) => HostData::F32(Cow::Borrowed(x)),
            HostData::F16(x) => HostData::F16(Cow::Borrowed(x)),
            HostData::BF16(x) => HostData::BF16(Cow::Borrowed(x)),
        };
        HostTensor { shape: self.shape.clone(), data }
    }

    /// The same tensor, no longer borrowing from where it was read.
    #[must_use]
    pub fn into_owned(self) -> HostTensor<'static> {
        let data = match self.data {
            HostData::F32(x) => HostData::F32(Cow::Owned(x.into_owned())),
            HostData::F16(x) => HostData::F16(Cow::Owned(x.into_owned())),
            HostData::BF16(x) => HostData::BF16(Cow::Owned(x.into_owned())),
        };
        HostTensor { shape: self.shape, data }
    }

    /// Type and shape.
    #[must_use]
    pub fn info(&self) -> TensorInfo {
        TensorInfo { dtype: self.dtype(), shape: self.shape.clone() }
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        match self.data {
            HostData::F32(_) => Dtype::F32,
            HostData::F16(_) => Dtype::F16,
            HostData::BF16(_) => Dtype::BF16,
        }
    }

    /// The elements in single precision; free for a tensor that is stored so.
    #[must_use]
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        match &self.data {
            HostData::F32(x) => Cow::Borrowed(x),
            HostData::F16(x) => Cow::Owned(x.iter().map(|x| x.to_f32()).collect()),
            HostData::BF16(x) => Cow::Owned(x.iter().map(|x| x.to_f32()).collect()),
        }
    }
}

impl HostData<'_> {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::F16(x) => x.len(),
            Self::BF16(x) => x.len(),
        }
    }

    /// Writes the elements from `start` on in single precision, as many as `to` holds.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn read_f32(&self, start: usize, to: &mut [f32]) {
        let range = start..start + to.len();
        match self {
            Self::F32(x) => to.copy_from_slice(&x[range]),
            Self::F16(x) => x[range].convert_to_f32_slice(to),
            Self::BF16(x) => x[range].convert_to_f32_slice(to),
        }
    }

    /// True where there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
