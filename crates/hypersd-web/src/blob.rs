//! Files that the user picked, read by ranges: a UNet of two gigabytes is never in memory beside its weights.

use std::{io, ops::Range};

use hypersd::ByteSource;
use js_sys::Uint8Array;
use send_wrapper::SendWrapper;
use wasm_bindgen::JsValue;
use web_sys::{Blob, FileReaderSync};

/// A `Blob` or `File`, whose bytes the browser reads when they are asked for. Only workers may wait for that.
pub(crate) struct BlobSource(SendWrapper<Blob>);

impl BlobSource {
    pub(crate) fn new(blob: Blob) -> Self {
        Self(SendWrapper::new(blob))
    }

    fn read(&self, Range { start, end }: Range<u64>) -> Result<Uint8Array, JsValue> {
        let part = self.0.slice_with_f64_and_f64(start as f64, end as f64)?;
        Ok(Uint8Array::new(&FileReaderSync::new()?.read_as_array_buffer(&part)?.into()))
    }
}

impl ByteSource for BlobSource {
    fn size(&self) -> u64 {
        self.0.size() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let bytes = self.read(offset..offset + into.len() as u64).map_err(|error| {
            io::Error::other(format!("{}; a file is read in a worker only", said(&error)))
        })?;
        if bytes.length() as usize != into.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.copy_to(into);
        Ok(())
    }
}

/// What an exception says.
fn said(error: &JsValue) -> String {
    js_sys::Object::from(error.clone()).to_string().into()
}
