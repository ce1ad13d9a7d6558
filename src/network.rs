//! Networks with the sources of their weights: kept in memory, or read for each use.
//!
//! A LoRA is part of the source that a network is read from, so to exchange it is to read again, from another source,
//! the weights that either touches. Nothing is added to or subtracted from weights in place: what is read is what
//! loading from that source would have given, bit for bit, however often it is done.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use burn::tensor::{Device, FloatDType};
use hypersd_core::{Error as CoreError, LoadOptions, Products, Slots, TensorSource, check, load, reload};
use hypersd_lora::{Merged, Strictness};
use hypersd_models::{multiply_in, release_memory};

use crate::{
    Error, memory,
    notice::{Notice, Notices},
};

/// A network and where its weights come from.
#[derive(Debug)]
pub(crate) struct Network<M, S: ?Sized = dyn TensorSource> {
    weights: Weights<M>,
    /// The network without its weights, which takes no memory.
    blank: M,
    source: Arc<S>,
    options: LoadOptions,
    /// What its layers multiply.
    products: Products,
}

#[derive(Debug)]
enum Weights<M> {
    /// In memory.
    Kept(M),
    /// Read at the first use, and in memory from then on.
    OnceUsed(OnceLock<M>),
    /// Read for each use.
    OnDemand,
    /// Gone: an exchange failed, and the weights from before it could not be read again.
    Lost,
}

/// The tensors that sources have and networks have no parameters for: errors, unless they are allowed.
#[derive(Debug)]
pub(crate) struct Leftovers {
    strictness: Strictness,
    /// Their names, by the file; two networks may share one.
    found: RefCell<BTreeMap<String, BTreeSet<String>>>,
}

impl Leftovers {
    pub(crate) fn new(strictness: Strictness) -> Self {
        Self { strictness, found: RefCell::default() }
    }

    /// Takes the error of a source that has more than is wanted, and gives back any other.
    fn take(&self, error: CoreError) -> Result<(), Error> {
        match error {
            CoreError::Mismatch(mismatch)
                if self.strictness == Strictness::Lenient
                    && mismatch.missing.is_empty()
                    && mismatch.wrong_shape.is_empty()
                    && mismatch.wrong_dtype.is_empty() =>
            {
                self.found.borrow_mut().entry(mismatch.origin).or_default().extend(mismatch.unused);
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    /// Says what was left over, once for each file.
    pub(crate) fn tell(self, notices: &Notices) {
        for (origin, names) in self.found.into_inner() {
            notices.give(Notice::TensorsLeftOver { origin, names: names.into_iter().collect() });
        }
    }
}

/// A network in use.
#[derive(Debug)]
pub(crate) enum Lent<'a, M> {
    /// One that stays.
    Kept(&'a M),
    /// One that goes when this does, and after it what its device kept of its memory.
    Read { network: M, _memory: Memory },
}

/// The memory of a device, to be tidied up when this is dropped.
#[derive(Debug)]
pub(crate) struct Memory(Device);

impl<M: Slots + Clone, S: TensorSource + ?Sized> Network<M, S> {
    /// A network that was made but not loaded, to be read for each use unless it is [kept](Self::keep), and what its layers
    /// are to multiply. Whether the source has what it needs is checked here, and what it has besides becomes `leftovers`, where these are allowed.
    pub(crate) fn new(
        blank: M,
        source: Arc<S>,
        options: LoadOptions,
        products: Products,
        leftovers: &Leftovers,
    ) -> Result<Self, Error> {
        let blank = multiply_in(blank, products);
        let options = match check(&blank, &source, &options) {
            Ok(()) => options,
            Err(error) => {
                leftovers.take(error)?;
                LoadOptions { ignore: &["*"], ..options }
            }
        };
        Ok(Self { weights: Weights::OnDemand, blank, source, options, products })
    }

    /// Reads the weights, to stay in memory.
    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        self.weights = Weights::Kept(load(self.blank.clone(), &self.source, &self.options)?);
        Ok(())
    }

    /// Lets the weights be read when they are first needed, and stay in memory from then on.
    pub(crate) fn keep_once_used(&mut self) {
        self.weights = Weights::OnceUsed(OnceLock::new());
    }

    /// True where the weights stay in memory, from their first use on at the latest.
    pub(crate) fn stays(&self) -> bool {
        !matches!(self.weights, Weights::OnDemand)
    }

    /// The network with its weights.
    pub(crate) fn get(&self) -> Result<Lent<'_, M>, Error> {
        match &self.weights {
            Weights::Kept(network) => Ok(Lent::Kept(network)),
            Weights::OnceUsed(cell) => match cell.get() {
                Some(network) => Ok(Lent::Kept(network)),
                None => {
                    let network = load(self.blank.clone(), &self.source, &self.options)?;
                    Ok(Lent::Kept(cell.get_or_init(|| network)))
                }
            },
            Weights::OnDemand => self.read(&self.options),
            Weights::Lost => Err(Error::Unloaded),
        }
    }

    /// The network with its weights read in another type, for one use.
    pub(crate) fn get_in(&self, dtype: FloatDType) -> Result<Lent<'_, M>, Error> {
        self.read(&LoadOptions { dtype, ..self.options.clone() })
    }

    fn read(&self, options: &LoadOptions) -> Result<Lent<'_, M>, Error> {
        let network = load(self.blank.clone(), &self.source, options)?;
        Ok(Lent::Read { network, _memory: Memory(options.device.clone()) })
    }

    /// Bytes that the weights take, in memory or not.
    pub(crate) fn size(&self) -> u64 {
        memory::weights(&self.blank, self.options.dtype, self.products)
    }

    /// The network without its weights.
    pub(crate) fn blank(&self) -> &M {
        &self.blank
    }

    /// The source that the weights are read from.
    pub(crate) fn source(&self) -> &Arc<S> {
        &self.source
    }

    /// The device that the network computes on.
    pub(crate) fn device(&self) -> &Device {
        &self.options.device
    }

    /// The type that the weights are stored in.
    pub(crate) fn dtype(&self) -> FloatDType {
        self.options.dtype
    }
}

impl<M: Slots + Clone> Network<M, Merged> {
    /// Takes the weights from another source of the same base; of those in memory, what differs is read again. A weight
    /// is let go as soon as it is replaced, so that memory stays that of the network. If reading fails, the network is
    /// loaded again as it was.
    pub(crate) fn exchange(&mut self, source: Arc<Merged>) -> Result<(), Error> {
        let network = match mem::replace(&mut self.weights, Weights::Lost) {
            Weights::Kept(network) => network,
            Weights::OnceUsed(_) => {
                self.keep_once_used();
                self.source = source;
                return Ok(());
            }
            Weights::OnDemand => {
                self.weights = Weights::OnDemand;
                self.source = source;
                return Ok(());
            }
            Weights::Lost => return Err(Error::Unloaded),
        };
        let touched: BTreeSet<&str> = self.source.touched().into_iter().chain(source.touched()).collect();
        match reload(network, &*source, &touched, &self.options) {
            Ok(network) => {
                self.weights = Weights::Kept(network);
                self.source = source;
                Ok(())
            }
            Err(error) => {
                self.keep()?;
                Err(error.into())
            }
        }
    }
}

impl<M> Deref for Lent<'_, M> {
    type Target = M;

    fn deref(&self) -> &M {
        match self {
            Self::Kept(network) => network,
            Self::Read { network, .. } => network,
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        release_memory(&self.0);
    }
}
