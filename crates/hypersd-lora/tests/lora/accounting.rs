//! What is applied, what is not, and how that is said.

use std::{collections::BTreeMap, sync::Arc};

use hypersd_core::{Family, SharedSource, TensorSource};
use hypersd_lora::{
    Base, Error, Lora, LoraFile, LoraReport, MadeFor, Merge, Reason, Strictness, Weights, merge,
};

use crate::{Shapes, file, lora, memory, network, over, path, some, unet};

/// A linear or convolution of a real UNet.
struct Layer {
    name: String,
    shape: Vec<usize>,
    /// Its module's name in kohya's files, over diffusers' blocks and over Stability's.
    modules: [String; 2],
}

fn keys(fixture: &str) -> Vec<Layer> {
    let text = std::fs::read_to_string(path(fixture)).unwrap();
    let row = |line: &str| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap().to_owned();
        let (name, shape) = (field(), field().split('x').map(|extent| extent.parse().unwrap()).collect());
        Layer { name, shape, modules: [field(), field()] }
    };
    text.lines().map(row).collect()
}

/// The UNet of a published model.
fn published(fixture: &str) -> Base {
    let mut shapes: BTreeMap<_, _> =
        keys(fixture).into_iter().map(|layer| (layer.name, layer.shape)).collect();
    shapes.insert("conv_norm_out.weight".into(), vec![320]);
    shapes.insert("conv_in.bias".into(), vec![320]);
    let family = if fixture == "sdxl.tsv" { Family::Sdxl } else { Family::Sd1 };
    Base { family: Some(family), ..unet(Arc::new(Shapes(shapes))) }
}

/// A file, all of it, over such a UNet.
fn over_published(fixture: &str, file: SharedSource) -> Result<Merge, Error> {
    merge(&[published(fixture)], &[lora(file, 1.0)], Strictness::Strict)
}

/// The published Hyper-SD files: rank 64, one alpha each, and these layers of the UNet.
fn hyper_sd(fixture: &str) -> Shapes {
    spelled(fixture, |layer| &layer.modules[0]).0
}

/// Such a file with its modules spelled as told, and the weights that they are for.
fn spelled(fixture: &str, module: impl Fn(&Layer) -> &str) -> (Shapes, Vec<String>) {
    let left_out = ["conv_in", "conv_out", "time_embedding", "add_embedding"];
    let (mut shapes, mut weights) = (BTreeMap::new(), Vec::new());
    for layer in keys(fixture) {
        if left_out.iter().any(|part| layer.name.starts_with(part)) {
            continue;
        }
        let (module, shape) = (module(&layer), &layer.shape);
        let up = if shape.len() == 4 { vec![shape[0], 64, 1, 1] } else { vec![shape[0], 64] };
        shapes.insert(format!("{module}.lora_down.weight"), [&[64], &shape[1..]].concat());
        shapes.insert(format!("{module}.lora_up.weight"), up);
        shapes.insert(format!("{module}.alpha"), vec![]);
        weights.push(layer.name);
    }
    weights.sort();
    (Shapes(shapes), weights)
}

fn rejected(result: Result<Merge, Error>) -> Box<LoraReport> {
    match result {
        Err(Error::Unmatched(report) | Error::NothingMatched(report)) => report,
        other => panic!("expected a report of what was not applied, got {other:?}"),
    }
}

#[test]
fn every_module_of_the_hyper_sd_files_finds_its_weight() {
    for (fixture, modules, family) in [("sd15.tsv", 278, Family::Sd1), ("sdxl.tsv", 788, Family::Sdxl)] {
        let (file, want) = spelled(fixture, |layer| &layer.modules[0]);
        assert_eq!(file.0.len(), 3 * modules);
        let merged = over_published(fixture, Arc::new(file)).unwrap();
        assert_eq!(merged.sources[0].touched(), want);
        let report = &merged.reports[0];
        assert_eq!((report.made_for, report.base), (MadeFor::Family(family), Some(family)));
        let said = format!(
            "shapes.safetensors: {modules} of {modules} modules applied\n  \
             unet x 1: {modules} LoRA, rank 64, alpha 64, scale 1"
        );
        assert_eq!(report.to_string(), said);
    }
}

#[test]
fn names_over_stabilitys_blocks_find_the_same_weights_and_mix_with_the_others() {
    for (fixture, family) in [("sd15.tsv", Family::Sd1), ("sdxl.tsv", Family::Sdxl)] {
        for every in [1, 2, 5] {
            let mixed = |layer: &Layer| layer.name.len().is_multiple_of(every);
            let (file, want) = spelled(fixture, |layer| &layer.modules[usize::from(mixed(layer))]);
            let merged = over_published(fixture, Arc::new(file)).unwrap();
            assert_eq!(merged.sources[0].touched(), want);
            assert_eq!(merged.reports[0].made_for, MadeFor::Family(family));
        }
    }
}

