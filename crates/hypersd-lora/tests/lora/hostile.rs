//! Files that are wrong: each a typed error with the file and the module in it, never a panic.

use std::sync::Arc;

use hypersd_core::{Error as CoreError, HostTensor, SharedSource, TensorSource};
use hypersd_lora::{Error, LoraFile, Strictness, merge};
use proptest::prelude::*;

use crate::{Shapes, lora, memory, network, over, some, unet};

const DOWN: &str = "lora_unet_a.lora_down.weight";
const UP: &str = "lora_unet_a.lora_up.weight";
const ALPHA: &str = "lora_unet_a.alpha";

fn base() -> SharedSource {
    memory([("a.weight", some(&[6, 5]))])
}

#[test]
fn modules_that_contradict_themselves_do_not_open() {
    for (tensors, expected) in [
        (vec![(DOWN, some(&[2, 5]))], "a lora_up.weight"),
        (vec![(UP, some(&[6, 2]))], "a lora_down.weight"),
        (vec![(ALPHA, some(&[]))], "a lora_down.weight"),
        (vec![(DOWN, some(&[0, 5])), (UP, some(&[6, 0]))], "[rank, in]"),
        (vec![(DOWN, some(&[2, 0])), (UP, some(&[6, 2]))], "[rank, in]"),
        (vec![(DOWN, some(&[10])), (UP, some(&[6, 2]))], "[rank, in]"),
        (vec![(DOWN, some(&[2, 5, 1])), (UP, some(&[6, 2]))], "[rank, in]"),
        (vec![(DOWN, some(&[2, 5])), (UP, some(&[12]))], "[out, rank]"),
        (vec![(DOWN, some(&[2, 5])), (UP, some(&[6, 3]))], "[out, 2]"),
        (vec![(DOWN, some(&[2, 5])), (UP, some(&[2, 6]))], "[out, 2]"),
        (vec![(DOWN, some(&[2, 5, 3, 3])), (UP, some(&[6, 2, 3, 3]))], "[out, 2]"),
        (vec![(DOWN, some(&[2, 5])), (UP, some(&[6, 2])), (ALPHA, some(&[2]))], "one finite number"),
        (vec![(DOWN, some(&[2, 5])), (UP, some(&[6, 2])), (ALPHA, some(&[1, 1]))], "one finite number"),
        (vec![(DOWN, some(&[2, 5])), (UP, some(&[6, 2])), (ALPHA, some(&[0]))], "one finite number"),
    ] {
        let error = LoraFile::from_source(memory(tensors)).unwrap_err();
        assert!(matches!(&error, Error::Module { module, .. } if module == "lora_unet_a"), "{error}");
        assert!(error.to_string().contains(expected), "{error} does not say {expected:?}");
    }
}

