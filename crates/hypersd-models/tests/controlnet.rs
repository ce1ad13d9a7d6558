//! Whole ControlNets against diffusers, on tiny networks with random weights (`reference/controlnet.py`), and what
//! they refuse.

mod controlnet_fixtures;

use std::collections::BTreeMap;

use burn::tensor::{FloatDType, Tensor};
use controlnet_fixtures::{config, path};
use hypersd_core::{LoadOptions, SafetensorsFile, load};
use hypersd_models::{
    controlnet::{ChannelOrder, ControlNet, ControlNetConfig, Hint, ResidualScale},
    unet::{Conditioning, Context, PerLevel, Residuals, UNetConfig},
};
use hypersd_testing::{Array, assert_close, device, dtype, fixture, tolerance, weights};

/// Both sides add in f32 in another order, through some twenty layers; 2.3e-7 is seen.
const F32: f64 = 5e-6;

type Case = BTreeMap<String, Array>;

fn network(name: &str) -> ControlNet {
    changed(name, |_| ())
}

/// The network with the weights of a fixture, after a change to its configuration.
fn changed(name: &str, change: fn(&mut ControlNetConfig)) -> ControlNet {
    let mut config = config(name);
    change(&mut config);
    let weights =
        SafetensorsFile::open(weights("crates/hypersd-controlnet").join(format!("{name}.safetensors")))
            .expect("weights");
    let options = LoadOptions { device: device(), dtype: dtype(), ignore: &[] };
    let network = ControlNet::new(&config, &device()).unwrap();
    load(network, &weights, &options).expect("the weights fit the network")
}

fn cases(name: &str) -> Case {
    fixture(path(&format!("{name}_cases.safetensors")))
}

fn conditioning(case: &Case) -> Conditioning {
    let conditioning = Conditioning::new(Context::text(case["context"].tensor()));
    match (case.get("pooled"), case.get("time_ids")) {
        (Some(pooled), Some(ids)) => {
            conditioning.with_added(pooled.tensor(), ids.data.chunks(6).map(<[f32]>::to_vec).collect())
        }
        _ => conditioning,
    }
}

/// The control images, bytes in the fixture.
fn pixels(case: &Case) -> Tensor<4> {
    let image = &case["image"];
    let data = image.data.iter().map(|x| x / 255.0).collect();
    Array { shape: image.shape.clone(), data }.tensor()
}

fn residuals(network: &ControlNet, case: &Case, scale: ResidualScale) -> Residuals {
    let hint = network.hint(pixels(case)).unwrap();
    network.forward(case["x"].tensor(), &case["t"].data, &conditioning(case), &hint, scale).unwrap()
}

fn assert_residuals(residuals: Residuals, case: &Case, name: &str) {
    let wanted = (0..).map_while(|i| case.get(&format!("{name}.down.{i}"))).count();
    assert_eq!(residuals.down.len(), wanted, "{name}");
    for (i, got) in residuals.down.into_iter().enumerate() {
        // diffusers leaves pooled residuals at one pixel and lets the sum repeat them.
        let want = &case[&format!("{name}.down.{i}")];
        assert_close(&format!("{name} {i}"), as_wide(got, want), want, tolerance(F32));
    }
    let want = &case[&format!("{name}.mid")];
    assert_close(&format!("{name} mid"), as_wide(residuals.mid, want), want, tolerance(F32));
}

/// The first pixel, if the reference has only one.
fn as_wide(x: Tensor<4>, want: &Array) -> Tensor<4> {
    if want.shape[2..] == [1, 1] { x.narrow(2, 0, 1).narrow(3, 0, 1) } else { x }
}

const FULL: ResidualScale = ResidualScale { conditioning_scale: 1.0, guess_mode: false };

#[test]
fn sd15_is_diffusers() {
    let (network, case) = (network("tiny_sd15"), cases("tiny_sd15"));
    assert_residuals(residuals(&network, &case, FULL), &case, "plain");
    assert_residuals(
        residuals(&network, &case, ResidualScale { conditioning_scale: 0.5, ..FULL }),
        &case,
        "half",
    );
    let guess = ResidualScale { conditioning_scale: 0.5, guess_mode: true };
    assert_residuals(residuals(&network, &case, guess), &case, "guess");
}

