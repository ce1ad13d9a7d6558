//! The numbers of diffusers, and of the formula in f64 where diffusers does not go.

use std::collections::BTreeMap;

use hypersd_core::{Dtype, TensorSource};
use hypersd_lora::{Base, Merged, Strictness, merge};
use hypersd_testing::{Array, fixture, relative_l2};

use crate::{file, lora, over, path, unet};

/// Sums of rank + 1 products in f32, taken in another order: a few units of 6e-8.
const ROUNDING: f64 = 5e-7;
/// How far the references are from the base at least, so that an overlay that does nothing cannot pass.
const CHANGE: f64 = 1e-2;

/// The touched weights are the reference's, in name, shape and value; all others are the base's.
fn assert_merged(merged: &Merged, want: &BTreeMap<String, Array>) {
    assert_eq!(merged.touched(), want.keys().map(String::as_str).collect::<Vec<_>>());
    for name in merged.names() {
        let (got, base) = (merged.tensor(&name).unwrap(), merged.base().tensor(&name).unwrap());
        assert_eq!(merged.info(&name).unwrap(), got.info(), "{name}");
        let Some(want) = want.get(&name) else {
            assert_eq!(got.info(), base.info(), "{name}");
            assert_eq!(got.to_f32(), base.to_f32(), "{name}");
            continue;
        };
        assert_eq!((got.dtype(), &got.shape), (Dtype::F32, &want.shape), "{name}");
        assert!(relative_l2(&base.to_f32(), &want.data) > CHANGE, "{name} is no test");
        let error = relative_l2(&got.to_f32(), &want.data);
        assert!(error <= ROUNDING, "{name}: relative L2 error {error:.3e}, allowed {ROUNDING:.1e}");
    }
}

#[test]
fn a_unet_and_a_text_encoder_merge_as_in_diffusers() {
    let bases =
        [unet(file("unet.safetensors")), Base { prefix: "lora_te_", source: file("text.safetensors") }];
    let merged = merge(&bases, &[lora(file("hyper.safetensors"), 0.8)], Strictness::Strict).unwrap();
    assert_merged(&merged.sources[0], &fixture(path("hyper_unet.safetensors")));
    assert_merged(&merged.sources[1], &fixture(path("hyper_text.safetensors")));
    assert_eq!((merged.reports[0].applied, merged.reports[0].modules), (91, 91));
}

#[test]
fn two_files_merge_as_in_diffusers() {
    let bases =
        [unet(file("unet.safetensors")), Base { prefix: "lora_te_", source: file("text.safetensors") }];
    let loras = [lora(file("hyper.safetensors"), 0.8), lora(file("style.safetensors"), -0.5)];
    let merged = merge(&bases, &loras, Strictness::Strict).unwrap();
    assert_merged(&merged.sources[0], &fixture(path("both_unet.safetensors")));
    let said = merged.reports[1].to_string();
    let (_, said) = said.split_once(": ").unwrap();
    assert_eq!(said, "32 of 32 modules applied\n  unet x -0.5: 32 LoRA, rank 2, alpha 3, scale -0.75");
}

#[test]
fn every_shape_and_type_follows_the_formula() {
    let merged = over(file("odd_base.safetensors"), file("odd.safetensors"), 0.7).unwrap();
    assert_merged(&merged.sources[0], &fixture(path("odd_merged.safetensors")));
    let report = &merged.reports[0];
    let [group] = &report.groups[..] else { panic!("one network, one form: {report}") };
    let ranks: Vec<_> = group.ranks.iter().map(|(&rank, &modules)| (rank, modules)).collect();
    assert_eq!(ranks, [(1, 1), (2, 5), (3, 2), (4, 2), (5, 1)]);
    let alphas =
        [None, Some(-2.0), Some(1.0), Some(1.5), Some(3.0), Some(4.0), Some(5.0), Some(6.0), Some(8.0)];
    assert_eq!(group.alphas.iter().map(|(alpha, _)| *alpha).collect::<Vec<_>>(), alphas);
    assert_eq!(group.alphas.iter().map(|(_, modules)| modules).sum::<usize>(), 11);
}
