"""The relative L2 error of PyTorch against f64, on the inputs of the example `accuracy` of hypersd-kernels.

With `ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2` as on a processor without AVX-512.
"""

import numpy as np
import torch
import torch.nn.functional as F

SAMPLE = 512


def numbers(*shape, seed):
    i = np.arange(np.prod(shape), dtype=np.uint32)
    x = (i ^ np.uint32(seed << 28)) * np.uint32(0x9E3779B1)
    x = (x ^ (x >> 15)) * np.uint32(0x85EBCA77)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE3D)
    x = (x ^ (x >> 16)) >> 8
    return torch.from_numpy((x.astype(np.float32) / np.float32(1 << 23) - 1).reshape(shape))


def activations(*shape, seed):
    return numbers(*shape, seed=seed).clamp(min=-0.25)


def report(name, got, exact):
    got = got.flatten()
    at = torch.from_numpy((np.arange(SAMPLE, dtype=np.uint64) * 2654435761 % got.numel()).astype(np.int64))
    want = exact(at)
    print(f"{name:32} {((got[at].double() - want).norm() / want.norm()).item():.2e}")


def main():
    torch.set_num_threads(2)
    for rows, inputs, outputs in [(4096, 320, 320), (1024, 2560, 640), (256, 5120, 1280), (77, 768, 768)]:
        x, w = activations(rows, inputs, seed=1), numbers(inputs, outputs, seed=2)
        got = F.linear(x, w.T.contiguous())
        exact = lambda at: (x[at // outputs].double() * w.T[at % outputs].double()).sum(1)
        report(f"linear {rows}x{inputs}x{outputs}", got, exact)
    for inputs, outputs, side, scale in [
        (320, 320, 64, 1), (640, 640, 32, 1), (1280, 1280, 16, 1), (2560, 1280, 8, 1), (512, 512, 64, 1),
        (128, 128, 128, 1), (64, 64, 128, 1), (512, 512, 64, 2), (256, 256, 128, 2),
    ]:  # fmt: skip
        x, w = activations(1, inputs, side, side, seed=1), numbers(outputs, inputs, 3, 3, seed=2)
        x, side = F.interpolate(x, scale_factor=scale), side * scale
        windows = F.pad(x[0], (1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)  # [inputs, side, side, 3, 3]

        def exact(at):
            channel, row, column = at // side**2, at // side % side, at % side
            parts = [
                (windows[:, r, c].double().transpose(0, 1) * w[o].double()).sum((1, 2, 3))
                for o, r, c in zip(channel.split(64), row.split(64), column.split(64))
            ]
            return torch.cat(parts)

        name = f"conv3x3 {inputs}->{outputs}@{side}" if scale == 1 else f"doubled, conv3x3 {inputs}@{side // scale}"
        report(name, F.conv2d(x, w, padding=1), exact)
    for heads, queries, keys, width in [(8, 4096, 4096, 40), (10, 1024, 1024, 64), (8, 1024, 77, 80)]:
        q = numbers(1, queries, heads, width, seed=1).transpose(1, 2)
        k, v = (numbers(1, keys, heads, width, seed=seed).transpose(1, 2) for seed in (2, 3))
        got = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)

        def exact(at):
            query, head, i = at // (heads * width), at // width % heads, at % width
            want = torch.empty(len(at), dtype=torch.float64)
            for h in range(heads):
                mine = head == h
                scores = q[0, h, query[mine]].double() @ k[0, h].double().T / width**0.5
                want[mine] = (scores.softmax(1) @ v[0, h].double()).gather(1, i[mine, None])[:, 0]
            return want

        report(f"attention {heads}x{queries}x{keys}x{width}", got, exact)


if __name__ == "__main__":
    main()
