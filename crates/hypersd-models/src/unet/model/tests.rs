//! Every block for itself against diffusers (`reference/unet.py`): each gets diffusers' inputs, so that an error
//! shows where it arises.

use std::{collections::BTreeMap, fs};

use burn::tensor::Tensor;
use hypersd_core::{LoadOptions, SafetensorsFile, load};
use hypersd_testing::{Array, assert_close, device, dtype, fixture, fixtures, tolerance, weights};

use super::{Conditioning, Context, UNet};
use crate::{layers::timestep::Sinusoid, ops};

const PACKAGE: &str = "crates/hypersd-models";

/// Both sides add in f32 in another order, within one block; 5e-7 is seen.
const BLOCK: f64 = 5e-6;

fn unet(family: &str) -> UNet {
    let config = fs::read_to_string(fixtures(PACKAGE).join(format!("unet/{family}.json")))
        .expect("a committed fixture");
    let config = serde_json::from_str(&config).expect("a valid configuration");
    let weights =
        SafetensorsFile::open(weights(PACKAGE).join(format!("unet/{family}.safetensors"))).expect("weights");
    let options = LoadOptions { device: device(), dtype: dtype(), ignore: &[] };
    load(UNet::new(&config, &device()).unwrap(), &weights, &options).expect("the fixture fits the network")
}

/// The skips that diffusers' down block `i` hands over.
fn skips(case: &BTreeMap<String, Array>, i: usize) -> Vec<&Array> {
    (0..).map_while(|j| case.get(&format!("down_blocks.{i}.skip.{j}"))).collect()
}

fn assert_blocks(family: &str) {
    let unet = unet(family);
    let case = fixture(fixtures(PACKAGE).join(format!("unet/{family}_even.safetensors")));
    let mut conditioning = Conditioning::new(Context::text(case["context"].tensor()));
    if let (Some(pooled), Some(ids)) = (case.get("pooled"), case.get("time_ids")) {
        let time_ids = ids.data.chunks(6).map(<[f32]>::to_vec).collect();
        conditioning = conditioning.with_added(pooled.tensor(), time_ids);
    }
    let (x, emb, context) = unet.prepare(case["x"].tensor(), &case["t"].data, &conditioning).unwrap();
    let check = |name: &str, got: Tensor<4>, want: &Array| assert_close(name, got, want, tolerance(BLOCK));

    check("conv_in", ops::conv2d(x, &unet.conv_in), &case["conv_in"]);
    let mut x = &case["conv_in"];
    let mut all_skips = vec![x];
    for (i, block) in unet.down_blocks.iter().enumerate() {
        let (mut made, wanted) = (Vec::new(), skips(&case, i));
        let out = block.forward(x.tensor(), &emb, &context, &mut made);
        assert_eq!(made.len(), wanted.len());
        for (j, (got, want)) in made.into_iter().zip(&wanted).enumerate() {
            check(&format!("skip {j} of down block {i}"), got, want);
        }
        x = wanted[wanted.len() - 1];
        check(&format!("down block {i}"), out, x);
        all_skips.extend(wanted);
    }
    check(
        "mid_block",
        unet.mid_block.as_ref().expect("a middle block").forward(x.tensor(), &emb, &context),
        &case["mid_block"],
    );
    x = &case["mid_block"];
    let mut left: Vec<Tensor<4>> = all_skips.into_iter().map(Array::tensor).collect();
    for (i, block) in unet.up_blocks.iter().enumerate() {
        let out = block.forward(x.tensor(), &emb, &context, &mut left);
        x = &case[&format!("up_blocks.{i}")];
        check(&format!("up block {i}"), out, x);
    }
    assert!(left.is_empty(), "every skip is used");
    let out = ops::conv2d(ops::group_norm_silu(x.tensor(), &unet.conv_norm_out), &unet.conv_out);
    check("out", out, &case["out"]);
}

#[test]
fn sd15_blocks_are_diffusers() {
    assert_blocks("tiny_sd15");
}

#[test]
fn sdxl_blocks_are_diffusers() {
    assert_blocks("tiny_sdxl");
}

#[test]
fn sinusoids_are_cosines_then_sines() {
    let sinusoid = Sinusoid { width: 6, flip_sin_to_cos: true, freq_shift: 0.0 };
    let encoded = sinusoid.encode(&[2.0]);
    // frequencies 10000^(-i/3): 1, 0.0464159, 0.00215443
    let angles = [2.0_f64, 2.0 * 1e4_f64.powf(-1.0 / 3.0), 2.0 * 1e4_f64.powf(-2.0 / 3.0)];
    let want = angles.iter().map(|a| a.cos()).chain(angles.iter().map(|a| a.sin()));
    for (got, want) in encoded.iter().zip(want) {
        assert!((f64::from(*got) - want).abs() < 1e-6, "{encoded:?}");
    }
    let flipped = Sinusoid { flip_sin_to_cos: false, ..sinusoid }.encode(&[2.0]);
    assert_eq!([&flipped[3..], &flipped[..3]].concat(), encoded);
    // A shift of 1 makes the last frequency exactly 1/10000.
    let shifted = Sinusoid { freq_shift: 1.0, ..sinusoid }.encode(&[1e4]);
    assert!((f64::from(shifted[2]) - 1.0_f64.cos()).abs() < 1e-5, "{shifted:?}");
}
