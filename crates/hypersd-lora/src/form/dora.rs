//! DoRA: direction and length of each row or column are learned apart (arXiv:2402.09353, equation 5).
//!
//! Implementations disagree on two points; these are the answers here:
//!
//! - **Which weight's norm?** That of `V = W + alpha / rank · Δ`, as in the paper, in PEFT and in LyCORIS. ComfyUI
//!   takes the base's for output norms.
//! - **What is a weight `m` other than 1?** `W + m · (W' − W)`, as in ComfyUI: linear in `m`, and 0 is the base.
//!   PEFT scales Δ within `V` and keeps the lengths, LyCORIS scales the change of the lengths alone; at 0
//!   neither of them gives the base.

use hypersd_core::{Error as CoreError, TensorSource};
use rayon::prelude::*;

use super::{
    delta::Delta,
    parts::{Factor, Parts},
};
use crate::{error::Error, grammar::Piece, sum::Sum};

pub(super) const PIECES: [Piece; 2] = [Piece::DoraScale, Piece::Magnitude];

/// A change, after which every row or column of the weight has the length in `magnitude`:
/// `W' = V · magnitude / ‖V‖`, `V = W + alpha / rank · Δ`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dora {
    pub(super) delta: Delta,
    magnitude: Factor,
    /// PEFT's magnitude is of outputs whatever its shape; LyCORIS' tells by it.
    of_outputs: bool,
}

/// The part of a weight that has a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// A row: all that one output is made of.
    Output,
    /// A column with its kernel: all that one input goes to.
    Input,
}

impl Dora {
    pub(super) fn new(parts: &Parts<'_>, delta: Delta) -> Result<Self, Error> {
        let of_outputs = parts.any(&[Piece::Magnitude]);
        if matches!(delta, Delta::Full(_)) {
            return Err(parts.wrong("a magnitude beside factors", "beside a full difference".into()));
        }
        if of_outputs && parts.any(&[Piece::DoraScale]) {
            return Err(parts.wrong("one magnitude", "dora_scale and lora_magnitude_vector".into()));
        }
        let piece = if of_outputs { Piece::Magnitude } else { Piece::DoraScale };
        let magnitude = parts.factor(piece, &[1, 2, 4], "[out], [out, 1] or [1, in]")?;
        Ok(Self { delta, magnitude, of_outputs })
    }

    pub(super) fn name(&self) -> &'static str {
        match self.delta {
            Delta::LoHa(_) => "DoRA over LoHa",
            Delta::LoKr(_) => "DoRA over LoKr",
            _ => "DoRA",
        }
    }

    pub(super) fn tensors(&self) -> Vec<&str> {
        let mut tensors = self.delta.tensors();
        tensors.push(&self.magnitude.name);
        tensors
    }

    /// The parts of a weight of this shape whose lengths the magnitude has; `None` where it is not of this weight.
    pub(super) fn axis(&self, weight: &[usize]) -> Option<Axis> {
        let shape = &self.magnitude.shape;
        let length: usize = shape.iter().product();
        let (&out, &inputs) = (weight.first()?, weight.get(1)?);
        if length == out && (self.of_outputs || shape[0] == out) {
            return Some(Axis::Output);
        }
        (!self.of_outputs && length == inputs && shape.get(1) == Some(&inputs)).then_some(Axis::Input)
    }

    pub(super) fn apply(
        &self,
        file: &dyn TensorSource,
        weight: f32,
        w: &mut Sum<'_>,
        shape: &[usize],
    ) -> Result<(), CoreError> {
        let magnitude = self.magnitude.read(file)?;
        let axis = self.axis(shape).ok_or_else(|| CoreError::Format {
            origin: format!("{}: {}", file.origin(), self.magnitude.name),
            expected: format!("a magnitude for a weight of shape {shape:?}"),
            found: format!("{:?}", self.magnitude.shape),
        })?;
        let (w, v) = (w.before(), w);
        self.delta.add_to(v, file, 1.0)?;
        let v = v.elements();
        let columns = shape[1..].iter().product();
        let kernel = columns / shape[1];
        let norms = match axis {
            Axis::Output => row_norms(v, columns),
            Axis::Input => column_norms(v, columns, kernel),
        };
        // A zero row has no direction to lengthen: it stays zero.
        let lengthen = |(&magnitude, norm): (&f32, f64)| {
            if norm == 0.0 { 0.0 } else { (f64::from(magnitude) / norm) as f32 }
        };
        let lengthen: Vec<f32> = magnitude.iter().zip(norms).map(lengthen).collect();
        // W + m (W' − W), in the form that is W' itself where m is 1.
        let rows = v.par_chunks_mut(columns).zip(w.par_chunks(columns)).enumerate();
        rows.for_each(|(row, (v, w))| match axis {
            Axis::Output => blend(v, w, weight, lengthen[row]),
            Axis::Input => {
                let inputs = v.chunks_mut(kernel).zip(w.chunks(kernel)).zip(&lengthen);
                inputs.for_each(|((v, w), &lengthen)| blend(v, w, weight, lengthen));
            }
        });
        Ok(())
    }
}

/// `v = (1 − m) · w + m · lengthen · v`
fn blend(v: &mut [f32], w: &[f32], m: f32, lengthen: f32) {
    for (v, w) in v.iter_mut().zip(w) {
        *v = (1.0 - m) * w + m * (lengthen * *v);
    }
}

fn square(x: &f32) -> f64 {
    f64::from(*x) * f64::from(*x)
}

fn row_norms(v: &[f32], columns: usize) -> Vec<f64> {
    v.par_chunks(columns).map(|row| row.iter().map(square).sum::<f64>().sqrt()).collect()
}

/// Per input, over all rows and the `kernel` columns that belong to it.
fn column_norms(v: &[f32], columns: usize, kernel: usize) -> Vec<f64> {
    /// A fixed number of rows at a time, so that the sum does not depend on the number of threads.
    const ROWS: usize = 64;
    let partial: Vec<Vec<f64>> = v
        .par_chunks(ROWS * columns)
        .map(|rows| {
            let mut sums = vec![0.0; columns / kernel];
            for row in rows.chunks(columns) {
                for (sum, input) in sums.iter_mut().zip(row.chunks(kernel)) {
                    *sum += input.iter().map(square).sum::<f64>();
                }
            }
            sums
        })
        .collect();
    (0..columns / kernel).map(|i| partial.iter().map(|sums| sums[i]).sum::<f64>().sqrt()).collect()
}
