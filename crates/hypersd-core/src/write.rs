//! Files that are written: whole or not at all.

use std::path::Path;

use safetensors::{Dtype as Stored, SafeTensorError, tensor::TensorView};

use crate::{Destination, HostData, HostTensor, error::Error, location::Location};

/// Writes named tensors as a safetensors file, which appears whole or not at all.
///
/// # Errors
/// [`Error::Io`] where the file cannot be written.
pub fn save_safetensors<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (&'a str, &'a HostTensor<'a>)>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let views: Result<Vec<_>, _> = tensors.into_iter().map(|(name, x)| Ok((name, view(x)?))).collect();
    let bytes = views
        .and_then(|views: Vec<(&str, TensorView<'_>)>| safetensors::serialize(views, None))
        .map_err(|source| Location::from(path).io(std::io::Error::other(source)))?;
    write_whole(path, &bytes)
}

fn view<'a>(x: &'a HostTensor<'_>) -> Result<TensorView<'a>, SafeTensorError> {
    let (dtype, bytes): (_, &[u8]) = match &x.data {
        HostData::F32(x) => (Stored::F32, bytemuck::cast_slice(x)),
        HostData::F16(x) => (Stored::F16, bytemuck::cast_slice(x)),
        HostData::BF16(x) => (Stored::BF16, bytemuck::cast_slice(x)),
    };
    TensorView::new(dtype, x.shape.clone(), bytes)
}

/// Writes a file as a [`Destination`] does.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    Destination::of(path)?.write(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Dtype, SafetensorsFile, TensorSource};

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.safetensors");
        let x = HostTensor::from_f32([2, 3], vec![0.5, -1.0, f32::MIN_POSITIVE, 3.25, f32::MAX, 0.0]);
        save_safetensors(&path, [("x", &x)]).expect("written");

        let file = SafetensorsFile::open(&path).expect("read");
        assert_eq!(file.names(), ["x"]);
        let read = file.tensor("x").expect("x");
        assert_eq!((read.shape.as_slice(), read.dtype()), ([2, 3].as_slice(), Dtype::F32));
        assert_eq!(read.to_f32(), x.to_f32());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_and_nothing_is_left() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let x = HostTensor::from_f32([1], vec![1.0]);
        let error =
            save_safetensors(folder.path().join("no/x.safetensors"), [("x", &x)]).expect_err("no folder");
        assert!(error.to_string().contains("no"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
    }
}
