//! What a network wants and a source has, without touching a value of either.

use std::collections::{BTreeSet, HashSet};

use burn::tensor::Device;

use super::{
    layout::Layout,
    slots::{Slot, SlotList, Slots},
};
use crate::{error::Mismatch, host::TensorInfo, names::nearest, source::TensorSource};

/// A parameter to be filled.
pub(super) struct Wanted<'a> {
    /// What a source calls it.
    pub(super) name: String,
    /// Extents of the tensor that fills it.
    pub(super) shape: Vec<usize>,
    /// How that tensor's elements lie in it.
    pub(super) layout: Box<dyn Layout>,
    pub(super) slot: Box<dyn Slot + 'a>,
}

impl Wanted<'_> {
    /// The number of elements the parameter has.
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Every parameter of a network, in the order of its fields.
pub(super) fn survey<'a>(network: &'a mut impl Slots, device: &Device) -> Vec<Wanted<'a>> {
    let wanted = |(name, slot): (String, Box<dyn Slot + 'a>)| Wanted {
        name,
        shape: slot.shape(),
        layout: slot.layout(device),
        slot,
    };
    SlotList::of(network).into_iter().map(wanted).collect()
}

/// Everything in which the `wanted` parameters and the `offered` tensors of a source differ.
pub(super) fn compare(
    wanted: &[Wanted<'_>],
    source: &dyn TensorSource,
    offered: &BTreeSet<String>,
) -> Mismatch {
    let names: HashSet<&str> = wanted.iter().map(|slot| slot.name.as_str()).collect();
    let unused: Vec<&String> = offered.iter().filter(|name| !names.contains(name.as_str())).collect();
    let mut mismatch = Mismatch {
        origin: source.origin(),
        unused: unused.iter().map(|name| name.to_string()).collect(),
        ..Mismatch::default()
    };
    for Wanted { name, shape, .. } in wanted {
        match source.info(name) {
            None => {
                // Names are compared with all others: in a file for another model that takes its time.
                let near = match mismatch.missing.len() {
                    0..Mismatch::SHOWN => nearest(name, unused.iter().map(|name| name.as_str())),
                    _ => Vec::new(),
                };
                mismatch.missing.push((name.clone(), near));
            }
            Some(TensorInfo { dtype, .. }) if !dtype.is_weight() => {
                mismatch.wrong_dtype.push((name.clone(), dtype));
            }
            Some(TensorInfo { shape: found, .. }) if !same_shape(shape, &found) => {
                mismatch.wrong_shape.push((name.clone(), shape.clone(), found));
            }
            Some(_) => {}
        }
    }
    mismatch
}

/// True where a tensor of one shape can fill the other: equal, or a matrix and a 1x1 convolution.
fn same_shape(wanted: &[usize], found: &[usize]) -> bool {
    match (wanted, found) {
        (&[o, i], &[to, ti, 1, 1]) | (&[to, ti, 1, 1], &[o, i]) => (o, i) == (to, ti),
        _ => wanted == found,
    }
}
