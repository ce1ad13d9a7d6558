//! The numbers of diffusers, and of the formula in f64 where diffusers does not go.

use std::{collections::BTreeMap, sync::Arc};

use hypersd_core::{Dtype, TensorSource};
use hypersd_lora::{Lora, LoraFile, Merged, Strictness, merge};
use hypersd_testing::{Array, fixture, relative_l2};

use crate::{file, lora, network, over, path, unet};

/// Sums of rank + 1 products in f32, taken in another order: a few units of 6e-8.
const ROUNDING: f64 = 5e-7;
/// References that LyCORIS computed in f32, inverting matrices on the way.
const IN_F32: f64 = 3e-6;
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
    let bases = [unet(file("unet.safetensors")), network("lora_te_", file("text.safetensors"))];
    let merged = merge(&bases, &[lora(file("hyper.safetensors"), 0.8)], Strictness::Strict).unwrap();
    assert_merged(&merged.sources[0], &fixture(path("hyper_unet.safetensors")));
    assert_merged(&merged.sources[1], &fixture(path("hyper_text.safetensors")));
    assert_eq!((merged.reports[0].applied, merged.reports[0].modules), (91, 91));
}

#[test]
fn two_files_merge_as_in_diffusers() {
    let bases = [unet(file("unet.safetensors")), network("lora_te_", file("text.safetensors"))];
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

/// A fixture opened as a user would, over the small UNet and text encoder.
fn assert_file_merges(name: &str, weight: f32, modules: usize, want: [Option<&str>; 2]) -> String {
    let bases = [unet(file("unet.safetensors")), network("lora_te_", file("text.safetensors"))];
    let lora = Lora { file: Arc::new(LoraFile::open(path(name)).unwrap()), weight };
    let merged = merge(&bases, &[lora], Strictness::Strict).unwrap();
    for (source, want) in merged.sources.iter().zip(want) {
        assert_merged(source, &want.map(|want| fixture(path(want))).unwrap_or_default());
    }
    let report = &merged.reports[0];
    assert_eq!((report.applied, report.modules), (modules, modules));
    report.to_string().lines().nth(1).unwrap().trim().to_owned()
}

#[test]
fn block_names_of_stability_merge_as_in_diffusers() {
    let said = assert_file_merges("sgm.safetensors", 1.0, 34, [Some("sgm_unet.safetensors"), None]);
    assert_eq!(said, "unet x 1: 34 LoRA, rank 2, alpha 3, scale 1.5");
}

#[test]
fn two_text_encoders_merge_as_in_diffusers() {
    let bases = ["lora_te1_", "lora_te2_"].map(|prefix| network(prefix, file("text.safetensors")));
    let merged = merge(&bases, &[lora(file("te.safetensors"), 0.6)], Strictness::Strict).unwrap();
    assert_merged(&merged.sources[0], &fixture(path("te_text.safetensors")));
    assert_merged(&merged.sources[1], &fixture(path("te_text_2.safetensors")));
    let said = merged.reports[0].to_string();
    assert!(
        said.ends_with(
            "20 of 20 modules applied\n  text encoder 1 x 0.6: 12 LoRA, rank 2, alpha 1, scale 0.3; \
         text encoder 2 x 0.6: 8 LoRA, rank 3, alpha 2, scale 0.4"
        ),
        "{said}"
    );
}

#[test]
fn files_of_old_diffusers_merge_as_in_diffusers() {
    let want = [Some("old_unet.safetensors"), Some("old_text.safetensors")];
    let said = assert_file_merges("old.safetensors", 1.5, 40, want);
    assert!(said.ends_with("unet x 1.5: 32 LoRA, rank 3, alpha = rank, scale 1.5"), "{said}");
}

#[test]
fn peft_files_merge_with_the_alphas_of_their_metadata() {
    let want = [Some("peft_unet.safetensors"), Some("peft_text.safetensors")];
    let said = assert_file_merges("peft.safetensors", 1.0, 29, want);
    assert!(said.contains("text encoder x 1: 12 LoRA, rank 2, alpha 5, scale 2.5"), "{said}");
    assert!(said.contains("unet x 1: 17 LoRA, rank 2/4, alpha 1/6, scale 0.25/1.5/3"), "{said}");
}

#[test]
fn rank_stabilized_files_with_biases_merge_as_in_peft() {
    let said = assert_file_merges("rslora.safetensors", 1.0, 9, [Some("rslora_unet.safetensors"), None]);
    assert_eq!(said, "unet x 1: 9 LoRA, rank 4, alpha 3, scale 1.5");
}

#[test]
fn dora_merges_as_in_peft() {
    let said = assert_file_merges("dora.safetensors", 1.0, 17, [Some("dora_unet.safetensors"), None]);
    assert!(said.starts_with("unet x 1: 17 DoRA, rank 3, alpha 2"), "{said}");
}

#[test]
fn a_peft_folder_merges_with_the_alpha_of_its_configuration() {
    let name = "adapter/adapter_model.safetensors";
    let said = assert_file_merges(name, 1.0, 4, [Some("adapter_unet.safetensors"), None]);
    assert!(said.starts_with("unet x 1: 4 LoRA, rank 3, alpha 7"), "{said}");
}

#[test]
fn lycoris_forms_follow_their_formulas() {
    let merged = over(file("forms_base.safetensors"), file("forms.safetensors"), 0.7).unwrap();
    assert_merged(&merged.sources[0], &fixture(path("forms_merged.safetensors")));
    let report = &merged.reports[0];
    assert_eq!(report.applied, 22);
    let forms: Vec<_> = report.groups.iter().map(|group| (group.form, group.modules)).collect();
    let want = [
        ("DoRA", 5),
        ("DoRA over LoHa", 1),
        ("DoRA over LoKr", 1),
        ("LoRA", 1),
        ("LoCon with a core", 1),
        ("LoHa", 3),
        ("LoKr", 7),
        ("full difference", 3),
    ];
    assert_eq!(forms, want);
}

/// OFT, BOFT, GLoRA and (IA)³; those with a rescale only as a whole, for LyCORIS leaves rescales as they are at any weight.
#[test]
fn forms_that_are_no_sums_are_lycoris_own() {
    for (weight, fixture_name) in [(1.0, "others_whole.safetensors"), (0.7, "others_merged.safetensors")] {
        let merged = over(file("others_base.safetensors"), file("others.safetensors"), weight).unwrap();
        assert_eq!(merged.reports[0].applied, 13);
        for (name, want) in fixture(path(fixture_name)) {
            let got = merged.sources[0].tensor(&name).unwrap();
            let error = relative_l2(&got.to_f32(), &want.data);
            assert!(
                error <= IN_F32,
                "{name} x {weight}: relative L2 error {error:.3e}, allowed {IN_F32:.1e}"
            );
        }
    }
    let nothing = over(file("others_base.safetensors"), file("others.safetensors"), 0.0).unwrap();
    assert!(nothing.sources[0].touched().is_empty());
    let forms: Vec<_> = nothing.reports[0].groups.iter().map(|group| (group.form, group.modules)).collect();
    assert_eq!(forms, [("BOFT", 3), ("GLoRA", 2), ("(IA)³", 4), ("OFT", 4)]);
}

#[test]
fn decomposed_forms_are_lycoris_own_at_weight_one() {
    let merged = over(file("forms_base.safetensors"), file("forms.safetensors"), 1.0).unwrap();
    let want = fixture(path("forms_dora.safetensors"));
    assert_eq!(want.len(), 7);
    for (name, want) in want {
        let got = merged.sources[0].tensor(&name).unwrap();
        let error = relative_l2(&got.to_f32(), &want.data);
        assert!(error <= ROUNDING, "{name}: relative L2 error {error:.3e}, allowed {ROUNDING:.1e}");
    }
}
