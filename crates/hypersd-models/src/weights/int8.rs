//! Weights in 8 bits, made of a file's as they are loaded.

use std::sync::Arc;

use burn::tensor::{FloatDType, TensorData};
use hypersd_core::{HostData, Layout};
use hypersd_kernels::{INT8_TERMS, PANEL, int8_panels, int8_panels_read, int8_rows, int8_rows_read};

/// The weights of a layer in 8 bits, each output with a scale of its own.
#[derive(Clone)]
pub(crate) struct Int8 {
    words: Arc<Vec<u32>>,
    /// Extents as a file has them, `[out, in, ..]`.
    shape: Vec<usize>,
}

impl Int8 {
    /// True for a layer that the kernels multiply in 8 bits: a dense one whose outputs fill whole panels, or a convolution.
    pub(super) fn takes(shape: &[usize]) -> bool {
        let depth: usize = shape[1..].iter().product();
        depth <= INT8_TERMS && (shape.len() > 2 || shape[0].is_multiple_of(PANEL))
    }

    /// What [`Words`] made.
    pub(super) fn new(words: TensorData, shape: Vec<usize>) -> Self {
        let words = words.try_into_vec().expect("the words that the layout arranged");
        Self { words: Arc::new(words), shape }
    }

    /// As the kernels read them.
    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }

    /// What they stand for, in the order of a file.
    pub(super) fn to_f32(&self) -> Vec<f32> {
        let depth: usize = self.shape[1..].iter().product();
        let mut x = vec![0.0; self.shape[0] * depth];
        for (output, row) in x.chunks_exact_mut(depth.max(1)).enumerate() {
            match *self.shape.as_slice() {
                [_, inputs] => int8_panels_read(&self.words, inputs, output, row),
                _ => int8_rows_read(&self.words, [self.shape[1], depth / self.shape[1].max(1)], output, row),
            }
        }
        x
    }
}

/// The order of a weight in 8 bits: [`int8_panels`] of a dense layer, [`int8_rows`] of a convolution.
#[derive(Debug)]
pub(super) struct Words {
    /// Extents as a file has them, `[out, in, ..]`.
    pub(super) shape: Vec<usize>,
}

impl Layout for Words {
    fn arrange(&self, x: HostData<'_>, _: FloatDType) -> TensorData {
        let (outputs, inputs) = (self.shape[0], self.shape[1]);
        let depth: usize = self.shape[1..].iter().product();
        let read = |output: usize, row: &mut [f32]| x.read_f32(output * depth, row);
        let words = match self.shape.len() {
            2 => int8_panels([outputs, inputs], read),
            _ => int8_rows([outputs, inputs, depth / inputs.max(1)], read),
        };
        let len = words.len();
        TensorData::new(words, [len])
    }

    fn keeps(&self, _: FloatDType) -> bool {
        false
    }
}
