//! Whole UNets against diffusers, on tiny networks with random weights (`reference/unet.py`), and what they refuse.

mod common;

use std::collections::BTreeMap;

use common::{config, fixture, loaded, zeros};
use hypersd_models::{
    Error,
    unet::{Conditioning, Context, PerLevel, Residuals, UNet, UNetConfig},
};
use hypersd_testing::{Array, assert_close, device, tolerance};
use proptest::prelude::*;
use serde_json::json;

/// Both sides add in f32 in another order, through some forty layers; 1e-6 is seen.
const F32: f64 = 2e-5;

fn unet(family: &str) -> UNet {
    let config = config(&format!("unet/{family}.json"));
    loaded(UNet::new(&config, &device()).unwrap(), &format!("unet/{family}.safetensors"), &[])
}

fn conditioning(case: &BTreeMap<String, Array>) -> Conditioning {
    let conditioning = Conditioning::new(Context::text(case["context"].tensor()));
    match (case.get("pooled"), case.get("time_ids")) {
        (Some(pooled), Some(ids)) => {
            conditioning.with_added(pooled.tensor(), ids.data.chunks(6).map(<[f32]>::to_vec).collect())
        }
        _ => conditioning,
    }
}

fn residuals(case: &BTreeMap<String, Array>) -> Residuals {
    let down = (0..).map_while(|i| case.get(&format!("residual.down.{i}")));
    Residuals { down: down.map(Array::tensor).collect(), mid: case["residual.mid"].tensor() }
}

fn assert_parity(family: &str) {
    let unet = unet(family);
    // Batch of two at different timesteps, one of them with a fraction.
    let case = fixture(&format!("unet/{family}_even.safetensors"));
    let out = unet.forward(case["x"].tensor(), &case["t"].data, &conditioning(&case), None).unwrap();
    assert_close("out", out, &case["out"], tolerance(F32));

    // Sizes that do not halve evenly, one timestep for all, with and without residuals.
    let case = fixture(&format!("unet/{family}_odd.safetensors"));
    let forward = |residuals: Option<&Residuals>| {
        unet.forward(case["x"].tensor(), &case["t"].data, &conditioning(&case), residuals).unwrap()
    };
    assert_close("odd", forward(None), &case["out"], tolerance(F32));
    assert_close("controlled", forward(Some(&residuals(&case))), &case["controlled"], tolerance(F32));
}

#[test]
fn sd15_is_diffusers() {
    assert_parity("tiny_sd15");
}

#[test]
fn sdxl_is_diffusers() {
    assert_parity("tiny_sdxl");
}

#[test]
fn residuals_scale_and_add() {
    let unet = unet("tiny_sd15");
    let case = fixture("unet/tiny_sd15_odd.safetensors");
    let forward = |residuals: &Residuals| {
        let conditioning = conditioning(&case);
        unet.forward(case["x"].tensor(), &case["t"].data, &conditioning, Some(residuals)).unwrap()
    };
    let nothing = residuals(&case) * 0.0;
    assert_close("scaled to nothing", forward(&nothing), &case["out"], tolerance(F32));
    let halves = residuals(&case) * 0.25 + residuals(&case) * 0.75;
    assert_close("in two parts", forward(&halves), &case["controlled"], tolerance(F32));
}

#[test]
fn a_batch_is_its_pictures_one_after_another() {
    let unet = unet("tiny_sdxl");
    let case = fixture("unet/tiny_sdxl_even.safetensors");
    let picture = |i: usize| {
        let context = Context::text(case["context"].tensor::<3>().narrow(0, i, 1));
        let (pooled, time_ids) =
            (case["pooled"].tensor::<2>().narrow(0, i, 1), &case["time_ids"].data[6 * i..]);
        Conditioning::new(context).with_added(pooled, vec![time_ids[..6].to_vec()])
    };
    let both = picture(0).cat(picture(1)).unwrap();
    assert_eq!(both.batch(), 2);
    let out = unet.forward(case["x"].tensor(), &case["t"].data, &both, None).unwrap();
    assert_close("both", out, &case["out"], tolerance(F32));
}

#[test]
fn every_size_comes_out_as_it_went_in() {
    let unet = unet("tiny_sd15");
    let prompt = Conditioning::new(Context::text(zeros([1, 77, 24])));
    for [h, w] in [[1, 1], [1, 6], [3, 2], [5, 17]] {
        let out = unet.forward(zeros([1, 4, h, w]), &[1.0], &prompt, None).unwrap();
        assert_eq!(out.dims(), [1, 4, h, w]);
    }
}

