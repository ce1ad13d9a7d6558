//! The files that are written, found before the work: hours of it must not end at a folder that is not there.

use std::{error::Error, path::PathBuf};

use hypersd::Destination;

use crate::options::Options;

/// Tries every file that will be written, and refuses two that would be one.
pub(crate) fn try_out(options: &Options) -> Result<(), Box<dyn Error>> {
    let pictures = (0..options.batch).map(|index| ("--output", options.output(index)));
    let latents = options.latents_out.clone().map(|path| ("--latents-out", path));
    let mut found: Vec<(PathBuf, Destination)> = Vec::new();
    for (option, path) in pictures.chain(latents) {
        let destination = Destination::try_out(&path)?;
        if let Some((before, _)) = found.iter().find(|(_, other)| other.is_same_file(&destination)) {
            return Err(hypersd::Error::Request {
                option,
                expected: "a file of its own".into(),
                found: format!("{}, which is also the file of {}", path.display(), before.display()),
            }
            .into());
        }
        found.push((path, destination));
    }
    Ok(())
}
