//! The parameters that a network shows to be filled, each with a name.

use std::fmt::{Debug, Display};

use burn::{
    module::Param,
    nn::{Embedding, GroupNorm, LayerNorm, Linear, conv::Conv2d},
    tensor::{Device, Tensor, TensorData},
};

use super::layout::{InOrder, Interleaved, Layout};

/// The numbers that a network's layers multiply on the CPU, which need not be those that its weights are in outside of it.
///
/// Sums are f32, and so is what goes from layer to layer. A layer that would suffer from narrow numbers multiplies f32 all
/// the same, and so does every layer where the processor has no faster products of bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Products {
    /// f32, whatever weights are stored in.
    #[default]
    F32,
    /// bf16, where weights are stored in it.
    Bf16,
    /// int8: weights are kept so, each output with a scale of its own, and inputs are rounded to 8 bits as they come.
    Int8,
}

/// A parameter, to be filled with the elements of a tensor.
///
/// The parameter decides how they are to lie, and [`load`](super::load) arranges them so before it hands them over: many
/// tensors at once, for a [`Layout`] is a value of its own.
pub trait Slot: Send + Sync {
    /// Extents of the tensor that fills the parameter, as a file has them.
    fn shape(&self) -> Vec<usize>;

    /// Lets a parameter of a layer know what the layer is to multiply, before it is filled. Others do not mind.
    fn multiply_in(&mut self, products: Products) {
        let _ = products;
    }

    /// The order in which the elements of that tensor are to lie on a device.
    fn layout(&self, device: &Device) -> Box<dyn Layout>;

    /// Takes elements that the [`layout`](Self::layout) for this device has arranged.
    fn place(&mut self, x: TensorData, device: &Device);

    /// True where there is a value: one that was placed, or one that the network was made with.
    fn is_filled(&self) -> bool;
}

/// A network (or a part of one) that can be filled from a source of tensors.
///
/// Structs and enums get it from [`slots!`](crate::slots), which does not let a field be forgotten: what nobody shows stays without
/// a value, and a parameter of Burn's without a value becomes random at its first use. It is implemented for Burn's
/// `Linear`, `Conv2d`, `GroupNorm`, `LayerNorm` and `Embedding`, for `Param<Tensor<D>>`, and for options, vectors and
/// arrays of what has slots.
pub trait Slots {
    /// Adds every parameter to the list, in the order of the fields.
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>);
}

/// The parameters of a network with their names: the names of the fields on the way to each, joined by dots, and the
/// positions in vectors and arrays.
#[derive(Default)]
pub struct SlotList<'a> {
    /// Name of the part whose slots are being added, with a dot behind it.
    prefix: String,
    slots: Vec<(String, Box<dyn Slot + 'a>)>,
}

impl<'a> SlotList<'a> {
    /// All parameters of a network.
    pub fn of(network: &'a mut impl Slots) -> Self {
        let mut list = Self::default();
        network.slots(&mut list);
        list
    }

    /// Adds the parameters of a part, whose names begin with `name`. A part that is a parameter itself is called so.
    pub fn field(&mut self, name: impl Display, part: &'a mut impl Slots) {
        let outer = self.prefix.len();
        self.prefix += &format!("{name}.");
        part.slots(self);
        self.prefix.truncate(outer);
    }

    /// Adds a parameter called `name`.
    pub fn slot(&mut self, name: impl Display, slot: impl Slot + 'a) {
        self.slots.push((format!("{}{name}", self.prefix), Box::new(slot)));
    }

    /// Adds the part that is being shown, as a parameter.
    pub fn itself(&mut self, slot: impl Slot + 'a) {
        self.slots.push((self.prefix.trim_end_matches('.').to_string(), Box::new(slot)));
    }
}

impl Debug for SlotList<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.slots.iter().map(|(name, slot)| (name, slot.shape()))).finish()
    }
}

impl<'a> IntoIterator for SlotList<'a> {
    type Item = (String, Box<dyn Slot + 'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.slots.into_iter()
    }
}

