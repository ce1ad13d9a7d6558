//! Attention without the matrix of all scores: Dao et al., "FlashAttention", 2022 (arXiv:2205.14135), algorithm 1.
//!
//! A task owns a block of queries of one head and walks over the keys block by block, keeping for each query the
//! largest score so far, the sum of the exponentials, and the weighted sum of the values; when the largest score grows,
//! both sums are scaled down. Powers are of two: log2(e) is folded into the scale of the queries.
//!
//! Everything is transposed: queries are the columns of scores `k · qᵀ [keys, queries]` and sums `vᵀ · powers [width,
//! queries]`. So k and v need no panels, no head is too narrow for whole vectors, the powers are a second operand as they
//! lie, and a vector holds one key's scores for 16 queries, so that nothing is ever added up across its lanes.

#![expect(unsafe_code, reason = "the output is written in blocks of 8 by 8, through pointers")]

use std::{
    f32::consts::LOG2_E,
    ops::{Deref, Range},
};

use crate::{
    gemm::{Ahead, Base, DEPTH, Product},
    math,
    operands::{Panels, Rows, RowsMut, Unwritten},
    output::{self, Axis, Split, fill, share, update},
    pack,
    panel::PANEL,
    scratch::Scratch,
    simd::{Kernel, Simd, dispatch},
};

mod bf16;

pub use bf16::attention_bf16;

/// The most queries of one task: those of the widest register tile.
const QUERIES: usize = 64;
/// Keys between two updates of the sums: their powers (24 KiB) stay in the first-level cache.
const KEYS: usize = 96;

/// The order in which the heads of queries, keys, values and output lie in memory.
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
    /// The factor of the scores, usually `1 / sqrt(width)`.
    pub scale: f32,
    /// True if query i sees only the keys 0..=i.
    pub causal: bool,
}

impl AttentionShape {
    /// Checks that the operands have this shape.
    fn check(&self, q: &[f32], k: &[f32], v: &[f32]) {
        let Self { batch, heads, queries, keys, width, .. } = *self;
        let rows = batch * heads;
        assert_eq!(q.len(), rows * queries * width, "q does not fit {self:?}");
        assert_eq!(k.len(), rows * keys * width, "k does not fit {self:?}");
        assert_eq!(v.len(), rows * keys * width, "v does not fit {self:?}");
    }

    /// The start of a head of a sequence of `tokens`, and the distance of its tokens.
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
    shape.check(q, k, v);
    let (k, v) = (Heads::new(k, shape), Heads::new(v, shape));
    fill(out, split_of(shape), |block, to| Block::new(block, shape).compute(q, &k, &v, shape, to));
}

/// The blocks of an output, each of one head.
fn split_of(shape: AttentionShape) -> Split {
    let AttentionShape { batch, heads, queries, width, .. } = shape;
    let by_queries = Axis::new(queries, PANEL, queries.div_ceil(QUERIES));
    match shape.layout {
        HeadLayout::HeadMajor => Split::new(batch * heads, by_queries, Axis::whole(width)),
        HeadLayout::TokenMajor => Split::new(batch, by_queries, Axis::new(heads * width, width, heads)),
    }
}

/// Keys or values, head by head: `[batch, heads, keys, width]`. Where a head's tokens lie apart, their lines and pages are
/// too many for the second-level cache.
enum Heads<'a> {
    InPlace(&'a [f32]),
    Copied(Scratch),
}

impl<'a> Heads<'a> {
    fn new(x: &'a [f32], shape: AttentionShape) -> Self {
        let AttentionShape { batch, heads, keys, width, layout, .. } = shape;
        if layout == HeadLayout::HeadMajor || heads == 1 {
            return Self::InPlace(x);
        }
        let mut copy = Scratch::take(x.len());
        let split = Split::new(batch * heads, Axis::whole(keys), Axis::whole(width));
        update(&mut copy, split, |block, mut to| {
            let (start, stride) = shape.head(block.layer / heads, block.layer % heads, keys);
            for key in 0..keys {
                to.row(key).copy_from_slice(&x[start + key * stride..][..width]);
            }
        });
        Self::Copied(copy)
    }
}

impl Deref for Heads<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::InPlace(x) => x,
            Self::Copied(x) => x,
        }
    }
}

/// The part of the output that one task computes.
struct Block {
    batch: usize,
    head: usize,
    queries: Range<usize>,
}

