//! Attention with products of bf16: scores of rounded queries and keys, and sums of rounded powers and values. Scores,
//! powers and all sums are f32.

use std::ops::Range;

use super::{AttentionShape, Block, Finish as Divide, QUERIES, State, Update, split_of};
use crate::{
    narrow::{self, Columns, Finish, Tiles, WordRows, as_words, as_words_mut, rounded},
    operands::{RowsMut, Unwritten},
    output::{Axis, Split, fill, update},
    pack,
    panel::PANEL,
    scratch::{Scratch, odd_lines},
    simd::{Kernel, Simd, dispatch},
};

/// Keys between two updates of the sums, an even number: their powers in bf16 (16 KiB) stay in the first-level cache.
const KEYS: usize = 128;

/// As [`attention`](crate::attention()), with products of bf16.
///
/// Where the processor has none ([`has_bf16_products`](crate::has_bf16_products)), it gives the same and takes longer.
///
/// # Panics
/// As [`attention`](crate::attention()).
pub fn attention_bf16(q: &[f32], k: &[f32], v: &[f32], shape: AttentionShape, out: &mut Vec<f32>) {
    shape.check(q, k, v);
    let (keys, values) = (Keys::new(k, shape), Values::new(v, shape));
    fill(out, split_of(shape), |block, to| Block::new(block, shape).halves(q, &keys, &values, shape, to));
}

/// The keys of every head in words of two neighbours: `[batch · heads, keys, width / 2]`.
struct Keys {
    words: Scratch,
    stride: usize,
}

impl Keys {
    fn new(k: &[f32], shape: AttentionShape) -> Self {
        let AttentionShape { batch, heads, keys, width, .. } = shape;
        let stride = odd_lines(width.div_ceil(2));
        let mut words = Scratch::take(batch * heads * keys * stride);
        let split = Split::new(batch * heads, Axis::new(keys, 1, keys.div_ceil(512)), Axis::whole(stride));
        update(&mut words, split, |block, mut to| {
            let (start, from) = shape.head(block.layer / heads, block.layer % heads, keys);
            for (row, key) in block.rows.enumerate() {
                let words = &mut as_words_mut(to.row(row))[..width.div_ceil(2)];
                dispatch(Neighbours { x: &k[start + key * from..][..width], words });
            }
        });
        Self { words, stride }
    }

    fn rows(&self, head: usize, keys: &Range<usize>, shape: AttentionShape) -> WordRows<'_> {
        let first = (head * shape.keys + keys.start) * self.stride;
        WordRows::new(&as_words(&self.words)[first..], [keys.len(), shape.width.div_ceil(2)], self.stride)
    }
}

/// The values of every head, transposed, in words of two keys: `[batch · heads, width, keys / 2]`.
struct Values {
    words: Scratch,
    stride: usize,
}

impl Values {
    fn new(v: &[f32], shape: AttentionShape) -> Self {
        let AttentionShape { batch, heads, keys, width, .. } = shape;
        let stride = odd_lines(keys.div_ceil(2));
        let mut words = Scratch::take(batch * heads * width * stride);
        let split = Split::new(batch * heads, Axis::whole(width), Axis::whole(stride));
        update(&mut words, split, |block, mut to| {
            let (start, from) = shape.head(block.layer / heads, block.layer % heads, keys);
            let mut panel = Scratch::take(width * PANEL);
            for first in (0..keys).step_by(PANEL) {
                let count = PANEL.min(keys - first);
                pack::transpose(&v[start + first * from..], from, count, width, &mut panel);
                let words = first / 2..(first / 2 + PANEL / 2).min(stride);
                for (i, x) in panel.chunks_exact(PANEL).enumerate() {
                    dispatch(Neighbours { x, words: &mut as_words_mut(to.row(i))[words.clone()] });
                }
            }
        });
        Self { words, stride }
    }

    fn rows(&self, head: usize, keys: &Range<usize>, shape: AttentionShape) -> WordRows<'_> {
        let first = head * shape.width * self.stride + keys.start / 2;
        let count = keys.len().div_ceil(2);
        WordRows::new(
            &as_words(&self.words)[first.min(self.words.len())..],
            [shape.width, count],
            self.stride,
        )
    }
}

