//! What the integration tests of ControlNets share. Their fixtures lie beside those of the control images.

use std::{fs, path::PathBuf};

use hypersd_models::controlnet::ControlNetConfig;

/// The path of a committed fixture.
pub(crate) fn path(name: &str) -> PathBuf {
    hypersd_testing::fixtures("crates/hypersd-controlnet").join(name)
}

/// A configuration that diffusers has written.
pub(crate) fn config(name: &str) -> ControlNetConfig {
    let text = fs::read_to_string(path(&format!("{name}.json"))).expect("a committed fixture");
    serde_json::from_str(&text).expect("a valid configuration")
}
