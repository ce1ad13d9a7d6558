//! Every row of the published lists of names, in both directions.

use std::collections::{BTreeMap, BTreeSet};

use hypersd_core::{Slots, TensorSource, View};
use hypersd_models::{
    clip::{ClipTextConfig, ClipTextModel},
    keys::{self, KeyTable},
    parameters,
    tiny_vae::{self, TinyVaeConfig},
    unet::{PerLevel, UNet, UNetConfig},
    vae::{self, VaeConfig},
};
use hypersd_testing::device;
use lists::{Row, Shapes, columns, ldm_vae, old_vae, open_clip, rows, shape};

mod lists;

/// The rows with the prefix of their place in a checkpoint taken off.
fn bare(mut rows: Vec<Row>, prefix: &str) -> Vec<Row> {
    for row in &mut rows {
        row.stored = row.stored.strip_prefix(prefix).expect("a name in its place").into();
    }
    rows
}

/// Asserts that the table says what the rows say, from each side, and that a source of the stored tensors becomes one
/// of the parameters: all of them, in their shapes, and nothing else.
fn assert_table(table: &KeyTable, rows: &[Row], count: usize) {
    assert_eq!(rows.len(), count, "rows of the list");
    let mut holders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in rows {
        assert_eq!(table.stored(&row.name), Some((row.stored.clone(), row.view)), "{}", row.name);
        holders.entry(&row.stored).or_default().insert(&row.name);
    }
    for (stored, names) in holders {
        let canonical = table.canonical(stored);
        let got: BTreeSet<&str> = canonical.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((got, canonical.len()), (names.clone(), names.len()), "{stored}");
    }
    let stored = Shapes::stored(rows);
    let names = stored.names();
    let applied = table.apply(&stored.share(), "", names).expect("a table that fits");
    assert_eq!(shapes(&applied), Shapes::canonical(rows).0);
}

fn shapes(source: &dyn TensorSource) -> BTreeMap<String, Vec<usize>> {
    let shape = |name: &String| source.info(name).expect("its own name").shape;
    source.names().into_iter().map(|name| (name.clone(), shape(&name))).collect()
}

/// The names in the list are those of the network that the table was made for.
fn assert_module(network: &(impl Slots + Clone), rows: &[Row]) {
    assert_parameters(parameters(network), rows);
}

fn assert_parameters(own: Vec<(String, Vec<usize>)>, rows: &[Row]) {
    let own: BTreeMap<_, _> = own.into_iter().collect();
    assert_eq!(own, Shapes::canonical(rows).0);
}

fn assert_unet(list: &str, config: &UNetConfig, count: usize) {
    let rows = bare(rows(list, 2), "model.diffusion_model.");
    let layout = keys::unet::Layout::of(config).expect("levels alike");
    assert_table(&keys::unet::ldm(&layout), &rows, count);
    assert_module(&UNet::new(config, &device()).unwrap(), &rows);
    let stored = Shapes::stored(&rows);
    assert_eq!(keys::unet::Layout::read(|name| stored.0.contains_key(name)), layout);
}

#[test]
fn unets() {
    let each = |numbers: &[usize]| PerLevel::Each(numbers.to_vec());
    let [cross, plain] = ["CrossAttnDownBlock2D", "DownBlock2D"];
    let [cross_up, plain_up] = ["CrossAttnUpBlock2D", "UpBlock2D"];
    let sd21 = UNetConfig {
        cross_attention_dim: PerLevel::All(1024),
        attention_head_dim: each(&[5, 10, 20, 20]),
        use_linear_projection: true,
        ..UNetConfig::sd15()
    };
    let refiner = UNetConfig {
        block_out_channels: vec![384, 768, 1536, 1536],
        down_block_types: [plain, cross, cross, plain].map(String::from).to_vec(),
        up_block_types: [plain_up, cross_up, cross_up, plain_up].map(String::from).to_vec(),
        cross_attention_dim: PerLevel::All(1280),
        attention_head_dim: each(&[6, 12, 24, 24]),
        transformer_layers_per_block: PerLevel::All(4),
        projection_class_embeddings_input_dim: Some(2560),
        ..UNetConfig::sdxl()
    };
    assert_unet("sd15_unet", &UNetConfig::sd15(), 686);
    assert_unet("sdxl_unet", &UNetConfig::sdxl(), 1680);
    assert_unet("sd21_unet", &sd21, 686);
    assert_unet("sdxl_refiner_unet", &refiner, 1220);
}

#[test]
fn levels_of_different_depth_have_no_ldm_names() {
    let uneven = UNetConfig { layers_per_block: PerLevel::Each(vec![2, 2, 1, 2]), ..UNetConfig::sd15() };
    assert_eq!(keys::unet::Layout::of(&uneven), None);
}

