//! What a file holds, from the names and shapes of published files and from files that diffusers has written.

use std::{collections::BTreeMap, fs, path::PathBuf};

use hypersd_core::{
    Family, FileTree, HostTensor, Location, SafetensorsFile, SharedSource, Slots, TensorSource,
    save_safetensors,
};
use hypersd_models::{
    Error, IGNORED, Part, Prediction, SingleFile,
    clip::{ClipTextConfig, ClipTextModel, canonical_names},
    parameters,
    tiny_vae::{self, TinyVaeConfig},
    unet::{PerLevel, UNet, UNetConfig},
    vae::{self, VaeConfig},
};
use hypersd_testing::{device, weights, write_single_file};
use lists::{Row, Shapes, columns, ldm_vae, old_vae, open_clip, rows, shape};
use proptest::prelude::*;

mod lists;

impl Shapes {
    fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn with(mut self, name: &str, shape: &[usize]) -> Self {
        self.0.insert(name.into(), shape.into());
        self
    }

    fn renamed(self, new: impl Fn(&str) -> String) -> Self {
        Self(self.0.into_iter().map(|(name, shape)| (new(&name), shape)).collect())
    }
}

fn sd15() -> Shapes {
    let clip = Shapes::stored(&rows("clip_l", 2));
    Shapes::stored(&rows("sd15_unet", 2)).and(Shapes::stored(&ldm_vae())).and(clip)
}

fn sdxl() -> Shapes {
    let text = Shapes::stored(&rows("clip_l", 3)).and(Shapes::stored(&open_clip()));
    Shapes::stored(&rows("sdxl_unet", 2)).and(Shapes::stored(&ldm_vae())).and(text)
}

