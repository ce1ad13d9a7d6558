//! Bytes to floats and back, as diffusers' `VaeImageProcessor` does it.

use super::{CHANNELS, Image};
use crate::{
    error::{Error, ImageError},
    host::HostTensor,
};

/// The floats that the bytes 0 to 255 stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelRange {
    /// -1 to 1: what a VAE encodes.
    Signed,
    /// 0 to 1: what a ControlNet looks at.
    Unit,
}

impl Image {
    /// The pixels as an f32 tensor `[1, 3, H, W]`.
    #[must_use]
    pub fn to_tensor(&self, range: PixelRange) -> HostTensor<'static> {
        let float = |byte: u8| {
            let x = f32::from(byte) / 255.0;
            match range {
                PixelRange::Signed => 2.0 * x - 1.0,
                PixelRange::Unit => x,
            }
        };
        let (pixels, _) = self.rgb8.as_chunks::<CHANNELS>();
        let data = (0..CHANNELS).flat_map(|c| pixels.iter().map(move |pixel| float(pixel[c]))).collect();
        HostTensor::from_f32([1, CHANNELS, self.height, self.width], data)
    }

    /// The pictures in a decoder's output `[B, 3, H, W]`, -1 black and 1 white: values beyond are cut off, the rest
    /// rounded to the nearest byte, halves to even. Half precision is widened first.
    ///
    /// # Errors
    /// [`Error::Argument`] for another shape, for sides that no image can have, and for values that are not finite.
    pub fn from_tensor(tensor: &HostTensor<'_>) -> Result<Vec<Self>, ImageError> {
        let x = tensor.to_f32();
        let &[_, CHANNELS, height, width] = tensor.shape.as_slice() else {
            return Err(wrong("a shape [B, 3, H, W]", format!("{:?}", tensor.shape)));
        };
        super::check_size(width, height)?;
        if tensor.shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) != Some(x.len()) {
            return Err(wrong(
                "as many elements as its shape says",
                format!("{} of {:?}", x.len(), tensor.shape),
            ));
        }
        let overflows = x.iter().filter(|x| !x.is_finite()).count();
        if overflows > 0 {
            let found = format!(
                "{overflows} of {} that are not: the decoder overflowed, as some do in half precision; \
                 decode in f32",
                x.len()
            );
            return Err(wrong("finite pixels", found));
        }
        let plane = width * height;
        let image = |x: &[f32]| {
            let rgb8 = (0..plane).flat_map(|i| [x[i], x[plane + i], x[2 * plane + i]].map(byte)).collect();
            Self { width, height, rgb8 }
        };
        Ok(x.chunks_exact(CHANNELS * plane).map(image).collect())
    }
}

fn byte(x: f32) -> u8 {
    ((x * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8
}

fn wrong(expected: &str, found: String) -> ImageError {
    ImageError(Error::Argument { argument: "image tensor", expected: expected.into(), found })
}
