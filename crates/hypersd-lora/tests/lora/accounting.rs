//! What is applied, what is not, and how that is said.

use std::{collections::BTreeMap, sync::Arc};

use hypersd_core::SharedSource;
use hypersd_lora::{Error, Family, LoraReport, Reason, Strictness, merge};

use crate::{Shapes, file, lora, memory, over, path, some, unet};

/// Name, shape and LoRA name of every linear and convolution of a real UNet.
fn keys(fixture: &str) -> Vec<(String, Vec<usize>, String)> {
    let text = std::fs::read_to_string(path(fixture)).unwrap();
    let row = |line: &str| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap().to_owned();
        let (name, shape) = (field(), field().split('x').map(|extent| extent.parse().unwrap()).collect());
        (name, shape, field())
    };
    text.lines().map(row).collect()
}

fn base(fixture: &str) -> SharedSource {
    let mut shapes: BTreeMap<_, _> =
        keys(fixture).into_iter().map(|(name, shape, _)| (name, shape)).collect();
    shapes.insert("conv_norm_out.weight".into(), vec![320]);
    shapes.insert("conv_in.bias".into(), vec![320]);
    Arc::new(Shapes(shapes))
}

/// The published Hyper-SD files: rank 64, one alpha each, and these layers of the UNet.
fn hyper_sd(fixture: &str) -> Shapes {
    let left_out = ["conv_in", "conv_out", "time_embedding", "add_embedding"];
    let mut shapes = BTreeMap::new();
    for (name, shape, module) in keys(fixture) {
        if left_out.iter().any(|layer| name.starts_with(layer)) {
            continue;
        }
        let up = if shape.len() == 4 { vec![shape[0], 64, 1, 1] } else { vec![shape[0], 64] };
        shapes.insert(format!("{module}.lora_down.weight"), [&[64], &shape[1..]].concat());
        shapes.insert(format!("{module}.lora_up.weight"), up);
        shapes.insert(format!("{module}.alpha"), vec![]);
    }
    Shapes(shapes)
}

fn rejected(result: Result<hypersd_lora::Merge, Error>) -> Box<LoraReport> {
    match result {
        Err(Error::Unmatched(report) | Error::NothingMatched(report)) => report,
        other => panic!("expected a report of what was not applied, got {other:?}"),
    }
}

#[test]
fn every_module_of_the_hyper_sd_files_finds_its_weight() {
    for (fixture, modules, family) in [("sd15.tsv", 278, Family::Sd1), ("sdxl.tsv", 788, Family::Sdxl)] {
        let names: BTreeMap<_, _> =
            keys(fixture).into_iter().map(|(name, _, module)| (module, name)).collect();
        let file = hyper_sd(fixture);
        assert_eq!(file.0.len(), 3 * modules);
        let mut want: Vec<_> =
            file.0.keys().filter_map(|key| key.strip_suffix(".alpha")).map(|m| &names[m]).collect();
        want.sort();
        let merged = over(base(fixture), Arc::new(file), 1.0).unwrap();
        assert_eq!(merged.sources[0].touched(), want);
        let report = &merged.reports[0];
        assert_eq!((report.made_for, report.base), (family, family));
        let said = format!(
            "shapes.safetensors: {modules} of {modules} modules applied\n  \
             unet x 1: {modules} LoRA, rank 64, alpha 64, scale 1"
        );
        assert_eq!(report.to_string(), said);
    }
}

#[test]
fn a_lora_for_another_family_is_named_as_such() {
    for (of_base, of_file) in [("sd15.tsv", "sdxl.tsv"), ("sdxl.tsv", "sd15.tsv")] {
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            let file = lora(Arc::new(hyper_sd(of_file)), 1.0);
            let error = merge(&[unet(base(of_base))], &[file], strictness).unwrap_err();
            let Error::Shape(wrong) = &error else { panic!("{error}") };
            assert_ne!(wrong.made_for, wrong.base);
            assert!(wrong.count > 1 && wrong.count < wrong.of);
            for family in ["Stable Diffusion XL", "Stable Diffusion 1.x"] {
                assert!(error.to_string().contains(family), "{error}");
            }
        }
    }
}

#[test]
fn names_of_other_models_match_nothing_and_name_the_model() {
    for (module, family) in [
        ("lora_unet_double_blocks_0_img_attn_proj", "FLUX"),
        ("lora_unet_joint_blocks_0_x_block_attn_proj", "Stable Diffusion 3"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1", "Stable Diffusion XL"),
    ] {
        let file = memory([
            (format!("{module}.lora_down.weight"), some(&[2, 4])),
            (format!("{module}.lora_up.weight"), some(&[4, 2])),
        ]);
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            let error = merge(&[unet(base("sd15.tsv"))], &[lora(file.clone(), 1.0)], strictness).unwrap_err();
            assert!(matches!(error, Error::NothingMatched(_)), "{error}");
            let said = error.to_string();
            assert!(said.contains("0 of 1 modules applied"), "{said}");
            assert!(said.contains(&format!("made for {family}, the base is Stable Diffusion 1.x")), "{said}");
        }
    }
}

