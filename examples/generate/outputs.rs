//! The files that are written, found before the work: hours of it must not end at a folder that is not there.

use std::{error::Error, path::Path};

use hypersd::Destination;

use crate::options::Options;

/// Tries every file that will be written, and refuses two that would be one.
pub(crate) fn try_out(options: &Options) -> Result<(), Box<dyn Error>> {
    let pictures: Vec<_> = (0..options.batch)
        .map(|index| Destination::try_out(options.output(index)))
        .collect::<Result<_, _>>()?;
    let Some(path) = &options.latents_out else { return Ok(()) };
    let latents = Destination::try_out(path)?;
    match pictures.iter().position(|picture| picture.is_same_file(&latents)) {
        Some(index) => Err(one_file(path, &options.output(index)).into()),
        None => Ok(()),
    }
}

fn one_file(latents: &Path, picture: &Path) -> hypersd::Error {
    hypersd::Error::Request {
        option: "--latents-out",
        expected: "another file than the picture's".into(),
        found: format!("{}, which is {}", latents.display(), picture.display()),
    }
}
