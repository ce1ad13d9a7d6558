//! The elements of a tensor, from the bytes of a file, whatever type they are stored in.

use std::{borrow::Cow, io, ops::Range};

use half::{bf16, f16};

use crate::{
    error::Error,
    file::Bytes,
    host::{Dtype, HostData},
};

/// Bytes of one element; `None` for types that are not read one by one.
pub(crate) fn width(dtype: Dtype) -> Option<usize> {
    Some(match dtype {
        Dtype::F64 | Dtype::Integer("I64" | "U64") => 8,
        Dtype::F32 | Dtype::Integer("I32" | "U32") => 4,
        Dtype::F16 | Dtype::BF16 | Dtype::Integer("I16" | "U16") => 2,
        Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::Integer("I8" | "U8") => 1,
        _ => return None,
    })
}

/// Reads the elements in a range of a file: floats of 16 and 32 bits as they are, eight bits as the half precision that holds
/// them exactly, and other numbers in single precision, rounded to nearest.
///
/// # Errors
/// [`Error::Unsupported`] for a type that is no number, and [`Error::Io`]; both call the tensor what `origin` says.
pub(crate) fn read<'a>(
    bytes: &'a Bytes,
    range: Range<u64>,
    dtype: Dtype,
    origin: impl Fn() -> String,
) -> Result<HostData<'a>, Error> {
    let data = match dtype {
        Dtype::F32 => bytes.read(range, f32::from_le_bytes).map(HostData::F32),
        Dtype::F16 => bytes.read(range, f16::from_le_bytes).map(HostData::F16),
        Dtype::BF16 => bytes.read(range, bf16::from_le_bytes).map(HostData::BF16),
        Dtype::F64 => single(bytes, range, f64::from_le_bytes, |x| x as f32),
        Dtype::F8E4M3 => half(bytes, range, f16_of_e4m3),
        Dtype::F8E5M2 => half(bytes, range, f16_of_e5m2),
        Dtype::Integer("I64") => single(bytes, range, i64::from_le_bytes, |x| x as f32),
        Dtype::Integer("I32") => single(bytes, range, i32::from_le_bytes, |x| x as f32),
        Dtype::Integer("I16") => single(bytes, range, i16::from_le_bytes, f32::from),
        Dtype::Integer("I8") => single(bytes, range, i8::from_le_bytes, f32::from),
        Dtype::Integer("U64") => single(bytes, range, u64::from_le_bytes, |x| x as f32),
        Dtype::Integer("U32") => single(bytes, range, u32::from_le_bytes, |x| x as f32),
        Dtype::Integer("U16") => single(bytes, range, u16::from_le_bytes, f32::from),
        Dtype::Integer("U8") => single(bytes, range, u8::from_le_bytes, f32::from),
        other => {
            return Err(Error::Unsupported {
                origin: origin(),
                found: format!("element type {other}"),
                instead: "convert the file's weights to F32, F16 or BF16".to_string(),
            });
        }
    };
    data.map_err(|source| Error::Io { origin: origin(), source })
}

fn single<'a, const N: usize, T: bytemuck::Pod>(
    bytes: &Bytes,
    range: Range<u64>,
    from_le_bytes: fn([u8; N]) -> T,
    convert: fn(T) -> f32,
) -> io::Result<HostData<'a>> {
    let elements = bytes.read(range, from_le_bytes)?;
    Ok(HostData::F32(Cow::Owned(elements.iter().map(|&x| convert(x)).collect())))
}

fn half<'a>(bytes: &Bytes, range: Range<u64>, convert: fn(u8) -> f16) -> io::Result<HostData<'a>> {
    let table: Vec<f16> = (0..=u8::MAX).map(convert).collect();
    let elements = bytes.read(range, u8::from_le_bytes)?;
    Ok(HostData::F16(Cow::Owned(elements.iter().map(|&x| table[usize::from(x)]).collect())))
}

/// A number with 4 bits of exponent (bias 7) and 3 of mantissa; all ones are not a number (arXiv:2209.05433, table 1).
fn f16_of_e4m3(byte: u8) -> f16 {
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let (exponent, mantissa) = (i32::from(byte >> 3 & 0xf), f32::from(byte & 7));
    let size = match (exponent, byte & 7) {
        (0xf, 7) => f32::NAN,
        (0, _) => mantissa / 8.0 * 2_f32.powi(-6),
        _ => (1.0 + mantissa / 8.0) * 2_f32.powi(exponent - 7),
    };
    f16::from_f32(sign * size)
}

/// A half precision number without the lower byte of its mantissa.
fn f16_of_e5m2(byte: u8) -> f16 {
    f16::from_bits(u16::from(byte) << 8)
}
