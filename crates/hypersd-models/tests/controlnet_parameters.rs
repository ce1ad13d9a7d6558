//! The parameters of the full-size ControlNets are those of the published weight files: all of them, and no others; and
//! a file without a configuration, in diffusers' names or LDM's, gives the same network.

mod controlnet_fixtures;

use std::{collections::BTreeMap, fs, sync::Arc};

use controlnet_fixtures::config;
use hypersd_core::{Dtype, Error, HostTensor, TensorInfo, TensorSource};
use hypersd_models::{
    SingleFile,
    controlnet::{ControlNet, ControlNetConfig},
    parameters,
};
use hypersd_testing::{device, fixtures};

/// Names and shapes, as in a file whose numbers nobody reads.
struct Listed(BTreeMap<String, Vec<usize>>);

impl TensorSource for Listed {
    fn origin(&self) -> String {
        "list".into()
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.0.get(name).map(|shape| TensorInfo { dtype: Dtype::F16, shape: shape.clone() })
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        Err(Error::NoSuchTensor { origin: self.origin(), name: name.into(), near: Vec::new() })
    }
}

/// Rows of diffusers' name, shape and LDM's name.
fn rows(list: &str) -> Vec<(String, Vec<usize>, String)> {
    let text = fs::read_to_string(fixtures("crates/hypersd-models").join(format!("keys/{list}.tsv")))
        .expect("a committed fixture");
    let row = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let shape = columns[1].split('x').map(|n| n.parse().expect("a number")).collect();
        (columns[0].to_string(), shape, columns[2].to_string())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

fn network_parameters(config: &ControlNetConfig) -> BTreeMap<String, Vec<usize>> {
    let network = ControlNet::new(config, &device()).unwrap();
    let all = parameters(&network);
    let count = all.len();
    let named: BTreeMap<_, _> = all.into_iter().collect();
    assert_eq!(named.len(), count, "names are unique");
    named
}

fn inferred(names: impl Iterator<Item = (String, Vec<usize>)>) -> ControlNetConfig {
    let file = SingleFile::read(Arc::new(Listed(names.collect())), None).unwrap();
    ControlNetConfig::from_part(&file.controlnet.expect("a ControlNet")).unwrap()
}

fn assert_published(list: &str, name: &str, count: usize) {
    let rows = rows(list);
    let published: BTreeMap<_, _> =
        rows.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
    assert_eq!(published.len(), count, "rows of {list}");
    assert_eq!(network_parameters(&config(name)), published, "from {name}.json");
    let diffusers = inferred(rows.iter().map(|(name, shape, _)| (name.clone(), shape.clone())));
    assert_eq!(network_parameters(&diffusers), published, "from diffusers' names");
    let ldm = inferred(rows.iter().map(|(_, shape, name)| (name.clone(), shape.clone())));
    assert_eq!(network_parameters(&ldm), published, "from LDM's names");

    let unet = &config(name).unet;
    for inferred in [diffusers, ldm] {
        assert_eq!(inferred.unet.attention_head_dim, unet.attention_head_dim);
        assert_eq!(inferred.unet.cross_attention_dim, unet.cross_attention_dim);
        assert_eq!(inferred.conditioning_embedding_out_channels, [16, 32, 96, 256]);
    }
}

#[test]
fn sd15() {
    assert_published("sd15_controlnet", "sd15", 340);
}

#[test]
fn sdxl_full() {
    assert_published("sdxl_controlnet_full", "sdxl_full", 844);
}

#[test]
fn sdxl_mid() {
    assert_published("sdxl_controlnet_mid", "sdxl_mid", 224);
}

#[test]
fn sdxl_small() {
    assert_published("sdxl_controlnet_small", "sdxl_small", 140);
}

#[test]
fn presets_are_what_diffusers_writes() {
    for (name, preset) in [("sd15", ControlNetConfig::sd15()), ("sdxl_full", ControlNetConfig::sdxl())] {
        let mut written = config(name);
        written.validate().unwrap();
        written.unet.others.clear();
        assert_eq!(written, preset, "{name}");
    }
}

#[test]
fn a_hints_encoder_that_is_not_there_is_an_error() {
    let rows = rows("sd15_controlnet");
    let list = |shape_of_first: Option<Vec<usize>>| {
        let first = "controlnet_cond_embedding.conv_in.weight";
        let mut names: BTreeMap<_, _> =
            rows.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
        let file = SingleFile::read(Arc::new(Listed(names.clone())), None).unwrap();
        let mut part = file.controlnet.expect("a ControlNet");
        match shape_of_first {
            Some(shape) => drop(names.insert(first.into(), shape)),
            None => drop(names.remove(first)),
        }
        part.weights = Arc::new(Listed(names));
        ControlNetConfig::from_part(&part).unwrap_err().to_string()
    };
    let begin = "list, tensor \"controlnet_cond_embedding.conv_in.weight\": expected a convolution's weight, as in \
                 every ControlNet, found ";
    assert_eq!(list(None), format!("{begin}none"));
    assert_eq!(list(Some(vec![16])), format!("{begin}the shape [16]"));
    assert_eq!(list(Some(vec![])), format!("{begin}the shape []"));
    // ControlNets of another kind of control image, and hostile widths.
    let config = "config of the ControlNet: conditioning_";
    assert_eq!(list(Some(vec![16, 4, 3, 3])), format!("{config}channels is 4, expected 3"));
    assert!(list(Some(vec![0, 3, 3, 3])).starts_with(&format!("{config}embedding_out_channels is [0,32,")));
}

/// Networks that are called ControlNet and are others, by a name that only they have.
#[test]
fn other_networks_are_refused_by_their_names() {
    let sd15: BTreeMap<_, _> =
        rows("sd15_controlnet").into_iter().map(|(name, shape, _)| (name, shape)).collect();
    for (name, network) in [
        ("task_embedding", "ControlNet Union"),
        ("down_blocks.0.base_to_ctrl.0.weight", "ControlNet-XS"),
        ("lora_controlnet", "Control-LoRA"),
        ("lllite_unet_input_blocks_4_1.conditioning1.0.weight", "ControlNet-LLLite"),
        ("difference", "the difference to its base"),
    ] {
        let mut names = sd15.clone();
        names.insert(name.into(), vec![1]);
        let error = SingleFile::read(Arc::new(Listed(names)), None).unwrap_err().to_string();
        assert!(error.contains(network) && error.contains("take a"), "{name}: {error}");
    }
}