fn read(shapes: Shapes) -> SingleFile {
    SingleFile::read(shapes.share(), None).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(shapes: Shapes) -> String {
    let error = SingleFile::read(shapes.share(), None).expect_err("not to be read");
    assert!(matches!(error, Error::Family { .. }), "{error}");
    error.to_string()
}

/// The tensors of a part are the parameters of its network, in their shapes, and nothing else.
fn assert_fills<C>(part: &Part<C>, network: &(impl Slots + Clone)) {
    assert_holds(part, parameters(network));
}

fn assert_holds<C>(part: &Part<C>, parameters: Vec<(String, Vec<usize>)>) {
    let weights = &part.weights;
    let shape = |name: &String| weights.info(name).expect("its own name").shape;
    let got: BTreeMap<_, _> = weights.names().into_iter().map(|name| (name.clone(), shape(&name))).collect();
    assert_eq!(got, parameters.into_iter().collect());
}

fn assert_unet(file: &SingleFile, config: &UNetConfig) {
    let part = file.unet.as_ref().expect("a UNet");
    assert_eq!(part.config, *config);
    assert_fills(part, &UNet::new(config, &device()).unwrap());
}

fn assert_vae(file: &SingleFile, config: &VaeConfig) {
    let part = file.vae.as_ref().expect("a VAE");
    assert_eq!(part.config, *config);
    let halves = [
        parameters(&vae::Encoder::new(config, &device()).unwrap()),
        parameters(&vae::Decoder::new(config, &device()).unwrap()),
    ];
    assert_holds(part, halves.concat());
}

fn assert_text(file: &SingleFile, configs: &[ClipTextConfig]) {
    assert_eq!(file.text_encoders.len(), configs.len());
    for (part, config) in file.text_encoders.iter().zip(configs) {
        assert_eq!(part.config, *config);
        assert_fills(part, &ClipTextModel::new(config, &device()).unwrap());
    }
}

#[test]
fn sd15_checkpoint() {
    let file = read(sd15());
    assert_eq!((file.family, file.prediction), (Some(Family::Sd1), Some(Prediction::Epsilon)));
    assert_unet(&file, &UNetConfig::sd15());
    assert_vae(&file, &VaeConfig::sd15());
    assert_text(&file, &[ClipTextConfig::clip_l()]);
    assert!(file.tiny_vae.is_none() && file.controlnet.is_none());

    // The first files lack the `text_model.`.
    let file = read(sd15().renamed(|name| name.replace(".transformer.text_model.", ".transformer.")));
    assert_text(&file, &[ClipTextConfig::clip_l()]);
}

#[test]
fn sdxl_checkpoint() {
    let file = read(sdxl());
    assert_eq!((file.family, file.prediction), (Some(Family::Sdxl), Some(Prediction::Epsilon)));
    assert_unet(&file, &UNetConfig::sdxl());
    assert_vae(&file, &VaeConfig::sdxl());
    assert_text(&file, &[ClipTextConfig::clip_l(), ClipTextConfig::open_clip_bigg()]);
}

#[test]
fn sdxl_refiner_checkpoint() {
    let bigg = Shapes::stored(&open_clip()).renamed(|name| name.replace("embedders.1", "embedders.0"));
    let unet = Shapes::stored(&rows("sdxl_refiner_unet", 2));
    let file = read(unet.clone().and(Shapes::stored(&ldm_vae())).and(bigg));
    assert_eq!((file.family, file.prediction), (Some(Family::SdxlRefiner), Some(Prediction::Epsilon)));
    let config = UNetConfig {
        block_out_channels: vec![384, 768, 1536, 1536],
        down_block_types: ["", "CrossAttn", "CrossAttn", ""].map(|it| format!("{it}DownBlock2D")).to_vec(),
        up_block_types: ["", "CrossAttn", "CrossAttn", ""].map(|it| format!("{it}UpBlock2D")).to_vec(),
        cross_attention_dim: PerLevel::All(1280),
        attention_head_dim: PerLevel::Each(vec![6, 12, 24, 24]),
        transformer_layers_per_block: PerLevel::Each(vec![1, 4, 4, 4]), // the first has none
        projection_class_embeddings_input_dim: Some(2560),
        ..UNetConfig::sdxl()
    };
    assert_unet(&file, &config);
    assert_vae(&file, &VaeConfig::sdxl());
    assert_text(&file, &[ClipTextConfig::open_clip_bigg()]);
    assert_eq!(read(unet).family, Some(Family::SdxlRefiner));
}

fn sd21_config() -> UNetConfig {
    UNetConfig {
        cross_attention_dim: PerLevel::All(1024),
        attention_head_dim: PerLevel::Each(vec![5, 10, 20, 20]),
        use_linear_projection: true,
        ..UNetConfig::sd15()
    }
}

#[test]
fn sd21_checkpoint_without_the_last_layer_of_its_text_encoder() {
    // OpenCLIP ViT-H is bigG with other numbers: 24 layers, states of 1024 and 4096.
    let narrow = |extent: usize| match extent {
        1280 => 1024,
        3840 => 3072,
        5120 => 4096,
        other => other,
    };
    let layer = |row: &Row| row.stored.split('.').nth(6).and_then(|number| number.parse::<usize>().ok());
    let mut text: Vec<Row> = open_clip();
    text.retain(|row| layer(row).is_none_or(|layer| layer < 24));
    for row in &mut text {
        row.stored = row.stored.replace("conditioner.embedders.1.model.", "cond_stage_model.model.");
        for shape in [&mut row.shape, &mut row.stored_shape] {
            *shape = shape.iter().copied().map(narrow).collect();
        }
    }
    let unet = Shapes::stored(&rows("sd21_unet", 2));
    let file = read(unet.clone().and(Shapes::stored(&ldm_vae())).and(Shapes::stored(&text)));
    assert_eq!((file.family, file.prediction), (Some(Family::Sd2), None), "there are both kinds");
    assert_unet(&file, &sd21_config());
    assert_vae(&file, &VaeConfig::sd15());
    assert_text(&file, &[ClipTextConfig { projection_dim: 1024, ..ClipTextConfig::open_clip_h() }]);

    let alone = read(unet);
    assert_eq!(alone.family, Some(Family::Sd2));
    assert_unet(&alone, &sd21_config());
}

#[test]
fn a_unet_alone_in_three_dialects() {
    for (list, config, family) in
        [("sd15_unet", UNetConfig::sd15(), Family::Sd1), ("sdxl_unet", UNetConfig::sdxl(), Family::Sdxl)]
    {
        let rows = rows(list, 2);
        let bare = Shapes::stored(&rows).renamed(|name| name.replace("model.diffusion_model.", ""));
        for shapes in [Shapes::canonical(&rows), Shapes::stored(&rows), bare] {
            let file = read(shapes);
            assert_eq!(file.family, Some(family));
            assert_unet(&file, &config);
            assert!(file.vae.is_none() && file.text_encoders.is_empty());
        }
    }
}

#[test]
fn numbers_of_a_models_own_unet_stand_where_shapes_say_nothing() {
    let rows = rows("sdxl_unet", 2);
    let own = UNetConfig { addition_time_embed_dim: Some(128), ..UNetConfig::sdxl() };
    let file = SingleFile::read(Shapes::canonical(&rows).share(), Some(&own)).unwrap();
    assert_eq!(file.unet.unwrap().config, own);
}

#[test]
fn a_vae_alone_in_every_dialect() {
    let ldm = Shapes::stored(&ldm_vae());
    let prefixed =
        |prefix: &'static str| ldm.clone().renamed(|name| name.replace("first_stage_model.", prefix));
    let old = old_vae();
    for shapes in [ldm.clone(), prefixed(""), prefixed("vae."), Shapes::canonical(&old), Shapes::stored(&old)]
    {
        let file = read(shapes);
        assert_eq!((file.family, file.prediction), (None, None));
        assert_vae(&file, &VaeConfig::sd15());
    }
}

#[test]
fn controlnets_in_every_dialect() {
    let [cross, plain] = ["CrossAttn", ""];
    let with = |attends: [&str; 3], depths: [usize; 3]| UNetConfig {
        down_block_types: attends.map(|attends| format!("{attends}DownBlock2D")).to_vec(),
        up_block_types: attends.iter().rev().map(|attends| format!("{attends}UpBlock2D")).collect(),
        transformer_layers_per_block: PerLevel::Each(depths.to_vec()),
        ..UNetConfig::sdxl()
    };
    for (list, config, family) in [
        ("sd15_controlnet", UNetConfig::sd15(), Family::Sd1),
        ("sdxl_controlnet_full", UNetConfig::sdxl(), Family::Sdxl),
        ("sdxl_controlnet_mid", with([plain, cross, cross], [1, 0, 1]), Family::Sdxl),
        ("sdxl_controlnet_small", with([plain; 3], [1, 1, 0]), Family::Sdxl),
    ] {
        let rows = rows(list, 2);
        let bare = Shapes::stored(&rows).renamed(|name| name.replace("control_model.", ""));
        for shapes in [Shapes::canonical(&rows), Shapes::stored(&rows), bare] {
            let file = read(shapes);
            let part = file.controlnet.expect("a ControlNet");
            assert_eq!((file.family, &part.config), (Some(family), &config), "{list}");
            let names: Vec<String> = Shapes::canonical(&rows).0.into_keys().collect();
            assert_eq!(part.weights.names(), names, "{list}");
            assert!(file.unet.is_none());
        }
    }
}

/// Published as one file with the model that it was trained on.
#[test]
fn a_controlnet_beside_its_model() {
    let file = read(sd15().and(Shapes::stored(&rows("sd15_controlnet", 2))));
    assert_eq!(file.family, Some(Family::Sd1));
    assert_unet(&file, &UNetConfig::sd15());
    assert_eq!(file.controlnet.expect("a ControlNet").config, UNetConfig::sd15());
}

#[test]
fn taesd_in_diffusers_names() {
    let shapes = columns("taesd").into_iter().map(|columns| (columns[0].clone(), shape(&columns[1])));
    let file = read(Shapes(shapes.collect()));
    let part = file.tiny_vae.expect("a TAESD");
    assert_eq!((file.family, &part.config), (None, &TinyVaeConfig::default()));
    let halves = [
        parameters(&tiny_vae::Encoder::new(&part.config, &device()).unwrap()),
        parameters(&tiny_vae::Decoder::new(&part.config, &device()).unwrap()),
    ];
    assert_holds(&part, halves.concat());
}

#[test]
fn marks_of_a_velocity_model() {
    let file = read(sdxl().with("v_pred", &[0]));
    assert_eq!((file.prediction, file.zero_snr), (Some(Prediction::Velocity), false));
    let file = read(sdxl().with("v_pred", &[0]).with("ztsnr", &[0]));
    assert_eq!((file.prediction, file.zero_snr), (Some(Prediction::Velocity), true));
}

#[test]
fn further_input_channels_are_in_the_configuration() {
    let conv_in = "model.diffusion_model.input_blocks.0.0.weight";
    for channels in [8, 9] {
        let file = read(sd15().with(conv_in, &[320, channels, 3, 3]));
        assert_unet(&file, &UNetConfig { in_channels: channels, ..UNetConfig::sd15() });
    }
}

#[test]
fn families_that_are_none_of_these() {
    assert!(refusal(sdxl().with("edm_mean", &[4])).contains("Playground"));
    for (name, family) in [
        ("double_blocks.0.img_attn.qkv.weight", "FLUX"),
        ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "FLUX"),
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"),
        ("lora_unet_mid_block_resnets_0_conv1.lora_down.weight", "a LoRA"),
        ("unet.conv_in.lora_A.weight", "a LoRA"),
        ("text_model.embeddings.token_embedding.weight", "a text encoder alone"),
        ("embeddings.token_embedding.weight", "a text encoder alone"),
        ("emb_params", "textual inversion"),
        ("difference", "difference to its base"),
    ] {
        let message = refusal(Shapes::default().with(name, &[1]));
        assert!(message.contains(family), "{message}");
    }
}