#[test]
fn sdxl_is_diffusers() {
    let (network, case) = (network("tiny_sdxl"), cases("tiny_sdxl"));
    assert_residuals(residuals(&network, &case, FULL), &case, "plain");
    let guess = ResidualScale { conditioning_scale: 0.5, guess_mode: true };
    assert_residuals(residuals(&network, &case, guess), &case, "guess");
}

#[test]
fn attention_sites_without_blocks_still_project() {
    for name in ["tiny_sdxl_mid", "tiny_sdxl_small"] {
        let case = cases(name);
        assert_residuals(residuals(&network(name), &case, FULL), &case, "plain");
    }
}

#[test]
fn a_network_for_bgr_turns_the_image() {
    let network = changed("tiny_sd15", |c| c.controlnet_conditioning_channel_order = ChannelOrder::Bgr);
    let case = cases("tiny_sd15");
    assert_residuals(residuals(&network, &case, FULL), &case, "bgr");
}

#[test]
fn pooled_residuals_are_flat_and_as_large_as_the_skips() {
    let network = changed("tiny_sd15", |c| c.global_pool_conditions = true);
    let case = cases("tiny_sd15");
    // Pooling overrides guess mode's factors.
    let residuals = residuals(&network, &case, ResidualScale { conditioning_scale: 0.75, guess_mode: true });
    for (i, x) in residuals.down.iter().enumerate() {
        let dims = x.dims();
        assert_eq!(dims, plain_dims(&case, i), "residual {i}");
        let last = x.clone().narrow(2, dims[2] - 1, 1).narrow(3, dims[3] - 1, 1);
        assert_close("last pixel", last, &case[&format!("pooled.down.{i}")], tolerance(F32));
    }
    assert_residuals(residuals, &case, "pooled");
}

fn plain_dims(case: &Case, i: usize) -> [usize; 4] {
    case[&format!("plain.down.{i}")].shape.as_slice().try_into().expect("four axes")
}

fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.cast(FloatDType::F32).into_data().try_into_vec_as().expect("f32 data")
}

fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::<D>::zeros(shape, &device()).cast(dtype())
}

#[test]
fn the_hint_counts_and_one_serves_a_batch() {
    let (network, case) = (network("tiny_sd15"), cases("tiny_sd15"));
    let image = pixels(&case);
    let forward = |hint: &Hint| {
        network.forward(case["x"].tensor(), &case["t"].data, &conditioning(&case), hint, FULL).unwrap()
    };
    let array = |x: Tensor<4>| Array { shape: x.dims().to_vec(), data: floats(x) };

    // One image for both pictures is that image twice.
    let first = image.clone().narrow(0, 0, 1);
    let one = forward(&network.hint(first.clone()).unwrap());
    let twice = forward(&network.hint(Tensor::cat(vec![first.clone(), first], 0)).unwrap());
    assert_close("one for two", one.mid, &array(twice.mid), tolerance(F32));

    // A black image gives something else by far, in every residual.
    let black = forward(&network.hint(image.zeros_like()).unwrap());
    for (i, x) in black.down.into_iter().chain([black.mid]).enumerate() {
        let want = case.get(&format!("plain.down.{i}")).unwrap_or(&case["plain.mid"]);
        let error = hypersd_testing::relative_l2(&floats(x), &want.data);
        assert!(error > 0.01, "residual {i} differs by {error:.1e} only");
    }
}

