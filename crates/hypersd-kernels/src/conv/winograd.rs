//! 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3) and F(2x2, 3x3): Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2015 (arXiv:1509.09308).
//!
//! An output tile of 4x4 pixels needs 36 products per pair of channels instead of 144. Input tiles of 6x6 pixels and
//! 3x3 weights are transformed to 36 values each; for each of the 36 places `xi`, the products summed over the input
//! channels are a matrix product `M[xi] = V[xi] [tiles, inputs] · U[xi] [inputs, outputs]`; each tile's 36 sums give its
//! 16 pixels. Tiles of 2x2 pixels need 16 products instead of 36. A convolution of a doubled image is F(4x4, 2x2) four
//! times, with 25 products each ([`points::Doubled`]).
//!
//! The transforms cost digits: against f64, with SiLU-shaped inputs of 64 to 2560 channels, the relative L2 error of 4x4
//! tiles is 0.6e-6 to 1.0e-6 where direct convolution has 0.2e-6 to 0.3e-6; that of 2x2 tiles is hardly more than that.
//! So these are for images so small that transforming the weights takes longer than all else.
//!
//! Transformed weights take four times the memory of the weights, so none are kept. With few tiles, each task
//! transforms the weights of its output channels piece by piece and uses them at once ([`few_tiles`]); with many, all
//! are transformed into scratch first ([`many_tiles`]).

#![expect(unsafe_code, reason = "tasks write disjoint parts of shared scratch and of one output")]

use std::{mem::MaybeUninit, ops::Range};

use super::Conv;
use crate::{
    gemm::{Base, depth_chunks},
    operands::RowsMut,
    output::{Out, parallel, share},
    panel::PANEL,
    scratch::Scratch,
    simd::tile_panels,
};

mod input;
mod layout;
mod numbers;
mod output;
mod points;
mod weights;

use layout::{Layout, Places};
use numbers::Numbers;
use points::{Doubled, F2, F4, Points};

/// Tiles of a row that are transformed at once: a strip of them (26 KiB, of a doubled image 42 KiB) stays in the first-level
/// cache.
const SEGMENT: usize = 16;
/// The most tiles of 4x4 pixels for which tiles of 2x2 pixels are as fast: 8x8 pixels.
const VERY_FEW_TILES: usize = 4;
/// The most tiles for which the weights are transformed where they are used.
const FEW_TILES: usize = if cfg!(miri) { 5 } else { 64 }; // Miri is to see all paths, and is slow
/// The fewest tiles of 8x8 pixels of a doubled image for which transforming four times the weights pays.
const FEWEST_DOUBLED: usize = if cfg!(miri) { 4 } else { 144 };
/// Tiles that go through all three stages before the next, when there are many.
const BLOCK_TILES: usize = 96;
/// The most transformed weights at a time, in values: 40 MiB.
const MOST_WEIGHTS: usize = 10 << 20;
/// The most transformed weights, in values, that every task can go through for its own few tiles: 5 MiB.
const FEW_WEIGHTS: usize = if cfg!(miri) { 10_000 } else { 5 << 18 };
/// The most of them, in values, that stay in the second-level cache beside the tiles of a task: 1 MiB.
const CACHED_WEIGHTS: usize = 1 << 18;
/// Tiles of such a task where they do, V and M staying there too.
const OWN_TILES: usize = 32;
/// Tiles of such a task where they do not.
const MORE_OWN_TILES: usize = 128;
/// Input channels whose weights are transformed at once.
const WEIGHT_DEPTH: usize = 64;

/// Writes all of `out`.
pub(super) fn conv(conv: &Conv<'_>, out: Out<'_, MaybeUninit<f32>>) {
    match Grid::new(conv, 4).tiles() {
        0 => {}
        1..=VERY_FEW_TILES => few_tiles(F2, conv, out),
        tiles if tiles <= FEW_TILES => few_tiles(F4, conv, out),
        _ => more_tiles(F4, conv, out),
    }
}

/// True if [`doubled`] takes less time than to double the input and [`conv`].
pub(super) fn pays_doubled(conv: &Conv<'_>) -> bool {
    Grid::new(conv, 8).tiles() >= FEWEST_DOUBLED
}