impl Block {
    /// The block of [`split_of`].
    fn new(block: output::Block, shape: AttentionShape) -> Self {
        let AttentionShape { heads, width, .. } = shape;
        let (batch, head) = match shape.layout {
            HeadLayout::HeadMajor => (block.layer / heads, block.layer % heads),
            HeadLayout::TokenMajor => (block.layer, block.columns.start / width),
        };
        Self { batch, head, queries: block.rows }
    }

    fn compute<'to>(
        &self,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        shape: AttentionShape,
        to: Unwritten<'to>,
    ) -> RowsMut<'to> {
        let AttentionShape { heads, keys, width, causal, .. } = shape;
        let queries = &self.queries;
        let q = self.scaled(q, shape);
        let mut scores = Scratch::take(KEYS * QUERIES);
        let mut sums = Scratch::take(width * QUERIES);
        sums.fill(0.0);
        let mut state = State::EMPTY;

        let start = (self.batch * heads + self.head) * keys * width;
        let panels = queries.len().div_ceil(PANEL);
        let columns = panels * PANEL;
        let visible = if causal { keys.min(queries.end) } else { keys };
        let blocks = visible.div_ceil(KEYS);
        let out_rows = Ahead::of(to.as_ptr().cast(), to.stride(), to.rows(), to.columns());
        for block in 0..blocks {
            let keys = share(visible, blocks, block);
            let (first, count) = (start + keys.start * width, keys.len());
            let product = Product {
                a: Rows::new(&k[first..], [count, width], [width, 1]),
                b: Panels::new(&q, [panels, width], [width * PANEL, PANEL]),
                c: RowsMut::new(&mut scores, [count, columns], QUERIES),
                base: Base::Zero,
                run: DEPTH,
                next: Ahead::NOTHING,
            };
            product.run();
            if causal {
                self.hide(keys, &mut scores);
            }
            dispatch(Update { scores: &mut scores, count, columns, state: &mut state, sums: &mut sums });
            let product = Product {
                a: Rows::new(&v[first..], [width, count], [1, width]),
                b: Panels::new(&scores, [panels, count], [PANEL, QUERIES]),
                c: RowsMut::new(&mut sums, [width, columns], QUERIES),
                base: Base::Itself,
                run: DEPTH,
                next: if block + 1 == blocks { out_rows } else { Ahead::NOTHING },
            };
            product.run();
        }
        dispatch(Finish { sums: &mut sums, weights: &state.sum, to })
    }

    /// The queries times scale and log2(e), in panels `[width][16 queries]`.
    fn scaled(&self, q: &[f32], shape: AttentionShape) -> Scratch {
        let AttentionShape { queries: tokens, width, scale, .. } = shape;
        let (start, stride) = shape.head(self.batch, self.head, tokens);
        let panels = self.queries.len().div_ceil(PANEL);
        let mut scaled = Scratch::take(panels * width * PANEL);
        for (query, panel) in
            self.queries.clone().step_by(PANEL).zip(scaled.chunks_exact_mut((width * PANEL).max(1)))
        {
            let rows = &q[start + query * stride..];
            pack::transpose(rows, stride, PANEL.min(self.queries.end - query), width, panel);
        }
        scaled.iter_mut().for_each(|value| *value *= scale * LOG2_E);
        scaled
    }

    /// Makes the scores of keys that come after a query -infinity.
    fn hide(&self, keys: Range<usize>, scores: &mut [f32]) {
        for (key, scores) in keys.zip(scores.chunks_exact_mut(QUERIES)) {
            scores[..key.saturating_sub(self.queries.start).min(QUERIES)].fill(f32::NEG_INFINITY);
        }
    }
}

/// The sums of the keys that each query has seen.
struct State {
    /// The largest score.
    largest: [f32; QUERIES],
    /// The sum of 2^(score - largest).
    sum: [f32; QUERIES],
}

impl State {
    const EMPTY: Self = Self { largest: [f32::NEG_INFINITY; QUERIES], sum: [0.0; QUERIES] };
}

/// Replaces the scores of all queries by their powers, and scales what each has summed so far to its new largest score.
struct Update<'a> {
    /// `[count][QUERIES]`, -infinity for keys that a query does not see.
    scores: &'a mut [f32],
    count: usize,
    /// Queries that are used: a multiple of 16.
    columns: usize,
    state: &'a mut State,
    /// `[width][QUERIES]`: the weighted sums of the values.
    sums: &'a mut [f32],
}

