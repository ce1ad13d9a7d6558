"""Fixtures of hypersd-core's readers of weight files: every type of element, scales beside weights, GGUF, and what torch saves.

    python reference/files.py        # needs gguf, see requirements.txt

Each file in crates/hypersd-core/tests/fixtures/files/ has what it should be read as in `expected.safetensors`, under the
file's name and the tensor's, in f32: by torch, and by the package `gguf` for its blocks.
"""

import collections
import pickle
import sys
import types
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from safetensors.torch import save_file

OUT = Path("crates/hypersd-core/tests/fixtures/files")
SMALL = [Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0]
LARGE = [Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K]
expected = {}


def expect(file, tensors):
    for name, tensor in tensors.items():
        expected[f"{file}: {name}"] = tensor.detach().float().contiguous().clone()


def safetensors_of_every_type():
    every_byte = torch.arange(256, dtype=torch.int32).to(torch.uint8)
    tensors = {
        "f64": torch.tensor([1 / 3, -1e300, 5e-324, 16777217.0], dtype=torch.float64),
        "f8_e4m3": every_byte.view(torch.float8_e4m3fn).reshape(16, 16),
        "f8_e5m2": every_byte.clone().view(torch.float8_e5m2).reshape(16, 16),
        "i64": torch.tensor([4, -(2**62), 16777217]),
        "i32": torch.tensor([-5, 2**31 - 1], dtype=torch.int32),
        "i16": torch.tensor([-300, 300], dtype=torch.int16),
        "i8": torch.tensor([-128, 127], dtype=torch.int8),
        "u8": torch.tensor([255, 1], dtype=torch.uint8),
        "u16": torch.tensor([65535, 1], dtype=torch.uint16),
        "u32": torch.tensor([2**32 - 1, 1], dtype=torch.uint32),
        "u64": torch.tensor([2**63 - 1, 1], dtype=torch.uint64),
    }
    save_file(tensors, OUT / "types.safetensors")
    expect("types.safetensors", tensors)


def scaled():
    """ComfyUI's: one number for a weight, or one for each row, by either name."""
    w = {name: torch.randn(4, 3).to(torch.float8_e4m3fn) for name in ("one", "rows", "column")}
    scales = {"one": torch.tensor(0.37), "rows": torch.rand(4), "column": torch.rand(4, 1)}
    names = {"one": "scale_weight", "rows": "weight_scale", "column": "scale_weight"}
    tensors = {f"{name}.weight": x for name, x in w.items()} | {f"{n}.{names[n]}": s for n, s in scales.items()}
    tensors |= {"one.bias": torch.randn(4), "one.scale_input": torch.tensor(1.0), "rows.input_scale": torch.tensor(1.0)}
    tensors |= {"scaled_fp8": torch.empty(0).to(torch.float8_e4m3fn), "rows.comfy_quant": torch.tensor([123], dtype=torch.uint8)}
    save_file(tensors, OUT / "scaled.safetensors")
    seen = {f"{n}.weight": w[n].float() * scales[n].reshape(-1, 1) for n in w} | {"one.bias": tensors["one.bias"]}
    expect("scaled.safetensors", seen)


def random_blocks(kind, count, rng):
    """Blocks of any bits, but for the halves that are scales, which are numbers."""
    _, size = gguf.GGML_QUANT_SIZES[kind]
    scales = {Q.Q2_K: [80, 82], Q.Q3_K: [108], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208]}[kind]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in scales:
        blocks[:, at : at + 2] = rng.normal(0, 0.1, (count, 1)).astype(np.float16).view(np.uint8)
    return blocks


