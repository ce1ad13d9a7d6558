//! The lists of published names and shapes in `fixtures/keys`, and sources that have names and shapes only.

use std::{collections::BTreeMap, fs, sync::Arc};

use hypersd_core::{Dtype, Error, HostTensor, SharedSource, TensorInfo, TensorSource, View};

/// A row: a parameter of the network, and the tensor of another dialect that holds it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) stored: String,
    pub(crate) stored_shape: Vec<usize>,
    pub(crate) view: View,
}

/// The columns of all rows of a list.
pub(crate) fn columns(list: &str) -> Vec<Vec<String>> {
    let path = format!("{}/tests/fixtures/keys/{list}.tsv", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).expect("a committed fixture");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| line.split('\t').map(String::from).collect()).collect()
}

pub(crate) fn shape(column: &str) -> Vec<usize> {
    column.split('x').map(|extent| extent.parse().expect("a number")).collect()
}

/// The rows of a list whose tensors are stored as they are, under the name in `column`.
pub(crate) fn rows(list: &str, column: usize) -> Vec<Row> {
    let row = |columns: Vec<String>| {
        let shape = shape(&columns[1]);
        let (name, stored) = (columns[0].clone(), columns[column].clone());
        Row { name, stored, stored_shape: shape.clone(), shape, view: View::Whole }
    };
    columns(list).into_iter().map(row).collect()
}

/// `sd_vae` in LDM's names: the attention's matrices are 1x1 convolutions.
pub(crate) fn ldm_vae() -> Vec<Row> {
    let row = |columns: Vec<String>| Row {
        view: attention(&columns[0]),
        shape: shape(&columns[1]),
        stored_shape: shape(&columns[3]),
        name: columns[0].clone(),
        stored: columns[2].clone(),
    };
    columns("sd_vae").into_iter().map(row).collect()
}

/// `sd_vae` in diffusers' names before 2023, where `-` is a name that has not changed.
pub(crate) fn old_vae() -> Vec<Row> {
    let row = |columns: Vec<String>| {
        let stored = if columns[4] == "-" { columns[0].clone() } else { columns[4].clone() };
        let shape = shape(&columns[1]);
        let (view, name) = (attention(&columns[0]), columns[0].clone());
        Row { name, stored, stored_shape: shape.clone(), shape, view }
    };
    columns("sd_vae").into_iter().map(row).collect()
}

fn attention(name: &str) -> View {
    let matrix = name.contains(".attentions.") && !name.contains("group_norm");
    if matrix { View::Matrix } else { View::Whole }
}

/// `openclip_bigg`: fused and transposed matrices.
pub(crate) fn open_clip() -> Vec<Row> {
    let row = |columns: Vec<String>| {
        let shape = shape(&columns[1]);
        let mut stored_shape = shape.clone();
        let view = match columns[3].as_str() {
            "copy" => View::Whole,
            "T" => {
                stored_shape.reverse();
                View::Transposed
            }
            rows => {
                stored_shape[0] *= 3;
                let part =
                    rows.strip_prefix("rows[").and_then(|rest| rest.chars().next()).expect("rows[0..2*");
                View::Rows { part: part.to_digit(3).expect("q, k or v") as usize, of: 3 }
            }
        };
        Row { name: columns[0].clone(), shape, stored: columns[2].clone(), stored_shape, view }
    };
    columns("openclip_bigg").into_iter().map(row).collect()
}

/// Names and shapes without values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes(pub(crate) BTreeMap<String, Vec<usize>>);

impl Shapes {
    /// The stored tensors of rows, which have to show the parameters' shapes.
    pub(crate) fn stored(rows: &[Row]) -> Self {
        for row in rows {
            assert_eq!(row.view.shape(&row.stored_shape).as_ref(), Some(&row.shape), "{}", row.name);
        }
        Self(rows.iter().map(|row| (row.stored.clone(), row.stored_shape.clone())).collect())
    }

    /// The parameters of rows, as diffusers and transformers store them.
    pub(crate) fn canonical(rows: &[Row]) -> Self {
        Self(rows.iter().map(|row| (row.name.clone(), row.shape.clone())).collect())
    }

    pub(crate) fn share(self) -> SharedSource {
        Arc::new(self)
    }
}

impl TensorSource for Shapes {
    fn origin(&self) -> String {
        "a list of shapes".into()
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        Some(TensorInfo { dtype: Dtype::F16, shape: self.0.get(name)?.clone() })
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        let near = Vec::new();
        Err(Error::NoSuchTensor { origin: self.origin(), name: name.into(), near })
    }
}