#[test]
fn forms_that_contradict_themselves_do_not_open() {
    for (pieces, expected) in [
        (vec![("hada_w1_a", vec![6, 2]), ("hada_w1_b", vec![2, 5])], "a hada_w2_b"),
        (
            vec![
                ("hada_w1_a", vec![6, 2]),
                ("hada_w1_b", vec![2, 5]),
                ("hada_w2_a", vec![6, 2]),
                ("hada_w2_b", vec![2, 4]),
            ],
            "two products of shape [6, 5]",
        ),
        (vec![("hada_t1", vec![2, 2, 3, 3])], "a hada_w1_b"),
        (vec![("lokr_w1", vec![3, 5])], "a lokr_w2"),
        (vec![("lokr_w1_a", vec![3, 2]), ("lokr_w2", vec![2, 1])], "a lokr_w1_b"),
        (vec![("lokr_w1", vec![3, 5]), ("lokr_w1_b", vec![2, 5]), ("lokr_w2", vec![2, 1])], "its factors"),
        (vec![("lokr_w1", vec![3, 5, 3, 3]), ("lokr_w2", vec![2, 1])], "[out₁, in₁]"),
        (vec![("lokr_w1", vec![0, 5]), ("lokr_w2", vec![2, 1])], "lokr_w1 of shape"),
        (vec![("diff", vec![6, 5, 1])], "diff of shape"),
        (vec![("diff", vec![6, 5]), ("diff_b", vec![6, 1])], "diff_b of shape [out]"),
        (vec![("diff", vec![6, 5]), ("lora_up.weight", vec![6, 2])], "one form"),
        (vec![("diff", vec![6, 5]), ("w_norm", vec![6])], "one diff"),
        (vec![("diff", vec![6, 5]), ("dora_scale", vec![6, 1])], "a magnitude beside factors"),
        (vec![("dora_scale", vec![6, 1])], "a lora_down.weight"),
        (vec![("diff_b", vec![6]), ("dora_scale", vec![6, 1])], "a lora_down.weight"),
        (vec![("lora_up.bias", vec![6])], "a lora_down.weight"),
        (
            vec![
                ("lora_mid.weight", vec![3, 3, 3, 3]),
                ("lora_down.weight", vec![2, 5, 1, 1]),
                ("lora_up.weight", vec![6, 3, 1, 1]),
            ],
            "[rank, 2, kh, kw]",
        ),
        (
            vec![
                ("lora_mid.weight", vec![3, 2, 3, 3]),
                ("lora_down.weight", vec![2, 5, 3, 3]),
                ("lora_up.weight", vec![6, 3, 1, 1]),
            ],
            "[rank, in] for a core",
        ),
        (
            vec![
                ("lora_mid.weight", vec![3, 2, 3, 3]),
                ("lora_down.weight", vec![2, 5, 1, 1]),
                ("lora_up.weight", vec![6, 2, 1, 1]),
            ],
            "[out, 3]",
        ),
        (vec![("lora_down.weight", vec![2, 5]), ("lora_A.weight", vec![2, 5])], "one lora_down.weight"),
        (vec![("lora_A.one.weight", vec![2, 5]), ("lora_A.two.weight", vec![2, 5])], "one lora_down.weight"),
    ] {
        let tensors = pieces.iter().map(|(piece, shape)| (format!("lora_unet_a.{piece}"), some(shape)));
        let error = LoraFile::from_source(memory(tensors)).unwrap_err();
        assert!(matches!(&error, Error::Module { module, .. } if module == "lora_unet_a"), "{error}");
        assert!(error.to_string().contains(expected), "{error} does not say {expected:?}");
    }
}

#[test]
fn small_files_that_ask_for_all_memory_do_not_open() {
    let huge = 1 << 20;
    for pieces in [
        [
            ("lora_mid.weight", vec![huge, 1, 64, 64]),
            ("lora_down.weight", vec![1, huge, 1, 1]),
            ("lora_up.weight", vec![1, huge, 1, 1]),
        ],
        [
            ("lora_mid.weight", vec![1, 1, huge, huge]),
            ("lora_down.weight", vec![1, huge, 1, 1]),
            ("lora_up.weight", vec![1, 1, 1, 1]),
        ],
        [("lokr_w1", vec![huge, huge]), ("lokr_w2", vec![huge, huge]), ("alpha", vec![])],
        [("lokr_w1", vec![1 << 40, 1]), ("lokr_w2", vec![1 << 40, 1]), ("alpha", vec![])],
    ] {
        let shapes = pieces.map(|(piece, shape)| (format!("lora_unet_a.{piece}"), shape));
        let opened = LoraFile::from_source(Arc::new(Shapes(shapes.into())));
        let error = opened.and_then(|file| {
            let file = hypersd_lora::Lora { file: Arc::new(file), weight: 1.0 };
            merge(&[unet(base())], &[file], Strictness::Strict)
        });
        assert!(matches!(error, Err(Error::Module { .. } | Error::Shape(_))), "{error:?}");
    }
}

#[test]
fn a_magnitude_of_another_weight_is_refused() {
    for shape in [vec![5], vec![5, 1], vec![1, 6], vec![6, 5], vec![1, 5, 3, 3]] {
        let file =
            memory([(DOWN, some(&[2, 5])), (UP, some(&[6, 2])), ("lora_unet_a.dora_scale", some(&shape))]);
        let error = over(base(), file, 1.0).unwrap_err();
        assert!(matches!(error, Error::Shape(_)), "{shape:?}: {error}");
    }
}