#[test]
fn every_ignored_tensor_has_a_reason_and_is_passed_over() {
    let mut shapes = sd15();
    for ignored in IGNORED {
        assert!(!ignored.reason.is_empty());
        shapes = shapes.with(&ignored.pattern.replace('*', "model.x"), &[1]);
    }
    shapes = shapes
        .with("cond_stage_model.transformer.text_model.embeddings.position_ids", &[1, 77])
        .with("model_ema.diffusion_modelinput_blocks00weight", &[320, 4, 3, 3]);
    let file = read(shapes);
    assert_unet(&file, &UNetConfig::sd15());
    assert_vae(&file, &VaeConfig::sd15());
    assert_text(&file, &[ClipTextConfig::clip_l()]);
}

#[test]
fn what_nobody_knows_is_never_hidden() {
    // Outside of every network it is named.
    let file = read(sd15().with("model_emma.decay", &[1]).with("epoch", &[]));
    assert_eq!(file.left_over, ["epoch", "model_emma.decay"]);
    // In the place of a network that is not there it is an error at once.
    let error =
        SingleFile::read(sd15().with("control_model.odd", &[1]).share(), None).unwrap_err().to_string();
    assert!(error.contains("control_model.odd"), "{error}");
    // Inside of one the strict loader will see it, under its own name.
    let odd = "model.diffusion_model.input_blocks.1.0.odd.weight";
    let unet = read(sd15().with(odd, &[1])).unet.unwrap();
    assert!(unet.weights.info(odd).is_some());
    let known = parameters(&UNet::new(&unet.config, &device()).unwrap()).len();
    assert_eq!(unet.weights.names().len(), known + 1);
    // And a file without any network says what it has.
    let error =
        SingleFile::read(Shapes::default().with("odd.weight", &[1]).share(), None).unwrap_err().to_string();
    assert!(error.contains("expected a checkpoint") && error.contains("odd.weight"), "{error}");
    let error = SingleFile::read(Shapes::default().share(), None).unwrap_err().to_string();
    assert!(error.contains("no weights"), "{error}");
}

