//! The autoencoders against diffusers, on tiny networks with random weights (`reference/vae.py`), and what they
//! refuse.

mod common;

use common::{config, fixture, loaded, zeros};
use hypersd_models::{
    Error,
    tiny_vae::{self, TinyVaeConfig},
    vae::{self, VaeConfig},
};
use hypersd_testing::{Array, assert_close, device, tolerance};

/// Both sides add in f32 in another order, through some thirty layers; 1e-6 is seen.
const F32: f64 = 2e-5;
/// Sampling exponentiates: an error in the logarithm of a variance, which reaches 30, comes out whole.
const SAMPLED: f64 = 1e-4;
/// Scaling is two operations.
const SCALED: f64 = 1e-6;

fn encoder(config: &VaeConfig) -> vae::Encoder {
    let blank = vae::Encoder::new(config, &device()).unwrap();
    loaded(blank, "vae/tiny_kl.safetensors", vae::Encoder::OTHER_HALF)
}

fn decoder(config: &VaeConfig) -> vae::Decoder {
    let blank = vae::Decoder::new(config, &device()).unwrap();
    loaded(blank, "vae/tiny_kl.safetensors", vae::Decoder::OTHER_HALF)
}

/// Both halves of the autoencoder.
fn kl() -> (vae::Encoder, vae::Decoder) {
    let config = config("vae/tiny_kl.json");
    (encoder(&config), decoder(&config))
}

/// Both halves of the tiny autoencoder.
fn tiny() -> (tiny_vae::Encoder, tiny_vae::Decoder) {
    let config = config("vae/tiny_taesd.json");
    let encoder = tiny_vae::Encoder::new(&config, &device()).unwrap();
    let decoder = tiny_vae::Decoder::new(&config, &device()).unwrap();
    let file = "vae/tiny_taesd.safetensors";
    (
        loaded(encoder, file, tiny_vae::Encoder::OTHER_HALF),
        loaded(decoder, file, tiny_vae::Decoder::OTHER_HALF),
    )
}

/// One channel of a fixture, `[B, 1, H, W]`.
fn channel(array: &Array, c: usize) -> Array {
    let [b, channels, h, w] = array.shape[..] else { panic!("not an image: {:?}", array.shape) };
    let planes = array.data.chunks(h * w).skip(c).step_by(channels);
    Array { shape: vec![b, 1, h, w], data: planes.flatten().copied().collect() }
}

#[test]
fn vae_is_diffusers() {
    let (encoder, decoder) = kl();
    for case in ["even", "odd"] {
        let case = fixture(&format!("vae/tiny_kl_{case}.safetensors"));
        let moments = encoder.encode(case["image"].tensor()).unwrap();
        assert_close("mean", moments.mean.clone(), &case["mean"], tolerance(F32));
        assert_close("logvar", moments.logvar.clone(), &case["logvar"], tolerance(F32));
        assert_close("mode", moments.clone().mode(), &case["mean"], tolerance(F32));
        // The deviations of the channels differ by ten orders of magnitude, so each is compared for itself.
        let sample = moments.sample(case["noise"].tensor());
        for c in 0..4 {
            let name = format!("channel {c} of the sample");
            let want = channel(&case["sample"], c);
            assert_close(&name, sample.clone().narrow(1, c, 1), &want, tolerance(SAMPLED));
        }
        let decoded = decoder.decode(case["latents"].tensor()).unwrap();
        assert_close("decoded", decoded, &case["decoded"], tolerance(F32));
    }
}

#[test]
fn tiles_are_blended_as_diffusers_blends_them() {
    let (_, decoder) = kl();
    let case = fixture("vae/tiny_kl_tiled.safetensors");
    let decoded = decoder.decode_tiled(case["latents"].tensor()).unwrap();
    assert_close("decoded", decoded, &case["decoded"], tolerance(F32));

    // What fits into one tile is not cut.
    let case = fixture("vae/tiny_kl_even.safetensors");
    let decoded = decoder.decode_tiled(case["latents"].tensor()).unwrap();
    assert_close("decoded whole", decoded, &case["decoded"], tolerance(F32));
}

#[test]
fn tiny_vae_is_diffusers() {
    let (encoder, decoder) = tiny();
    for case in ["even", "odd"] {
        let case = fixture(&format!("vae/tiny_taesd_{case}.safetensors"));
        let encoded = encoder.encode(case["image"].tensor()).unwrap();
        assert_close("encoded", encoded, &case["encoded"], tolerance(F32));
        let decoded = decoder.decode(case["latents"].tensor()).unwrap();
        assert_close("decoded", decoded, &case["decoded"], tolerance(F32));
    }
}

/// Values of the channels of a `[1, 4, 1, 1]` tensor of latents.
fn channels(values: [f32; 4]) -> Array {
    Array { shape: vec![1, 4, 1, 1], data: values.to_vec() }
}

#[test]
fn latents_are_scaled_as_the_config_says() {
    let latents = channels([1.0, -2.0, 0.5, 4.0]);
    let scaled = |change: fn(&mut VaeConfig)| {
        let mut config = VaeConfig::sdxl();
        change(&mut config);
        config.scale(latents.tensor::<4>())
    };
    let want = channels([0.13025, -0.2605, 0.065125, 0.521]);
    assert_close("by a factor", scaled(|_| ()), &want, tolerance(SCALED));

    let want = channels([0.065125, -0.325625, 0.0, 0.455875]);
    assert_close("after a shift", scaled(|c| c.shift_factor = Some(0.5)), &want, tolerance(SCALED));

    // Playground v2.5: 0.5 (x - mean) / deviation
    let want = channels([0.0, -0.75, 0.25, 0.25]);
    let normalized = scaled(|c| {
        c.scaling_factor = 0.5;
        c.latents_mean = Some(vec![1.0, 1.0, 0.0, 2.0]);
        c.latents_std = Some(vec![1.0, 2.0, 1.0, 4.0]);
    });
    assert_close("to mean and deviation", normalized, &want, tolerance(SCALED));
}

