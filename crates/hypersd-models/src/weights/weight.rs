//! The weight of a layer, in whatever form it is kept.

use std::fmt::{self, Debug, Formatter};

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use hypersd_core::{InOrder, Interleaved, Layout, Products, Slot, SlotList, Slots};
#[cfg(feature = "flex")]
use hypersd_kernels::{PANEL, has_bf16_products};

#[cfg(feature = "flex")]
use super::int8::{self, Int8};
use crate::backend::activation_dtype;
#[cfg(feature = "flex")]
use crate::backend::is_flex;

/// The weight of a dense layer (`D` = 2) or of a convolution (`D` = 4).
#[derive(Clone)]
pub(crate) struct Weight<const D: usize> {
    /// Extents as a file has them, `[out, in, ..]`.
    shape: [usize; D],
    /// Where the numbers are, or are to be.
    device: Device,
    /// What the layer multiplies, where it can.
    #[cfg_attr(not(feature = "flex"), expect(dead_code, reason = "only the CPU has a choice"))]
    products: Products,
    /// The numbers; none before they are loaded.
    form: Option<Form<D>>,
}

/// How the numbers of a weight are kept, in the type that they are stored in.
#[derive(Clone)]
pub(crate) enum Form<const D: usize> {
    /// As Burn's operations take them: `[in, out]` of a dense layer, `[out, in, height, width]` of a convolution.
    Burn(Tensor<D>),
    /// As the CPU's kernels read them: for each panel of 16 outputs, a row of 16 weights per input and pixel of the
    /// kernel, `[out / 16, in · height · width, 16]`.
    #[cfg(feature = "flex")]
    Panels(Tensor<3>),
    /// In 8 bits, as the CPU's kernels read them.
    #[cfg(feature = "flex")]
    Int8(Int8),
}

impl<const D: usize> Weight<D> {
    /// A weight without its numbers.
    pub(super) fn new(shape: [usize; D], device: &Device) -> Self {
        Self { shape, device: device.clone(), products: Products::F32, form: None }
    }

    /// Extents as a file has them, `[out, in, ..]`.
    #[cfg(feature = "flex")]
    pub(crate) fn shape(&self) -> [usize; D] {
        self.shape
    }

    /// The numbers.
    ///
    /// # Panics
    /// If there are none: made up ones would give a picture of noise, and nobody would know why.
    pub(crate) fn form(&self) -> &Form<D> {
        match &self.form {
            Some(form) => form,
            None => panic!("a network computes only once it is loaded; {self:?} is not"),
        }
    }

    /// The numbers as Burn's operations take them, in the type of their other operand.
    pub(crate) fn tensor(&self, dtype: DType) -> Tensor<D> {
        let tensor = match self.form() {
            Form::Burn(tensor) => tensor.clone(),
            #[cfg(feature = "flex")]
            Form::Panels(panels) => {
                let x = panels.clone().swap_dims(1, 2).reshape(self.shape);
                if self.is_dense() { x.swap_dims(0, 1) } else { x }
            }
            #[cfg(feature = "flex")]
            Form::Int8(int8) => {
                let x = Tensor::from_data(TensorData::new(int8.to_f32(), self.shape), &self.device);
                if self.is_dense() { x.swap_dims(0, 1) } else { x }
            }
        };
        tensor.cast(dtype)
    }

    /// The device that the numbers are on, or are to be.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// What the layer multiplies on the CPU.
    #[cfg(feature = "flex")]
    pub(crate) fn products(&self) -> Products {
        match self.form() {
            Form::Int8(_) => Products::Int8,
            Form::Panels(panels) => self.halves(panels.dtype()),
            // In Burn's order, those of 1x1 convolutions lie as the kernels read them.
            Form::Burn(tensor) if self.shape.ends_with(&[1, 1]) => self.halves(tensor.dtype()),
            Form::Burn(_) => Products::F32,
        }
    }

    /// What the layer multiplies if its weights are floats of this type.
    #[cfg(feature = "flex")]
    fn halves(&self, stored: DType) -> Products {
        let halves = self.products == Products::Bf16 && stored == DType::BF16 && has_bf16_products();
        if halves { Products::Bf16 } else { Products::F32 }
    }

    /// The type that is computed in beside the numbers.
    pub(crate) fn activation_dtype(&self) -> FloatDType {
        let stored = match self.form() {
            Form::Burn(tensor) => tensor.dtype(),
            #[cfg(feature = "flex")]
            Form::Panels(panels) => panels.dtype(),
            #[cfg(feature = "flex")]
            Form::Int8(_) => DType::F32,
        };
        activation_dtype(stored.into(), &self.device)
    }

    /// The same weight in Burn's order, of f32.
    #[cfg(all(test, feature = "flex"))]
    pub(crate) fn in_burns_order(&self) -> Self {
        Self { form: Some(Form::Burn(self.tensor(DType::F32))), ..self.clone() }
    }

    fn is_dense(&self) -> bool {
        D == 2
    }

    /// True where the numbers go into panels on a device: on the CPU those of dense layers and of 3x3 convolutions, if they
    /// fill whole ones. The kernels then read them where they are; they take Burn's order too, only slower.
    #[cfg(feature = "flex")]
    fn in_panels(&self, device: &Device) -> bool {
        match self.shape.as_slice() {
            [outputs, _] | [outputs, _, 3, 3] => is_flex(device) && outputs.is_multiple_of(PANEL),
            _ => false,
        }
    }

    /// True where the numbers are kept in 8 bits on a device.
    #[cfg(feature = "flex")]
    fn in_int8(&self, device: &Device) -> bool {
        self.products == Products::Int8 && is_flex(device) && Int8::takes(&self.shape)
    }
}

impl<const D: usize> Slot for Weight<D> {
    fn shape(&self) -> Vec<usize> {
        self.shape.to_vec()
    }

    fn multiply_in(&mut self, products: Products) {
        self.products = products;
    }

    #[cfg_attr(
        not(feature = "flex"),
        expect(unused_variables, reason = "only the CPU has an order of its own")
    )]
    fn layout(&self, device: &Device) -> Box<dyn Layout> {
        let (rows, depth) = (self.shape[0], self.shape[1..].iter().product());
        #[cfg(feature = "flex")]
        if self.in_int8(device) {
            return Box::new(int8::Words { shape: self.shape.to_vec() });
        }
        #[cfg(feature = "flex")]
        if self.in_panels(device) {
            return Box::new(Interleaved { shape: vec![rows / PANEL, depth, PANEL], rows, width: PANEL });
        }
        if self.is_dense() {
            return Box::new(Interleaved::transposed([rows, depth]));
        }
        Box::new(InOrder { shape: self.shape.to_vec() })
    }

    fn place(&mut self, x: TensorData, device: &Device) {
        self.device = device.clone();
        #[cfg(feature = "flex")]
        if self.in_int8(device) {
            self.form = Some(Form::Int8(Int8::new(x, self.shape.to_vec())));
            return;
        }
        let options = (device, x.dtype());
        #[cfg(feature = "flex")]
        if self.in_panels(device) {
            self.form = Some(Form::Panels(Tensor::from_data(x, options)));
            return;
        }
        self.form = Some(Form::Burn(Tensor::from_data(x, options)));
    }

    fn is_filled(&self) -> bool {
        self.form.is_some()
    }
}

impl<const D: usize> Slots for Weight<D> {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        list.itself(self);
    }
}

/// Says what it is a weight of, and not its numbers.
impl<const D: usize> Debug for Weight<D> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "a weight {:?}", self.shape)
    }
}