/// Writes all of `out`, which is twice as high and wide as the input, each of whose pixels is to come four times.
pub(super) fn doubled(conv: &Conv<'_>, out: Out<'_, MaybeUninit<f32>>) {
    more_tiles(Doubled, conv, out);
}

/// The tiles of all images, image below image.
#[derive(Clone, Copy)]
struct Grid {
    /// Rows of tiles, of all images together.
    rows: usize,
    /// Tiles per row.
    columns: usize,
    /// Rows of tiles per image.
    rows_per_image: usize,
}

impl Grid {
    /// The grid of tiles that give so many pixels along each side.
    fn new(conv: &Conv<'_>, side: usize) -> Self {
        let rows_per_image = conv.height.div_ceil(side);
        Self { rows: conv.x.batch() * rows_per_image, columns: conv.width.div_ceil(side), rows_per_image }
    }

    fn tiles(self) -> usize {
        self.rows * self.columns
    }

    /// The image that a row of tiles belongs to, and its number there.
    fn image_and_row(self, row: usize) -> (usize, usize) {
        (row / self.rows_per_image, row % self.rows_per_image)
    }
}

/// Each task computes one or two panels of output channels for all tiles, from their weights to their pixels.
fn few_tiles<const D: usize, const P: usize, const N: usize>(
    points: impl Points<D, P, N>,
    conv: &Conv<'_>,
    out: Out<'_, MaybeUninit<f32>>,
) {
    let (places, grid) = (P * P, Grid::new(conv, N));
    let (inputs, outputs) = (conv.x.channels(), conv.shape.outputs);
    let tiles = grid.tiles();
    let numbers = Numbers::of(conv);
    let step = numbers.weight_depth();
    // In the order in which every task reads all of it, which is more than its caches hold.
    let v_layout = numbers.layout(places, tiles, step);
    let mut v = Scratch::take(inputs.div_ceil(step) * v_layout.len());
    transform_input(points, conv, grid, 0..grid.rows, v_layout, Out::new(&mut v));

    let width = tile_panels() * PANEL;
    parallel(outputs.div_ceil(width), |task| {
        let channels = task * width..((task + 1) * width).min(outputs);
        let panels = channels.len().div_ceil(PANEL);
        let m_layout = Layout::new(places, tiles, panels * PANEL);
        let u_place = panels * numbers.words(step) * PANEL + PANEL;
        let mut m = Scratch::take(m_layout.len());
        let mut u = Scratch::take(places * u_place);
        for (chunk, start) in (0..inputs).step_by(step).enumerate() {
            let depth = start..(start + step).min(inputs);
            let words = numbers.words(depth.len());
            let row = words * PANEL;
            let u_layout = Layout { places, columns: row, row, place: u_place, panel: PANEL };
            for (panel, first) in channels.clone().step_by(PANEL).enumerate() {
                let to = u_layout.own(&mut u, (panel, 0), words, PANEL);
                weights::transform(points, conv, first, depth.clone(), to, numbers.are_halves());
            }
            for place in 0..places {
                let v = &v[v_layout.at(place, 0, numbers.words(depth.start))..];
                let (v, u) = ((v, v_layout.row), (&u[u_layout.at(place, 0, 0)..], row));
                let m = &mut m[m_layout.at(place, 0, 0)..];
                let m = RowsMut::new(m, [tiles, panels * PANEL], m_layout.row);
                numbers.multiply(words, v, u, Base::sum_of_pieces(chunk), m);
            }
        }
        for row in 0..grid.rows {
            for (panel, first) in channels.clone().step_by(PANEL).enumerate() {
                let m = &m[row * grid.columns * m_layout.row + panel * PANEL..];
                // SAFETY: these channels are this task's, and so are their pixels.
                unsafe {
                    output::transform(points, conv, grid, (row, 0..grid.columns, first), (m, m_layout), out)
                };
            }
        }
    });
}

/// Tiles too many for [`few_tiles`]: each task goes through all weights if these are few, or all tasks work in stages.
fn more_tiles<const D: usize, const P: usize, const N: usize>(
    points: impl Points<D, P, N>,
    conv: &Conv<'_>,
    out: Out<'_, MaybeUninit<f32>>,
) {
    if P * P * conv.x.channels() * conv.shape.outputs.next_multiple_of(PANEL) <= FEW_WEIGHTS {
        few_weights(points, conv, out);
    } else {
        many_tiles(points, conv, out);
    }
}

