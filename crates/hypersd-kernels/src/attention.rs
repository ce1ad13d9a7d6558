//! Attention without the matrix of all scores: Dao et al., "FlashAttention", 2022 (arXiv:2205.14135), algorithm 1.
//!
//! A task owns a block of queries of one head and walks over the keys block by block, keeping for each query the
//! largest score so far, the sum of the exponentials, and the weighted sum of the values; when the largest score grows,
//! both sums are scaled down. Powers are of two: log2(e) is folded into the scale of the queries.

#![expect(unsafe_code, reason = "tasks write disjoint rows of one output; vectors through pointers")]

use std::{f32::consts::LOG2_E, ops::Range, slice};

use crate::{
    elementwise::{Map, map},
    gemm::{Ahead, Base, DEPTH, PANEL, Product},
    math,
    output::{Out, fill, parallel, share},
    pack,
    scratch::Scratch,
    simd::{Kernel, Simd, dispatch},
};

/// Queries of one task: eight register tiles.
const QUERIES: usize = 96;
/// Keys between two updates of the sums.
const KEYS: usize = 256;

/// How the heads of queries, keys, values and output lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadLayout {
    /// `[batch, heads, tokens, width]`.
    HeadMajor,
    /// `[batch, tokens, heads * width]`, as a linear layer leaves them.
    TokenMajor,
}

/// The extents and options of an attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Independent sequences.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Query tokens.
    pub queries: usize,
    /// Key and value tokens.
    pub keys: usize,
    /// Values per head and token.
    pub width: usize,
    /// The layout of all four tensors.
    pub layout: HeadLayout,
    /// What scores are multiplied by, usually `1 / sqrt(width)`.
    pub scale: f32,
    /// Whether query i sees only the keys 0..=i.
    pub causal: bool,
}

impl AttentionShape {
    /// Where a head of a sequence of `tokens` starts, and the distance of its tokens.
    fn head(&self, batch: usize, head: usize, tokens: usize) -> (usize, usize) {
        let Self { heads, width, .. } = *self;
        match self.layout {
            HeadLayout::HeadMajor => ((batch * heads + head) * tokens * width, width),
            HeadLayout::TokenMajor => ((batch * tokens * heads + head) * width, heads * width),
        }
    }
}

/// `out = softmax(scale * q · kᵀ) · v` for each head.
///
/// `q` and `out` have `queries` tokens, `k` and `v` have `keys` tokens, in the layout of `shape`. `out` is overwritten;
/// its capacity is used again. Without keys it is NaN, as a mean of nothing.
///
/// # Panics
/// If a slice has not the extent that `shape` gives it.
pub fn attention(q: &[f32], k: &[f32], v: &[f32], shape: AttentionShape, out: &mut Vec<f32>) {
    let AttentionShape { batch, heads, queries, keys, width, .. } = shape;
    let rows = batch * heads;
    assert_eq!(q.len(), rows * queries * width, "q does not fit {shape:?}");
    assert_eq!(k.len(), rows * keys * width, "k does not fit {shape:?}");
    assert_eq!(v.len(), rows * keys * width, "v does not fit {shape:?}");

    let packed = Packed::new(k, v, shape);
    let blocks = queries.div_ceil(QUERIES);
    let write = |out: Out<'_>| {
        parallel(rows * blocks, |task| {
            let block = Block {
                batch: task / blocks / heads,
                head: task / blocks % heads,
                queries: share(queries, blocks, task % blocks),
            };
            block.compute(q, &packed, shape, out);
        });
    };
    // SAFETY: the tasks cover all queries of all heads.
    unsafe { fill(out, q.len(), write) };
}

/// Keys and values of all heads in panels, block by block of [`KEYS`] keys.
struct Packed {
    /// Blocks per head.
    blocks: usize,
    /// Per block, panels of 16 keys, each `[width][16]`.
    k: Scratch,
    k_block: usize,
    /// Per block, panels of 16 columns, each `[KEYS][16]`, [`V_PANEL`] apart.
    v: Scratch,
    v_block: usize,
}

