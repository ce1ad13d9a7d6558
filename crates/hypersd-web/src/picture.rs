//! Pictures, to and from JavaScript.

use hypersd::{Image, Provenance};
use js_sys::{Error, Reflect, Uint8Array, Uint8ClampedArray};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};

use crate::error::{argument, js};

/// A picture that was drawn, or one of edges.
#[wasm_bindgen]
#[derive(Debug, Clone)]
pub struct Picture {
    image: Image,
    provenance: Option<Provenance>,
}

#[wasm_bindgen]
impl Picture {
    /// Pixels in a row.
    #[must_use]
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> usize {
        self.image.width()
    }

    /// Rows.
    #[must_use]
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> usize {
        self.image.height()
    }

    /// The pixels for an `ImageData`: row by row, `[R, G, B, 255]` each.
    #[must_use]
    pub fn rgba(&self) -> wasm_bindgen::Clamped<Vec<u8>> {
        let pixels = self.image.rgb8().as_chunks::<3>().0;
        wasm_bindgen::Clamped(pixels.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect())
    }

    /// The bytes of a PNG file. One that was drawn says what it was made with, for AUTOMATIC1111's readers and for hypersd's.
    ///
    /// # Errors
    /// A JavaScript `Error` for text that PNG cannot hold.
    pub fn png(&self) -> Result<Vec<u8>, Error> {
        let chunks = self.provenance.as_ref().map(Provenance::text_chunks).unwrap_or_default();
        self.image.encode(&chunks).map_err(js)
    }
}

impl Picture {
    pub(crate) fn of(image: Image) -> Self {
        Self { image, provenance: None }
    }

    /// The same with what it was made with.
    pub(crate) fn drawn(image: Image, provenance: Provenance) -> Self {
        Self { image, provenance: Some(provenance) }
    }
}

/// The picture that `name` is: a `Uint8Array` with a PNG or JPEG file, or what has `width`, `height` and `data` of RGBA, as an
/// `ImageData`. Alpha is dropped.
pub(crate) fn image_of(name: &str, value: &JsValue) -> Result<Image, Error> {
    if let Some(file) = value.dyn_ref::<Uint8Array>() {
        return Image::from_bytes(file.to_vec()).map_err(js);
    }
    let expected = "an ImageData, or a Uint8Array with a PNG or JPEG file";
    let member = |key: &str| Reflect::get(value, &key.into()).ok();
    let side = |key| member(key)?.as_f64().filter(|side| side.fract() == 0.0 && *side > 0.0);
    let (Some(width), Some(height), Some(data)) = (side("width"), side("height"), member("data")) else {
        return Err(argument(name, expected, "another value"));
    };
    let data = match (data.dyn_ref::<Uint8ClampedArray>(), data.dyn_ref::<Uint8Array>()) {
        (Some(data), _) => data.to_vec(),
        (_, Some(data)) => data.to_vec(),
        _ => return Err(argument(name, expected, "data of another type")),
    };
    let (pixels, rest) = data.as_chunks::<4>();
    if !rest.is_empty() || pixels.len() as f64 != width * height {
        let expected = format!("4·{width}·{height} bytes of RGBA");
        return Err(argument(name, &expected, data.len()));
    }
    let rgb8 = pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
    Image::from_rgb8(width as usize, height as usize, rgb8).map_err(js)
}