#[test]
fn decoding_undoes_the_scaling() {
    let case = fixture("vae/tiny_kl_even.safetensors");
    let unscaled = case["latents"].tensor::<4>() / 0.18215;
    let mut config: VaeConfig = config("vae/tiny_kl.json");
    config.scaling_factor = 0.7;
    let normalized = VaeConfig {
        latents_mean: Some(vec![0.3, -0.2, 0.0, 1.0]),
        latents_std: Some(vec![0.5, 1.0, 2.0, 1.5]),
        ..config.clone()
    };
    for config in [VaeConfig { shift_factor: Some(0.4), ..config.clone() }, normalized, config] {
        let decoded = decoder(&config).decode(config.scale(unscaled.clone())).unwrap();
        assert_close("decoded", decoded, &case["decoded"], tolerance(F32));
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let (encoder, decoder) = kl();
    let encode = |shape| encoder.encode(zeros(shape)).unwrap_err().to_string();
    let decode = |shape| decoder.decode(zeros(shape)).unwrap_err().to_string();
    assert_eq!(encode([1, 4, 32, 32]), "image: expected shape [any, 3, any, any], found [1, 4, 32, 32]");
    assert_eq!(
        encode([1, 3, 32, 7]),
        "image: expected shape [any, 3, 8 or more, 8 or more], found [1, 3, 32, 7]"
    );
    assert_eq!(decode([1, 16, 4, 4]), "latents: expected shape [any, 4, any, any], found [1, 16, 4, 4]");
    let (tiny_encoder, tiny_decoder) = tiny();
    assert!(matches!(tiny_encoder.encode(zeros([1, 1, 8, 8])), Err(Error::Shape { argument: "image", .. })));
    assert!(matches!(
        tiny_decoder.decode(zeros([1, 4, 0, 8])),
        Err(Error::Shape { argument: "latents", .. })
    ));
    // The smallest pictures there are.
    assert_eq!(encoder.encode(zeros([1, 3, 8, 8])).unwrap().mean.dims(), [1, 4, 1, 1]);
    assert_eq!(tiny_encoder.encode(zeros([1, 3, 1, 1])).unwrap().dims(), [1, 4, 1, 1]);
}

#[test]
fn presets_are_what_diffusers_writes() {
    assert_eq!(config::<VaeConfig>("vae/sd15.json"), VaeConfig::sd15());
    assert_eq!(config::<VaeConfig>("vae/sdxl.json"), VaeConfig::sdxl());
    assert_eq!(config::<TinyVaeConfig>("vae/taesd.json"), TinyVaeConfig::default());
    // Old files leave most fields out.
    assert_eq!(serde_json::from_str::<VaeConfig>("{}").unwrap(), VaeConfig::sd15());
}

#[test]
fn configurations_of_other_networks_are_refused() {
    let vae = |change: fn(&mut VaeConfig)| {
        let mut config = VaeConfig::sd15();
        change(&mut config);
        let halves = (vae::Encoder::new(&config, &device()), vae::Decoder::new(&config, &device()));
        match halves {
            (Err(Error::Config { network: "VAE", field, .. }), Err(_)) => field,
            _ => panic!("expected a refused configuration"),
        }
    };
    assert_eq!(vae(|c| c.latent_channels = 0), "latent_channels");
    assert_eq!(vae(|c| c.block_out_channels = vec![1 << 20; 4]), "block_out_channels");
    assert_eq!(vae(|c| c.norm_num_groups = 48), "block_out_channels");
    assert_eq!(vae(|c| c.layers_per_block = usize::MAX), "layers_per_block");
    assert_eq!(vae(|c| c.down_block_types[3] = "AttnDownEncoderBlock2D".into()), "down_block_types");
    assert_eq!(vae(|c| drop(c.up_block_types.pop())), "up_block_types");
    assert_eq!(vae(|c| c.act_fn = "mish".into()), "act_fn");
    assert_eq!(vae(|c| c.scaling_factor = 0.0), "scaling_factor");
    assert_eq!(vae(|c| c.latents_mean = Some(vec![0.0; 4])), "latents_std");
    assert_eq!(vae(|c| c.latents_std = Some(vec![1.0; 3])), "latents_std");

    let tiny = |change: fn(&mut TinyVaeConfig)| {
        let mut config = TinyVaeConfig::default();
        change(&mut config);
        let halves = (tiny_vae::Encoder::new(&config, &device()), tiny_vae::Decoder::new(&config, &device()));
        match halves {
            (Err(Error::Config { network: "tiny VAE", field, .. }), Err(_)) => field,
            _ => panic!("expected a refused configuration"),
        }
    };
    assert_eq!(tiny(|c| c.encoder_block_out_channels[2] = 128), "encoder_block_out_channels");
    assert_eq!(tiny(|c| c.decoder_block_out_channels.clear()), "decoder_block_out_channels");
    assert_eq!(tiny(|c| c.num_encoder_blocks.clear()), "encoder_block_out_channels");
    assert_eq!(tiny(|c| c.num_decoder_blocks[0] = 1000), "num_decoder_blocks");
    assert_eq!(tiny(|c| c.act_fn = "gelu".into()), "act_fn");
    assert_eq!(tiny(|c| c.upsample_fn = "bilinear".into()), "upsample_fn");
    assert_eq!(tiny(|c| c.upsampling_scaling_factor = 4), "upsampling_scaling_factor");
    assert_eq!(tiny(|c| c.scaling_factor = 0.18215), "scaling_factor");
}