#[test]
fn peft_files_of_another_family_are_named_too() {
    let attention = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k";
    let file = memory([
        (format!("{attention}.lora_A.weight"), some(&[2, 2048])),
        (format!("{attention}.lora_B.weight"), some(&[640, 2])),
    ]);
    let error = over(base("sd15.tsv"), file, 1.0).unwrap_err();
    let Error::Shape(wrong) = &error else { panic!("{error}") };
    assert_eq!((wrong.made_for, wrong.base), (Family::Sdxl, Family::Sd1));
}

#[test]
fn a_text_encoders_modules_need_a_text_encoder() {
    let (base, file) = (file("unet.safetensors"), file("hyper.safetensors"));
    let report = rejected(over(base.clone(), file.clone(), 1.0));
    assert_eq!((report.applied, report.modules, report.unmatched.len()), (79, 91, 12));
    assert!(report.unmatched.iter().all(|left| left.reason == Reason::NoNetwork("lora_te_".into())));
    assert!(
        report.details().contains("12 for a network that is not there (lora_te_*)"),
        "{}",
        report.details()
    );

    let merged = merge(&[unet(base)], &[lora(file, 1.0)], Strictness::Lenient).unwrap();
    assert_eq!(merged.reports[0], *report);
    assert_eq!(merged.sources[0].touched().len(), 79);
}

#[test]
fn a_misspelt_module_is_shown_with_the_name_it_resembles() {
    let mut file = hyper_sd("sd15.tsv");
    let module = "lora_unet_mid_block_attentions_0_proj_in";
    for suffix in ["lora_down.weight", "lora_up.weight", "alpha"] {
        let shape = file.0.remove(&format!("{module}.{suffix}")).unwrap();
        file.0.insert(format!("{module}n.{suffix}"), shape);
    }
    let report = rejected(over(base("sd15.tsv"), Arc::new(file), 1.0));
    assert_eq!((report.applied, report.modules, report.unmatched.len()), (277, 278, 1));
    let Reason::NoWeight { near } = &report.unmatched[0].reason else { panic!("{report:?}") };
    assert_eq!(near[0], module);
    assert!(report.details().contains(&format!("{module}n (nearest: {module}")), "{}", report.details());
}

#[test]
fn a_module_of_another_form_is_refused_by_name_and_never_applied_in_part() {
    let base = || memory([("a.weight", some(&[6, 5])), ("b.weight", some(&[6, 5]))]);
    for (extra, form) in [
        ("oft_blocks", "OFT"),
        ("boft_R", "BOFT"),
        ("b1.weight", "GLoRA"),
        ("on_input", "(IA)³"),
        ("reshape_weight", "reshape_weight"),
        ("lora_embedding_A", "embedding"),
        ("something", "no LoRA form"),
    ] {
        let file = memory([
            ("lora_unet_a.lora_down.weight".to_owned(), some(&[2, 5])),
            ("lora_unet_a.lora_up.weight".to_owned(), some(&[6, 2])),
            ("lora_unet_b.lora_down.weight".to_owned(), some(&[2, 5])),
            ("lora_unet_b.lora_up.weight".to_owned(), some(&[6, 2])),
            (format!("lora_unet_b.{extra}"), some(&[6, 1])),
        ]);
        let report = rejected(over(base(), file.clone(), 1.0));
        assert_eq!((report.applied, report.modules), (1, 2), "{extra}");
        assert_eq!(report.unmatched[0].module, "lora_unet_b");
        assert!(report.details().contains(form), "{}", report.details());

        let merged = merge(&[unet(base())], &[lora(file, 1.0)], Strictness::Lenient).unwrap();
        assert_eq!(merged.sources[0].touched(), ["a.weight"]);
    }
}

#[test]
fn a_transformers_lora_is_refused_by_name() {
    let module = "transformer.transformer_blocks.0.attn.to_q";
    let file = memory([
        (format!("{module}.lora_A.weight"), some(&[2, 5])),
        (format!("{module}.lora_B.weight"), some(&[5, 2])),
    ]);
    let report = rejected(over(base("sdxl.tsv"), file, 1.0));
    assert!(report.details().contains("not supported: a transformer's LoRA (FLUX"), "{}", report.details());
}

#[test]
fn long_lists_are_grouped_and_cut() {
    let mut shapes = BTreeMap::new();
    for i in 0..300 {
        shapes.insert(format!("lora_unet_nothing_like_it_{i}.lora_down.weight"), vec![4, 8]);
        shapes.insert(format!("lora_unet_nothing_like_it_{i}.lora_up.weight"), vec![8, 4]);
    }
    let report = rejected(over(base("sd15.tsv"), Arc::new(Shapes(shapes)), 1.0));
    assert_eq!(report.unmatched.len(), 300);
    assert!(report.details().contains("… and 296 more"), "{}", report.details());
    assert!(report.details().lines().count() < 10, "{}", report.details());
}