impl Block {
    fn halves<'to>(
        &self,
        q: &[f32],
        k: &Keys,
        v: &Values,
        shape: AttentionShape,
        to: Unwritten<'to>,
    ) -> RowsMut<'to> {
        let AttentionShape { heads, keys, width, causal, .. } = shape;
        let (queries, head) = (&self.queries, self.batch * heads + self.head);
        let panels = queries.len().div_ceil(PANEL);
        let (columns, depth) = (panels * PANEL, width.div_ceil(2));
        let scaled = self.scaled(q, shape);
        let mut q = Scratch::take(panels * depth * PANEL);
        for (rows, words) in
            scaled.chunks_exact((width * PANEL).max(1)).zip(q.chunks_exact_mut((depth * PANEL).max(1)))
        {
            dispatch(Pairs { rows, stride: PANEL, words: as_words_mut(words) });
        }
        let mut scores = Scratch::take(KEYS * QUERIES);
        let mut powers = Scratch::take(KEYS / 2 * QUERIES);
        let mut sums = Scratch::take(width * QUERIES);
        sums.fill(0.0);
        let mut state = State::EMPTY;
        let visible = if causal { keys.min(queries.end) } else { keys };
        for start in (0..visible).step_by(KEYS) {
            let keys = start..(start + KEYS).min(visible);
            let count = keys.len();
            narrow::bf16(Tiles {
                rows: k.rows(head, &keys, shape),
                columns: Columns::new(as_words(&q), panels, (&[0], depth), PANEL, depth * PANEL),
                finish: Put(&mut scores),
            });
            if causal {
                self.hide(keys.clone(), &mut scores);
            }
            dispatch(Update { scores: &mut scores, count, columns, state: &mut state, sums: &mut sums });
            let pairs = count.div_ceil(2);
            let words = &mut as_words_mut(&mut powers)[..pairs * QUERIES];
            dispatch(Pairs { rows: &scores[..count * QUERIES], stride: QUERIES, words });
            narrow::bf16(Tiles {
                rows: v.rows(head, &keys, shape),
                columns: Columns::new(as_words(&powers), panels, (&[0], pairs), QUERIES, PANEL),
                finish: Add(&mut sums),
            });
        }
        dispatch(Divide { sums: &mut sums, weights: &state.sum, to })
    }
}

/// Writes sums to rows of [`QUERIES`].
struct Put<'a>(&'a mut [f32]);

impl Finish<f32> for Put<'_> {
    #[inline(always)]
    fn finish(&mut self, rows: Range<usize>, columns: Range<usize>, sums: &[f32]) {
        for (row, sums) in rows.zip(sums.chunks_exact(columns.len())) {
            self.0[row * QUERIES..][columns.clone()].copy_from_slice(sums);
        }
    }
}

/// Adds sums to rows of [`QUERIES`].
struct Add<'a>(&'a mut [f32]);

impl Finish<f32> for Add<'_> {
    #[inline(always)]
    fn finish(&mut self, rows: Range<usize>, columns: Range<usize>, sums: &[f32]) {
        for (row, sums) in rows.zip(sums.chunks_exact(columns.len())) {
            self.0[row * QUERIES..][columns.clone()].iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
        }
    }
}

/// Values become words of two neighbours; where there is one too few, it is zero.
struct Neighbours<'a> {
    x: &'a [f32],
    words: &'a mut [u32],
}

impl Kernel for Neighbours<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (pairs, last) = self.x.as_chunks::<2>();
        let mut words = self.words.iter_mut();
        for (pair, word) in pairs.iter().zip(&mut words) {
            *word = rounded(pair[0]) | rounded(pair[1]) << 16;
        }
        if let ([last], Some(word)) = (last, words.next()) {
            *word = rounded(*last);
        }
    }
}

/// Rows become half as many of words, of one row and the next; where there is one too few, it is zero.
struct Pairs<'a> {
    rows: &'a [f32],
    stride: usize,
    words: &'a mut [u32],
}

impl Kernel for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { rows, stride, words } = self;
        for (pair, words) in rows.chunks(2 * stride).zip(words.chunks_exact_mut(stride)) {
            let (even, odd) = pair.split_at(stride);
            if odd.is_empty() {
                words.iter_mut().zip(even).for_each(|(word, &x)| *word = rounded(x));
            } else {
                for (word, (&even, &odd)) in words.iter_mut().zip(even.iter().zip(odd)) {
                    *word = rounded(even) | rounded(odd) << 16;
                }
            }
        }
    }
}
