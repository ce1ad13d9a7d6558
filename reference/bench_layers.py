"""Times the layers in layers.txt with PyTorch, as the example `layers` of hypersd-kernels does with the kernels."""

import argparse
import collections
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F

CALLS = 5
WEIGHTS = 1 << 28  # values that all weights are taken from: 1 GiB, more than any cache


class Pool:
    def __init__(self):
        self.values = torch.empty(WEIGHTS).uniform_(-1, 1)
        self.next = 0

    def take(self, *shape):
        size = torch.Size(shape).numel()
        if self.next + size > WEIGHTS:
            self.next = 0
        self.next += size
        return self.values[self.next - size : self.next].view(shape)


def timed(call):
    call()
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def measure(kind, a, b, c, d, e, pool):
    """Milliseconds and 10^9 operations of a layer."""
    if kind == "linear":
        x = torch.randn(a, b)
        return timed(lambda: F.linear(x, pool.take(c, b), pool.take(c))), 2e-9 * a * b * c
    if kind == "conv":
        x = torch.randn(1, a, c, c)
        call = lambda: F.conv2d(x, pool.take(b, a, d, d), pool.take(b), e, d // 2)
        return timed(call), 2e-9 * a * b * (c // e) ** 2 * d * d
    if kind == "attention":
        q = torch.randn(1, b, a, d).transpose(1, 2)
        k = torch.randn(1, c, a, d).transpose(1, 2)
        return timed(lambda: F.scaled_dot_product_attention(q, k, k)), 4e-9 * a * b * c * d
    ones = torch.ones(a if kind == "groupnorm" else b)
    if kind == "groupnorm":
        x = torch.randn(1, a, b)
        return timed(lambda: F.silu(F.group_norm(x, 32, ones, ones))), 0
    x = torch.randn(1, a, b)
    return timed(lambda: F.layer_norm(x, (b,), ones, ones)), 0


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("network", nargs="?", default="all")
    arguments.add_argument("kind", nargs="?", default="all")
    given = arguments.parse_args()
    torch.set_num_threads(2)
    pool = Pool()
    totals = collections.defaultdict(lambda: [0, 0])
    with torch.inference_mode():
        for line in (Path(__file__).parent / "layers.txt").read_text().splitlines():
            network, kind, *numbers = line.split()
            *sizes, _, count = map(int, numbers)
            if given.network not in ("all", network) or given.kind not in ("all", kind):
                continue
            ms, gflop = measure(kind, *sizes, pool)
            print(f"{network:5} {kind:9} {str(sizes):32} {ms:9.3f} ms x {count:3} {gflop / ms * 1e3:7.1f} GFLOP/s")
            for name in (f"{network} {kind}", f"{network} all"):
                totals[name][0] += ms * count
                totals[name][1] += gflop * count
    for name, (ms, gflop) in sorted(totals.items()):
        print(f"TOTAL {name:16} {ms:9.1f} ms {gflop / ms * 1e3:7.1f} GFLOP/s")


if __name__ == "__main__":
    main()
