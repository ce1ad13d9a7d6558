//! A source under other names, and in other shapes.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::Error,
    host::{HostTensor, TensorInfo},
    names::nearest,
    source::TensorSource,
    view::View,
};

/// A source whose tensors go by other names.
///
/// With [`new`](Self::new), names that the table does not mention stay as they are: nothing is hidden, so that strict
/// loading still sees every tensor of the source below. [`select`](Self::select) shows what its table names, and
/// nothing else; it can also see a tensor in another shape, or several in one.
///
/// ```
/// use hypersd_core::{HostTensor, MemorySource, Renamed, TensorSource, View};
///
/// let stored = HostTensor::from_f32([3, 1], vec![1.0, 2.0, 3.0]);
/// let old: MemorySource = [("in_proj_weight".to_string(), stored)].into_iter().collect();
/// let new = Renamed::new(&old, [("qkv.weight", "in_proj_weight")])?;
/// assert_eq!(new.names(), ["qkv.weight"]);
///
/// let part = |part| View::Rows { part, of: 3 };
/// let split = Renamed::select(&old, [("q", "in_proj_weight", part(0)), ("k", "in_proj_weight", part(1))])?;
/// assert_eq!(*split.tensor("k")?.to_f32(), [2.0]);
/// # Ok::<(), hypersd_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Renamed<S> {
    source: S,
    /// New name to old name, and how the new tensor lies in the old one.
    tensors: BTreeMap<String, (String, View)>,
}

impl<S: TensorSource> Renamed<S> {
    /// Puts `source` under other names, by a table of `(new name, old name)`.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`] for an old name that the source does not have, [`Error::Format`] where two tensors
    /// would get one name or one tensor two.
    pub fn new<N, O>(source: S, table: impl IntoIterator<Item = (N, O)>) -> Result<Self, Error>
    where
        N: Into<String>,
        O: Into<String>,
    {
        let mut unmoved: BTreeSet<String> = source.names().into_iter().collect();
        let table: Vec<(String, String)> =
            table.into_iter().map(|(new, old)| (new.into(), old.into())).collect();
        for (_, from) in &table {
            if !unmoved.remove(from) {
                return Err(refuse(&source, from, &table));
            }
        }
        let kept = unmoved.into_iter().map(|name| (name.clone(), name));
        let all: Vec<_> = table.into_iter().chain(kept).map(|(new, old)| (new, old, View::Whole)).collect();
        Self::select(source, all)
    }

    /// Only the tensors of a table of `(new name, old name, how the one lies in the other)`.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`] for an old name that the source does not have, [`Error::Format`] where two tensors
    /// would get one name, or a stored shape cannot be seen as the table says.
    pub fn select<N, O>(source: S, table: impl IntoIterator<Item = (N, O, View)>) -> Result<Self, Error>
    where
        N: Into<String>,
        O: Into<String>,
    {
        let mut tensors: BTreeMap<String, (String, View)> = BTreeMap::new();
        for (new, old, view) in table {
            let (new, old) = (new.into(), old.into());
            let Some(info) = source.info(&old) else { return Err(absent(&source, &old)) };
            if view.shape(&info.shape).is_none() {
                return Err(unseen(&source, &old, view, &info.shape));
            }
            if let Some((other, _)) = tensors.insert(new.clone(), (old.clone(), view)) {
                return Err(Error::Format {
                    origin: source.origin(),
                    expected: format!("one tensor to be named {new:?}"),
                    found: format!("{other:?} and {old:?}"),
                });
            }
        }
        Ok(Self { source, tensors })
    }
}

/// An old name that cannot be taken: it is not there, or the table takes it twice.
fn refuse(source: &impl TensorSource, from: &str, table: &[(String, String)]) -> Error {
    let news: Vec<_> =
        table.iter().filter(|(_, old)| old == from).map(|(new, _)| format!("{new:?}")).collect();
    if source.info(from).is_some() {
        return Error::Format {
            origin: source.origin(),
            expected: format!("one new name for {from:?}"),
            found: news.join(" and "),
        };
    }
    absent(source, from)
}

fn absent(source: &impl TensorSource, name: &str) -> Error {
    Error::NoSuchTensor {
        origin: source.origin(),
        name: name.to_string(),
        near: nearest(name, source.names().iter().map(String::as_str)),
    }
}

/// A tensor that does not have the shape that its dialect gives it.
fn unseen(source: &impl TensorSource, name: &str, view: View, shape: &[usize]) -> Error {
    Error::Format {
        origin: format!("{}, tensor {name:?}", source.origin()),
        expected: match view {
            View::Rows { of, .. } => format!("rows that divide into {of} equal blocks"),
            View::Transposed => "a matrix".to_string(),
            View::Whole | View::Matrix => "any shape".to_string(),
        },
        found: format!("shape {shape:?}"),
    }
}