/// Implements [`Slots`] for a struct whose parts are called in a file as its fields are, or for an enum that is one of
/// several parts. Fields and variants without parameters stand behind a semicolon; one that stands nowhere does not compile.
///
/// ```
/// use burn::nn::{GroupNorm, Linear};
///
/// struct Attention {
///     group_norm: GroupNorm,
///     to_q: Linear,
///     to_out: [Linear; 1], // to_out.0.weight, to_out.0.bias
///     heads: usize,
/// }
///
/// hypersd_core::slots!(Attention { group_norm, to_q, to_out; heads });
///
/// enum Layer {
///     Dense(Linear),
///     Relu,
/// }
///
/// hypersd_core::slots!(Layer: Dense; Relu);
/// ```
///
/// ```compile_fail,E0027
/// struct Feed { proj: burn::nn::Linear, out: burn::nn::Linear }
///
/// hypersd_core::slots!(Feed { proj });
/// ```
#[macro_export]
macro_rules! slots {
    ($network:ident { $($part:ident),* $(; $($plain:ident),+)? }) => {
        impl $crate::Slots for $network {
            fn slots<'a>(&'a mut self, list: &mut $crate::SlotList<'a>) {
                let Self { $($part,)* $($($plain: _,)+)? } = self;
                $(list.field(stringify!($part), $part);)*
            }
        }
    };
    ($network:ident: $($part:ident)|+ $(; $($plain:ident)|+)?) => {
        impl $crate::Slots for $network {
            fn slots<'a>(&'a mut self, list: &mut $crate::SlotList<'a>) {
                match self {
                    $(Self::$part(part) => $crate::Slots::slots(part, list),)*
                    $($(Self::$plain => {})+)?
                }
            }
        }
    };
}

impl<S: Slot + ?Sized> Slot for &mut S {
    fn shape(&self) -> Vec<usize> {
        (**self).shape()
    }

    fn multiply_in(&mut self, products: Products) {
        (**self).multiply_in(products);
    }

    fn layout(&self, device: &Device) -> Box<dyn Layout> {
        (**self).layout(device)
    }

    fn place(&mut self, x: TensorData, device: &Device) {
        (**self).place(x, device);
    }

    fn is_filled(&self) -> bool {
        (**self).is_filled()
    }
}

/// A parameter of Burn's, as a file has it.
impl<const D: usize> Slot for Param<Tensor<D>> {
    fn shape(&self) -> Vec<usize> {
        self.lazy_shape().to_vec()
    }

    fn layout(&self, _: &Device) -> Box<dyn Layout> {
        Box::new(InOrder { shape: Slot::shape(self) })
    }

    fn place(&mut self, x: TensorData, device: &Device) {
        let options = (device, x.dtype());
        *self = Self::initialized(self.id, Tensor::from_data(x, options));
    }

    fn is_filled(&self) -> bool {
        self.is_initialized()
    }
}

/// The weight of Burn's dense layer (in its default row layout), `[in, out]`; `[out, in]` in a file.
struct Dense<'a>(&'a mut Param<Tensor<2>>);

impl Slot for Dense<'_> {
    fn shape(&self) -> Vec<usize> {
        self.0.lazy_shape().iter().rev().copied().collect()
    }

    fn layout(&self, _: &Device) -> Box<dyn Layout> {
        let [inputs, outputs] = self.0.lazy_shape().dims();
        Box::new(Interleaved::transposed([outputs, inputs]))
    }

    fn place(&mut self, x: TensorData, device: &Device) {
        self.0.place(x, device);
    }

    fn is_filled(&self) -> bool {
        self.0.is_initialized()
    }
}

impl<const D: usize> Slots for Param<Tensor<D>> {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        list.itself(self);
    }
}

impl Slots for Linear {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        let Self { weight, bias } = self;
        list.slot("weight", Dense(weight));
        list.field("bias", bias);
    }
}

impl Slots for Conv2d {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        list.field("weight", &mut self.weight);
        list.field("bias", &mut self.bias);
    }
}

impl Slots for GroupNorm {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        list.field("weight", &mut self.gamma);
        list.field("bias", &mut self.beta);
    }
}

impl Slots for LayerNorm {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        list.field("weight", &mut self.gamma);
        list.field("bias", &mut self.beta);
    }
}

impl Slots for Embedding {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        list.field("weight", &mut self.weight);
    }
}

impl<T: Slots> Slots for Option<T> {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        if let Some(part) = self {
            part.slots(list);
        }
    }
}

impl<T: Slots> Slots for [T] {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        for (i, part) in self.iter_mut().enumerate() {
            list.field(i, part);
        }
    }
}

impl<T: Slots> Slots for Vec<T> {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        self.as_mut_slice().slots(list);
    }
}

impl<T: Slots, const N: usize> Slots for [T; N] {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        self.as_mut_slice().slots(list);
    }
}