def blocks():
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(OUT / "blocks.gguf", "sd1")
    writer.add_string("general.name", "a test")
    writer.add_array("some.words", ["one", "two"])
    writer.add_array("some.numbers", [1.5, 2.5])
    seen = {}
    for name, dtype in (("f32", np.float32), ("f16", np.float16)):
        x = rng.normal(0, 1, (2, 3, 1, 2)).astype(dtype)
        writer.add_tensor(name, x)
        seen[name] = torch.from_numpy(x.astype(np.float32))
    bf16 = torch.randn(2, 4).bfloat16()
    writer.add_tensor("bf16", bf16.view(torch.uint8).numpy().reshape(2, 8), raw_dtype=Q.BF16)
    seen["bf16"] = bf16.float()
    for kind in SMALL:
        x = rng.normal(0, 1, (2, 64)).astype(np.float32)
        stored = gguf.quants.quantize(x, kind)
        writer.add_tensor(kind.name.lower(), stored, raw_dtype=kind)
        seen[kind.name.lower()] = torch.from_numpy(gguf.quants.dequantize(stored, kind))
    for kind in LARGE:
        stored = random_blocks(kind, 2, rng)
        writer.add_tensor(kind.name.lower(), stored, raw_dtype=kind)
        seen[kind.name.lower()] = torch.from_numpy(gguf.quants.dequantize(stored, kind))
    # As ComfyUI-GGUF's converter writes a convolution whose rows do not divide into blocks.
    conv = rng.normal(0, 1, (8, 8, 2, 2)).astype(np.float32)
    stored = gguf.quants.quantize(conv.reshape(1, 256), Q.Q8_0)
    writer.add_array("comfy.gguf.orig_shape.conv", list(conv.shape))
    writer.add_tensor("conv", stored, raw_dtype=Q.Q8_0)
    seen["conv"] = torch.from_numpy(gguf.quants.dequantize(stored, Q.Q8_0)).reshape(conv.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    expect("blocks.gguf", seen)


def checkpoints():
    shared = torch.randn(6, 4)
    plain = {
        "f32": torch.randn(2, 3),
        "f16": torch.randn(3).half(),
        "bf16": torch.randn(2, 2).bfloat16(),
        "f64": torch.randn(2).double(),
        "i64": torch.tensor(7),
        "turned": torch.randn(2, 3).T,
        "strided": torch.randn(4, 6)[1::2, ::3],
        "rows": shared[2:4],
        "column": shared[:, 1],
        "empty": torch.empty(0, 3),
    }
    ordered = collections.OrderedDict(plain)
    ordered._metadata = {"": {"version": 1}}
    for name, what, settings in (
        ("plain.pth", ordered, {}),
        ("protocol4.pth", plain, dict(pickle_protocol=4)),
        ("legacy.pth", ordered, dict(_use_new_zipfile_serialization=False)),
    ):
        torch.save(what, OUT / name, **settings)
        expect(name, plain)

    typed = {
        "e4m3": torch.randn(2, 3).to(torch.float8_e4m3fn),
        "e5m2": torch.randn(2, 3).to(torch.float8_e5m2),
        "u16": torch.tensor([1, 65535], dtype=torch.uint16),
    }
    torch.save(typed, OUT / "typed.pt")
    expect("typed.pt", typed)

    # A trainer's: the weights in a state_dict, beside them an optimizer's state and callbacks, known by their classes.
    lightning = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    callback = type("ModelCheckpoint", (), {"__module__": lightning.__name__})
    lightning.ModelCheckpoint = callback
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[lightning.__name__] = lightning
    weights = {"unet.weight": torch.nn.Parameter(torch.randn(2, 2)), "unet.bias": torch.randn(2)}
    trainer = {
        "epoch": 3,
        "global_step": np.int64(10**12),
        "pytorch-lightning_version": "1.4.2",
        "state_dict": weights,
        "callbacks": {callback: {"best_model_score": torch.tensor(0.5), "best": 0.25, "path": None, "on": True}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.randn(2)}}, "param_groups": [{"betas": (0.9, 0.999)}]}],
        "lr_schedulers": [set()],
    }
    torch.save(trainer, OUT / "trainer.ckpt")
    expect("trainer.ckpt", weights)
    torch.save(trainer, OUT / "trainer_legacy.ckpt", _use_new_zipfile_serialization=False)
    expect("trainer_legacy.ckpt", weights)

    # AUTOMATIC1111's words; the oldest keep them as a network's parameters.
    vectors = torch.randn(2, 8)
    word = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "cat", "step": 400, "sd_checkpoint": None}
    torch.save(word, OUT / "word.pt")
    expect("word.pt", {"string_to_param.*": vectors})
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors)})
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": parameters}, OUT / "word_old.pt")
    expect("word_old.pt", {"string_to_param.*": vectors, "string_to_token.*": torch.tensor(265)})


class Asks:
    """What a pickle that wants to run something looks like."""

    def __init__(self, callable, *arguments):
        self.how = callable, arguments

    def __reduce__(self):
        return self.how


def hostile():
    torch.save({"x": torch.zeros(1), "y": Asks(eval, "print('run')")}, OUT / "asks.pt")
    (OUT / "bare.pkl").write_bytes(pickle.dumps({"x": [1, 2]}, protocol=2))


def main():
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)
    safetensors_of_every_type()
    scaled()
    blocks()
    checkpoints()
    hostile()
    save_file(expected, OUT / "expected.safetensors")
    print(sum(path.stat().st_size for path in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