impl<S: TensorSource> TensorSource for Renamed<S> {
    fn origin(&self) -> String {
        self.source.origin()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let (old, view) = self.tensors.get(name)?;
        let stored = self.source.info(old)?;
        Some(TensorInfo { shape: view.shape(&stored.shape)?, ..stored })
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        let Some((old, view)) = self.tensors.get(name) else {
            return Err(Error::NoSuchTensor {
                origin: self.origin(),
                name: name.to_string(),
                near: nearest(name, self.tensors.keys().map(String::as_str)),
            });
        };
        let stored = self.source.tensor(old)?;
        let shape = stored.shape.clone();
        view.of(stored).ok_or_else(|| unseen(&self.source, old, *view, &shape))
    }

    fn release(&self, name: &str) {
        if let Some((old, _)) = self.tensors.get(name) {
            self.source.release(old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Renamed;
    use crate::{Error, HostTensor, MemorySource, TensorSource, View};

    fn source() -> MemorySource {
        ["a", "b", "c"]
            .iter()
            .enumerate()
            .map(|(i, name)| (name.to_string(), HostTensor::from_f32([1], vec![i as f32])))
            .collect()
    }

    fn value(source: &dyn TensorSource, name: &str) -> f32 {
        source.tensor(name).unwrap().to_f32()[0]
    }

    #[test]
    fn names_in_the_table_move_and_others_stay() {
        let renamed = Renamed::new(source(), [("x", "a")]).unwrap();
        assert_eq!(renamed.names(), ["b", "c", "x"]);
        assert_eq!(value(&renamed, "x"), 0.0);
        assert_eq!(value(&renamed, "b"), 1.0);
        assert_eq!(renamed.info("x").unwrap().shape, [1]);
        assert!(renamed.info("a").is_none());
        assert!(matches!(renamed.tensor("a"), Err(Error::NoSuchTensor { .. })));
    }

    #[test]
    fn names_can_be_exchanged() {
        let renamed = Renamed::new(source(), [("a", "b"), ("b", "a")]).unwrap();
        assert_eq!((value(&renamed, "a"), value(&renamed, "b"), value(&renamed, "c")), (1.0, 0.0, 2.0));
    }

    #[test]
    fn collisions_and_absent_names_are_errors() {
        let collision = Renamed::new(source(), [("b", "a")]).unwrap_err().to_string();
        assert!(collision.contains("named \"b\"") && collision.contains("\"a\""), "{collision}");
        let twice = Renamed::new(source(), [("x", "a"), ("x", "b")]).unwrap_err().to_string();
        assert!(twice.contains("named \"x\""), "{twice}");
        let split = Renamed::new(source(), [("x", "a"), ("y", "a")]).unwrap_err().to_string();
        assert!(split.contains("\"x\" and \"y\""), "{split}");
        assert!(matches!(Renamed::new(source(), [("x", "q")]), Err(Error::NoSuchTensor { .. })));
    }
    #[test]
    fn a_selection_hides_the_rest_and_splits_what_is_fused() {
        let fused: MemorySource = [
            ("in_proj".to_string(), HostTensor::from_f32([6, 1], (0..6).map(|i| i as f32).collect())),
            ("rest".to_string(), HostTensor::from_f32([1], vec![9.0])),
        ]
        .into_iter()
        .collect();
        let part = |part| View::Rows { part, of: 3 };
        let table = [("q", "in_proj", part(0)), ("k", "in_proj", part(1)), ("v", "in_proj", part(2))];
        let split = Renamed::select(&fused, table).unwrap();
        assert_eq!(split.names(), ["k", "q", "v"]);
        assert_eq!(split.info("v").unwrap().shape, [2, 1]);
        assert_eq!(*split.tensor("v").unwrap().to_f32(), [4.0, 5.0]);
        split.release("v"); // and can be read again
        assert_eq!(*split.tensor("v").unwrap().to_f32(), [4.0, 5.0]);

        let odd = Renamed::select(&fused, [("q", "rest", part(0))]).unwrap_err().to_string();
        assert!(odd.contains("\"rest\"") && odd.contains("3 equal blocks") && odd.contains("[1]"), "{odd}");
        let flat = Renamed::select(&fused, [("q", "rest", View::Transposed)]).unwrap_err().to_string();
        assert!(flat.contains("a matrix"), "{flat}");
        let twice = Renamed::select(&fused, [("q", "rest", View::Whole), ("q", "in_proj", View::Whole)]);
        assert!(twice.unwrap_err().to_string().contains("named \"q\""));
    }
}