#[test]
fn two_tensors_for_one_parameter_are_an_error() {
    let unet =
        Shapes::stored(&rows("sd15_unet", 2)).renamed(|name| name.replace("model.diffusion_model.", ""));
    let error =
        SingleFile::read(unet.with("conv_in.weight", &[320, 4, 3, 3]).share(), None).unwrap_err().to_string();
    assert!(error.contains("\"conv_in.weight\"") && error.contains("\"input_blocks.0.0.weight\""), "{error}");
}

/// A tiny model of the pipelines' tests, or what is in it.
fn tiny(path: &str) -> PathBuf {
    weights("").join(path)
}

/// The same tensors under the same names, bit for bit.
fn assert_same_tensors(got: &dyn TensorSource, want: &dyn TensorSource) {
    let text = |name: &str| {
        canonical_names([name.to_string()]).first().map_or(name.to_string(), |(new, _)| new.clone())
    };
    let is_text = want.info("encoder.layers.0.layer_norm1.weight").is_some();
    let name = |stored: &str| if is_text { text(stored) } else { stored.to_string() };
    let mut names: Vec<String> = want.names().iter().map(|stored| name(stored)).collect();
    names.sort();
    assert_eq!(got.names(), names);
    for stored in want.names() {
        let (got, want) = (got.tensor(&name(&stored)).unwrap(), want.tensor(&stored).unwrap());
        assert_eq!(got.info(), want.info(), "{stored}");
        assert_eq!(got.to_f32(), want.to_f32(), "{stored}");
    }
}