#[test]
fn upsamplers_come_behind_the_attention() {
    for (config, numbers) in [
        (UNetConfig::sd15(), ["2.1", "5.2", "8.2"].as_slice()),
        (UNetConfig::sdxl(), ["2.2", "5.2"].as_slice()),
    ] {
        let table = keys::unet::ldm(&keys::unet::Layout::of(&config).unwrap());
        for (block, number) in numbers.iter().enumerate() {
            let (stored, _) = table.stored(&format!("up_blocks.{block}.upsamplers.0.conv.bias")).unwrap();
            assert_eq!(stored, format!("output_blocks.{number}.conv.bias"));
        }
    }
}

#[test]
fn controlnets() {
    for (list, config, count) in [
        ("sd15_controlnet", UNetConfig::sd15(), 340),
        ("sdxl_controlnet_full", UNetConfig::sdxl(), 844),
        ("sdxl_controlnet_mid", UNetConfig::sdxl(), 224),
        ("sdxl_controlnet_small", UNetConfig::sdxl(), 140),
    ] {
        let layout = keys::unet::Layout::of(&config).unwrap();
        assert_table(&keys::controlnet::ldm(&layout), &bare(rows(list, 2), "control_model."), count);
    }
}

#[test]
fn vaes() {
    let config = VaeConfig::sd15();
    let rows = bare(ldm_vae(), "first_stage_model.");
    let layout = keys::vae::Layout::of(&config);
    assert_table(&keys::vae::ldm(&layout), &rows, 248);
    let halves = [
        parameters(&vae::Encoder::new(&config, &device()).unwrap()),
        parameters(&vae::Decoder::new(&config, &device()).unwrap()),
    ];
    assert_parameters(halves.concat(), &rows);
    let stored = Shapes::stored(&rows);
    assert_eq!(keys::vae::Layout::read(|name| stored.0.contains_key(name)), layout);

    let old = old_vae();
    assert_eq!(old.iter().filter(|row| row.stored != row.name).count(), 16, "both halves' four layers");
    assert_table(&keys::vae::old_diffusers(), &old, 248);
    // Some of them have the attention's matrices as 1x1 convolutions.
    let mut convolutions = old;
    for row in &mut convolutions {
        if row.view == View::Matrix && row.shape.len() == 2 {
            row.stored_shape = [row.shape.as_slice(), &[1, 1]].concat();
        }
    }
    assert_table(&keys::vae::old_diffusers(), &convolutions, 248);
}

#[test]
fn clip_l() {
    let model = ClipTextModel::new(&ClipTextConfig::clip_l(), &device()).unwrap();
    for (column, prefix) in
        [(2, "cond_stage_model.transformer."), (3, "conditioner.embedders.0.transformer.")]
    {
        let rows = bare(rows("clip_l", column), prefix);
        assert_table(&keys::clip::transformers(false), &rows, 196);
        assert_module(&model, &rows);
        assert_table(&keys::clip::transformers(true), &bare(rows, "text_model."), 196);
    }
}

#[test]
fn open_clip_bigg() {
    let mut rows = bare(open_clip(), "conditioner.embedders.1.model.");
    let stored = Shapes::stored(&rows);
    let layout = keys::open_clip::Layout::read(|name| stored.0.contains_key(name));
    assert_eq!(layout, keys::open_clip::Layout { layers: 32, bare_projection: true });
    assert_table(&keys::open_clip::open_clip(&layout), &rows, 517);
    assert_module(&ClipTextModel::new(&ClipTextConfig::open_clip_bigg(), &device()).unwrap(), &rows);

    // Some files have the projection as transformers keeps it.
    let projection = rows.iter_mut().find(|row| row.view == View::Transposed).expect("the projection");
    projection.stored = "text_projection.weight".into();
    projection.view = View::Whole;
    let layout = keys::open_clip::Layout { bare_projection: false, ..layout };
    assert_table(&keys::open_clip::open_clip(&layout), &rows, 517);
}

#[test]
fn taesd() {
    let table = [keys::tiny_vae::encoder(), keys::tiny_vae::decoder()];
    let mut all = Vec::new();
    for (file, table) in ["taesd_encoder.safetensors", "taesd_decoder.safetensors"].iter().zip(table) {
        let columns = columns("taesd").into_iter().filter(|columns| columns[2] == *file);
        let row = |columns: Vec<String>| {
            let shape = shape(&columns[1]);
            let (name, stored) = (columns[0].clone(), columns[3].clone());
            Row { name, stored, stored_shape: shape.clone(), shape, view: View::Whole }
        };
        let rows: Vec<Row> = columns.map(row).collect();
        assert_table(&table, &rows, 67);
        all.extend(rows);
    }
    let config = TinyVaeConfig::default();
    let halves = [
        parameters(&tiny_vae::Encoder::new(&config, &device()).unwrap()),
        parameters(&tiny_vae::Decoder::new(&config, &device()).unwrap()),
    ];
    assert_parameters(halves.concat(), &all);
}
