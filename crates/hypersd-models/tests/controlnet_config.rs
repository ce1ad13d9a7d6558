//! Configurations of ControlNets: what is read, and what is refused.

use hypersd_models::{
    Error,
    controlnet::{ChannelOrder, ControlNet, ControlNetConfig},
    unet::PerLevel,
};
use hypersd_testing::device;
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(value: Value) -> Result<ControlNetConfig, serde_json::Error> {
    serde_json::from_value(value)
}

/// The field that a configuration is refused for, and what it says there.
fn refused(value: Value) -> (String, String) {
    match ControlNet::new(&parse(value).expect("a config of the right form"), &device()) {
        Err(Error::Config { network, field, found, .. }) => {
            assert_eq!(network, "ControlNet");
            (field, found)
        }
        other => panic!("expected a refused configuration, found {:?}", other.map(|_| "a ControlNet")),
    }
}

#[test]
fn absent_fields_have_diffusers_defaults() {
    let config = parse(json!({})).unwrap();
    assert_eq!(config, ControlNetConfig::default());
    assert_eq!(config.pixels_per_latent(), 8);
}

#[test]
fn all_fields_are_read() {
    let config = parse(json!({
        "_class_name": "ControlNetModel",
        "conditioning_embedding_out_channels": [8, 24],
        "controlnet_conditioning_channel_order": "bgr",
        "global_pool_conditions": true,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "block_out_channels": [64, 128],
        "transformer_layers_per_block": [0, 3],
        "cross_attention_dim": 24,
    }))
    .unwrap();
    assert_eq!(config.conditioning_embedding_out_channels, [8, 24]);
    assert_eq!(config.controlnet_conditioning_channel_order, ChannelOrder::Bgr);
    assert!(config.global_pool_conditions);
    assert_eq!(
        config.unet.up_block_types,
        ["UpBlock2D", "CrossAttnUpBlock2D"],
        "they mirror the down blocks"
    );
    assert_eq!(config.unet.transformer_layers_per_block, PerLevel::Each(vec![0, 3]));
    assert_eq!(config.unet.cross_attention_dim, PerLevel::All(24));
    assert_eq!(config.pixels_per_latent(), 2);
    config.validate().unwrap();
}

#[test]
fn other_networks_are_refused_by_name() {
    for class in ["ControlNetUnionModel", "ControlNetXSAdapter", "MultiControlNetModel", "SD3ControlNetModel"]
    {
        let found = format!("{class:?}");
        assert_eq!(refused(json!({ "_class_name": class })), ("_class_name".into(), found));
    }
    // A ControlNet-Union has blocks of its own, but the name comes first.
    let union =
        json!({ "_class_name": "ControlNetUnionModel", "block_out_channels": [], "num_trans_head": 8 });
    assert_eq!(refused(union).0, "_class_name");
}

#[test]
fn what_no_network_can_be_built_from_is_refused() {
    let field = |value: Value| refused(value).0;
    assert_eq!(field(json!({ "conditioning_channels": 4 })), "conditioning_channels");
    for channels in [json!([]), json!([0]), json!([16, 1_u64 << 40]), json!([1, 1, 1, 1, 1, 1, 1, 1, 1])] {
        let value = json!({ "conditioning_embedding_out_channels": channels });
        assert_eq!(field(value), "conditioning_embedding_out_channels");
    }
    assert_eq!(field(json!({ "block_out_channels": [] })), "block_out_channels");
    assert_eq!(field(json!({ "down_block_types": ["AttnDownBlock2D"] })), "down_block_types");
    assert_eq!(field(json!({ "mid_block_type": null })), "mid_block_type");
    assert_eq!(field(json!({ "addition_embed_type": "text" })), "addition_embed_type");
    assert_eq!(field(json!({ "transformer_layers_per_block": [1, 2] })), "transformer_layers_per_block");
}

#[test]
fn a_config_of_the_wrong_form_is_an_error() {
    assert!(parse(json!({ "controlnet_conditioning_channel_order": "rbg" })).is_err());
    assert!(parse(json!({ "conditioning_embedding_out_channels": null })).is_err());
    assert!(parse(json!({ "conditioning_embedding_out_channels": [16, -1] })).is_err());
    assert!(parse(json!({ "global_pool_conditions": "yes" })).is_err());
    assert!(parse(json!({ "block_out_channels": 320 })).is_err());
    assert!(parse(json!([])).is_err());
}

proptest! {
    /// Whatever a config.json says: it builds a network or it is refused; nothing panics.
    #[test]
    fn any_numbers_build_or_are_refused(
        channels in prop::collection::vec((0..6_usize).prop_map(|n| 8 * n), 0..4),
        hint in prop::collection::vec(0..40_usize, 0..10),
        attends in prop::collection::vec(any::<bool>(), 0..4),
        layers in 0..3_usize,
        depth in 0..3_usize,
        heads in 0..9_usize,
        rgb in 0..5_usize,
    ) {
        let types = attends.iter().map(|&attends| if attends { "CrossAttnDownBlock2D" } else { "DownBlock2D" });
        let config = parse(json!({
            "block_out_channels": channels,
            "down_block_types": types.collect::<Vec<_>>(),
            "conditioning_embedding_out_channels": hint,
            "conditioning_channels": rgb,
            "layers_per_block": layers,
            "transformer_layers_per_block": depth,
            "attention_head_dim": heads,
            "norm_num_groups": 8,
        })).unwrap();
        prop_assert!(config.pixels_per_latent() >= 1);
        match ControlNet::new(&config, &device()) {
            Ok(network) => {
                let skips = config.unet.skip_channels().len();
                prop_assert!(hypersd_models::parameters(&network).len() > 2 * skips);
            }
            Err(Error::Config { .. }) => (),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

#[test]
fn published_names_say_which_controlnet_pools() {
    for (name, pools) in [
        ("control_v11e_sd15_shuffle", Some(true)),
        ("control_v11e_sd15_shuffle_fp16", Some(true)),
        ("control_v11p_sd15_canny", Some(false)),
        ("control_sd15_depth", Some(false)),
        ("my-controlnet", None),
    ] {
        assert_eq!(ControlNetConfig::pools_by_name(name), pools, "{name}");
    }
}