fn file_and_folder(name: &str) -> (SingleFile, impl Fn(&str) -> SafetensorsFile) {
    let folder = tiny(name);
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&scratch).unwrap();
    let file = SingleFile::open(write_single_file(&folder, &scratch)).unwrap();
    (file, move |weights: &str| SafetensorsFile::open(folder.join(weights)).expect("a committed fixture"))
}

fn config<T: serde::de::DeserializeOwned>(path: &str) -> T {
    let text = fs::read_to_string(tiny(path)).expect("a committed fixture");
    serde_json::from_str(&text).expect("a configuration")
}

/// What diffusers wrote into a configuration and hypersd does not look at is in none that is made from shapes.
fn unet_config(path: &str) -> UNetConfig {
    let config: UNetConfig = config(path);
    UNetConfig { others: BTreeMap::new(), ..config }
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";

#[test]
fn a_small_sd15_file_is_its_folder() {
    let (file, folder) = file_and_folder("tiny-sd15");
    assert_eq!(file.family, Some(Family::Sd1));
    let (unet, vae) = (file.unet.unwrap(), file.vae.unwrap());
    let [text] = <[_; 1]>::try_from(file.text_encoders).unwrap();
    assert_same_tensors(&unet.weights, &folder(UNET));
    assert_same_tensors(&vae.weights, &folder(VAE));
    assert_same_tensors(&text.weights, &folder("text_encoder/model.safetensors"));
    assert_eq!(unet.config, unet_config("tiny-sd15/unet/config.json"));
    let own: VaeConfig = config("tiny-sd15/vae/config.json");
    assert_eq!(vae.config, VaeConfig { block_out_channels: own.block_out_channels, ..VaeConfig::sd15() });
    let projection_dim = text.config.projection_dim; // of a projection that there is not
    let own: ClipTextConfig = config("tiny-sd15/text_encoder/config.json");
    assert_eq!(text.config, ClipTextConfig { projection_dim, ..own });
}

#[test]
fn a_small_sdxl_file_is_its_folder() {
    let (file, folder) = file_and_folder("tiny-sdxl");
    assert_eq!(file.family, Some(Family::Sdxl));
    let (unet, vae) = (file.unet.unwrap(), file.vae.unwrap());
    let [text, text_2] = <[_; 2]>::try_from(file.text_encoders).unwrap();
    assert_same_tensors(&unet.weights, &folder(UNET));
    assert_same_tensors(&vae.weights, &folder(VAE));
    assert_same_tensors(&text.weights, &folder("text_encoder/model.safetensors"));
    assert_same_tensors(&text_2.weights, &folder("text_encoder_2/model.safetensors"));
    let heads = PerLevel::All(1); // diffusers writes [1, 1, 1]
    let own = unet_config("tiny-sdxl/unet/config.json");
    assert_eq!(own.attention_head_dim, PerLevel::Each(vec![1; 3]));
    assert_eq!(unet.config, UNetConfig { attention_head_dim: heads, ..own.clone() });
    let own_vae: VaeConfig = config("tiny-sdxl/vae/config.json");
    assert_eq!(vae.config, VaeConfig { block_out_channels: own_vae.block_out_channels, ..VaeConfig::sdxl() });
    assert_eq!(text.config, config("tiny-sdxl/text_encoder/config.json"));
    assert_eq!(text_2.config, config("tiny-sdxl/text_encoder_2/config.json"));

    // A UNet alone does not tell the widths of its numbers; the model that it is for does.
    let alone = SingleFile::open_for(tiny("tiny-sdxl-1step-unet.safetensors"), Some(&own)).unwrap();
    assert_eq!(alone.unet.unwrap().config, unet.config);
}

/// A GGUF file of these tensors, in f32.
fn gguf(tensors: &BTreeMap<String, HostTensor<'static>>) -> Vec<u8> {
    let (mut header, mut data) = (Vec::new(), Vec::new());
    for (name, tensor) in tensors {
        header.extend((name.len() as u64).to_le_bytes());
        header.extend(name.as_bytes());
        header.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|&extent| header.extend((extent as u64).to_le_bytes()));
        header.extend(0_u32.to_le_bytes());
        header.extend((data.len() as u64).to_le_bytes());
        tensor.to_f32().iter().for_each(|x| data.extend(x.to_le_bytes()));
        data.resize(data.len().next_multiple_of(32), 0);
    }
    let counts = [tensors.len() as u64, 0].map(u64::to_le_bytes).concat();
    let mut file = [b"GGUF\x03\0\0\0".as_slice(), &counts, &header].concat();
    file.resize(file.len().next_multiple_of(32), 0);
    [file, data].concat()
}