/// From one panel of values to the next: an odd number of cache lines, or all would fight for one set of a cache.
const V_PANEL: usize = (KEYS + 1) * PANEL;

impl Packed {
    fn new(k: &[f32], v: &[f32], shape: AttentionShape) -> Self {
        let AttentionShape { batch, heads, keys, width, .. } = shape;
        let blocks = keys.div_ceil(KEYS);
        let (k_block, v_block) = (KEYS * width, width.div_ceil(PANEL) * V_PANEL);
        let all = batch * heads * blocks;
        let (k_all, v_all) = (Scratch::take(all * k_block), Scratch::take(all * v_block));
        let mut packed = Self { blocks, k: k_all, k_block, v: v_all, v_block };
        let (k_out, v_out) = (Out::new(&mut packed.k), Out::new(&mut packed.v));
        parallel(all, |task| {
            let (head, first) = (task / blocks, task % blocks * KEYS);
            let (start, stride) = shape.head(head / heads, head % heads, keys);
            let count = KEYS.min(keys - first);
            // SAFETY: each task has its own part of both buffers, which are initialised.
            let (k_panels, v_panels) = unsafe {
                let (k_to, v_to) = (k_out.at(task * k_block, k_block), v_out.at(task * v_block, v_block));
                (slice::from_raw_parts_mut(k_to, k_block), slice::from_raw_parts_mut(v_to, v_block))
            };
            let panels = k_panels.chunks_exact_mut((width * PANEL).max(1));
            for (key, panel) in (0..count).step_by(PANEL).zip(panels) {
                let rows = &k[start + (first + key) * stride..];
                pack::transpose(rows, stride, PANEL.min(count - key), width, panel);
            }
            for key in 0..count {
                let at = start + (first + key) * stride;
                pack::copy_row(&v[at..at + width], v_panels, key, V_PANEL);
            }
        });
        packed
    }
}

/// The part of the output that one task computes.
struct Block {
    batch: usize,
    head: usize,
    queries: Range<usize>,
}

impl Block {
    fn compute(&self, q: &[f32], packed: &Packed, shape: AttentionShape, out: Out<'_>) {
        let AttentionShape { heads, queries: tokens, keys, width, scale, causal, .. } = shape;
        let queries = &self.queries;
        let head = self.batch * heads + self.head;
        let (start, stride) = shape.head(self.batch, self.head, tokens);
        let padded = width.next_multiple_of(PANEL);

        let mut scaled = Scratch::take(queries.len() * width);
        for (row, to) in queries.clone().zip(scaled.chunks_exact_mut(width.max(1))) {
            let from = &q[start + row * stride..][..width];
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from * (scale * LOG2_E));
        }
        let mut scores = Scratch::take(queries.len() * KEYS);
        let mut values = Scratch::take(queries.len() * padded);
        let mut state = [State::EMPTY; QUERIES];

        let visible = if causal { keys.min(queries.end) } else { keys };
        if visible == 0 {
            values.fill(0.0);
        }
        for first in (0..visible).step_by(KEYS) {
            let block = head * packed.blocks + first / KEYS;
            let count = KEYS.min(visible - first);
            let product = Product {
                m: queries.len(),
                n: count.next_multiple_of(PANEL),
                k: width,
                a: scaled.as_ptr(),
                a_stride: width,
                b: packed.k[block * packed.k_block..].as_ptr(),
                panel_stride: width * PANEL,
                c: scores.as_mut_ptr(),
                c_stride: KEYS,
                base: Base::Zero,
                run: DEPTH,
                next: Ahead::NOTHING,
            };
            // SAFETY: the panels of the keys are complete to a multiple of 16; the rest is this task's own.
            unsafe { product.run() };
            let length = count.next_multiple_of(PANEL);
            for (row, query) in queries.clone().enumerate() {
                let seen = if causal { count.min((query + 1).saturating_sub(first)) } else { count };
                scores[row * KEYS..][seen..length].fill(f32::NEG_INFINITY);
            }
            let state = &mut state[..queries.len()];
            dispatch(Update { scores: &mut scores, length, state, values: &mut values, begun: first > 0 });
            let product = Product {
                m: queries.len(),
                n: padded,
                k: count,
                a: scores.as_ptr(),
                a_stride: KEYS,
                b: packed.v[block * packed.v_block..].as_ptr(),
                panel_stride: V_PANEL,
                c: values.as_mut_ptr(),
                c_stride: padded,
                base: if first > 0 { Base::Itself } else { Base::Zero },
                run: DEPTH,
                next: Ahead::NOTHING,
            };
            // SAFETY: the panels of the values have these keys; the rest is this task's own.
            unsafe { product.run() };
        }
        for (row, query) in queries.clone().enumerate() {
            let (from, to) = (&values[row * padded..][..width], out.at(start + query * stride, width));
            // SAFETY: this query of this head is this task's.
            unsafe { map(from.as_ptr(), to, width, Times(1.0 / state[row].sum)) };
        }
    }
}

