//! Decoding a large picture in overlapping tiles, so that memory stays that of one tile.
//!
//! diffusers' `AutoencoderKL._tiled_decode`: tiles of the size that the network was trained on, a quarter of which
//! overlap their neighbours, blended linearly from the tile above and then from the tile on the left.

use std::ops::Range;

use burn::tensor::{DType, Tensor, TensorData};

/// The part of a tile that overlaps its neighbour.
const OVERLAP: f64 = 0.25;

/// How a picture is cut: the same for rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tiling {
    /// Side of a tile in latents.
    pub(super) latents: usize,
    /// From one tile to the next, in latents.
    stride: usize,
    /// Pixels over which neighbours are blended.
    blend: usize,
    /// Pixels of a tile that are kept.
    kept: usize,
}

impl Tiling {
    /// Tiles of `sample_size` pixels, `factor` of which make a latent.
    pub(super) fn new(sample_size: usize, factor: usize) -> Self {
        let latents = (sample_size / factor).max(1);
        let blend = (sample_size as f64 * OVERLAP) as usize;
        Self {
            latents,
            stride: ((latents as f64 * (1.0 - OVERLAP)) as usize).max(1),
            blend,
            kept: sample_size - blend,
        }
    }

    /// Decodes `latents` `[B, C, h, w]` tile by tile.
    pub(super) fn decode(&self, latents: Tensor<4>, decode: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = latents.dims();
        let mut above: Vec<Tensor<4>> = Vec::new();
        let mut rows = Vec::new();
        for rows_of_latents in self.ranges(h) {
            let band = latents.clone().narrow(2, rows_of_latents.start, rows_of_latents.len());
            let mut tiles: Vec<Tensor<4>> = Vec::new();
            for (column, range) in self.ranges(w).enumerate() {
                let mut tile = decode(band.clone().narrow(3, range.start, range.len()));
                if let Some(above) = above.get(column) {
                    tile = blend(above, tile, 2, self.blend);
                }
                if let Some(left) = tiles.last() {
                    tile = blend(left, tile, 3, self.blend);
                }
                tiles.push(tile);
            }
            let kept = tiles.iter().map(|tile| self.keep(tile.clone())).collect();
            rows.push(Tensor::cat(kept, 3));
            above = tiles;
        }
        Tensor::cat(rows, 2)
    }

    /// What the tiles take of `side` latents.
    fn ranges(&self, side: usize) -> impl Iterator<Item = Range<usize>> {
        let latents = self.latents;
        (0..side).step_by(self.stride).map(move |start| start..(start + latents).min(side))
    }

    fn keep(&self, tile: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = tile.dims();
        tile.narrow(2, 0, h.min(self.kept)).narrow(3, 0, w.min(self.kept))
    }
}

/// Goes over from the end of `before` to the beginning of `tile` along a dimension, in `extent` steps.
fn blend(before: &Tensor<4>, tile: Tensor<4>, dim: usize, extent: usize) -> Tensor<4> {
    let (before_len, len) = (before.dims()[dim], tile.dims()[dim]);
    let extent = extent.min(before_len).min(len);
    let mut shape = [1; 4];
    shape[dim] = extent;
    let steps: Vec<f32> = (0..extent).map(|i| i as f32 / extent as f32).collect();
    let share = Tensor::<4>::from_data(TensorData::new(steps, shape), (&tile.device(), DType::F32))
        .cast(tile.dtype());
    let end = before.clone().narrow(dim, before_len - extent, extent);
    let beginning = tile.clone().narrow(dim, 0, extent);
    let blended = end * (share.clone().neg() + 1.0) + beginning * share;
    Tensor::cat(vec![blended, tile.narrow(dim, extent, len - extent)], dim)
}