#[test]
fn a_small_sdxl_file_as_stable_diffusion_cpp_names_it_is_its_folder() {
    let folder = tiny("tiny-sdxl");
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sdxl-ggml");
    fs::create_dir_all(&scratch).unwrap();
    let whole = SafetensorsFile::open(write_single_file(&folder, &scratch)).unwrap();
    let text_2 = SafetensorsFile::open(folder.join("text_encoder_2/model.safetensors")).unwrap();
    let mut tensors = BTreeMap::new();
    for name in whole.names().iter().filter(|name| !name.starts_with("conditioner.embedders.1.")) {
        let renamed = name.replace("conditioner.embedders.0.", "cond_stage_model.");
        tensors.insert(renamed, whole.tensor(name).unwrap().into_owned());
    }
    for name in text_2.names() {
        let tensor = text_2.tensor(&name).unwrap().into_owned();
        let (name, tensor) = match name.as_str() {
            "text_projection.weight" => {
                let (x, [rows, columns]) = (tensor.to_f32(), [tensor.shape[0], tensor.shape[1]]);
                let turned = (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect();
                ("text_model.text_projection".into(), HostTensor::from_f32([columns, rows], turned))
            }
            name if name.starts_with("text_model.") => (name.to_string(), tensor),
            name => (format!("text_model.{name}"), tensor),
        };
        tensors.insert(format!("cond_stage_model.1.transformer.{name}"), tensor);
    }
    let file = SingleFile::open(Location::of_bytes("x.gguf", gguf(&tensors))).unwrap();
    assert_eq!(file.family, Some(Family::Sdxl));
    let (want, _) = file_and_folder("tiny-sdxl");
    let pairs = [
        (file.unet.unwrap().weights, want.unet.unwrap().weights),
        (file.vae.unwrap().weights, want.vae.unwrap().weights),
    ];
    let text = file.text_encoders.into_iter().zip(want.text_encoders).map(|(got, want)| {
        assert_eq!(got.config, want.config);
        (got.weights, want.weights)
    });
    for (got, want) in pairs.into_iter().chain(text) {
        assert_eq!(got.names(), want.names());
        for name in want.names() {
            let (got, want) = (got.tensor(&name).unwrap(), want.tensor(&name).unwrap());
            assert_eq!((&got.shape, got.to_f32()), (&want.shape, want.to_f32()), "{name}");
        }
    }
}

/// The numbers that the original TAESD gives the layers of a half.
fn original(source: &SafetensorsFile, half: &str, shift: usize) -> BTreeMap<String, HostTensor<'static>> {
    let prefix = format!("{half}.layers.");
    let own =
        source.names().into_iter().filter_map(|name| Some((name.strip_prefix(&prefix)?.to_string(), name)));
    own.map(|(rest, name)| {
        let (index, leaf) = rest.split_once('.').expect("a layer's tensor");
        let index = index.parse::<usize>().expect("a number") + shift;
        (format!("{index}.{leaf}"), source.tensor(&name).unwrap().into_owned())
    })
    .collect()
}

