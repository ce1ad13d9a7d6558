//! The text encoder against transformers' `CLIPTextModel` and `CLIPTextModelWithProjection`
//! (`reference/clip.py`), and its parameters against the keys of the published files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use burn::tensor::Device;
use hypersd_core::{LoadOptions, Renamed, SafetensorsFile, TensorSource, load};
use hypersd_models::{
    Error,
    clip::{ClipTextConfig, ClipTextModel, IGNORED_TENSORS, canonical_names},
    parameters,
};
use hypersd_testing::{Array, assert_close, device, dtype, fixture, fixtures, tolerance, weights};

/// Relative L2 error of any state in f32: the order of summation differs from PyTorch's, over four layers
/// (6e-7 at most on flex).
const STATES: f64 = 2e-6;

const PACKAGE: &str = "crates/hypersd-models";

fn folder(name: &str) -> PathBuf {
    fixtures(PACKAGE).join(name)
}

fn config(name: &str) -> ClipTextConfig {
    let text = fs::read_to_string(folder("clip").join(name).join("config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn load_encoder(name: &str, config: &ClipTextConfig) -> ClipTextModel {
    let file =
        SafetensorsFile::open(weights(PACKAGE).join("clip").join(name).join("model.safetensors")).unwrap();
    let renames = canonical_names(file.names());
    let source = Renamed::new(file, renames).unwrap();
    let options = LoadOptions { device: device(), dtype: dtype(), ignore: IGNORED_TENSORS };
    load(ClipTextModel::new(config, &device()).unwrap(), &source, &options).unwrap()
}

fn ids(states: &BTreeMap<String, Array>) -> Vec<Vec<u32>> {
    let ids = &states["ids"];
    ids.data.chunks(ids.shape[1]).map(|row| row.iter().map(|&id| id as u32).collect()).collect()
}

#[test]
fn parameters_are_the_keys_of_the_published_files() {
    let encoders =
        [("clip_l", ClipTextConfig::clip_l()), ("openclip_bigg", ClipTextConfig::open_clip_bigg())];
    for (name, config) in encoders {
        let tsv = fs::read_to_string(folder("keys").join(format!("{name}.tsv"))).unwrap();
        let keys: BTreeSet<(String, Vec<usize>)> = tsv
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let columns: Vec<&str> = line.split('\t').collect();
                (
                    columns[0].to_string(),
                    columns[1].split('x').map(|extent| extent.parse().unwrap()).collect(),
                )
            })
            .collect();
        let model = ClipTextModel::new(&config, &device()).unwrap();
        let got: BTreeSet<_> = parameters(&model).into_iter().collect();
        assert_eq!(got, keys, "{name}");
    }
    // Three published counts: 12, 32 and 23 layers.
    let count = |config: &ClipTextConfig| parameters(&ClipTextModel::new(config, &device()).unwrap()).len();
    assert_eq!(count(&ClipTextConfig::clip_l()), 196);
    assert_eq!(count(&ClipTextConfig::open_clip_bigg()), 517);
    assert_eq!(count(&ClipTextConfig::open_clip_h()), 372);
}

#[test]
fn all_states_are_those_of_transformers() {
    for name in ["small_l", "small_g"] {
        let config = config(name);
        let model = load_encoder(name, &config);
        let want = fixture(folder("clip").join(name).join("states.safetensors"));
        let states = model.forward(&ids(&want)).unwrap();

        assert_eq!(states.hidden_states.len(), config.num_hidden_layers + 1);
        let close =
            |what: &str, got, want| assert_close(&format!("{name} {what}"), got, want, tolerance(STATES));
        for (i, state) in states.hidden_states.iter().enumerate() {
            let what = format!("hidden_states.{i}");
            close(&what, state.clone(), &want[&what]);
        }
        close("last_hidden_state", states.last_hidden_state.clone(), &want["last_hidden_state"]);
        for skip in 0..3 {
            let what = format!("clip_skip.{skip}");
            close(&what, model.skip_layers(&states, skip).unwrap(), &want[&what]);
        }
        assert_eq!(states.pooled.is_some(), want.contains_key("pooled"));
        assert_eq!(states.pooled.is_some(), config.with_projection);
    }
}

#[test]
fn the_pooled_state_is_taken_by_either_rule() {
    let want = fixture(folder("clip/small_g/states.safetensors"));
    let ids = ids(&want);
    // The file's historical 2, and an id that stands third in both prompts.
    for (eos_token_id, what) in [(2, "pooled"), (ids[0][2], "pooled_at_third")] {
        let model = load_encoder("small_g", &ClipTextConfig { eos_token_id, ..config("small_g") });
        let pooled = model.forward(&ids).unwrap().pooled.unwrap();
        assert_close(what, pooled, &want[what], tolerance(STATES));
    }
}

#[test]
fn both_forms_of_names_load_strictly() {
    // small_l is saved by transformers 5, without a prefix; small_g with it.
    let names = |name: &str| {
        SafetensorsFile::open(weights(PACKAGE).join("clip").join(name).join("model.safetensors"))
            .unwrap()
            .names()
    };
    assert!(names("small_l").iter().all(|name| !name.starts_with("text_model.")));
    assert_eq!(canonical_names(names("small_l")).len(), names("small_l").len());
    assert!(canonical_names(names("small_g")).is_empty());

    // bigG's projection in a network without one is an error, not a tensor left aside.
    let file = SafetensorsFile::open(weights(PACKAGE).join("clip/small_g/model.safetensors")).unwrap();
    let config = ClipTextConfig { with_projection: false, ..config("small_g") };
    let options = LoadOptions { device: device(), dtype: dtype(), ignore: IGNORED_TENSORS };
    let error = load(ClipTextModel::new(&config, &device()).unwrap(), &file, &options).unwrap_err();
    assert!(error.to_string().contains("text_projection.weight"), "{error}");
}

#[test]
fn ids_without_an_embedding_are_refused() {
    let model = load_encoder("small_l", &config("small_l"));
    for (ids, part) in [
        (vec![], "1 to 77 ids"),
        (vec![vec![]], "1 to 77 ids"),
        (vec![vec![0; 78]], "found 78"),
        (vec![vec![0; 77], vec![0; 76]], "77 ids, as in the first"),
        (vec![vec![95; 77], vec![96; 77]], "ids below 96, found 96"),
        (vec![vec![u32::MAX; 77]], "ids below 96"),
    ] {
        let error = model.forward(&ids).unwrap_err();
        assert!(matches!(error, Error::TokenIds { .. }));
        assert!(error.to_string().contains(part), "{error}");
    }
    let states = model.forward(&[vec![1, 2, 3]]).unwrap();
    assert_eq!(states.last_hidden_state.dims(), [1, 3, 32]);
    assert!(matches!(model.skip_layers(&states, 4), Err(Error::ClipSkip { layers: 3, found: 4 })));
}

#[test]
fn impossible_configurations_are_refused() {
    let config = ClipTextConfig { num_attention_heads: 5, ..ClipTextConfig::clip_l() };
    let error = ClipTextModel::new(&config, &Device::flex()).unwrap_err();
    assert!(error.to_string().contains("a divisor of hidden_size 768"), "{error}");
}