#[test]
fn every_layer_is_found_under_both_names() {
    for fixture in ["sd15.tsv", "sdxl.tsv"] {
        for Layer { name, shape, modules } in keys(fixture) {
            for module in modules {
                let file = Shapes([(format!("{module}.diff"), shape.clone())].into());
                let merged = over_published(fixture, Arc::new(file)).unwrap();
                assert_eq!(merged.sources[0].touched(), [name.as_str()]);
            }
        }
    }
}

#[test]
fn one_weight_under_two_names_is_refused() {
    let [diffusers, stability] = ["lora_unet_conv_in", "lora_unet_input_blocks_0_0"];
    let shape = keys("sd15.tsv").into_iter().find(|layer| layer.name == "conv_in.weight").unwrap().shape;
    let file = Shapes([diffusers, stability].map(|module| (format!("{module}.diff"), shape.clone())).into());
    let error = over_published("sd15.tsv", Arc::new(file)).unwrap_err();
    assert!(matches!(error, Error::Module { .. }), "{error}");
    assert!(error.to_string().contains(diffusers) && error.to_string().contains(stability), "{error}");
}

#[test]
fn a_module_whose_bias_has_no_place_is_not_applied_at_all() {
    let base = || memory([("a.weight", some(&[6, 5])), ("b.weight", some(&[6, 5])), ("b.bias", some(&[6]))]);
    let file = memory(["a", "b"].into_iter().flat_map(|module| {
        [("diff", vec![6, 5]), ("diff_b", vec![6])]
            .map(|(piece, shape)| (format!("lora_unet_{module}.{piece}"), some(&shape)))
    }));
    let report = rejected(over(base(), file.clone(), 1.0));
    assert_eq!((report.applied, report.modules), (1, 2));
    assert_eq!(report.unmatched[0].reason, Reason::NoParameter("a.bias".into()));
    let merged = merge(&[unet(base())], &[lora(file, 1.0)], Strictness::Lenient).unwrap();
    assert_eq!(merged.sources[0].touched(), ["b.bias", "b.weight"]);
}

/// As diffusers' own converter has it: factors of an attention's processor, and magnitudes of its layer.
#[test]
fn pieces_of_a_module_under_several_spellings_are_one_module() {
    let base = memory([("b.attn1.to_q.weight", some(&[6, 5]))]);
    let file = memory([
        ("unet.b.attn1.processor.to_q_lora.down.weight", some(&[2, 5])),
        ("unet.b.attn1.processor.to_q_lora.up.weight", some(&[6, 2])),
        ("unet.b.attn1.processor.to_q.lora_magnitude_vector.weight", some(&[6])),
        ("lora_unet_b_attn1_to_q.alpha", some(&[])),
    ]);
    let merged = over(base, file, 1.0).unwrap();
    let said = merged.reports[0].to_string();
    assert!(said.contains("1 of 1 modules applied") && said.contains("1 DoRA, rank 2, alpha 0.25"), "{said}");
}

#[test]
fn the_only_text_encoder_may_be_called_the_first() {
    let base = || memory([("a.weight", some(&[6, 5]))]);
    let file = memory([("lora_te1_a.diff", some(&[6, 5]))]);
    let merged =
        merge(&[network("lora_te_", base())], &[lora(file.clone(), 1.0)], Strictness::Strict).unwrap();
    assert_eq!(merged.sources[0].touched(), ["a.weight"]);
    let both = ["lora_te1_", "lora_te2_"].map(|prefix| network(prefix, base()));
    let merged = merge(&both, &[lora(file, 1.0)], Strictness::Strict).unwrap();
    assert_eq!(merged.sources[1].touched(), [""; 0]);
}

#[test]
fn words_beside_the_modules_are_kept_and_change_nothing() {
    let file = memory([
        ("lora_unet_a.diff", some(&[6, 5])),
        ("bundle_emb.cat.string_to_param.*", some(&[2, 8])),
        ("bundle_emb.dog.clip_l", some(&[1, 8])),
    ]);
    let lora = lora(file, 1.0);
    assert_eq!(lora.file.words().collect::<Vec<_>>(), ["cat", "dog"]);
    assert_eq!(lora.file.word("cat").unwrap().names(), ["string_to_param.*"]);
    assert!(lora.file.word("bird").unwrap_err().to_string().contains("bundle_emb.cat"));
    let merged = merge(&[unet(memory([("a.weight", some(&[6, 5]))]))], &[lora], Strictness::Strict).unwrap();
    assert_eq!((merged.reports[0].applied, merged.reports[0].modules), (1, 1));
}

