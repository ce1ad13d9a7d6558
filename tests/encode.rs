//! Pictures become the latents that diffusers makes of them (`reference/encode.py`), and those become the pictures again
//! that the VAE makes of its own latents.

use hypersd::{Device, Error, Image, Pipeline};
use hypersd_testing::{assert_close, fixture, fixtures, weights};

/// Two f32 computations through some twenty layers; 1e-6 is seen.
const F32: f64 = 2e-5;

fn photo(width: usize, height: usize) -> Image {
    let photo = Image::open(fixtures("").join("control/photo.png")).expect("a picture");
    photo.resize(width, height).expect("a size")
}

fn pipeline(model: &str, vae: Option<&str>, low_memory: bool) -> Pipeline {
    let mut builder = Pipeline::open(weights("").join(model)).expect("the model");
    if let Some(vae) = vae {
        builder = builder.vae(weights("").join(vae)).expect("the VAE");
    }
    if low_memory {
        builder = builder.low_memory();
    }
    builder.load(&Device::flex()).expect("the pipeline")
}

#[test]
fn latents_are_diffusers() {
    let want = fixture(fixtures("").join("encode/latents.safetensors"));
    for (model, vae) in [("tiny-sd15", None), ("tiny-sdxl", None), ("tiny-sd15", Some("tiny-taesd"))] {
        let name = vae.unwrap_or(model);
        for low_memory in [false, true] {
            let pipeline = pipeline(model, vae, low_memory);
            let x = pipeline.encode(&[photo(96, 64)]).expect("latents");
            assert_close(name, x.clone(), &want[name], F32);
            let [image] = pipeline.decode(x).expect("pixels").try_into().expect("one picture");
            assert_eq!((image.width(), image.height()), (96, 64));
        }
    }
}

#[test]
fn a_batch_is_its_pictures() {
    let pipeline = pipeline("tiny-sd15", None, false);
    let pictures = [photo(64, 64), Image::from_rgb8(64, 64, vec![200; 3 * 64 * 64]).expect("a picture")];
    let both = pipeline.encode(&pictures).expect("latents");
    for (i, picture) in pictures.into_iter().enumerate() {
        let alone = pipeline.encode(&[picture]).expect("latents");
        assert_eq!(both.clone().narrow(0, i, 1).into_data(), alone.into_data());
    }
}

#[test]
fn what_has_no_latents_is_refused() {
    let pipeline = pipeline("tiny-sd15", None, false);
    let refused = |images: &[Image]| pipeline.encode(images).expect_err("no latents");
    assert!(matches!(refused(&[]), Error::Request { option: "images", .. }));
    let error = refused(&[photo(64, 64), photo(64, 72)]).to_string();
    assert!(error.contains("64x64") && error.contains("64x72"), "{error}");
    assert!(matches!(refused(&[photo(7, 64)]), Error::Model(_)));
}
