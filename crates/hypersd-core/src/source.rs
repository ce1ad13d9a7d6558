//! Sources of weights: a stack of them, each answering for the one below it.

use std::sync::Arc;

use crate::{
    error::Error,
    host::{HostTensor, TensorInfo},
};

/// Named tensors that can be read one at a time.
///
/// A mapped file is a source, several shards are one, a renamed source is one, and a LoRA over a base is one.
/// Reading is repeatable: the same name gives the same bytes, so that weights can be read again when a layer
/// above changes.
pub trait TensorSource: Send + Sync {
    /// The source's name in messages: usually the file's path.
    fn origin(&self) -> String;

    /// All names, in no particular order.
    fn names(&self) -> Vec<String>;

    /// Type and shape of a tensor, without touching its data; `None` where there is no such name.
    fn info(&self, name: &str) -> Option<TensorInfo>;

    /// Reads one tensor.
    ///
    /// # Errors
    /// [`Error::NoSuchTensor`] for a name that is not in [`names`](Self::names), [`Error::Unsupported`] for a
    /// type that no weight has, or what reading meets.
    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error>;

    /// Reads one tensor like [`tensor`](Self::tensor), by a reader who will only look at it: a source that has to compute
    /// it may do so in `scratch`, and hand out what lies there.
    ///
    /// Whoever reads many tensors so, with one scratch, spares the system from finding memory for each.
    ///
    /// # Errors
    /// As for [`tensor`](Self::tensor).
    fn tensor_in<'a>(&'a self, name: &str, scratch: &'a mut Vec<f32>) -> Result<HostTensor<'a>, Error> {
        let _ = scratch;
        self.tensor(name)
    }

    /// Says that a tensor was read and will not be wanted again soon, so that the memory behind it can go.
    ///
    /// Peak memory counts every page of a mapped file that was touched: without this, loading a model would
    /// hold it twice. A source over another passes the call down. The tensor can still be read again.
    fn release(&self, name: &str) {
        let _ = name;
    }
}

/// A source that several owners share.
pub type SharedSource = Arc<dyn TensorSource>;

impl<S: TensorSource + ?Sized> TensorSource for Arc<S> {
    fn origin(&self) -> String {
        (**self).origin()
    }

    fn names(&self) -> Vec<String> {
        (**self).names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        (**self).info(name)
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        (**self).tensor(name)
    }

    fn tensor_in<'a>(&'a self, name: &str, scratch: &'a mut Vec<f32>) -> Result<HostTensor<'a>, Error> {
        (**self).tensor_in(name, scratch)
    }

    fn release(&self, name: &str) {
        (**self).release(name);
    }
}

impl<S: TensorSource + ?Sized> TensorSource for &S {
    fn origin(&self) -> String {
        (**self).origin()
    }

    fn names(&self) -> Vec<String> {
        (**self).names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        (**self).info(name)
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        (**self).tensor(name)
    }

    fn tensor_in<'a>(&'a self, name: &str, scratch: &'a mut Vec<f32>) -> Result<HostTensor<'a>, Error> {
        (**self).tensor_in(name, scratch)
    }

    fn release(&self, name: &str) {
        (**self).release(name);
    }
}

/// A source is shown by its origin: what holds one can derive `Debug`.
impl std::fmt::Debug for dyn TensorSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.origin())
    }
}