/// The message of the error that a forward pass ends in.
fn refusal(unet: &UNet, x: [usize; 4], t: &[f32], conditioning: &Conditioning) -> String {
    unet.forward(zeros(x), t, conditioning, None).unwrap_err().to_string()
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let unet = unet("tiny_sd15");
    let with = |context| Conditioning::new(Context::text(zeros(context)));
    let right = with([2, 7, 24]);
    assert_eq!(
        refusal(&unet, [2, 9, 8, 8], &[1.0], &right),
        "x: expected shape [any, 4, any, any], found [2, 9, 8, 8]"
    );
    assert_eq!(
        refusal(&unet, [2, 4, 0, 8], &[1.0], &right),
        "x: expected shape [any, 4, any, any], found [2, 4, 0, 8]"
    );
    assert_eq!(
        refusal(&unet, [2, 4, 8, 8], &[1.0], &with([2, 7, 768])),
        "context: expected shape [2, any, 24], found [2, 7, 768]"
    );
    assert_eq!(
        refusal(&unet, [1, 4, 8, 8], &[1.0], &right),
        "context: expected shape [1, any, 24], found [2, 7, 24]"
    );
    assert_eq!(
        refusal(&unet, [2, 4, 8, 8], &[1.0, 2.0, 3.0], &right),
        "t: expected shape [1] or [2], found [3]"
    );
}

#[test]
fn residuals_of_another_network_are_refused() {
    let unet = unet("tiny_sd15");
    let case = fixture("unet/tiny_sd15_odd.safetensors");
    let refusal = |residuals: &Residuals| {
        unet.forward(case["x"].tensor(), &[1.0], &conditioning(&case), Some(residuals))
            .unwrap_err()
            .to_string()
    };
    let mut few = residuals(&case);
    few.down.pop();
    assert_eq!(refusal(&few), "residuals.down: expected shape 6 tensors, found [5]");
    let mut small = residuals(&case);
    small.down[5] = zeros([1, 32, 2, 4]);
    assert_eq!(refusal(&small), "residuals.down: expected shape [1, 32, 3, 4], found [1, 32, 2, 4]");
    let mut wide = residuals(&case);
    wide.mid = zeros([1, 64, 3, 4]);
    assert_eq!(refusal(&wide), "residuals.mid: expected shape [1, 32, 3, 4], found [1, 64, 3, 4]");
}

#[test]
fn sdxl_needs_its_pooled_prompt_and_numbers() {
    let unet = unet("tiny_sdxl");
    let bare = || Conditioning::new(Context::text(zeros([1, 7, 40])));
    let refused = |conditioning: &Conditioning| refusal(&unet, [1, 4, 8, 8], &[1.0], conditioning);
    assert_eq!(
        refused(&bare()),
        "the added condition (pooled, time_ids) is missing: the network has an add_embedding (SDXL)"
    );
    let with = |pooled, time_ids| refused(&bare().with_added(zeros(pooled), time_ids));
    let row = |count| vec![64.0; count];
    for pooled in [[1, 1280], [1, 68], [1, 19]] {
        let expected = format!("pooled: expected shape [1, 68 less a multiple of 8], found {pooled:?}");
        assert_eq!(with(pooled, vec![row(6)]), expected);
    }
    assert_eq!(with([2, 20], vec![row(6)]), "pooled: expected shape [1, any], found [2, 20]");
    assert_eq!(with([1, 0], vec![row(6)]), "pooled: expected shape [1, any], found [1, 0]");
    let expected = "time_ids: expected shape [1, 6] beside a pooled prompt of 20, found";
    assert_eq!(with([1, 20], vec![]), format!("{expected} [0, 6]"));
    assert_eq!(with([1, 20], vec![row(6); 3]), format!("{expected} [3, 6]"));
    assert_eq!(with([1, 20], vec![row(5)]), format!("{expected} [1, 5]"));
    assert_eq!(with([1, 20], vec![row(6), row(0)]), format!("{expected} [2, 0]"));
}