#[test]
fn pieces_that_are_not_finite_are_found_when_read() {
    let forms: [&[(&str, &[usize])]; 5] = [
        &[("hada_w1_a", &[6, 2]), ("hada_w1_b", &[2, 5]), ("hada_w2_a", &[6, 2]), ("hada_w2_b", &[2, 5])],
        &[("lokr_w1", &[3, 5]), ("lokr_w2_a", &[2, 2]), ("lokr_w2_b", &[2, 1])],
        &[("lora_up.weight", &[6, 2]), ("lora_down.weight", &[2, 5]), ("dora_scale", &[6, 1])],
        &[("lora_up.weight", &[6, 2]), ("lora_down.weight", &[2, 5]), ("lora_mid.weight", &[2, 2, 1, 1])],
        &[("diff", &[6, 5])],
    ];
    for form in forms {
        for (bad, _) in form {
            let tensor = |(piece, shape): &(&str, &[usize])| {
                let mut x = vec![0.5; shape.iter().product()];
                if piece == bad {
                    x[1] = f32::NAN;
                }
                (format!("lora_unet_a.{piece}"), HostTensor::from_f32(*shape, x))
            };
            let merged = over(base(), memory(form.iter().map(tensor)), 1.0).unwrap();
            let error = merged.sources[0].tensor("a.weight").unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("NaN at element 1"), "{error}");
        }
    }
}

