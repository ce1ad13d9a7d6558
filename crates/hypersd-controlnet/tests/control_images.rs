//! Control images on their way into a network, and residuals on their way out, against diffusers.

use std::{collections::BTreeMap, fs, path::PathBuf};

use burn::tensor::{FloatDType, Tensor};
use hypersd_controlnet::{ControlNet, Strength, after_zeros, control_pixels, control_size};
use hypersd_core::{Image, LoadOptions, SafetensorsFile, load};
use hypersd_models::unet::{Conditioning, Context, Residuals};
use hypersd_testing::{Array, assert_close, device, dtype, fixture, tolerance, weights};

/// Both sides add in f32 in another order, through some twenty layers; 2.3e-7 is seen.
const F32: f64 = 5e-6;

type Case = BTreeMap<String, Array>;

const PACKAGE: &str = "crates/hypersd-controlnet";

fn path(name: &str) -> PathBuf {
    hypersd_testing::fixtures(PACKAGE).join(name)
}

fn network() -> ControlNet {
    let config = fs::read_to_string(path("tiny_sd15.json")).expect("a committed fixture");
    let config = serde_json::from_str(&config).expect("a valid configuration");
    let weights = SafetensorsFile::open(weights(PACKAGE).join("tiny_sd15.safetensors")).expect("weights");
    let options = LoadOptions { device: device(), dtype: dtype(), ignore: &[] };
    load(ControlNet::new(&config, &device()).unwrap(), &weights, &options)
        .expect("the weights fit the network")
}

fn residuals(network: &ControlNet, case: &Case, image: &Image) -> Residuals {
    let hint = network.hint(control_pixels(image, [56, 40], &network.device()).unwrap()).unwrap();
    let conditioning = Conditioning::new(Context::text(case["context"].tensor()));
    let scale = Strength::default().residual_scale();
    network.forward(case["x"].tensor(), &case["t"].data, &conditioning, &hint, scale).unwrap()
}

fn picture(case: &Case) -> Image {
    let bytes = case["pixels"].data.iter().map(|&x| x as u8).collect();
    let [height, width, _] = case["pixels"].shape[..] else { panic!("[H, W, 3]") };
    Image::from_rgb8(width, height, bytes).unwrap()
}

#[test]
fn a_picture_is_resized_as_the_pipelines_do() {
    let case = fixture(path("picture.safetensors"));
    let residuals = residuals(&network(), &case, &picture(&case));
    let wanted = (0..).map_while(|i| case.get(&format!("plain.down.{i}")));
    assert_eq!(residuals.down.len(), wanted.clone().count());
    for (i, (got, want)) in residuals.down.into_iter().zip(wanted).enumerate() {
        assert_close(&format!("residual {i}"), got, want, tolerance(F32));
    }
    assert_close("mid", residuals.mid, &case["plain.mid"], tolerance(F32));
}

#[test]
fn after_zeros_only_the_second_half_is_guided() {
    let floats =
        |x: Tensor<4>| x.cast(FloatDType::F32).into_data().try_into_vec_as::<f32>().expect("f32 data");
    let case = fixture(path("picture.safetensors"));
    let alone = residuals(&network(), &case, &picture(&case));
    let both = after_zeros(alone.clone());
    for (alone, both) in
        alone.down.into_iter().chain([alone.mid]).zip(both.down.into_iter().chain([both.mid]))
    {
        let half = floats(alone);
        let (zeros, rest) = (vec![0.0; half.len()], floats(both));
        assert_eq!(rest, [zeros, half].concat());
    }
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let network = network();
    let image = Image::from_rgb8(9, 17, vec![0; 9 * 17 * 3]).unwrap();
    assert_eq!(control_size(&image, 8).unwrap(), [8, 16]);
    let odd = control_pixels(&image, [12, 16], &device()).unwrap();
    assert!(network.hint(odd).unwrap_err().to_string().contains("found [1, 3, 16, 12]"));
    let nothing = control_pixels(&image, [0, 16], &device()).unwrap_err();
    assert!(nothing.to_string().starts_with("image size: expected"), "{nothing}");
    let sliver = Image::from_rgb8(7, 64, vec![0; 7 * 64 * 3]).unwrap();
    assert_eq!(
        control_size(&sliver, 8).unwrap_err().to_string(),
        "control image: expected sides of at least 8, found 7x64"
    );
}
