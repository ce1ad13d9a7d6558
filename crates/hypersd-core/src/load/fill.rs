//! Reads tensors and puts them into a module.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor, TensorData},
};
use rayon::prelude::*;

use super::{
    LoadOptions,
    layout::{arrange, element_size, keeps},
    survey::{Slot, Trail, uninitialized},
};
use crate::{
    error::{Error, Mismatch},
    source::TensorSource,
};

/// How many bytes of parameters are prepared at once: enough to keep every core busy, little beside a model.
const WINDOW: usize = if cfg!(test) { 1 << 10 } else { 128 << 20 };

/// Fills `slots`, each of which the source is known to have.
pub(super) fn fill<M: Module>(
    module: M,
    source: &dyn TensorSource,
    slots: Vec<Slot>,
    options: &LoadOptions,
) -> Result<M, Error> {
    check_dtype(options)?;
    let names: Vec<String> = slots.iter().map(|slot| slot.name.clone()).collect();
    let filler = Filler {
        source,
        options,
        trail: Trail::default(),
        wanted: names.iter().cloned().collect(),
        largest: 0,
        pending: slots.into(),
        ready: HashMap::new(),
        scratch: Mutex::default(),
        failure: None,
    };
    // Weights stay: a GPU keeps them apart from the memory that it recycles.
    let (module, filler) =
        options.device.memory_persistent_allocations((module, filler), |(module, mut filler)| {
            (module.map(&mut filler), filler)
        });
    filler.finish(&module)?;
    // Once more: a system that reads ahead has brought pages of neighbours back that were released before.
    names.iter().for_each(|name| source.release(name));
    Ok(module)
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

/// A traversal that replaces each wanted parameter.
struct Filler<'a> {
    source: &'a dyn TensorSource,
    options: &'a LoadOptions,
    trail: Trail,
    /// Names not filled yet.
    wanted: HashSet<String>,
    /// What is still to be read, in the order of traversal.
    pending: VecDeque<Slot>,
    /// What is read and not yet placed.
    ready: HashMap<String, TensorData>,
    /// Elements of the largest pending tensor that a source may compute in memory of ours.
    largest: usize,
    /// That memory, for as many tensors as there are threads to read them. Nobody touches what is not needed of it, and
    /// memory that grew step by step would leave holes between the weights; when only small ones are left it shrinks, for
    /// towards the end the module is in memory beside it.
    scratch: Mutex<Vec<Vec<f32>>>,
    /// A traversal cannot stop: after a failure it goes through the rest without doing anything.
    failure: Option<Error>,
}

impl Filler<'_> {
    /// The value of a parameter, if it is a wanted one.
    fn take(&mut self, name: &str) -> Option<TensorData> {
        if self.failure.is_some() || !self.wanted.remove(name) {
            return None;
        }
        while !self.ready.contains_key(name) && !self.pending.is_empty() {
            match self.read_window() {
                Ok(tensors) => self.ready.extend(tensors),
                Err(error) => {
                    self.failure = Some(error);
                    return None;
                }
            }
        }
        self.ready.remove(name)
    }

    /// Reads the next tensors in parallel: at least one, and as many as fit the window.
    fn read_window(&mut self) -> Result<Vec<(String, TensorData)>, Error> {
        let computed = self.pending.iter().filter(|slot| !keeps(slot, self.options.dtype));
        self.largest = computed.map(Slot::elements).max().unwrap_or_default();
        self.scratches().retain(|scratch| scratch.capacity() <= self.largest);
        let width = element_size(self.options.dtype).unwrap_or(size_of::<f32>());
        let mut bytes = 0;
        let mut fits = |slot: &Slot| {
            let first = bytes == 0;
            bytes += width * slot.elements();
            first || bytes <= WINDOW
        };
        let count = self.pending.iter().take_while(|slot| fits(slot)).count();
        let window: Vec<Slot> = self.pending.drain(..count).collect();
        let read = |slot: Slot| Ok((slot.name.clone(), self.read(&slot)?));
        window.into_par_iter().map(read).collect()
    }

    /// One tensor as Burn wants it.
    fn read(&self, slot: &Slot) -> Result<TensorData, Error> {
        let mut scratch = self.scratches().pop().unwrap_or_else(|| Vec::with_capacity(self.largest));
        let tensor = if keeps(slot, self.options.dtype) {
            self.source.tensor(&slot.name)?
        } else {
            self.source.tensor_in(&slot.name, &mut scratch)?
        };
        // The shape was compared before; a source that then hands out something else must not panic.
        if tensor.data.len() != slot.elements() {
            return Err(Error::Format {
                origin: format!("{}, tensor {:?}", self.source.origin(), slot.name),
                expected: format!("{} elements", slot.elements()),
                found: format!("{}", tensor.data.len()),
            });
        }
        let data = arrange(tensor.data, slot, self.options.dtype);
        self.source.release(&slot.name);
        let mut scratches = self.scratches();
        if scratches.len() < rayon::current_num_threads() {
            scratches.push(scratch);
        }
        Ok(data)
    }

    fn scratches(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that nothing was left out.
    fn finish<M: Module>(self, module: &M) -> Result<(), Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let left: Vec<String> = self.wanted.into_iter().chain(uninitialized(module)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let missing = left.into_iter().map(|name| (name, Vec::new())).collect();
        Err(Box::new(Mismatch { origin: self.source.origin(), missing, ..Mismatch::default() }).into())
    }
}

impl ModuleMapper for Filler<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.trail.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.trail.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.take(&self.trail.name()) {
            Some(data) => {
                let options = (&self.options.device, DType::from(self.options.dtype));
                Param::initialized(param.id, Tensor::from_data(data, options))
            }
            None => param,
        }
    }
}