#[test]
fn metadata_that_contradicts_the_tensors_does_not_open() {
    let file = || memory([("unet.a.lora_A.weight", some(&[2, 5])), ("unet.a.lora_B.weight", some(&[6, 2]))]);
    let open = |json: &str| {
        let metadata = [("lora_adapter_metadata".to_owned(), json.to_owned())].into();
        LoraFile::with_metadata(file(), &metadata)
    };
    for (json, said) in [
        ("{", "a JSON object"),
        (r#"{"unet.r": 4}"#, "rank 4, as the metadata says"),
        (r#"{"unet.r": 2, "unet.use_dora": true}"#, "a lora_magnitude_vector"),
        (r#"{"unet.lora_alpha": "much"}"#, "LoraConfig"),
    ] {
        let error = open(json).unwrap_err().to_string();
        assert!(error.contains(said), "{json}: {error}");
    }
    assert_eq!(
        open(r#"{"unet.r": 2, "unet.lora_alpha": 3}"#).unwrap().modules()[0].weight.as_ref().unwrap().scale(),
        1.5
    );
}

#[test]
fn an_alpha_that_is_not_finite_does_not_open() {
    for alpha in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let alpha = HostTensor::from_f32([], vec![alpha]);
        let file = memory([(DOWN, some(&[2, 5])), (UP, some(&[6, 2])), (ALPHA, alpha)]);
        let error = LoraFile::from_source(file).unwrap_err();
        assert!(matches!(error, Error::Module { .. }), "{error}");
    }
}

#[test]
fn what_is_no_lora_does_not_open() {
    for tensors in
        [vec![], vec![("conv_in.weight", some(&[2, 2])), ("model.diffusion_model.out.2.bias", some(&[2]))]]
    {
        let error = LoraFile::from_source(memory(tensors)).unwrap_err();
        assert!(matches!(&error, Error::Source(CoreError::Format { .. })), "{error}");
    }
    let missing = LoraFile::open("no-such-lora.safetensors").unwrap_err();
    assert!(matches!(&missing, Error::Source(CoreError::Io { .. })), "{missing}");
    assert!(missing.to_string().contains("no-such-lora.safetensors"), "{missing}");
}

#[test]
fn shapes_beyond_all_memory_are_an_error() {
    let huge = [(DOWN, vec![usize::MAX, usize::MAX]), (UP, vec![6, usize::MAX])];
    let shapes = Shapes(huge.into_iter().map(|(name, shape)| (name.to_owned(), shape)).collect());
    let error = LoraFile::from_source(Arc::new(shapes)).unwrap_err();
    assert!(matches!(error, Error::Module { .. }), "{error}");
}

#[test]
fn factors_that_are_not_finite_are_found_when_read() {
    for (bad, good, shape) in [(DOWN, UP, [2, 5]), (UP, DOWN, [6, 2])] {
        for value in [f32::NAN, f32::INFINITY] {
            let mut elements = vec![0.5; shape.iter().product()];
            elements[7] = value;
            let other = if good == UP { some(&[6, 2]) } else { some(&[2, 5]) };
            let merged =
                over(base(), memory([(bad, HostTensor::from_f32(shape, elements)), (good, other)]), 1.0);
            let error = merged.unwrap().sources[0].tensor("a.weight").unwrap_err();
            assert!(matches!(&error, CoreError::Format { origin, .. } if origin.contains(bad)), "{error}");
            assert!(error.to_string().contains("element 7"), "{error}");
        }
    }
}

#[test]
fn a_sum_beyond_f32_is_an_error() {
    let large = |shape: [usize; 2]| HostTensor::from_f32(shape, vec![1e30; shape.iter().product()]);
    let merged = over(base(), memory([(DOWN, large([2, 5])), (UP, large([6, 2]))]), 1.0).unwrap();
    let error = merged.sources[0].tensor("a.weight").unwrap_err();
    assert!(error.to_string().contains("a.weight"), "{error}");
    assert!(error.to_string().contains("expected finite numbers, found inf"), "{error}");
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let file =
        || memory([(DOWN, some(&[2, 5])), (UP, some(&[6, 2])), (ALPHA, HostTensor::from_f32([], vec![1e9]))]);
    for weight in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let error = over(base(), file(), weight).unwrap_err();
        assert!(
            matches!(&error, Error::Source(CoreError::Argument { argument: "weight", .. })),
            "{weight}: {error}"
        );
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    for (weight, down, up) in [
        (vec![6, 5], vec![2, 4], vec![6, 2]),
        (vec![6, 5], vec![2, 5], vec![5, 2]),
        (vec![6, 5], vec![2, 5, 3, 3], vec![6, 2, 1, 1]),
        (vec![6, 45], vec![2, 5, 3, 3], vec![6, 2, 1, 1]),
        (vec![6, 5, 3, 3], vec![2, 5], vec![6, 2]),
        (vec![6, 5, 3, 3], vec![2, 5, 1, 1], vec![6, 2, 1, 1]),
        (vec![6, 5, 3, 3], vec![2, 3, 3, 5], vec![6, 2, 1, 1]),
        (vec![6, 5, 3, 1], vec![2, 5, 1, 3], vec![6, 2, 1, 1]),
    ] {
        let result =
            over(memory([("a.weight", some(&weight))]), memory([(DOWN, some(&down)), (UP, some(&up))]), 1.0);
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::Shape(wrong) if wrong.expected == weight),
            "{weight:?} {down:?}: {error}"
        );
    }
}

#[test]
fn a_base_with_ambiguous_names_is_refused() {
    let base = memory([("a.b_c.weight", some(&[2, 2])), ("a_b.c.weight", some(&[2, 2]))]);
    let error = over(base, memory([(DOWN, some(&[2, 5])), (UP, some(&[6, 2]))]), 1.0).unwrap_err();
    assert!(error.to_string().contains("lora_unet_a_b_c"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Names and shapes put together at random: opening, merging and reading end in a value or an error.
    #[test]
    fn no_file_panics(
        tensors in prop::collection::vec((
            prop::sample::select(vec!["lora_unet_a", "lora_unet_b", "lora_te_a", "unet.a", "a", "", "."]),
            prop::sample::select(vec![
                ".lora_down.weight", ".lora_down.weight", ".lora_up.weight", ".lora_up.weight", ".alpha",
                ".weight", ".lora_A.weight", ".dora_scale", ".diff", "..", "", ".lora_mid.weight", ".diff_b",
                ".lora_magnitude_vector", ".lora_B.bias", ".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b",
                ".hada_t1", ".hada_t2", ".lokr_w1", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_a",
                ".lokr_w2_b", ".lokr_t2", ".w_norm", ".processor.to_q_lora.down.weight",
            ]),
            prop::collection::vec(0_usize..4, 0..5),
            prop::sample::select(vec![0.0, 1.0, -3.0, f32::MAX, f32::NAN, f32::INFINITY]),
        ), 0..12),
        shape in prop::collection::vec(0_usize..4, 0..5),
        weight in prop::num::f32::ANY,
    ) {
        let file = memory(tensors.into_iter().map(|(module, suffix, shape, value)| {
            let elements = vec![value; shape.iter().product()];
            (format!("{module}{suffix}"), HostTensor::from_f32(shape, elements))
        }));
        let Ok(file) = LoraFile::from_source(file) else { return Ok(()) };
        let loras = [hypersd_lora::Lora { file: Arc::new(file), weight }];
        let source = memory([("a.weight", some(&shape)), ("b.weight", some(&[2, 3]))]);
        let bases = [unet(source.clone()), network("lora_te_", source)];
        let Ok(merged) = merge(&bases, &loras, Strictness::Lenient) else { return Ok(()) };
        for source in &merged.sources {
            for name in source.touched() {
                if let Ok(tensor) = source.tensor(name) {
                    prop_assert!(tensor.to_f32().iter().all(|x| x.is_finite()));
                }
            }
        }
    }

    /// Forms that are complete, with factors of any shape.
    #[test]
    fn no_shapes_panic(
        form in prop::sample::select(vec![
            vec!["lora_up.weight", "lora_down.weight"],
            vec!["lora_up.weight", "lora_down.weight", "lora_mid.weight"],
            vec!["lora_up.weight", "lora_down.weight", "dora_scale"],
            vec!["lora_up.weight", "lora_down.weight", "lora_magnitude_vector", "lora_up.bias"],
            vec!["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"],
            vec!["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"],
            vec!["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "dora_scale"],
            vec!["lokr_w1", "lokr_w2"],
            vec!["lokr_w1", "lokr_w2_a", "lokr_w2_b", "dora_scale"],
            vec!["lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2"],
            vec!["diff", "diff_b"],
        ]),
        shapes in prop::collection::vec(prop::collection::vec(1_usize..3, 1..5), 6),
        value in prop::sample::select(vec![0.0, 1.0, -1e20, f32::MAX, f32::NAN]),
        shape in prop::collection::vec(1_usize..5, 1..5),
    ) {
        let pieces = form.iter().zip(shapes).map(|(piece, shape)| {
            let elements = vec![value; shape.iter().product()];
            (format!("lora_unet_a.{piece}"), HostTensor::from_f32(shape, elements))
        });
        let Ok(file) = LoraFile::from_source(memory(pieces)) else { return Ok(()) };
        let bias = some(&shape[..1]);
        let loras = [hypersd_lora::Lora { file: Arc::new(file), weight: 0.5 }];
        let bases = [unet(memory([("a.weight", some(&shape)), ("a.bias", bias)]))];
        let Ok(merged) = merge(&bases, &loras, Strictness::Strict) else { return Ok(()) };
        for name in merged.sources[0].touched() {
            if let Ok(tensor) = merged.sources[0].tensor(name) {
                prop_assert!(tensor.to_f32().iter().all(|x| x.is_finite()));
            }
        }
    }

    /// Bytes that are no file.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lora.safetensors");
        std::fs::write(&path, bytes).unwrap();
        let error = LoraFile::open(&path).unwrap_err().to_string();
        prop_assert!(error.contains("lora.safetensors"), "{}", error);
    }
}

#[test]
fn the_same_file_twice_counts_twice() {
    let file = lora(memory([(DOWN, some(&[2, 5])), (UP, some(&[6, 2]))]), 1.0);
    let merged = merge(&[unet(base())], &[file.clone(), file], Strictness::Strict).unwrap();
    // 0.25 + 2 · (2 · 0.25 · 0.25)
    assert!(merged.sources[0].tensor("a.weight").unwrap().to_f32().iter().all(|&x| x == 0.5));
}
