//! Where files are, with a bar for those that come from the hub.

use std::path::{Path, PathBuf};

use hypersd::Error;
use indicatif::ProgressBar;

/// What a path, or a place on the hub, is on this machine.
#[cfg(feature = "hub")]
pub(crate) fn locate(given: &Path, variant: Option<&str>, bar: &ProgressBar) -> Result<PathBuf, Error> {
    use hypersd::hub::{Hub, HubOptions};
    if given.exists() {
        return Ok(given.to_path_buf());
    }
    let bar = bar.clone();
    let options = HubOptions { variant: variant.map(String::from), ..HubOptions::from_env()? };
    let hub = Hub::new(options)?.on_progress(move |transfer| {
        bar.set_message(format!("{} ({}/{})", transfer.file, transfer.index + 1, transfer.files));
        bar.set_length(transfer.total);
        bar.set_position(transfer.bytes);
    });
    hub.locate(given)
}

/// Without the hub, opening it says what is missing.
#[cfg(not(feature = "hub"))]
pub(crate) fn locate(given: &Path, _: Option<&str>, _: &ProgressBar) -> Result<PathBuf, Error> {
    Ok(given.to_path_buf())
}
