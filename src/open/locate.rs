//! From what the user calls a model to where it is on this machine.

use std::path::{Path, PathBuf};

use hypersd_core::Location;

use crate::{
    Error,
    reference::{Meaning, meaning},
};

/// The place on this machine of what the user calls `given`. Only a path can mean something else than itself.
pub(crate) fn locate(given: impl Into<Location>) -> Result<Location, Error> {
    let given = given.into();
    match given.as_path() {
        Some(path) => on_disk(path).map(Location::from),
        None => Ok(given),
    }
}

/// An existing path is itself; anything else that the hub could know is fetched from it, as
/// [`HubOptions::from_env`](crate::hub::HubOptions::from_env) has it.
#[cfg(feature = "hub")]
fn on_disk(given: &Path) -> Result<PathBuf, Error> {
    use crate::hub::{Hub, HubOptions};
    match meaning(given)? {
        Meaning::Path(path) => Ok(path),
        Meaning::Hub(reference) => Ok(Hub::new(HubOptions::from_env()?)?.fetch(&reference)?),
    }
}

/// An existing path is itself; for the rest one needs the hub.
#[cfg(not(feature = "hub"))]
fn on_disk(given: &Path) -> Result<PathBuf, Error> {
    match meaning(given)? {
        Meaning::Path(path) => Ok(path),
        Meaning::Hub(reference) => Err(Error::NoSuchModel {
            given: reference.to_string(),
            instead: "to fetch it from the Hugging Face hub, build with the cargo feature `hub`".into(),
        }),
    }
}

#[cfg(all(test, not(feature = "hub")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_hub_its_feature_is_named() {
        let error = locate("stabilityai/sdxl-turbo").expect_err("no hub").to_string();
        assert!(error.contains("no such file or folder") && error.contains("feature `hub`"), "{error}");
    }
}
