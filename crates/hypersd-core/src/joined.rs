//! Several sources as one.

use std::collections::BTreeMap;

use crate::{
    error::Error,
    host::{HostTensor, TensorInfo},
    names::nearest,
    source::{SharedSource, TensorSource},
};

/// Sources that hold the parts of one network, such as the two files of a TAESD.
#[derive(Clone)]
pub struct Joined {
    sources: Vec<SharedSource>,
    /// Which of them has a name.
    holder: BTreeMap<String, usize>,
}

impl Joined {
    /// Joins sources that have no name in common.
    ///
    /// # Errors
    /// [`Error::Format`] for a name that two of them have.
    pub fn new(sources: impl IntoIterator<Item = SharedSource>) -> Result<Self, Error> {
        let sources: Vec<SharedSource> = sources.into_iter().collect();
        let mut holder = BTreeMap::new();
        for (index, source) in sources.iter().enumerate() {
            for name in source.names() {
                if let Some(other) = holder.insert(name.clone(), index) {
                    let other: &SharedSource = &sources[other];
                    return Err(Error::Format {
                        origin: source.origin(),
                        expected: format!("only names that {} does not have", other.origin()),
                        found: format!("{name:?}"),
                    });
                }
            }
        }
        Ok(Self { sources, holder })
    }

    fn holder(&self, name: &str) -> Option<&SharedSource> {
        Some(&self.sources[*self.holder.get(name)?])
    }
}

impl TensorSource for Joined {
    fn origin(&self) -> String {
        self.sources.iter().map(TensorSource::origin).collect::<Vec<_>>().join(" and ")
    }

    fn names(&self) -> Vec<String> {
        self.holder.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.holder(name)?.info(name)
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        match self.holder(name) {
            Some(source) => source.tensor(name),
            None => Err(Error::NoSuchTensor {
                origin: self.origin(),
                name: name.to_string(),
                near: nearest(name, self.holder.keys().map(String::as_str)),
            }),
        }
    }

    fn release(&self, name: &str) {
        if let Some(source) = self.holder(name) {
            source.release(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Joined;
    use crate::{Error, HostTensor, MemorySource, SharedSource, TensorSource};

    fn source(name: &str, value: f32) -> SharedSource {
        let tensor = (name.to_string(), HostTensor::from_f32([1], vec![value]));
        Arc::new(MemorySource::from_iter([tensor]))
    }

    #[test]
    fn each_name_is_read_from_the_source_that_has_it() {
        let joined = Joined::new([source("a", 1.0), source("b", 2.0)]).unwrap();
        assert_eq!(joined.names(), ["a", "b"]);
        assert_eq!(joined.tensor("a").unwrap().to_f32()[0], 1.0);
        assert_eq!(joined.tensor("b").unwrap().to_f32()[0], 2.0);
        assert_eq!(joined.info("b").unwrap().shape, [1]);
        assert!(joined.info("c").is_none());
        assert!(matches!(joined.tensor("c"), Err(Error::NoSuchTensor { .. })));
    }

    #[test]
    fn a_name_in_two_sources_is_an_error() {
        let error = Joined::new([source("a", 1.0), source("a", 2.0)]).err().expect("a collision");
        assert!(error.to_string().contains("\"a\""), "{error}");
    }
}
