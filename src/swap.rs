//! Networks whose LoRAs can be exchanged while they are loaded.
//!
//! A LoRA is part of the source that a network is read from, so to exchange it is to read again, from another source,
//! the weights that either touches. Nothing is added to or subtracted from weights in place: what is read is what
//! loading from that source would have given, bit for bit, however often it is done.

use std::{collections::BTreeSet, sync::Arc};

use burn::module::Module;
use hypersd_core::{LoadOptions, load, reload};
use hypersd_lora::Merged;

use crate::Error;

/// A loaded network and the source it was read from.
#[derive(Debug)]
pub(crate) struct Swappable<M> {
    /// `None` only if an exchange failed and the weights from before it could not be read again.
    network: Option<M>,
    /// The network without its weights, which takes no memory.
    blank: M,
    source: Arc<Merged>,
    options: LoadOptions,
}

impl<M: Module> Swappable<M> {
    /// Loads a network that was made but not loaded.
    pub(crate) fn load(blank: M, source: Arc<Merged>, options: LoadOptions) -> Result<Self, Error> {
        let network = load(blank.clone(), &*source, &options)?;
        Ok(Self { network: Some(network), blank, source, options })
    }

    /// The loaded network.
    pub(crate) fn get(&self) -> Result<&M, Error> {
        self.network.as_ref().ok_or(Error::Unloaded)
    }

    /// What the network was read from.
    pub(crate) fn source(&self) -> &Arc<Merged> {
        &self.source
    }

    /// Reads what differs from another source. A weight is let go as soon as it is replaced, so that memory stays that
    /// of the network. If reading fails, the network is loaded again as it was.
    pub(crate) fn exchange(&mut self, source: Arc<Merged>) -> Result<(), Error> {
        let touched: BTreeSet<&str> = self.source.touched().into_iter().chain(source.touched()).collect();
        let network = self.network.take().ok_or(Error::Unloaded)?;
        match reload(network, &*source, &touched, &self.options) {
            Ok(network) => {
                self.network = Some(network);
                self.source = source;
                Ok(())
            }
            Err(error) => {
                self.network = Some(load(self.blank.clone(), &*self.source, &self.options)?);
                Err(error.into())
            }
        }
    }
}
