//! Attention in tiles, with the softmax put together on the way (Dao et al. 2022, arXiv:2205.14135): no scores are in memory.
//!
//! A cube takes [`ROWS`] queries of one head through all keys. Its 16x16 units hold a score each for two queries and two keys,
//! and their share of two rows of the result. It is for what Burn's fused kernel does not take: few keys, wide heads, queries
//! of any number, and f32.

use burn_cubecl::{ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::element;

/// Units of a cube in each direction.
const SIDE: usize = 16;
/// Queries, and keys, for which a unit has scores.
const EACH: usize = 2;
/// Queries of a cube, and keys of a tile.
const ROWS: usize = SIDE * EACH;
/// A row of a tile in shared memory: one value more, so that columns lie in different banks.
const ROW: usize = SIDE + 1;
const SCORE_ROW: usize = ROWS + 1;
/// What no score is below.
const NEVER: f32 = -1e30;

/// q `[B, S, heads·d]`, k and v `[B, T, heads·d]` → `[B, S, heads·d]`
pub(super) fn attention(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    heads: usize,
    causal: bool,
) -> CubeTensor {
    let [b, s, width] = q.meta.shape().dims();
    let (client, dtype) = (q.client.clone(), q.dtype);
    let shape = q.meta.shape().clone();
    let out = empty_device_contiguous_dtype(client.clone(), q.device.clone(), shape, dtype);
    if b * s * width == 0 {
        return out;
    }
    let d = width / heads;
    attention_kernel::launch(
        &client,
        CubeCount::Static(s.div_ceil(ROWS) as u32, heads as u32, b as u32),
        CubeDim::new_2d(SIDE as u32, SIDE as u32),
        q.into_tensor_arg(),
        k.into_tensor_arg(),
        v.into_tensor_arg(),
        out.clone().into_tensor_arg(),
        (d as f32).powf(-0.5),
        d,
        causal,
        element(dtype),
    );
    out
}

/// Copies columns `column` to `column + 16` of 32 rows from `row` on to a tile; what is beyond the tensor or the head is zero.
#[cube]
fn load<F: Float>(
    x: &Tensor<F>,
    tile: &mut Shared<[f32]>,
    batch: usize,
    row: usize,
    head: usize,
    column: usize,
    factor: f32,
    #[comptime] d: usize,
) {
    let (lane, line) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    #[unroll]
    for i in 0..EACH {
        let from = row + line + i * SIDE;
        let mut value = f32::new(0.0);
        if from < x.shape(1) && column + lane < d {
            let at = batch * x.stride(0) + from * x.stride(1) + (head * d + column + lane) * x.stride(2);
            value = f32::cast_from(x[at]) * factor;
        }
        tile[(line + i * SIDE) * ROW + lane] = value;
    }
}

/// Cube (queries, head, picture).
#[cube(launch)]
fn attention_kernel<F: Float>(
    q: &Tensor<F>,
    k: &Tensor<F>,
    v: &Tensor<F>,
    out: &mut Tensor<F>,
    scale: f32,
    #[comptime] d: usize,
    #[comptime] causal: bool,
    #[define(F)] _dtype: ElemType,
) {
    let pieces = comptime!(d.div_ceil(SIDE));
    let (lane, line) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    let (head, batch) = (CUBE_POS_Y as usize, CUBE_POS_Z as usize);
    let first = CUBE_POS_X as usize * ROWS;
    let keys = k.shape(1);

    let mut queries = Shared::<[f32]>::new_slice(ROWS * ROW);
    let mut others = Shared::<[f32]>::new_slice(ROWS * ROW);
    let mut weights = Shared::<[f32]>::new_slice(ROWS * SCORE_ROW);
    // Of the two queries of this unit's line: the largest score, the sum of weights, and the result in columns `lane`,
    // `lane + 16`, and so on.
    let mut largest = Array::<f32>::new(EACH);
    let mut sums = Array::<f32>::new(EACH);
    let mut result = Array::<f32>::new(comptime!(EACH * pieces));
    #[unroll]
    for i in 0..EACH {
        largest[i] = f32::new(NEVER);
        sums[i] = f32::new(0.0);
        #[unroll]
        for piece in 0..pieces {
            result[i * pieces + piece] = f32::new(0.0);
        }
    }

    let mut key = 0usize.runtime();
    while key < keys {
        let mut scores = Array::<f32>::new(comptime!(EACH * EACH));
        #[unroll]
        for i in 0..EACH * EACH {
            scores[i] = f32::new(0.0);
        }
        for piece in 0..pieces {
            sync_cube();
            load(q, &mut queries, batch, first, head, piece * SIDE, scale, d);
            load(k, &mut others, batch, key, head, piece * SIDE, f32::new(1.0), d);
            sync_cube();
            for column in 0..SIDE {
                #[unroll]
                for i in 0..EACH {
                    let query = queries[(line + i * SIDE) * ROW + column];
                    #[unroll]
                    for j in 0..EACH {
                        scores[i * EACH + j] += query * others[(lane + j * SIDE) * ROW + column];
                    }
                }
            }
        }
        #[unroll]
        for i in 0..EACH {
            #[unroll]
            for j in 0..EACH {
                let at = key + lane + j * SIDE;
                let mut is_seen = at < keys;
                if causal {
                    is_seen = is_seen && at <= first + line + i * SIDE;
                }
                let score = select(is_seen, scores[i * EACH + j], f32::new(NEVER));
                weights[(line + i * SIDE) * SCORE_ROW + lane + j * SIDE] = score;
            }
        }
        sync_cube();
        #[unroll]
        for i in 0..EACH {
            let row = (line + i * SIDE) * SCORE_ROW;
            let mut most = largest[i];
            for j in 0..ROWS {
                most = most.max(weights[row + j]);
            }
            let shrunk = (largest[i] - most).exp();
            largest[i] = most;
            sums[i] *= shrunk;
            #[unroll]
            for piece in 0..pieces {
                result[i * pieces + piece] *= shrunk;
            }
        }
        sync_cube();
        #[unroll]
        for i in 0..EACH {
            #[unroll]
            for j in 0..EACH {
                let at = (line + i * SIDE) * SCORE_ROW + lane + j * SIDE;
                let score = weights[at];
                let weight = select(score > f32::new(NEVER), (score - largest[i]).exp(), f32::new(0.0));
                weights[at] = weight;
            }
        }
        sync_cube();
        #[unroll]
        for i in 0..EACH {
            for j in 0..ROWS {
                sums[i] += weights[(line + i * SIDE) * SCORE_ROW + j];
            }
        }
        #[unroll]
        for piece in 0..pieces {
            sync_cube();
            load(v, &mut others, batch, key, head, piece * SIDE, f32::new(1.0), d);
            sync_cube();
            for j in 0..ROWS {
                let value = others[j * ROW + lane];
                #[unroll]
                for i in 0..EACH {
                    result[i * pieces + piece] += weights[(line + i * SIDE) * SCORE_ROW + j] * value;
                }
            }
        }
        sync_cube();
        key += ROWS;
    }

    #[unroll]
    for i in 0..EACH {
        let row = first + line + i * SIDE;
        #[unroll]
        for piece in 0..pieces {
            let column = piece * SIDE + lane;
            if row < out.shape(1) && column < d {
                let at = batch * out.stride(0) + row * out.stride(1) + (head * d + column) * out.stride(2);
                out[at] = F::cast_from(result[i * pieces + piece] / sums[i]);
            }
        }
    }
}
