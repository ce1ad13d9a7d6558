//! The folder in which GPUs' compiled kernels, and the choices among them, are kept from one run to the next.
//!
//! CubeCL, which computes for Burn on GPUs, compiles every kernel for the shapes it is used with and measures which of
//! several is the fastest. Left to itself it keeps the measurements in `target/environment` of the project it is run
//! from, or in the user's cache folder, and does not keep the kernels. Here it is told to keep both, in a folder of the
//! program's own, which can be copied to another machine with the same GPU and driver; entries made by another version
//! of CubeCL, or for another GPU, are left alone.
//!
//! ```no_run
//! # #[cfg(feature = "vulkan")] {
//! hypersd::cache::set_directory("kernels")?; // before anything else of a GPU
//! let device = hypersd::Device::vulkan(Default::default());
//! # }
//! # Ok::<(), hypersd::cache::Error>(())
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig, cache::CacheConfig};

/// A folder that kernels cannot be kept in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device was asked something before, so that CubeCL has its settings already.
    #[error(
        "{}: expected to be told where to keep kernels before a GPU is used, found one in use; call it first in `main`",
        .directory.display()
    )]
    TooLate {
        /// The folder.
        directory: PathBuf,
    },
    /// The folder cannot be made.
    #[error("{}: expected a folder that can be written to: {source}", .directory.display())]
    Folder {
        /// The folder.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Keeps compiled kernels and tuning results in a folder, which is made if it is not there, from the next use of a GPU
/// on. All else that CubeCL can be told stays as its own file and environment say.
///
/// # Errors
/// [`Error::TooLate`] after the first use of a GPU, which [`device::check`](crate::device::check) is one of;
/// [`Error::Folder`] where it cannot be made.
pub fn set_directory(directory: impl AsRef<Path>) -> Result<(), Error> {
    let directory = directory.as_ref().to_path_buf();
    if let Err(source) = fs::create_dir_all(&directory) {
        return Err(Error::Folder { directory, source });
    }
    // What CubeCL would have started with.
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.environment.path = CacheConfig::Directory(directory.clone());
    config.compilation.cache = true;
    if CubeClRuntimeConfig::try_set(config) { Ok(()) } else { Err(Error::TooLate { directory }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_folder_is_too_late_and_a_file_is_no_folder() {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let kernels = scratch.path().join("kernels");
        set_directory(&kernels).expect("nothing of a GPU was used");
        assert!(kernels.is_dir());
        assert!(matches!(set_directory(&kernels), Err(Error::TooLate { directory }) if directory == kernels));

        let file = scratch.path().join("file");
        fs::write(&file, "").expect("a file");
        assert!(matches!(set_directory(&file), Err(Error::Folder { directory, .. }) if directory == file));
    }
}
