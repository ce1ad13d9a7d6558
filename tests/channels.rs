//! UNets that want more than a request has, or other latents than the VAE's, are refused by name before anything heavy.

use std::{fs, path::Path};

use hypersd::{Device, Error, Pipeline, PipelineBuilder, Request};
use hypersd_testing::{copy, weights};
use serde_json::Value;

/// A tiny model with other numbers in its UNet's configuration. Its weights are not touched: nothing gets that far.
fn model(folder: &Path, own: &str, changes: &[(&str, usize)]) {
    copy(&weights("").join(own), folder);
    set(&folder.join("unet/config.json"), changes);
}

fn set(config: &Path, changes: &[(&str, usize)]) {
    let mut fields: Value = serde_json::from_str(&fs::read_to_string(config).expect("a file")).expect("JSON");
    for (field, value) in changes {
        fields[*field] = (*value).into();
    }
    fs::write(config, fields.to_string()).expect("a file");
}

/// What checking a request says.
fn refusal_of_request(changes: &[(&str, usize)]) -> Error {
    let folder = tempfile::tempdir().expect("a temporary folder");
    model(folder.path(), "tiny-sd15", changes);
    let builder = Pipeline::open(folder.path()).expect("a model");
    builder.check(&Request::default()).expect_err("nothing draws with it")
}

/// What checking a request and loading the model say, which is the same.
fn refusal(changes: &[(&str, usize)]) -> Error {
    refusal_of("tiny-sd15", changes)
}

fn refusal_of(own: &str, changes: &[(&str, usize)]) -> Error {
    let folder = tempfile::tempdir().expect("a temporary folder");
    model(folder.path(), own, changes);
    refusal_by(Pipeline::open(folder.path()).expect("a model"))
}

fn refusal_by(builder: PipelineBuilder) -> Error {
    let checked = builder.check(&Request::default()).expect_err("nothing draws with it");
    let loaded = builder.load(&Device::flex()).expect_err("nothing draws with it");
    assert_eq!(checked.to_string(), loaded.to_string());
    checked
}

#[test]
fn a_unet_that_paints_or_changes_pictures_says_so() {
    for (channels, is, wants) in
        [(9, "inpainting", "a mask and a picture"), (8, "Pix2Pix", "a picture to change")]
    {
        let error = refusal_of_request(&[("in_channels", channels)]);
        let Error::FurtherInput { found, expected } = &error else { panic!("{error}") };
        assert!(found.contains(is) && expected.contains(wants), "{error}");
    }
}

#[test]
fn a_unet_of_other_latents_than_the_vae_does_not_fit() {
    for changes in [vec![("in_channels", 16), ("out_channels", 16)], vec![("in_channels", 7)]] {
        let error = refusal(&changes);
        assert!(matches!(error, Error::Misfit { network: "UNet", .. }), "{error}");
        assert!(error.to_string().contains('4'), "{error}");
    }
}

#[test]
fn a_unet_of_another_family_is_refused_when_it_is_given() {
    let builder = Pipeline::open(weights("").join("tiny-sd15")).expect("the model");
    let error = builder.unet(weights("").join("tiny-sdxl/unet")).expect_err("another family").to_string();
    assert!(error.contains("Stable Diffusion XL") && error.contains("Stable Diffusion 1.x"), "{error}");
}

#[test]
fn a_unet_that_reads_other_states_than_the_encoders_make_does_not_fit() {
    let error = refusal(&[("cross_attention_dim", 768)]);
    assert!(matches!(error, Error::Misfit { network: "UNet", .. }), "{error}");
    assert!(error.to_string().contains("768") && error.to_string().contains("64"), "{error}");
}

#[test]
fn a_unet_with_no_room_for_the_pooled_prompt_and_six_numbers_does_not_fit() {
    let error = refusal_of("tiny-sdxl", &[("projection_class_embeddings_input_dim", 80)]);
    assert!(matches!(error, Error::Misfit { network: "UNet", .. }), "{error}");
    assert!(error.to_string().contains("add_embedding that reads 80 features"), "{error}");
    assert!(error.to_string().contains("6 numbers make"), "{error}");
}

#[test]
fn a_controlnet_of_other_latents_or_of_another_scale_does_not_fit() {
    let own = weights("").join("tiny-controlnet-sd15");
    let with = |change: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&own, folder.path());
        change(&folder.path().join("config.json"));
        let model = Pipeline::open(weights("").join("tiny-sd15")).expect("the model");
        refusal_by(model.controlnet(folder.path()).expect("a ControlNet"))
    };
    let error = with(&|config| set(config, &[("in_channels", 16)]));
    assert!(error.to_string().contains("latent channels is 16, the UNet's 4"), "{error}");
    let error = with(&|config| {
        let text = fs::read_to_string(config).expect("a file");
        let mut fields: Value = serde_json::from_str(&text).expect("JSON");
        fields["conditioning_embedding_out_channels"] = vec![16, 32, 96].into();
        fs::write(config, fields.to_string()).expect("a file");
    });
    assert!(matches!(error, Error::Misfit { network: "ControlNet", .. }), "{error}");
    assert!(error.to_string().contains("4 pixels") && error.to_string().contains("expected 8"), "{error}");
}

#[test]
fn a_model_of_impossible_size_is_refused_by_the_number() {
    for side in [0, 4096, 1 << 40] {
        let error = refusal_of_request(&[("sample_size", side)]);
        assert!(matches!(error, Error::Request { option: "height", .. }), "{error}");
        assert!(error.to_string().contains("16384"), "{error}");
    }
}

#[test]
fn sizes_are_multiples_of_the_vaes_factor() {
    let builder = Pipeline::open(weights("").join("tiny-sd15")).expect("the model");
    for (width, height, option) in [(100, 64, "width"), (64, 100, "height"), (64, 0, "height")] {
        let request = Request { width: Some(width), height: Some(height), ..Request::default() };
        match builder.check(&request).expect_err("half a latent") {
            Error::Request { option: found, expected, .. } => {
                assert_eq!(found, option);
                assert!(expected.contains("multiple of 8"), "{expected}");
            }
            other => panic!("{other}"),
        }
    }
}