#[test]
fn each_network_has_its_own_weight() {
    let weights = Weights { unet: 0.5, text_encoder: 2.0, text_encoder_2: 0.0 };
    let bases = ["lora_unet_", "lora_te1_", "lora_te2_"]
        .map(|prefix| network(prefix, memory([("a.weight", some(&[6, 5]))])));
    let names = ["unet.a", "text_encoder.a", "text_encoder_2.a"];
    let file = memory(names.map(|module| (format!("{module}.diff"), some(&[6, 5]))));
    let file = Lora { file: Arc::new(LoraFile::from_source(file).unwrap()), weight: weights };
    let merged = merge(&bases, &[file], Strictness::Strict).unwrap();
    let value = |i: usize| merged.sources[i].tensor("a.weight").unwrap().to_f32()[0];
    assert_eq!([value(0), value(1), value(2)], [0.25 + 0.5 * 0.25, 0.25 + 2.0 * 0.25, 0.25]);
    assert!(merged.sources[2].touched().is_empty());
    let said = merged.reports[0].to_string();
    let want =
        "unet x 0.5: 1 full difference; text encoder 1 x 2: 1 full difference; text encoder 2 x 0: 1 full";
    for part in want.split("; ") {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_lora_for_another_family_is_named_as_such() {
    for (of_base, of_file) in [("sd15.tsv", "sdxl.tsv"), ("sdxl.tsv", "sd15.tsv")] {
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            let file = lora(Arc::new(hyper_sd(of_file)), 1.0);
            let error = merge(&[published(of_base)], &[file], strictness).unwrap_err();
            let Error::Shape(wrong) = &error else { panic!("{error}") };
            assert_ne!(Some(wrong.made_for), wrong.base.map(MadeFor::Family));
            assert!(wrong.count > 1 && wrong.count < wrong.of);
            for family in ["Stable Diffusion XL", "Stable Diffusion 1.x"] {
                assert!(error.to_string().contains(family), "{error}");
            }
        }
    }
}

/// A width says nothing of a family where the base is known to be a small model of one.
#[test]
fn a_small_base_goes_by_its_family() {
    let of = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k";
    let base = |family| Base { family, ..unet(memory([(format!("{of}.weight"), some(&[6, 64]))])) };
    let file = |width, more: &str| {
        memory(["", more].map(|more| (format!("unet.{of}{more}.diff"), some(&[6, width]))))
    };
    let said = |family, file| {
        merge(&[base(family)], &[lora(file, 1.0)], Strictness::Strict).unwrap_err().to_string()
    };
    let known = Some(Family::Sd1);
    let unmatched = said(known, file(64, "_more"));
    assert!(unmatched.contains("1 of 2 modules applied") && !unmatched.contains("made for"), "{unmatched}");
    let unmatched = said(known, file(2048, ""));
    assert!(
        unmatched.contains("made for Stable Diffusion XL, the base is Stable Diffusion 1.x"),
        "{unmatched}"
    );
    let wrong = said(known, file(32, ""));
    assert!(
        wrong.ends_with("a UNet with cross-attention width 32, the base is Stable Diffusion 1.x"),
        "{wrong}"
    );
    let wrong = said(None, file(768, ""));
    assert!(wrong.ends_with("the file looks made for Stable Diffusion 1.x"), "{wrong}");
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
            let error = merge(&[published("sd15.tsv")], &[lora(file.clone(), 1.0)], strictness).unwrap_err();
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
    let error = over_published("sd15.tsv", file).unwrap_err();
    let Error::Shape(wrong) = &error else { panic!("{error}") };
    assert_eq!((wrong.made_for, wrong.base), (MadeFor::Family(Family::Sdxl), Some(Family::Sd1)));
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
    let report = rejected(over_published("sd15.tsv", Arc::new(file)));
    assert_eq!((report.applied, report.modules, report.unmatched.len()), (277, 278, 1));
    let Reason::NoWeight { near } = &report.unmatched[0].reason else { panic!("{report:?}") };
    assert_eq!(near[0], module);
    assert!(report.details().contains(&format!("{module}n (nearest: {module}")), "{}", report.details());
}

#[test]
fn a_module_of_another_form_is_refused_by_name_and_never_applied_in_part() {
    let base = || memory([("a.weight", some(&[6, 5])), ("b.weight", some(&[6, 5]))]);
    for (extra, form) in [
        ("boft_R", "BOFT"),
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
    let report = rejected(over_published("sdxl.tsv", file));
    assert!(report.details().contains("not supported: a transformer's LoRA (FLUX"), "{}", report.details());
}

#[test]
fn long_lists_are_grouped_and_cut() {
    let mut shapes = BTreeMap::new();
    for i in 0..300 {
        shapes.insert(format!("lora_unet_nothing_like_it_{i}.lora_down.weight"), vec![4, 8]);
        shapes.insert(format!("lora_unet_nothing_like_it_{i}.lora_up.weight"), vec![8, 4]);
    }
    let report = rejected(over_published("sd15.tsv", Arc::new(Shapes(shapes))));
    assert_eq!(report.unmatched.len(), 300);
    assert!(report.details().contains("… and 296 more"), "{}", report.details());
    assert!(report.details().lines().count() < 10, "{}", report.details());
}