/// All weights first, or as many output channels as fit the scratch; then, block of tiles by block of tiles, the three
/// stages, each shared among all threads.
fn many_tiles<const D: usize, const P: usize, const N: usize>(
    points: impl Points<D, P, N>,
    conv: &Conv<'_>,
    out: Out<'_, MaybeUninit<f32>>,
) {
    let (places, grid) = (P * P, Grid::new(conv, N));
    let (inputs, outputs) = (conv.x.channels(), conv.shape.outputs);
    let panels = outputs.div_ceil(PANEL);
    let parts = panels.div_ceil((MOST_WEIGHTS / (places * inputs * PANEL)).max(1));
    let rows_per_block = (BLOCK_TILES / grid.columns).clamp(1, grid.rows);
    let blocks = grid.rows.div_ceil(rows_per_block);
    let most_tiles = grid.rows.div_ceil(blocks) * grid.columns;

    let numbers = Numbers::of(conv);
    let v_layout = numbers.layout(places, most_tiles, inputs);
    let m_layout = Layout::new(places, most_tiles, panels.div_ceil(parts) * PANEL);
    let u_layout = Layout::new(places, panels.div_ceil(parts), numbers.words(inputs) * PANEL);
    let mut u = Scratch::take(u_layout.len());
    let mut v = Scratch::take(v_layout.len());
    let mut m = Scratch::take(m_layout.len());
    for part in 0..parts {
        let panels = share(panels, parts, part);
        transform_weights(points, conv, panels.clone(), u_layout, Out::new(&mut u));
        for block in 0..blocks {
            let rows = share(grid.rows, blocks, block);
            transform_input(points, conv, grid, rows.clone(), v_layout, Out::new(&mut v));
            let tiles = rows.len() * grid.columns;
            multiply(
                numbers,
                inputs,
                tiles,
                panels.len(),
                (&v, v_layout),
                (&u, u_layout),
                (Out::new(&mut m), m_layout),
            );
            parallel(rows.len() * panels.len(), |task| {
                let (row, panel) = (task / panels.len(), task % panels.len());
                let m = &m[row * grid.columns * m_layout.row + panel * PANEL..];
                let at = (rows.start + row, 0..grid.columns, (panels.start + panel) * PANEL);
                // SAFETY: each task writes its own row of tiles of its own channels.
                unsafe { output::transform(points, conv, grid, at, (m, m_layout), out) };
            });
        }
    }
}

/// All weights first; then each task takes its own tiles through the three stages, in its own cache. With few channels
/// there is little arithmetic per value, and handing V and M from thread to thread would take longer than it.
fn few_weights<const D: usize, const P: usize, const N: usize>(
    points: impl Points<D, P, N>,
    conv: &Conv<'_>,
    out: Out<'_, MaybeUninit<f32>>,
) {
    let (places, grid) = (P * P, Grid::new(conv, N));
    let (inputs, outputs) = (conv.x.channels(), conv.shape.outputs);
    let panels = outputs.div_ceil(PANEL);
    let numbers = Numbers::of(conv);
    let u_layout = Layout::new(places, panels, numbers.words(inputs) * PANEL);
    let mut u = Scratch::take(u_layout.len());
    transform_weights(points, conv, 0..panels, u_layout, Out::new(&mut u));

    let own = if u_layout.len() <= CACHED_WEIGHTS { OWN_TILES } else { MORE_OWN_TILES };
    let parts = grid.columns.div_ceil(own);
    let tiles = grid.columns.div_ceil(parts);
    let (v_layout, m_layout) =
        (numbers.layout(places, tiles, inputs), Layout::new(places, tiles, panels * PANEL));
    parallel(grid.rows * parts, |task| {
        let (row, columns) = (task / parts, share(grid.columns, parts, task % parts));
        let mut v = Scratch::take(v_layout.len());
        let mut m = Scratch::take(m_layout.len());
        for channel in (0..inputs).step_by(PANEL) {
            let to = v_layout.own(&mut v, (0, numbers.words(channel)), columns.len(), v_layout.row);
            input::transform(points, conv, grid, (row, columns.clone(), channel), to, numbers.are_halves());
        }
        for place in 0..places {
            let m = &mut m[m_layout.at(place, 0, 0)..];
            let m = RowsMut::new(m, [columns.len(), panels * PANEL], m_layout.row);
            multiply_place(numbers, inputs, place, 0, (&v, v_layout), (&u, u_layout), m);
        }
        for panel in 0..panels {
            let at = (row, columns.clone(), panel * PANEL);
            // SAFETY: each task writes its own tiles.
            unsafe { output::transform(points, conv, grid, at, (&m[panel * PANEL..], m_layout), out) };
        }
    });
}

