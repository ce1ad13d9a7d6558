//! From a control image to the pixels that a network takes.

use burn::tensor::{DType, Device, Tensor, TensorData};
use hypersd_core::{Image, ImageError, PixelRange};

use crate::argument;

/// The size that a picture has when only its control image is given: the image's, each side rounded down to a
/// multiple of the VAE's `factor`, 8 for Stable Diffusion. Width, then height.
///
/// # Errors
/// [`ImageError`] for an image with a side below the factor.
///
/// # Panics
/// If the factor is 0.
pub fn control_size(image: &Image, factor: usize) -> Result<[usize; 2], ImageError> {
    let size = [image.width(), image.height()].map(|side| side - side % factor);
    if size.contains(&0) {
        let found = format!("{}x{}", image.width(), image.height());
        return Err(argument("control image", format!("sides of at least {factor}"), found).into());
    }
    Ok(size)
}

/// A control image for [`ControlNet::hint`](crate::ControlNet::hint), resized as diffusers does it (Pillow's Lanczos) to
/// the width and height in pixels of the picture to be made: `[1, 3, height, width]`, RGB in [0, 1].
///
/// # Errors
/// [`ImageError`] for sides that an image cannot have.
pub fn control_pixels(
    image: &Image,
    [width, height]: [usize; 2],
    device: &Device,
) -> Result<Tensor<4>, ImageError> {
    let pixels = image.resize(width, height)?.to_tensor(PixelRange::Unit);
    let data = TensorData::new(pixels.to_f32().into_owned(), pixels.shape.clone());
    Ok(Tensor::from_data(data, (device, DType::F32)))
}
