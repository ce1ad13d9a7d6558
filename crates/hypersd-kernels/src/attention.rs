//! Attention without the matrix of all scores: Dao et al., "FlashAttention", 2022 (arXiv:2205.14135), algorithm 1.
//!
//! A task owns a block of queries of one head and walks over the keys block by block, keeping for each query the
//! largest score so far, the sum of the exponentials, and the weighted sum of the values; when the largest score grows,
//! both sums are scaled down. Powers are of two: log2(e) is folded into the scale of the queries.
//!
//! Everything is transposed: queries are the columns of scores `k · qᵀ [keys, queries]` and sums `vᵀ · powers [width,
//! queries]`. So k and v need no panels, no head is too narrow for whole vectors, the powers are a second operand as they
//! lie, and a vector holds one key's scores for 16 queries, so that nothing is ever added up across its lanes.

#![expect(unsafe_code, reason = "tasks write disjoint rows of one output; vectors through pointers")]

use std::{
    f32::consts::LOG2_E,
    ops::{Deref, Range},
    slice,
};

use crate::{
    gemm::{Ahead, Base, DEPTH, PANEL, Product},
    math,
    output::{Out, fill, parallel, share},
    pack,
    scratch::Scratch,
    simd::{Kernel, Simd, dispatch},
};

/// The most queries of one task: those of the widest register tile.
const QUERIES: usize = 64;
/// Keys between two updates of the sums: their powers (24 KiB) stay in the first-level cache.
const KEYS: usize = 96;

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

    let (k, v) = (Heads::new(k, shape), Heads::new(v, shape));
    let panels = queries.div_ceil(PANEL);
    let blocks = queries.div_ceil(QUERIES);
    let write = |out: Out<'_>| {
        parallel(rows * blocks, |task| {
            let panels = share(panels, blocks, task % blocks);
            let block = Block {
                batch: task / blocks / heads,
                head: task / blocks % heads,
                queries: panels.start * PANEL..(panels.end * PANEL).min(queries),
            };
            block.compute(q, &k, &v, shape, out);
        });
    };
    // SAFETY: the tasks cover all queries of all heads.
    unsafe { fill(out, q.len(), write) };
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
        let out = Out::new(&mut copy);
        parallel(batch * heads, |head| {
            let (start, stride) = shape.head(head / heads, head % heads, keys);
            // SAFETY: each head is one task's, and the memory is initialised.
            let to =
                unsafe { slice::from_raw_parts_mut(out.at(head * keys * width, keys * width), keys * width) };
            for (key, to) in to.chunks_exact_mut(width.max(1)).enumerate() {
                to.copy_from_slice(&x[start + key * stride..][..width]);
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
    fn compute(&self, q: &[f32], k: &[f32], v: &[f32], shape: AttentionShape, out: Out<'_>) {
        let AttentionShape { heads, queries: tokens, keys, width, causal, .. } = shape;
        let queries = &self.queries;
        let q = self.scaled(q, shape);
        let mut scores = Scratch::take(KEYS * QUERIES);
        let mut sums = Scratch::take(width * QUERIES);
        sums.fill(0.0);
        let mut state = State::EMPTY;

        let start = (self.batch * heads + self.head) * keys * width;
        let columns = queries.len().next_multiple_of(PANEL);
        let visible = if causal { keys.min(queries.end) } else { keys };
        let blocks = visible.div_ceil(KEYS);
        let (first, stride) = shape.head(self.batch, self.head, tokens);
        let to = out.at(first + queries.start * stride, (queries.len() - 1) * stride + width);
        let out_rows = Ahead::of(to, stride, queries.len(), width);
        for block in 0..blocks {
            let keys = share(visible, blocks, block);
            let first = start + keys.start * width;
            let product = Product {
                m: keys.len(),
                n: columns,
                k: width,
                a: k[first..].as_ptr(),
                a_stride: width,
                a_step: 1,
                b: q.as_ptr(),
                panel_stride: width * PANEL,
                b_step: PANEL,
                c: scores.as_mut_ptr(),
                c_stride: QUERIES,
                base: Base::Zero,
                run: DEPTH,
                next: Ahead::NOTHING,
            };
            // SAFETY: k has these tokens, `q` panels for these columns; the scores are this task's own.
            unsafe { product.run() };
            if causal {
                self.hide(keys.clone(), &mut scores);
            }
            let (scores, count) = (&mut scores, keys.len());
            dispatch(Update { scores, count, columns, state: &mut state, sums: &mut sums });
            let product = Product {
                m: width,
                n: columns,
                k: keys.len(),
                a: v[first..].as_ptr(),
                a_stride: 1,
                a_step: width,
                b: scores.as_ptr(),
                panel_stride: PANEL,
                b_step: QUERIES,
                c: sums.as_mut_ptr(),
                c_stride: QUERIES,
                base: Base::Itself,
                run: DEPTH,
                next: if block + 1 == blocks { out_rows } else { Ahead::NOTHING },
            };
            // SAFETY: v has these tokens, the scores these rows; the sums are this task's own.
            unsafe { product.run() };
        }
        dispatch(Finish { sums: &mut sums, weights: &state.sum, count: queries.len(), to, stride });
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

/// What each query knows of the keys it has seen.
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
        assert!(scores.len() >= count * QUERIES && columns <= QUERIES, "kernel bug: too few scores");
        let rows = sums.len() / QUERIES;
        for lane in (0..columns).step_by(S::LANES) {
            // SAFETY: `columns` is a multiple of the lanes and at most QUERIES, of which there are so many rows.
            unsafe {
                let scores = scores.as_mut_ptr().add(lane);
                let to = state.largest.as_mut_ptr().add(lane);
                let old = simd.load(to);
                let largest = largest(simd, scores, count, old);
                simd.store(to, largest);
                let to = state.sum.as_mut_ptr().add(lane);
                let factor = math::exp2(simd, simd.sub(old, largest));
                let sum = powers(simd, scores, count, largest);
                simd.store(to, simd.mul_add(simd.load(to), factor, sum));
                if simd.largest(simd.sub(largest, old)) > 0.0 {
                    for row in 0..rows {
                        let at = sums.as_mut_ptr().add(row * QUERIES + lane);
                        simd.store(at, simd.mul(simd.load(at), factor));
                    }
                }
            }
        }
    }
}

/// The largest of `from` and each query's scores.
///
/// # Safety
/// Vectors at `scores` and every [`QUERIES`] values are valid for reads, `count` of them.
#[inline(always)]
unsafe fn largest<S: Simd>(simd: S, scores: *const f32, count: usize, from: S::V) -> S::V {
    const WAYS: usize = 4; // independent of each other, to hide the latency of a comparison
    let mut ways = [from; WAYS];
    for key in 0..count {
        let way = &mut ways[key % WAYS];
        // SAFETY: the caller's promise.
        *way = simd.max(*way, unsafe { simd.load(scores.add(key * QUERIES)) });
    }
    simd.max(simd.max(ways[0], ways[1]), simd.max(ways[2], ways[3]))
}

/// Replaces each score by 2^(score - largest) and returns the sums of each query.
///
/// # Safety
/// As [`largest`], and for writes.
#[inline(always)]
unsafe fn powers<S: Simd>(simd: S, scores: *mut f32, count: usize, largest: S::V) -> S::V {
    let mut sum = simd.splat(0.0);
    for key in 0..count {
        // SAFETY: the caller's promise.
        unsafe {
            let at = scores.add(key * QUERIES);
            let power = math::exp2(simd, simd.sub(simd.load(at), largest));
            simd.store(at, power);
            sum = simd.add(sum, power);
        }
    }
    sum
}

/// Divides the sums of each query by the sum of its weights, and writes them to its row of the output.
struct Finish<'a> {
    /// `[width][QUERIES]`.
    sums: &'a mut [f32],
    weights: &'a [f32; QUERIES],
    /// Queries.
    count: usize,
    /// The row of the first query.
    to: *mut f32,
    /// From one row to the next.
    stride: usize,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { sums, weights, count, to, stride } = self;
        let mut inverse = [0.0; QUERIES];
        inverse.iter_mut().zip(weights).for_each(|(inverse, weight)| *inverse = 1.0 / weight);
        for row in sums.chunks_exact_mut(QUERIES) {
            for lane in (0..QUERIES).step_by(S::LANES) {
                // SAFETY: both have QUERIES values.
                unsafe {
                    let at = row.as_mut_ptr().add(lane);
                    simd.store(at, simd.mul(simd.load(at), simd.load(inverse.as_ptr().add(lane))));
                }
            }
        }
        let width = sums.len() / QUERIES;
        let (whole, even) = (count / 8 * 8, width / 8 * 8);
        for query in (0..whole).step_by(8) {
            for i in (0..even).step_by(8) {
                // SAFETY: 8 of `count` rows of the output, which are this task's, and 8 of `width` values in each.
                unsafe {
                    let from = sums.as_ptr().add(i * QUERIES + query);
                    simd.transpose8(from, QUERIES, to.add(query * stride + i), stride);
                }
            }
        }
        for query in 0..count {
            for i in if query < whole { even } else { 0 }..width {
                // SAFETY: as above.
                unsafe { *to.add(query * stride + i) = sums[i * QUERIES + query] };
            }
        }
    }
}
