//! A tiny model's folder as one file, in the layout that the original repositories published.
//!
//! The names come from the lists in `hypersd-models`' fixtures, which were made with diffusers' converters, and the
//! tiny models have the published topologies, so each of their names is in the lists. Nothing of hypersd's own tables
//! takes part.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::fixtures;

/// A stored tensor.
#[derive(Debug, Clone)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A tensor's place in the single file: after the others of the same name, in the order of `part`.
#[derive(Debug)]
struct Row {
    own: String,
    original: String,
    /// How the original lies: `copy`, transposed (`T`), its n-th part of the rows (`rows[n*…`), or for the VAE its shape.
    transform: String,
}

/// Writes the diffusers folder `model` (SD1.5, SDXL or its refiner) into `folder` as one file, with a few tensors that published
/// files carry and nobody needs, and gives its path.
///
/// # Panics
/// If the folder is not such a model, or the file cannot be written.
#[must_use]
pub fn write_single_file(model: &Path, folder: &Path) -> PathBuf {
    let [first, second] = ["text_encoder", "text_encoder_2"].map(|encoder| model.join(encoder).is_dir());
    let (unet, clip_column) = match (first, second) {
        (true, true) => ("sdxl_unet", 3),
        (false, true) => ("sdxl_refiner_unet", 3),
        _ => ("sd15_unet", 2),
    };
    let diffusion = "diffusion_pytorch_model.safetensors";
    let mut out = BTreeMap::new();
    convert(&model.join("unet").join(diffusion), &rows(unet, 2, None), &mut out);
    convert(&model.join("vae").join(diffusion), &rows("sd_vae", 2, Some(3)), &mut out);
    if first {
        convert(&model.join("text_encoder/model.safetensors"), &rows("clip_l", clip_column, None), &mut out);
    }
    if second {
        // The refiner has no other before it.
        let embedder = |name: &str| {
            if first { name.to_string() } else { name.replace("embedders.1", "embedders.0") }
        };
        let mut rows = rows("openclip_bigg", 2, Some(3));
        rows.iter_mut().for_each(|row| row.original = embedder(&row.original));
        convert(&model.join("text_encoder_2/model.safetensors"), &rows, &mut out);
        out.insert(embedder("conditioner.embedders.1.model.logit_scale"), unneeded(&[]));
    } else {
        out.insert(
            "cond_stage_model.transformer.text_model.embeddings.position_ids".into(),
            unneeded(&[1, 77]),
        );
    }
    out.insert("alphas_cumprod".into(), unneeded(&[1000]));
    out.insert("model_ema.decay".into(), unneeded(&[]));

    let views = out.iter().map(|(name, Stored { dtype, shape, bytes })| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor of its shape"))
    });
    let file = safetensors::serialize(views, None).expect("a safetensors file");
    let path = folder.join("single.safetensors");
    fs::write(&path, file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

/// The columns of a key list: the network's own name, the original's, and how it lies.
fn rows(list: &str, original: usize, transform: Option<usize>) -> Vec<Row> {
    let path = fixtures("crates/hypersd-models").join("keys").join(list).with_extension("tsv");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let row = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let transform = transform.map_or("copy", |column| columns[column]);
        Row { own: columns[0].into(), original: columns[original].into(), transform: transform.into() }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

/// Puts every tensor of a file under its original name.
fn convert(file: &Path, rows: &[Row], out: &mut BTreeMap<String, Stored>) {
    let mut tensors = read(file);
    // Parts of one original tensor, by where they begin in it.
    let mut parts: BTreeMap<&str, BTreeMap<usize, Stored>> = BTreeMap::new();
    for row in rows {
        let bare = row.own.strip_prefix("text_model.").unwrap_or(&row.own);
        let Some(tensor) = tensors.remove(&row.own).or_else(|| tensors.remove(bare)) else { continue };
        let (start, tensor) = match row.transform.as_str() {
            "copy" => (0, tensor),
            "T" => (0, transposed(tensor)),
            transform => match transform.strip_prefix("rows[") {
                Some(rows) => (rows.split('*').next().and_then(|n| n.parse().ok()).expect("n*"), tensor),
                None => (0, with_rank(tensor, transform.split('x').count())),
            },
        };
        parts.entry(&row.original).or_default().insert(start, tensor);
    }
    assert!(tensors.is_empty(), "{}: not in the lists: {:?}", file.display(), tensors.keys());
    out.extend(parts.into_iter().map(|(name, parts)| (name.to_string(), stacked(parts.into_values()))));
}

fn read(file: &Path) -> BTreeMap<String, Stored> {
    let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let stored = |view: TensorView<'_>| Stored {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    file.iter().map(|(name, view)| (name.to_string(), stored(view))).collect()
}

/// One after the other along the first dimension.
fn stacked(mut parts: impl Iterator<Item = Stored>) -> Stored {
    let first = parts.next().expect("at least one part");
    parts.fold(first, |mut all, part| {
        all.shape[0] += part.shape[0];
        all.bytes.extend(part.bytes);
        all
    })
}

/// A matrix of 2-byte elements with rows and columns exchanged.
fn transposed(x: Stored) -> Stored {
    let [rows, columns] = x.shape[..] else { panic!("a matrix, found {:?}", x.shape) };
    let element = |row: usize, column: usize| &x.bytes[2 * (row * columns + column)..][..2];
    let bytes = (0..columns).flat_map(|c| (0..rows).flat_map(move |r| element(r, c).to_vec())).collect();
    Stored { dtype: x.dtype, shape: vec![columns, rows], bytes }
}

/// A matrix as a 1x1 convolution, where the original has one.
fn with_rank(mut x: Stored, rank: usize) -> Stored {
    x.shape.resize(rank.max(x.shape.len()), 1);
    x
}

/// An f32 tensor of zeros.
fn unneeded(shape: &[usize]) -> Stored {
    let elements: usize = shape.iter().product();
    Stored { dtype: Dtype::F32, shape: shape.to_vec(), bytes: vec![0; 4 * elements] }
}
