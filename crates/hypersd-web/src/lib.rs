#![doc = include_str!("../README.md")]

mod blob;
mod denoising;
mod error;
mod files;
mod object;
mod open;
mod picture;
mod pipeline;
mod request;

pub use denoising::{Denoising, Step};
pub use files::Files;
pub use picture::Picture;
pub use pipeline::Pipeline;

use wasm_bindgen::prelude::wasm_bindgen;

/// What the generated types cannot say: the objects that are given and returned.
#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.ts");

/// The edges of a picture, white on black, as ControlNets for Canny want them: OpenCV's, to the bit.
///
/// # Errors
/// A JavaScript `Error` for what is no picture, and for thresholds that are no numbers.
#[wasm_bindgen(js_name = edges)]
pub fn edges(
    #[wasm_bindgen(unchecked_param_type = "PictureLike")] picture: &wasm_bindgen::JsValue,
    low: f64,
    high: f64,
) -> Result<Picture, js_sys::Error> {
    let canny = hypersd::Canny { low, high, ..hypersd::Canny::default() };
    let image = picture::image_of("picture", picture)?;
    Ok(Picture::of(canny.edges(&image).map_err(error::js)?))
}

/// The instructions that the kernels compute with: `Simd128` or `RelaxedSimd`; `Portable` without SIMD.
#[must_use]
#[wasm_bindgen(js_name = instructionSet)]
pub fn instruction_set() -> String {
    format!("{:?}", hypersd_kernels::instruction_set())
}