/// SDXL's refiner has five numbers and a pooled prompt that is as wide as SDXL's.
#[test]
fn the_pooled_prompt_leaves_room_for_as_many_numbers() {
    let unet = unet("tiny_sdxl");
    let case = fixture("unet/tiny_sdxl_even.safetensors");
    // The sinusoid of the first number, 8 wide, handed over as the end of the pooled prompt.
    let angles = |number: f32| [0, 1, 2, 3].map(|i| f64::from(number) * 10_000_f64.powf(-f64::from(i) / 4.0));
    let (pooled, numbers) = (case["pooled"].data.chunks(20), case["time_ids"].data.chunks(6));
    let longer = pooled.zip(numbers.clone()).flat_map(|(pooled, numbers)| {
        let angles = angles(numbers[0]);
        let sinusoid = angles.map(f64::cos).into_iter().chain(angles.map(f64::sin)).map(|x| x as f32);
        pooled.iter().copied().chain(sinusoid).collect::<Vec<_>>()
    });
    let pooled = Array { shape: vec![2, 28], data: longer.collect() };
    let conditioning = Conditioning::new(Context::text(case["context"].tensor()))
        .with_added(pooled.tensor(), numbers.map(|row| row[1..].to_vec()).collect());
    let out = unet.forward(case["x"].tensor(), &case["t"].data, &conditioning, None).unwrap();
    assert_close("out", out, &case["out"], tolerance(F32));
}

#[test]
fn conditionings_of_two_networks_are_not_joined() {
    let sd15 = |context| Conditioning::new(Context::text(zeros(context)));
    let sdxl = |pooled| sd15([1, 7, 40]).with_added(zeros([1, pooled]), vec![vec![64.0; 6]]);
    let refused = |one: Conditioning, other| one.cat(other).unwrap_err().to_string();
    assert_eq!(
        refused(sd15([1, 7, 24]), sd15([2, 7, 40])),
        "context: expected shape [any, 7, 24], found [2, 7, 40]"
    );
    assert_eq!(
        refused(sd15([1, 7, 24]), sd15([1, 77, 24])),
        "context: expected shape [any, 7, 24], found [1, 77, 24]"
    );
    assert_eq!(refused(sdxl(20), sdxl(28)), "pooled: expected shape [any, 20], found [1, 28]");
    for (one, other) in [(sd15([1, 7, 40]), sdxl(20)), (sdxl(20), sd15([1, 7, 40]))] {
        assert!(refused(one, other).ends_with("is missing: one of two conditionings has it"));
    }
}

#[test]
fn presets_are_what_diffusers_writes() {
    for (name, preset) in [("sd15", UNetConfig::sd15()), ("sdxl", UNetConfig::sdxl())] {
        let mut written: UNetConfig = config(&format!("unet/{name}.json"));
        written.validate().unwrap();
        written.others.clear();
        assert_eq!(written, preset, "{name}");
    }
}

#[test]
fn skips_are_counted_as_published() {
    assert_eq!(
        UNetConfig::sd15().skip_channels(),
        [320, 320, 320, 320, 640, 640, 640, 1280, 1280, 1280, 1280, 1280]
    );
    assert_eq!(UNetConfig::sdxl().skip_channels(), [320, 320, 320, 320, 640, 640, 640, 1280, 1280]);
}

/// The field that a configuration with one change is refused for, and what it says.
fn refused(change: impl FnOnce(&mut UNetConfig)) -> (String, String) {
    let mut config = UNetConfig::sdxl();
    change(&mut config);
    match UNet::new(&config, &device()) {
        Err(Error::Config { field, found, .. }) => (field, found),
        other => panic!("expected a refused configuration, found {:?}", other.map(|_| "a UNet")),
    }
}

