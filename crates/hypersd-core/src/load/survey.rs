//! What a module wants, without touching a value of it.

use std::collections::{BTreeSet, HashSet};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Bool, Int, Tensor},
};

use super::{
    WeightOrder,
    layout::{Layout, PANEL},
};
use crate::{
    error::Mismatch,
    host::{Dtype, TensorInfo},
    names::nearest,
    source::TensorSource,
};

/// A parameter to be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// What a source calls it.
    pub(super) name: String,
    /// Extents of the parameter, as the module was made.
    pub(super) shape: Vec<usize>,
    /// How the source's elements lie in it; `None` for integers and booleans, which no source fills.
    pub(super) layout: Option<Layout>,
    /// Whether it is filled in [panels](WeightOrder::Panels).
    pub(super) panels: bool,
}

impl Slot {
    /// How many elements the parameter has.
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether elements follow each other in the parameter as in the tensor.
    pub(super) fn in_order(&self) -> bool {
        !self.panels && self.layout != Some(Layout::Transposed)
    }

    /// Extents of the tensor that fills the parameter.
    pub(super) fn stored_shape(&self) -> Vec<usize> {
        match self.layout {
            Some(Layout::Transposed) => self.shape.iter().rev().copied().collect(),
            _ => self.shape.clone(),
        }
    }

    /// Extents of the parameter that is filled.
    pub(super) fn filled_shape(&self) -> Vec<usize> {
        match (self.panels, self.shape.as_slice()) {
            (true, &[inputs, outputs]) => vec![outputs / PANEL * inputs, PANEL],
            (true, &[outputs, inputs, height, width]) => {
                vec![outputs / PANEL, inputs, height * width, PANEL]
            }
            (_, shape) => shape.to_vec(),
        }
    }
}

/// Where a traversal of a module stands.
#[derive(Debug, Default)]
pub(super) struct Trail(Vec<(String, Owner)>);

/// What kind of thing a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Linear,
    Conv,
    Norm,
    Enum,
    Other,
}

impl Trail {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        let owner = match container {
            "Struct:Linear" => Owner::Linear,
            "Struct:Conv2d" => Owner::Conv,
            "Struct:GroupNorm" | "Struct:LayerNorm" => Owner::Norm,
            _ if container.starts_with("Enum:") => Owner::Enum,
            _ => Owner::Other,
        };
        self.0.push((name.to_string(), owner));
    }

    pub(super) fn exit(&mut self) {
        self.0.pop();
    }

    /// What a source calls the parameter that the traversal stands at.
    pub(super) fn name(&self) -> String {
        let spelled = |(name, owner): &(String, Owner)| match (owner, name.as_str()) {
            (Owner::Enum, _) => None,
            (Owner::Norm, "gamma") => Some("weight".to_string()),
            (Owner::Norm, "beta") => Some("bias".to_string()),
            _ => Some(name.clone()),
        };
        self.0.iter().filter_map(spelled).collect::<Vec<_>>().join(".")
    }

    fn layout(&self) -> Layout {
        match self.0.last() {
            Some((name, Owner::Linear)) if name == "weight" => Layout::Transposed,
            _ => Layout::Plain,
        }
    }

    /// Whether a parameter of this shape is one of those that go into panels, and has whole ones.
    fn panels(&self, shape: &[usize]) -> bool {
        match (self.0.last(), shape) {
            (Some((name, Owner::Linear)), &[_, outputs])
            | (Some((name, Owner::Conv)), &[outputs, _, 3, 3]) => {
                name == "weight" && outputs.is_multiple_of(PANEL)
            }
            _ => false,
        }
    }
}

/// Every parameter of a module that a source must fill, in the order of traversal.
pub(super) fn survey<M: Module>(module: &M, order: WeightOrder) -> Vec<Slot> {
    let mut surveyor = Surveyor { order, ..Surveyor::default() };
    module.visit(&mut surveyor);
    surveyor.slots
}

#[derive(Default)]
struct Surveyor {
    trail: Trail,
    order: WeightOrder,
    slots: Vec<Slot>,
}

impl Surveyor {
    fn note(&mut self, shape: Vec<usize>, layout: Option<Layout>) {
        let panels = self.order == WeightOrder::Panels && self.trail.panels(&shape);
        self.slots.push(Slot { name: self.trail.name(), shape, layout, panels });
    }
}

impl ModuleVisitor for Surveyor {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.trail.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.trail.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.note(param.lazy_shape().to_vec(), Some(self.trail.layout()));
    }

    // A constant that came with the module is no weight; one that would only be drawn at its first use is an error.

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        if !param.is_initialized() {
            self.note(param.lazy_shape().to_vec(), None);
        }
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        if !param.is_initialized() {
            self.note(param.lazy_shape().to_vec(), None);
        }
    }
}

/// The parameters that have no value yet, by name.
pub(super) fn uninitialized<M: Module>(module: &M) -> Vec<String> {
    #[derive(Default)]
    struct Inspector {
        trail: Trail,
        found: Vec<String>,
    }
    impl ModuleVisitor for Inspector {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.trail.enter(name, container_type);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.trail.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !param.is_initialized() {
                self.found.push(self.trail.name());
            }
        }
    }
    let mut inspector = Inspector::default();
    module.visit(&mut inspector);
    inspector.found
}

/// Everything in which the wanted `slots` and the `offered` tensors of a source differ.
pub(super) fn compare(slots: &[Slot], source: &dyn TensorSource, offered: &BTreeSet<String>) -> Mismatch {
    let wanted: HashSet<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
    let unused: Vec<&String> = offered.iter().filter(|name| !wanted.contains(name.as_str())).collect();
    let mut mismatch = Mismatch {
        origin: source.origin(),
        unused: unused.iter().map(|name| name.to_string()).collect(),
        ..Mismatch::default()
    };
    for slot in slots {
        match source.info(&slot.name).filter(|_| slot.layout.is_some()) {
            None => {
                // Names are compared with all others: in a file for another model that takes its time.
                let near = match mismatch.missing.len() {
                    0..Mismatch::SHOWN => nearest(&slot.name, unused.iter().map(|name| name.as_str())),
                    _ => Vec::new(),
                };
                mismatch.missing.push((slot.name.clone(), near));
            }
            Some(TensorInfo { dtype, .. }) if matches!(dtype, Dtype::Other(_)) => {
                mismatch.wrong_dtype.push((slot.name.clone(), dtype));
            }
            Some(TensorInfo { shape, .. }) if !same_shape(&slot.stored_shape(), &shape) => {
                mismatch.wrong_shape.push((slot.name.clone(), slot.stored_shape(), shape));
            }
            Some(_) => {}
        }
    }
    mismatch
}

/// Whether a tensor of one shape can fill the other: equal, or a matrix and a 1x1 convolution.
fn same_shape(wanted: &[usize], found: &[usize]) -> bool {
    match (wanted, found) {
        (&[o, i], &[to, ti, 1, 1]) | (&[to, ti, 1, 1], &[o, i]) => (o, i) == (to, ti),
        _ => wanted == found,
    }
}
