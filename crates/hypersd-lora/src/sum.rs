//! A weight while layers are added to it.

use std::borrow::Cow;

use hypersd_core::HostData;
use hypersd_kernels::{LinearShape, Weights, low_rank_update};

use crate::floats::{into_f32, widen};

/// What the base stores, until the first layer writes the sum of both to `sum`; from then on what is there.
///
/// So the one layer that most weights have reads the base where it lies, in whatever type, and nothing is copied.
pub(crate) struct Sum<'a> {
    base: Option<HostData<'a>>,
    sum: &'a mut Vec<f32>,
}

impl<'a> Sum<'a> {
    /// Starts with the base; what `sum` holds does not matter.
    pub(crate) fn new(base: HostData<'a>, sum: &'a mut Vec<f32>) -> Self {
        Self { base: Some(base), sum }
    }

    /// The elements, to be changed in place.
    pub(crate) fn elements(&mut self) -> &mut [f32] {
        if let Some(base) = self.base.take() {
            widen(&base, self.sum);
        }
        self.sum
    }

    /// The elements as they are now, for a form that wants them beside what it makes of them.
    pub(crate) fn before(&self) -> Cow<'a, [f32]> {
        match &self.base {
            Some(base) => into_f32(base.clone()),
            None => Cow::Owned(self.sum.clone()),
        }
    }

    /// Adds `scale · left [rows, inputs] · right [inputs, outputs]`, and says whether all of the sum is finite.
    pub(crate) fn add_product(
        &mut self,
        scale: f32,
        left: &[f32],
        right: &[f32],
        shape: LinearShape,
    ) -> bool {
        let mut add = |base: Option<Weights<'_>>| low_rank_update(base, scale, left, right, shape, self.sum);
        match self.base.take() {
            None => add(None),
            Some(HostData::F32(x)) => add(Some(Weights::F32(&x))),
            Some(HostData::F16(x)) => add(Some(Weights::F16(&x))),
            Some(HostData::BF16(x)) => add(Some(Weights::BF16(&x))),
            Some(other) => add(Some(Weights::F32(&into_f32(other)))),
        }
    }
}
