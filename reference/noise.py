"""What torch.Generator("cpu") draws: mixed sizes in one stream, whole and as checksums.

Writes crates/hypersd-core/tests/fixtures/noise.safetensors:
  draws/SEED/INDEX/N     the INDEX-th draw of a stream, N numbers; of long ones the first and the last 32
  whole                  a draw of 16,384 from seed 7
  checksum/SEED/INDEX/N  FNV-1a, 8 bytes little-endian, over the bits of such a draw as 32-bit words
The numbers are those of a machine with AVX2 (torch.backends.cpu.get_cpu_capability()).
"""

import torch

from common import save

SEEDS = [0, 1, 42, 1234, 2**32 + 7, 2**64 - 1]
SIZES = [20, 8, 15, 16, 17, 31, 1, 1, 3, 16384, 7, 100, 2, 48, 5, 1000, 0, 32]
WHOLE_SEED, WHOLE = 7, 16384
CHECKED_SEEDS, CHECKED_SIZES = range(100, 112), [65536, 65543]


def fnv1a(draw):
    hash = 0xCBF29CE484222325
    for word in draw.view(torch.int32).tolist():
        hash = ((hash ^ (word & 0xFFFFFFFF)) * 0x100000001B3) % 2**64
    return torch.tensor(list(hash.to_bytes(8, "little")), dtype=torch.uint8)


def ends(draw):
    return draw if len(draw) <= 1000 else torch.cat([draw[:32], draw[-32:]])


def main():
    torch.set_num_threads(2)
    assert torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    tensors = {}
    for seed in SEEDS:
        generator = torch.Generator("cpu").manual_seed(seed)
        for index, n in enumerate(SIZES):
            tensors[f"draws/{seed}/{index:02}/{n}"] = ends(torch.randn(n, generator=generator))
    tensors["whole"] = torch.randn(WHOLE, generator=torch.Generator("cpu").manual_seed(WHOLE_SEED))
    for seed in CHECKED_SEEDS:
        generator = torch.Generator("cpu").manual_seed(seed)
        for index, n in enumerate(CHECKED_SIZES):
            tensors[f"checksum/{seed}/{index:02}/{n}"] = fnv1a(torch.randn(n, generator=generator))
    metadata = {"torch": torch.__version__}  # one entry: safetensors writes several in any order
    save("crates/hypersd-core/tests/fixtures/noise.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
