#![doc = include_str!("../README.md")]

use hypersd_core::{FileTree, Location};

/// A prompt that the model was made for.
pub const PROMPT: &str = "a red mushroom in the meadow by day";

/// The model: a folder in diffusers' layout.
#[must_use]
pub fn model() -> Location {
    FILES.iter().fold(FileTree::new("demo"), |tree, (path, bytes)| tree.with(*path, *bytes)).into()
}

/// The LoRA that draws in one to eight steps, by the recipe `hyper-sd15-unified`.
#[must_use]
pub fn hyper_lora() -> Location {
    model().join("hyper-lora.safetensors")
}

/// The ControlNet: a component's folder. It was trained on Canny's edges with the thresholds 100 and 200.
#[must_use]
pub fn controlnet() -> Location {
    model().join("controlnet")
}

/// `include_bytes!` alone may put a file anywhere, and a tensor that is not aligned is copied when it is read.
#[repr(align(64))]
struct Aligned<B: ?Sized>(B);

/// The bytes of a file of the crate, aligned. Of a `const`, every use may be a copy.
macro_rules! file {
    ($path:literal) => {{
        static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!("../", $path)));
        &FILE.0
    }};
}

/// All files, by their place in the model's folder, which LoRA and ControlNet are in too.
static FILES: &[(&str, &[u8])] = &[
    ("model_index.json", file!("model/model_index.json")),
    ("scheduler/scheduler_config.json", file!("model/scheduler/scheduler_config.json")),
    ("text_encoder/config.json", file!("model/text_encoder/config.json")),
    ("text_encoder/model.safetensors", file!("model/text_encoder/model.safetensors")),
    ("tokenizer/merges.txt", file!("model/tokenizer/merges.txt")),
    ("tokenizer/special_tokens_map.json", file!("model/tokenizer/special_tokens_map.json")),
    ("tokenizer/tokenizer_config.json", file!("model/tokenizer/tokenizer_config.json")),
    ("tokenizer/vocab.json", file!("model/tokenizer/vocab.json")),
    ("unet/config.json", file!("model/unet/config.json")),
    ("unet/diffusion_pytorch_model.safetensors", file!("model/unet/diffusion_pytorch_model.safetensors")),
    ("vae/config.json", file!("model/vae/config.json")),
    ("vae/diffusion_pytorch_model.safetensors", file!("model/vae/diffusion_pytorch_model.safetensors")),
    ("hyper-lora.safetensors", file!("hyper-lora.safetensors")),
    ("controlnet/config.json", file!("controlnet/config.json")),
    (
        "controlnet/diffusion_pytorch_model.safetensors",
        file!("controlnet/diffusion_pytorch_model.safetensors"),
    ),
];

#[cfg(test)]
mod tests {
    use std::{
        borrow::Cow,
        collections::BTreeSet,
        path::{Path, PathBuf},
    };

    use hypersd_core::{Component, HostData, ModelFolder, SafetensorsFile, TensorSource, Variant};

    use super::*;

    /// Every file below a folder.
    fn files_below(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("a folder of the crate");
        let below = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
        entries.flat_map(|entry| below(entry.expect("an entry").path())).collect()
    }

    #[test]
    fn every_file_of_the_crate_is_embedded() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sizes = |path: PathBuf| {
            let name = path.strip_prefix(top.join("model")).or(path.strip_prefix(top)).expect("in the crate");
            (name.display().to_string(), path.metadata().expect("a file").len() as usize)
        };
        let folders = ["model", "controlnet"].into_iter().flat_map(|folder| files_below(&top.join(folder)));
        let want: BTreeSet<_> = folders.chain([top.join("hyper-lora.safetensors")]).map(sizes).collect();
        let found = FILES.iter().map(|(path, bytes)| (path.to_string(), bytes.len()));
        assert_eq!(found.collect::<BTreeSet<_>>(), want);
    }

    /// This very program uses the table in several places: a `const` is copied to each.
    #[cfg(not(target_family = "wasm"))]
    #[test]
    fn the_weights_are_in_a_program_once() {
        const PIECE: usize = 64;
        let unet = "unet/diffusion_pytorch_model.safetensors";
        let (_, weights) = FILES.iter().find(|(path, _)| *path == unet).expect("the UNet");
        let piece = &weights[weights.len() / 2..][..PIECE];
        let program = std::env::current_exe().and_then(std::fs::read).expect("this program");
        let times = program.windows(PIECE).filter(|window| *window == piece).count();
        assert_eq!(times, 1, "the middle of the UNet's weights");
    }

    #[test]
    fn tensors_are_read_where_they_lie() {
        let model = ModelFolder::open(model()).expect("the model");
        let component = |name| model.component(name).expect("an index").expect("a component");
        let weights = |component: Component| component.weights(&Variant::Default).expect("weights");
        let mut sources: Vec<_> = ["unet", "vae", "text_encoder"].map(|name| weights(component(name))).into();
        sources.push(weights(Component::open(controlnet()).expect("the ControlNet")));
        sources.push(std::sync::Arc::new(SafetensorsFile::open(hyper_lora()).expect("the LoRA")));
        for source in sources {
            for name in source.names() {
                let owned = match source.tensor(&name).expect("a tensor").data {
                    HostData::F32(x) => matches!(x, Cow::Owned(_)),
                    HostData::F16(x) => matches!(x, Cow::Owned(_)),
                    _ => true,
                };
                assert!(!owned, "{}: {name} is copied", source.origin());
            }
        }
    }
}
