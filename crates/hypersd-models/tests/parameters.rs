//! The parameters of the full-size networks are those of the published weight files: all of them, and no others.

use std::{collections::BTreeMap, fs};

use hypersd_core::Slots;
use hypersd_models::{
    parameters,
    tiny_vae::{self, TinyVaeConfig},
    unet::{UNet, UNetConfig},
    vae::{self, VaeConfig},
};
use hypersd_testing::device;

/// Compares with a list of `name TAB 320x4x3x3 TAB ...`.
fn assert_parameters(network: &(impl Slots + Clone), list: &str, count: usize) {
    assert_published(parameters(network), list, count);
}

fn assert_published(own: Vec<(String, Vec<usize>)>, list: &str, count: usize) {
    let path = format!("{}/tests/fixtures/keys/{list}.tsv", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).expect("a committed fixture");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let published: BTreeMap<&str, &str> = rows
        .map(|line| {
            let mut columns = line.split('\t');
            (columns.next().expect("a name"), columns.next().expect("a shape"))
        })
        .collect();
    assert_eq!(published.len(), count, "rows of {list}");

    let own: Vec<(String, String)> = own
        .into_iter()
        .map(|(name, shape)| (name, shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")))
        .collect();
    assert_eq!(own.len(), count, "parameters beside {list}");
    let own: BTreeMap<&str, &str> = own.iter().map(|(name, shape)| (name.as_str(), shape.as_str())).collect();
    for (name, shape) in &published {
        assert_eq!(own.get(name), Some(shape), "{list}: {name}");
    }
    for name in own.keys() {
        assert!(published.contains_key(name), "{list} has no {name}");
    }
}

#[test]
fn sd15_unet() {
    assert_parameters(&UNet::new(&UNetConfig::sd15(), &device()).unwrap(), "sd15_unet", 686);
}

#[test]
fn sdxl_unet() {
    assert_parameters(&UNet::new(&UNetConfig::sdxl(), &device()).unwrap(), "sdxl_unet", 1680);
}

#[test]
fn vae() {
    for config in [VaeConfig::sd15(), VaeConfig::sdxl()] {
        let mut both = parameters(&vae::Encoder::new(&config, &device()).unwrap());
        both.extend(parameters(&vae::Decoder::new(&config, &device()).unwrap()));
        assert_published(both, "sd_vae", 248);
    }
}

#[test]
fn taesd() {
    let config = TinyVaeConfig::default();
    let mut both = parameters(&tiny_vae::Encoder::new(&config, &device()).unwrap());
    both.extend(parameters(&tiny_vae::Decoder::new(&config, &device()).unwrap()));
    assert_published(both, "taesd", 134);
}