#[test]
fn control_images_that_do_not_fit_are_refused() {
    let network = network("tiny_sd15");
    let refusal = |shape: [usize; 4]| network.hint(zeros(shape)).unwrap_err().to_string();
    for shape in
        [[1, 3, 20, 16], [1, 3, 16, 4], [1, 1, 16, 16], [1, 4, 16, 16], [0, 3, 16, 16], [1, 3, 0, 16]]
    {
        assert_eq!(
            refusal(shape),
            format!(
                "control image: expected shape [any, 3, a multiple of 8, a multiple of 8], found {shape:?}"
            )
        );
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let network = network("tiny_sdxl");
    let added = |context| {
        Conditioning::new(Context::text(zeros(context))).with_added(zeros([2, 20]), vec![vec![64.0; 6]; 2])
    };
    let full = added([2, 7, 40]);
    let hint = network.hint(zeros([2, 3, 40, 56])).unwrap();
    let refusal = |x: [usize; 4], conditioning: &Conditioning, hint: &Hint, scale: ResidualScale| {
        network.forward(zeros(x), &[1.0], conditioning, hint, scale).unwrap_err().to_string()
    };
    let x = [2, 4, 5, 7];
    assert!(network.forward(zeros(x), &[1.0], &full, &hint, FULL).is_ok());
    assert_eq!(
        refusal([2, 9, 5, 7], &full, &hint, FULL),
        "x: expected shape [any, 4, any, any], found [2, 9, 5, 7]"
    );
    assert_eq!(
        refusal([2, 4, 5, 8], &full, &hint, FULL),
        "hint: expected shape [1 or a divisor of 2, 16, 5, 8], found [2, 16, 5, 7]"
    );
    let three = network.hint(zeros([3, 3, 40, 56])).unwrap();
    assert_eq!(
        refusal(x, &full, &three, FULL),
        "hint: expected shape [1 or a divisor of 2, 16, 5, 7], found [3, 16, 5, 7]"
    );
    assert_eq!(
        refusal(x, &added([2, 7, 24]), &hint, FULL),
        "context: expected shape [2, any, 40], found [2, 7, 24]"
    );
    let bare = Conditioning::new(Context::text(zeros([2, 7, 40])));
    assert!(refusal(x, &bare, &hint, FULL).starts_with("the added condition (pooled, time_ids) is missing"));
    assert_eq!(
        refusal(x, &full, &hint, ResidualScale { conditioning_scale: f32::NAN, ..FULL }),
        "control scale: expected a finite number, found NaN"
    );
}

#[test]
fn a_controlnet_of_another_family_is_refused() {
    let unet = |name: &str, change: fn(&mut UNetConfig)| {
        let mut unet = controlnet_fixtures::config(name).unet;
        change(&mut unet);
        unet
    };
    let sd15 = config("sd15");
    sd15.check_fits(&unet("sd15", |_| ())).unwrap();
    assert_eq!(
        sd15.check_fits(&unet("sdxl_full", |_| ())).unwrap_err().to_string(),
        "the ControlNet does not fit the UNet: its family is Stable Diffusion 1.x, the UNet's Stable Diffusion XL; take \
         a ControlNet that was trained for this model's family"
    );
    for name in ["sdxl_full", "sdxl_mid", "sdxl_small"] {
        let sdxl = config(name);
        sdxl.check_fits(&unet("sdxl_full", |_| ())).unwrap();
        let refused = |unet: &UNetConfig| sdxl.check_fits(unet).unwrap_err().to_string();
        assert!(
            refused(&unet("sd15", |_| ()))
                .contains("family is Stable Diffusion XL, the UNet's Stable Diffusion 1.x")
        );
        let wider = unet("sdxl_full", |c| c.cross_attention_dim = PerLevel::All(4096));
        assert!(refused(&wider).contains("context width is 2048, the UNet's 4096"));
        let refiner = unet("sdxl_full", |c| c.projection_class_embeddings_input_dim = Some(2560));
        assert!(refused(&refiner).contains("width of added conditions is Some(2816), the UNet's Some(2560)"));
        let longer = unet("sdxl_full", |c| c.layers_per_block = PerLevel::All(3));
        assert!(refused(&longer).contains("list of channels is [320, 320, 320, 320, 640,"));
        let deeper = unet("sdxl_full", |c| c.out_channels = 16);
        assert!(refused(&deeper).contains("number of latent channels is 4, the UNet's 16"));
        // An inpainting UNet sees more than the latents; the ControlNet beside it sees them alone.
        sdxl.check_fits(&unet("sdxl_full", |c| c.in_channels = 9)).unwrap();
    }
}
