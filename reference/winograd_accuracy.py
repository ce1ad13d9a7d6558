"""What rounding leaves of Winograd's F(4x4, 3x3) in f32, from one source after the other, against f64.

Single tiles of SiLU-like inputs and uniform weights, summed over the channels. Each column adds a source of rounding to
the one before; the last three are ways to sum.
"""

import numpy as np

A, B = 0.5**0.5, 2.0**0.5
TILES = 400


def fused(factor, x, y):
    """`factor * x + y`, rounded once."""
    return (np.float64(x.dtype.type(factor)) * x.astype(np.float64) + y).astype(x.dtype)


def scaled(factor, x):
    return x.dtype.type(factor) * x


# The transforms of crates/hypersd-kernels/src/conv/winograd/points.rs, operation by operation.


def inputs(d0, d1, d2, d3, d4, d5):
    even_a, odd_a = fused(-2, d2, d4), fused(-B, d1, scaled(A, d3))
    even_b, odd_b = fused(-0.5, d2, d4), fused(-A, d1, scaled(B, d3))
    first, last = fused(-2.5, d2, d0 + d4), fused(-2.5, d3, d1 + d5)
    return np.stack([first, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, last])


def weights(g0, g1, g2):
    even_a, odd_a = fused(-2 / 3, g0, scaled(-1 / 3, g2)), scaled(-2 / 3 * A, g1)
    even_b, odd_b = fused(1 / 6, g0, scaled(1 / 3, g2)), scaled(B / 6, g1)
    return np.stack([g0, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, g2])


def outputs(m0, m1, m2, m3, m4, m5):
    even_a, odd_a, even_b, odd_b = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    second, third = fused(A, odd_a, scaled(B, odd_b)), fused(0.5, even_a, scaled(2, even_b))
    return np.stack([m0 + (even_a + even_b), second, third, m5 + fused(0.5 * A, odd_a, scaled(2 * B, odd_b))])


def both_ways(transform, x):
    """Rows, then columns, of `x [n, n, ...]`."""
    return np.swapaxes(transform(*np.swapaxes(transform(*x), 0, 1)), 0, 1)


def runs(v, u, length):
    """Sums of so many products each, in f32."""
    for first in range(0, v.shape[2], length):
        total = np.zeros_like(v[:, :, 0])
        for c in range(first, min(first + length, v.shape[2])):
            total = (v[:, :, c].astype(np.float64) * u[:, :, c] + total).astype(np.float32)
        yield total


def in_turn(sums):
    return sum(sums[1:], sums[0])


def pairwise(sums):
    middle = len(sums) // 2
    return pairwise(sums[:middle]) + pairwise(sums[middle:]) if middle else sums[0]


def errors(channels, rng):
    d = np.maximum(rng.uniform(-1, 1, (6, 6, channels, TILES)), -0.25).astype(np.float32)
    g = rng.uniform(-1, 1, (3, 3, channels, TILES)).astype(np.float32)
    v64, u64 = both_ways(inputs, d.astype(np.float64)), both_ways(weights, g.astype(np.float64))
    v, u = both_ways(inputs, d), both_ways(weights, g)
    exact = lambda v, u: (v.astype(np.float64) * u).sum(2)
    pixels = both_ways(outputs, exact(v64, u64))
    yield "V and U rounded once", exact(v64.astype(np.float32), u64.astype(np.float32)), pixels
    yield "V and U in f32", exact(v, u), pixels
    yield "exact sums", exact(v, u).astype(np.float32), pixels
    yield "pairwise", pairwise(list(runs(v, u, 1))), pixels
    yield "runs of 16", in_turn(list(runs(v, u, 16))), pixels
    yield "runs of 32", in_turn(list(runs(v, u, 32))), pixels


def main():
    rng = np.random.default_rng(0)
    for channels in (64, 320, 640, 1280, 2560):
        print(f"{channels:5}", end="")
        for name, sums, pixels in errors(channels, rng):
            got = both_ways(outputs, sums)
            print(f"  {name} {np.linalg.norm(got - pixels) / np.linalg.norm(pixels):.1e}", end="")
        print()


if __name__ == "__main__":
    main()