/// Makes V of the tiles of `rows`, channels beyond the last being zero.
fn transform_input<const D: usize, const P: usize, const N: usize>(
    points: impl Points<D, P, N>,
    conv: &Conv<'_>,
    grid: Grid,
    rows: Range<usize>,
    layout: Layout,
    v: Out<'_>,
) {
    let (groups, numbers) = (conv.x.channels().div_ceil(PANEL), Numbers::of(conv));
    parallel(rows.len() * groups, |task| {
        let (row, group) = (task / groups, task % groups);
        let at = (row * grid.columns, numbers.words(group * PANEL));
        // SAFETY: each task writes its own tiles of its own channels.
        let to = unsafe { layout.shared(v, at, grid.columns, layout.row) };
        let place = (rows.start + row, 0..grid.columns, group * PANEL);
        input::transform(points, conv, grid, place, to, numbers.are_halves());
    });
}

/// Makes U of the output channels of `panels`, one row of the layout per panel.
fn transform_weights<const D: usize, const P: usize, const N: usize>(
    points: impl Points<D, P, N>,
    conv: &Conv<'_>,
    panels: Range<usize>,
    layout: Layout,
    u: Out<'_>,
) {
    let (inputs, numbers) = (conv.x.channels(), Numbers::of(conv));
    let chunks = inputs.div_ceil(WEIGHT_DEPTH);
    parallel(panels.len() * chunks, |task| {
        let (panel, words) = (task / chunks, share(numbers.words(inputs), chunks, task % chunks));
        // SAFETY: each task writes its own channels.
        let to = unsafe { layout.shared(u, (panel, words.start * PANEL), words.len(), PANEL) };
        let depth = numbers.of_words(words.start)..numbers.of_words(words.end);
        let first = (panels.start + panel) * PANEL;
        weights::transform(points, conv, first, depth, to, numbers.are_halves());
    });
}

/// `M[xi] = V[xi] · U[xi]` for all places.
fn multiply(
    numbers: Numbers,
    inputs: usize,
    tiles: usize,
    panels: usize,
    (v, v_layout): (&[f32], Layout),
    (u, u_layout): (&[f32], Layout),
    (m, m_layout): (Out<'_>, Layout),
) {
    let parts = panels.div_ceil(16).max(panels.min(2));
    parallel(v_layout.places * parts, |task| {
        let (place, panels) = (task / parts, share(panels, parts, task % parts));
        let at = m_layout.at(place, 0, panels.start * PANEL);
        // SAFETY: each task writes its own columns of its own place.
        let m = unsafe { m.rows(at, [tiles, panels.len() * PANEL], m_layout.row) };
        multiply_place(numbers, inputs, place, panels.start, (v, v_layout), (u, u_layout), m);
    });
}

/// `M = V · U` for one place and the output channels from `panel` on, as many tiles and channels as `m` has.
fn multiply_place(
    numbers: Numbers,
    inputs: usize,
    place: usize,
    panel: usize,
    (v, v_layout): (&[f32], Layout),
    (u, u_layout): (&[f32], Layout),
    mut m: RowsMut<'_>,
) {
    let tiles = m.rows();
    let words = numbers.words(inputs);
    // Words are multiplied for the whole depth at once.
    let chunks = if numbers.are_halves() { 1 } else { depth_chunks(inputs) };
    for chunk in 0..chunks {
        let depth = share(words, chunks, chunk);
        let v = &v[v_layout.at(place, 0, depth.start)..];
        let u = &u[u_layout.at(place, panel, depth.start * PANEL)..];
        let base = Base::sum_of_pieces(chunk);
        numbers.multiply(depth.len(), (v, v_layout.row), (u, u_layout.row), base, m.part(0..tiles));
    }
}
