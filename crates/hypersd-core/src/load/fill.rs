//! Reads tensors and puts them into a network.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::{LoadOptions, layout::element_size, survey::Wanted};
use crate::{error::Error, source::TensorSource};

/// The bytes of parameters that are prepared at once: enough to keep every core busy, little beside a model.
const WINDOW: usize = if cfg!(test) { 1 << 10 } else { 128 << 20 };

/// Fills the parameters, each of which the source is known to have.
pub(super) fn fill(
    wanted: Vec<Wanted<'_>>,
    source: &dyn TensorSource,
    options: &LoadOptions,
) -> Result<(), Error> {
    check_dtype(options)?;
    let names: Vec<String> = wanted.iter().map(|slot| slot.name.clone()).collect();
    let filler = Filler { source, options, scratch: Mutex::default() };
    // Weights stay: a GPU keeps them apart from the memory that it recycles.
    options.device.memory_persistent_allocations(wanted, |mut wanted| filler.fill(&mut wanted))?;
    // Once more: a system that reads ahead has brought pages of neighbours back that were released before.
    names.iter().for_each(|name| source.release(name));
    Ok(())
}

/// Refuses a type that weights are not stored in, or that the device does not have.
pub(super) fn check_dtype(options: &LoadOptions) -> Result<(), Error> {
    let dtype = DType::from(options.dtype);
    if element_size(options.dtype).is_some() && options.device.supports_dtype(dtype) {
        return Ok(());
    }
    Err(Error::Argument {
        argument: "dtype",
        expected: format!("a float type that {:?} computes in, of F32, F16 and BF16", options.device),
        found: format!("{dtype:?}"),
    })
}

/// Reads ahead and in parallel, and places one after the other.
struct Filler<'a> {
    source: &'a dyn TensorSource,
    options: &'a LoadOptions,
    /// Memory of ours that a source may compute a tensor in, for as many as there are threads to read them. Nobody touches
    /// what is not needed of it, and memory that grew step by step would leave holes between the weights; when only small
    /// ones are left it shrinks, for towards the end the network is in memory beside it.
    scratch: Mutex<Vec<Vec<f32>>>,
}

impl Filler<'_> {
    fn fill(&self, mut pending: &mut [Wanted<'_>]) -> Result<(), Error> {
        while !pending.is_empty() {
            let computed = pending.iter().filter(|slot| !slot.layout.keeps(self.options.dtype));
            let largest = computed.map(Wanted::elements).max().unwrap_or_default();
            self.scratches().retain(|scratch| scratch.capacity() <= largest);

            let (window, rest) = pending.split_at_mut(self.window(pending));
            let read: Result<Vec<_>, _> = window.par_iter().map(|slot| self.read(slot, largest)).collect();
            for (wanted, x) in window.iter_mut().zip(read?) {
                wanted.slot.place(x, &self.options.device);
            }
            pending = rest;
        }
        Ok(())
    }

    /// The number of the next tensors that fit the window, but at least one.
    fn window(&self, pending: &[Wanted<'_>]) -> usize {
        let width = element_size(self.options.dtype).unwrap_or(size_of::<f32>());
        let mut bytes = 0;
        let fits = |slot: &&Wanted<'_>| {
            bytes += width * slot.elements();
            bytes <= WINDOW
        };
        pending.iter().take_while(fits).count().max(1)
    }

    /// One tensor as its parameter wants it; `largest` is how many elements a source may have to compute at most.
    fn read(&self, wanted: &Wanted<'_>, largest: usize) -> Result<TensorData, Error> {
        let Wanted { name, layout, .. } = wanted;
        let mut scratch = self.scratches().pop().unwrap_or_else(|| Vec::with_capacity(largest));
        let tensor = if layout.keeps(self.options.dtype) {
            self.source.tensor(name)?
        } else {
            self.source.tensor_in(name, &mut scratch)?
        };
        // The shape was compared before; a source that then hands out something else must not panic.
        if tensor.data.len() != wanted.elements() {
            return Err(Error::Format {
                origin: format!("{}, tensor {name:?}", self.source.origin()),
                expected: format!("{} elements", wanted.elements()),
                found: format!("{}", tensor.data.len()),
            });
        }
        let data = layout.arrange(tensor.data, self.options.dtype);
        self.source.release(name);
        let mut scratches = self.scratches();
        if scratches.len() < rayon::current_num_threads() {
            scratches.push(scratch);
        }
        Ok(data)
    }

    fn scratches(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