#[test]
fn configurations_of_other_networks_are_refused() {
    let field = |change: fn(&mut UNetConfig)| refused(change).0;
    assert_eq!(field(|c| c.block_out_channels.clear()), "block_out_channels");
    assert_eq!(field(|c| c.block_out_channels[1] = 650), "block_out_channels");
    assert_eq!(field(|c| c.block_out_channels[2] = usize::MAX & !31), "block_out_channels");
    assert_eq!(field(|c| c.norm_num_groups = 0), "norm_num_groups");
    assert_eq!(field(|c| c.norm_eps = f64::NAN), "norm_eps");
    assert_eq!(field(|c| c.freq_shift = 160.0), "freq_shift");
    assert_eq!(field(|c| (c.norm_num_groups, c.block_out_channels[0]) = (1, 321)), "block_out_channels");
    assert_eq!(field(|c| c.addition_time_embed_dim = Some(255)), "addition_time_embed_dim");
    assert_eq!(field(|c| c.in_channels = 0), "in_channels");
    assert_eq!(field(|c| c.out_channels = 1 << 40), "out_channels");
    assert_eq!(field(|c| c.down_block_types[0] = "AttnDownBlock2D".into()), "down_block_types");
    assert_eq!(field(|c| drop(c.up_block_types.pop())), "up_block_types");
    assert_eq!(field(|c| c.layers_per_block = PerLevel::Each(vec![2, 2])), "layers_per_block");
    assert_eq!(field(|c| c.layers_per_block = PerLevel::All(0)), "layers_per_block");
    assert_eq!(field(|c| c.attention_head_dim = PerLevel::All(7)), "attention_head_dim");
    assert_eq!(field(|c| c.attention_head_dim = PerLevel::All(0)), "attention_head_dim");
    assert_eq!(field(|c| c.cross_attention_dim = PerLevel::Each(vec![8, 8, 9])), "cross_attention_dim");
    assert_eq!(
        field(|c| c.transformer_layers_per_block = PerLevel::All(usize::MAX)),
        "transformer_layers_per_block"
    );
    fn by_site() -> PerLevel {
        PerLevel::EachSite(vec![vec![1], vec![1, 2], vec![1]])
    }
    assert_eq!(field(|c| c.transformer_layers_per_block = by_site()), "reverse_transformer_layers_per_block",);
    assert_eq!(
        field(|c| c.reverse_transformer_layers_per_block = Some(by_site())),
        "reverse_transformer_layers_per_block",
    );
    assert_eq!(field(|c| c.mid_block_type = Some("UNetMidBlock2DSimpleCrossAttn".into())), "mid_block_type");
    assert_eq!(field(|c| c.time_cond_proj_dim = Some(1)), "time_cond_proj_dim");
    assert_eq!(field(|c| c.addition_embed_type = Some("image".into())), "addition_embed_type");
    assert_eq!(field(|c| c.addition_time_embed_dim = None), "addition_time_embed_dim");
    assert_eq!(
        field(|c| c.projection_class_embeddings_input_dim = Some(256)),
        "projection_class_embeddings_input_dim"
    );
}

#[test]
fn features_of_other_networks_are_refused_by_name() {
    let features = [
        ("num_attention_heads", json!(8)),
        ("class_embed_type", json!("projection")),
        ("only_cross_attention", json!(true)),
        ("only_cross_attention", json!([true, false, false])),
        ("act_fn", json!("gelu")),
        ("resnet_out_scale_factor", json!(1.5)),
        ("dual_cross_attention", json!(true)),
        ("encoder_hid_dim_type", json!("ip_image_proj")),
    ];
    for (name, value) in features {
        let shown = value.to_string();
        assert_eq!(refused(|c| drop(c.others.insert(name.into(), value))), (name.into(), shown));
    }
}

#[test]
fn a_config_of_the_wrong_form_is_an_error() {
    let parse = |text: &str| serde_json::from_str::<UNetConfig>(text).map(|_| ());
    assert!(parse(r#"{"block_out_channels": 320}"#).is_err());
    assert!(parse(r#"{"attention_head_dim": "eight"}"#).is_err());
    assert!(parse(r#"{"transformer_layers_per_block": [[[1, 2]]]}"#).is_err());
    assert!(parse(r#"{"in_channels": -4}"#).is_err());
    assert!(parse("{}").is_ok());
}

proptest! {
    /// Whatever a config.json says: it builds a network or it is refused; nothing panics.
    #[test]
    fn any_numbers_build_or_are_refused(
        channels in prop::collection::vec((0..6_usize).prop_map(|n| 8 * n), 2..4),
        heads in prop::collection::vec((0..4_usize).prop_map(|n| 1 << n), 2..4),
        layers in 0..4_usize,
        depth in 0..3_usize,
        groups in (0..5_usize).prop_map(|n| 16 >> n),
        attends in prop::collection::vec(any::<bool>(), 2..4),
        added in prop::option::of((0..20_usize, 0..200_usize)),
    ) {
        let types = |plain: &str, attending: &str| {
            attends.iter().map(|&attends| if attends { attending } else { plain }.to_string()).collect()
        };
        let config = UNetConfig {
            down_block_types: types("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types: types("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels: channels,
            attention_head_dim: PerLevel::Each(heads),
            layers_per_block: PerLevel::All(layers),
            transformer_layers_per_block: PerLevel::All(depth),
            norm_num_groups: groups,
            cross_attention_dim: PerLevel::All(8),
            addition_embed_type: added.map(|_| "text_time".into()),
            addition_time_embed_dim: added.map(|(number, _)| number),
            projection_class_embeddings_input_dim: added.map(|(_, all)| all),
            ..UNetConfig::default()
        };
        match UNet::new(&config, &device()) {
            Ok(unet) => {
                let skips = config.skip_channels();
                prop_assert_eq!(skips.len(), config.levels() * (layers + 1));
                prop_assert!(hypersd_models::parameters(&unet).len() > skips.len());
            }
            Err(Error::Config { .. }) => (),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
