//! A source under other names.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::Error,
    host::{HostTensor, TensorInfo},
    names::nearest,
    source::TensorSource,
};

/// A source whose tensors go by other names.
///
/// Names that the table does not mention stay as they are: nothing is hidden, so that strict loading still sees
/// every tensor of the source below.
///
/// ```
/// use hypersd_core::{HostTensor, MemorySource, Renamed, TensorSource};
///
/// let old: MemorySource = [("query.weight".to_string(), HostTensor::from_f32([1, 1], vec![2.0]))].into_iter().collect();
/// let new = Renamed::new(old, [("to_q.weight", "query.weight")])?;
/// assert_eq!(new.names(), ["to_q.weight"]);
/// # Ok::<(), hypersd_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Renamed<S> {
    source: S,
    /// New name to old name, for every tensor of the source.
    old: BTreeMap<String, String>,
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
        let mut old = BTreeMap::new();
        let table: Vec<(String, String)> =
            table.into_iter().map(|(new, old)| (new.into(), old.into())).collect();
        for (_, from) in &table {
            if !unmoved.remove(from) {
                return Err(refuse(&source, from, &table));
            }
        }
        let kept = unmoved.into_iter().map(|name| (name.clone(), name));
        for (to, from) in table.into_iter().chain(kept) {
            if let Some(other) = old.insert(to.clone(), from.clone()) {
                return Err(Error::Format {
                    origin: source.origin(),
                    expected: format!("one tensor to be named {to:?}"),
                    found: format!("{other:?} and {from:?}"),
                });
            }
        }
        Ok(Self { source, old })
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
    Error::NoSuchTensor {
        origin: source.origin(),
        name: from.to_string(),
        near: nearest(from, source.names().iter().map(String::as_str)),
    }
}

impl<S: TensorSource> TensorSource for Renamed<S> {
    fn origin(&self) -> String {
        self.source.origin()
    }

    fn names(&self) -> Vec<String> {
        self.old.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.source.info(self.old.get(name)?)
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        match self.old.get(name) {
            Some(old) => self.source.tensor(old),
            None => Err(Error::NoSuchTensor {
                origin: self.origin(),
                name: name.to_string(),
                near: nearest(name, self.old.keys().map(String::as_str)),
            }),
        }
    }

    fn release(&self, name: &str) {
        if let Some(old) = self.old.get(name) {
            self.source.release(old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Renamed;
    use crate::{Error, HostTensor, MemorySource, TensorSource};

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
}
