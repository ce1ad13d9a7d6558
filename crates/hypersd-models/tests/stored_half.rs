//! Weights stored in half precision on the CPU: what is computed from them is, to the bit, what f32 weights of the same
//! values give.

#![cfg(feature = "flex")]

use std::{fs, path::PathBuf};

use burn::tensor::{Device, FloatDType, Tensor};
use half::{bf16, f16};
use hypersd_core::{
    HostData, HostTensor, LoadOptions, MemorySource, SafetensorsFile, Slots, TensorSource, load,
};
use hypersd_models::{
    clip::{ClipTextConfig, ClipTextModel, IGNORED_TENSORS},
    tiny_vae,
    unet::{Conditioning, Context, UNet},
    vae,
};
use hypersd_testing::{fixture, fixtures, weights};
use serde::de::DeserializeOwned;

const HALVES: [FloatDType; 2] = [FloatDType::F16, FloatDType::BF16];

const PACKAGE: &str = "crates/hypersd-models";

fn path(name: &str) -> PathBuf {
    fixtures(PACKAGE).join(name)
}

fn config<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&fs::read_to_string(path(name)).expect("a committed fixture")).expect("JSON")
}

/// The tensors of a file, each element rounded to a half type.
fn rounded(file: &SafetensorsFile, dtype: FloatDType) -> MemorySource {
    let tensor = |name: String| {
        let tensor = file.tensor(&name).expect("a tensor");
        let x = tensor.to_f32();
        let data = match dtype {
            FloatDType::F16 => HostData::F16(x.iter().map(|&x| f16::from_f32(x)).collect()),
            _ => HostData::BF16(x.iter().map(|&x| bf16::from_f32(x)).collect()),
        };
        let shape = tensor.shape.clone();
        (name, HostTensor { shape, data })
    };
    file.names().into_iter().map(tensor).collect()
}

/// A network stored in half precision, and one in f32 with the same values.
fn pair<N: Slots + Clone>(
    blank: N,
    file: &str,
    ignore: &'static [&'static str],
    dtype: FloatDType,
) -> [N; 2] {
    let file = SafetensorsFile::open(weights(PACKAGE).join(file)).expect("weights");
    let options = |dtype| LoadOptions { device: Device::flex(), dtype, ignore };
    let half = load(blank.clone(), &file, &options(dtype)).expect("the weights fit");
    let wide = load(blank, &rounded(&file, dtype), &options(FloatDType::F32)).expect("the weights fit");
    [half, wide]
}

fn assert_same<const D: usize>(name: &str, [half, wide]: [Tensor<D>; 2]) {
    assert_eq!(half.dtype(), wide.dtype(), "type of {name}");
    let data = wide.into_data();
    assert!(data.try_to_vec_as::<f32>().expect("f32").iter().any(|&x| x != 0.0), "{name} is no zeros");
    assert_eq!(half.into_data(), data, "{name}");
}

#[test]
fn unets_compute_as_with_f32_weights() {
    for family in ["tiny_sd15", "tiny_sdxl"] {
        let case = fixture(path(&format!("unet/{family}_odd.safetensors")));
        let mut conditioning = Conditioning::new(Context::text(case["context"].tensor()));
        if let (Some(pooled), Some(ids)) = (case.get("pooled"), case.get("time_ids")) {
            let time_ids = ids.data.chunks(6).map(<[f32]>::to_vec).collect();
            conditioning = conditioning.with_added(pooled.tensor(), time_ids);
        }
        for dtype in HALVES {
            let blank = UNet::new(&config(&format!("unet/{family}.json")), &Device::flex()).unwrap();
            let out = pair(blank, &format!("unet/{family}.safetensors"), &[], dtype)
                .map(|unet| unet.forward(case["x"].tensor(), &case["t"].data, &conditioning, None).unwrap());
            assert_same(family, out);
        }
    }
}

#[test]
fn autoencoders_compute_as_with_f32_weights() {
    let case = fixture(path("vae/tiny_kl_odd.safetensors"));
    let (kl, tiny) = (config("vae/tiny_kl.json"), config("vae/tiny_taesd.json"));
    for dtype in HALVES {
        let blank = vae::Decoder::new(&kl, &Device::flex()).unwrap();
        let vaes = pair(blank, "vae/tiny_kl.safetensors", vae::Decoder::OTHER_HALF, dtype);
        assert_same("decoded", vaes.map(|vae| vae.decode(case["latents"].tensor()).unwrap()));
        let blank = vae::Encoder::new(&kl, &Device::flex()).unwrap();
        let vaes = pair(blank, "vae/tiny_kl.safetensors", vae::Encoder::OTHER_HALF, dtype);
        assert_same("mean", vaes.map(|vae| vae.encode(case["image"].tensor()).unwrap().mean));

        let blank = tiny_vae::Decoder::new(&tiny, &Device::flex()).unwrap();
        let vaes = pair(blank, "vae/tiny_taesd.safetensors", tiny_vae::Decoder::OTHER_HALF, dtype);
        assert_same("TAESD's image", vaes.map(|vae| vae.decode(case["latents"].tensor()).unwrap()));
        let blank = tiny_vae::Encoder::new(&tiny, &Device::flex()).unwrap();
        let vaes = pair(blank, "vae/tiny_taesd.safetensors", tiny_vae::Encoder::OTHER_HALF, dtype);
        assert_same("TAESD's latents", vaes.map(|vae| vae.encode(case["image"].tensor()).unwrap()));
    }
}

#[test]
fn text_encoders_compute_as_with_f32_weights() {
    let config: ClipTextConfig = config("clip/small_g/config.json");
    let ids = [vec![3, 5, 7, 2, 9, 1]];
    for dtype in HALVES {
        let blank = ClipTextModel::new(&config, &Device::flex()).unwrap();
        let states = pair(blank, "clip/small_g/model.safetensors", IGNORED_TENSORS, dtype)
            .map(|encoder| encoder.forward(&ids).unwrap());
        assert_same("the states", states.each_ref().map(|states| states.last_hidden_state.clone()));
        assert_same("the pooled state", states.map(|states| states.pooled.expect("a projection")));
    }
}