#[derive(Clone, Copy)]
struct Times(f32);

impl Map for Times {
    #[inline(always)]
    fn map<S: Simd>(self, simd: S, x: S::V, _: usize, _: usize) -> S::V {
        simd.mul(x, simd.splat(self.0))
    }
}

/// What a query knows of the keys it has seen.
#[derive(Clone, Copy)]
struct State {
    /// The largest score.
    largest: f32,
    /// The sum of 2^(score - largest).
    sum: f32,
}

impl State {
    const EMPTY: Self = Self { largest: f32::NEG_INFINITY, sum: 0.0 };
}

/// Replaces the scores of all queries by their powers, and scales what each has summed so far to its new largest score.
struct Update<'a> {
    /// [`KEYS`] per query, of which `length`, a multiple of 16, are used; -infinity where there is no key.
    scores: &'a mut [f32],
    length: usize,
    state: &'a mut [State],
    /// The weighted sums of the values, as many for each query.
    values: &'a mut [f32],
    /// Whether there are such sums.
    begun: bool,
}

impl Kernel for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { scores, length, state, values, begun } = self;
        let width = values.len() / state.len();
        for (row, state) in state.iter_mut().enumerate() {
            let scores = &mut scores[row * KEYS..][..length];
            let largest = state.largest.max(largest(simd, scores));
            let sum = powers(simd, scores, largest);
            let factor = if largest == state.largest { 1.0 } else { (state.largest - largest).exp2() };
            if begun && factor != 1.0 {
                for value in &mut values[row * width..][..width] {
                    *value *= factor;
                }
            }
            *state = State { largest, sum: state.sum * factor + sum };
        }
    }
}

/// The largest of at least 16 scores.
#[inline(always)]
fn largest<S: Simd>(simd: S, scores: &[f32]) -> f32 {
    const WAYS: usize = 4; // independent of each other, to hide the latency of a comparison
    let mut ways = [simd.splat(f32::NEG_INFINITY); WAYS];
    for (i, chunk) in scores.chunks_exact(S::LANES).enumerate() {
        let way = &mut ways[i % WAYS];
        // SAFETY: a chunk is a vector.
        *way = simd.max(*way, unsafe { simd.load(chunk.as_ptr()) });
    }
    simd.largest(simd.max(simd.max(ways[0], ways[1]), simd.max(ways[2], ways[3])))
}

/// Replaces each score by 2^(score - largest) and returns their sum.
#[inline(always)]
fn powers<S: Simd>(simd: S, scores: &mut [f32], largest: f32) -> f32 {
    let (largest, mut sum) = (simd.splat(largest), simd.splat(0.0));
    for chunk in scores.chunks_exact_mut(S::LANES) {
        // SAFETY: a chunk is a vector.
        unsafe {
            let score = simd.load(chunk.as_ptr());
            let power = math::exp2(simd, simd.sub(score, largest));
            simd.store(chunk.as_mut_ptr(), power);
            sum = simd.add(sum, power);
        }
    }
    simd.sum(sum)
}