#[test]
fn the_two_files_of_a_taesd() {
    let source = SafetensorsFile::open(tiny("tiny-taesd/diffusion_pytorch_model.safetensors")).unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("taesd");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let (encoder, decoder) =
        (folder.join("taesd_encoder.safetensors"), folder.join("taesd_decoder.safetensors"));
    let write = |path: &PathBuf, tensors: &BTreeMap<String, HostTensor<'static>>| {
        save_safetensors(path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    };
    write(&decoder, &original(&source, "decoder", 1));
    let lonely = SingleFile::open(&decoder).unwrap_err().to_string();
    assert!(
        lonely.contains("decoder of a TAESD alone") && lonely.contains("taesd_encoder.safetensors"),
        "{lonely}"
    );

    write(&encoder, &original(&source, "encoder", 0));
    let [in_encoder, in_decoder] = [&encoder, &decoder].map(|path| fs::read(path).unwrap());
    let alone = Location::of_bytes("taesd_decoder.safetensors", in_decoder.clone());
    let lonely_bytes = SingleFile::open(alone).unwrap_err().to_string();
    assert_eq!(lonely_bytes, lonely.replace(&format!("{}/", folder.display()), ""));
    let pair = FileTree::new("given").with("taesd_encoder.safetensors", in_encoder);
    let pair = Location::from(pair.with("taesd_decoder.safetensors", in_decoder));
    let given = ["taesd_encoder.safetensors", "taesd_decoder.safetensors"].map(|name| pair.join(name));
    for half in given.into_iter().chain([&encoder, &decoder].map(Location::from)) {
        let part = SingleFile::open(half).unwrap().tiny_vae.expect("a TAESD");
        assert_eq!(part.config, config("tiny-taesd/config.json"));
        assert_same_tensors(&part.weights, &source);
    }

    fs::copy(&decoder, &encoder).unwrap();
    let twice = SingleFile::open(&decoder).unwrap_err().to_string();
    assert!(twice.contains("expected the encoder of a TAESD"), "{twice}");
    let unnamed = folder.join("half.safetensors");
    fs::rename(&decoder, &unnamed).unwrap();
    let unnamed = SingleFile::open(&unnamed).unwrap_err().to_string();
    assert!(unnamed.contains("taesd_decoder.safetensors"), "{unnamed}");
}

/// Extents that a damaged or hostile file may claim.
fn any_shape() -> impl Strategy<Value = Vec<usize>> {
    let extent = prop_oneof![
        Just(0),
        Just(1),
        Just(3),
        Just(9),
        Just(64),
        Just(320),
        Just(usize::MAX),
        any::<usize>()
    ];
    prop::collection::vec(extent, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is missing from a checkpoint, and whatever shapes the rest has, the answer is a value or an error.
    #[test]
    fn damaged_checkpoints_never_panic(
        which in 0_usize..4,
        keep in 0.0_f64..=1.0,
        seed in any::<u64>(),
        odd in prop::collection::vec((any::<prop::sample::Index>(), any_shape()), 0..12),
    ) {
        let mut shapes = match which {
            0 => sd15(),
            1 => sdxl(),
            2 => Shapes::canonical(&rows("sdxl_controlnet_mid", 2)),
            _ => Shapes::stored(&old_vae()),
        };
        let names: Vec<String> = shapes.names();
        for (index, shape) in odd {
            shapes = shapes.with(index.get::<String>(&names), &shape);
        }
        // A fixed order of pseudo-random numbers (splitmix64), one for each name.
        let mut state = seed;
        shapes.0.retain(|_, _| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed >> 11) as f64 / (1_u64 << 53) as f64) < keep
        });
        let source: SharedSource = shapes.share();
        if let Ok(file) = SingleFile::read(source, None) {
            // What is accepted can be built: the rest is for the strict loader to say.
            if let Some(part) = file.unet {
                UNet::new(&part.config, &device()).unwrap();
            }
        }
    }

    /// Names that are nearly right, with any shapes.
    #[test]
    fn made_up_names_never_panic(
        tensors in prop::collection::btree_map(
            "(model\\.diffusion_model\\.|first_stage_model\\.|cond_stage_model\\.model\\.|control_model\\.|)\
             (input_blocks|output_blocks|encoder\\.down|encoder\\.layers|transformer\\.resblocks|token_embedding|input_hint_block|mid_block)\
             \\.?[0-9]{0,20}\\.?(0|1|block|conv|attentions)?\\.?(0\\.)?(op\\.|norm\\.|ln_1\\.|)(weight|bias|in_proj_weight)",
            any_shape(),
            1..40,
        ),
        signature in prop::sample::select(vec![
            "model.diffusion_model.input_blocks.0.0.weight",
            "input_hint_block.0.weight",
            "time_embedding.linear_1.weight",
            "encoder.layers.0.weight",
            "encoder.down.0.block.0.conv1.weight",
            "cond_stage_model.model.token_embedding.weight",
            "conditioner.embedders.1.model.token_embedding.weight",
        ]),
        shape in any_shape(),
    ) {
        let _ = SingleFile::read(Shapes(tensors).with(signature, &shape).share(), None);
    }
}