impl Kernel for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { scores, count, columns, state, sums } = self;
        assert!(columns <= QUERIES && columns.is_multiple_of(PANEL), "kernel bug: {columns} queries");
        let scores = &mut scores[..count * QUERIES];
        for lane in (0..columns).step_by(S::LANES) {
            let old = simd.read(&state.largest[lane..]);
            let largest = largest(simd, scores, lane, old);
            simd.write(&mut state.largest[lane..], largest);
            let factor = math::exp2(simd, simd.sub(old, largest));
            let sum = powers(simd, scores, lane, largest);
            let to = &mut state.sum[lane..];
            simd.write(to, simd.mul_add(simd.read(to), factor, sum));
            if simd.largest(simd.sub(largest, old)) > 0.0 {
                for row in sums.chunks_exact_mut(QUERIES) {
                    let to = &mut row[lane..];
                    simd.write(to, simd.mul(simd.read(to), factor));
                }
            }
        }
    }
}

/// The largest of `from` and the scores, of the queries from `lane` on.
#[inline(always)]
fn largest<S: Simd>(simd: S, scores: &[f32], lane: usize, from: S::V) -> S::V {
    const WAYS: usize = 4; // independent of each other, to hide the latency of a comparison
    let mut ways = [from; WAYS];
    for (key, row) in scores.chunks_exact(QUERIES).enumerate() {
        let way = &mut ways[key % WAYS];
        *way = simd.max(*way, simd.read(&row[lane..]));
    }
    simd.max(simd.max(ways[0], ways[1]), simd.max(ways[2], ways[3]))
}

/// Replaces the scores of the queries from `lane` on by 2^(score - largest) and returns the sums of these.
#[inline(always)]
fn powers<S: Simd>(simd: S, scores: &mut [f32], lane: usize, largest: S::V) -> S::V {
    let mut sum = simd.splat(0.0);
    for row in scores.chunks_exact_mut(QUERIES) {
        let to = &mut row[lane..];
        let power = math::exp2(simd, simd.sub(simd.read(to), largest));
        simd.write(to, power);
        sum = simd.add(sum, power);
    }
    sum
}

/// Divides the sums of each query by the sum of its weights, and writes them to its row of the output.
struct Finish<'a, 'to> {
    /// `[width][QUERIES]`.
    sums: &'a mut [f32],
    weights: &'a [f32; QUERIES],
    /// `[queries, width]`.
    to: Unwritten<'to>,
}

impl<'to> Kernel for Finish<'_, 'to> {
    type Output = RowsMut<'to>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> RowsMut<'to> {
        let Self { sums, weights, mut to } = self;
        let mut inverse = [0.0; QUERIES];
        inverse.iter_mut().zip(weights).for_each(|(inverse, weight)| *inverse = 1.0 / weight);
        for row in sums.chunks_exact_mut(QUERIES) {
            for lane in (0..QUERIES).step_by(S::LANES) {
                let at = &mut row[lane..];
                simd.write(at, simd.mul(simd.read(at), simd.read(&inverse[lane..])));
            }
        }
        let (count, width, stride) = (to.rows(), to.columns(), to.stride());
        assert!(count <= QUERIES && sums.len() >= width * QUERIES, "kernel bug: too few sums");
        let (whole, even) = (count / 8 * 8, width / 8 * 8);
        for query in (0..whole).step_by(8) {
            for i in (0..even).step_by(8) {
                // SAFETY: 8 of `count` queries, in 8 of `width` rows of the sums and columns of the output.
                unsafe {
                    let to = to.as_mut_ptr().cast::<f32>().add(query * stride + i);
                    simd.transpose8(sums.as_ptr().add(i * QUERIES + query), QUERIES, to, stride);
                }
            }
        }
        for query in 0..count {
            let done = if query < whole { even } else { 0 };
            if done < width {
                for (i, to) in to.row(query).iter_mut().enumerate().skip(done) {
                    to.write(sums[i * QUERIES + query]);
                }
            }
        }
        // SAFETY: of the first `whole` rows, the first `even` values were transposed; all others followed.
        unsafe { to.assume_written() }
    }
}
