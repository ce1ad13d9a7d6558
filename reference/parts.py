"""The parts of a model folder and of a Hyper-SD LoRA that depend neither on the family nor on the size."""

import json
from pathlib import Path

import diffusers
import torch
import transformers

ROOT = Path(__file__).parent.parent
MERGES = ROOT / "crates/hypersd-models/data/clip-merges.txt"

# Both libraries report progress and warn about things that are meant to be so.
for library in (diffusers, transformers):
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()

BOS, EOS = "<|startoftext|>", "<|endoftext|>"

# The modules that the Hyper-SD (and LCM) LoRAs touch: 278 of SD1.5's 282 linear and convolution layers, 788 of SDXL's
# 794. Only conv_in, conv_out and the two layers of time_embedding (and of add_embedding) stay as they are.
LORA_TARGETS = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2",
    "conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj",
)  # fmt: skip


def merges(count=None):
    """The first `count` merges of CLIP's tokenizer, or all 48,894."""
    return MERGES.read_text(encoding="utf-8").splitlines()[1:][:count]


def write_tokenizer(folder, merges, pad=EOS):
    """Writes CLIP's tokenizer with the given `merges` in the four files that SD1.5 and SDXL repositories have."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = list(byte_symbols())
    vocabulary += [symbol + "</w>" for symbol in vocabulary]
    vocabulary += ["".join(merge.split()) for merge in merges] + [BOS, EOS]
    write_json(folder / "vocab.json", {token: i for i, token in enumerate(vocabulary)}, indent=None)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    special = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    marked = {"bos_token": {"content": BOS, **special}, "eos_token": {"content": EOS, **special}}
    write_json(
        folder / "special_tokens_map.json",
        {**marked, "pad_token": pad, "unk_token": {"content": EOS, **special}},
    )
    tagged = {name: {"__type": "AddedToken", **token} for name, token in marked.items()}
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            **tagged,
            "do_lower_case": True,
            "errors": "replace",
            "model_max_length": 77,
            "pad_token": pad,
            "tokenizer_class": "CLIPTokenizer",
            "unk_token": {"__type": "AddedToken", "content": EOS, **special},
        },
    )
    return len(vocabulary)


def byte_symbols():
    """GPT-2's printable characters for the 256 bytes, in the order of CLIP's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return "".join(map(chr, printable + [256 + i for i in range(256 - len(printable))]))


def write_json(path, value, indent=2):
    """Writes `value` as UTF-8 JSON."""
    Path(path).write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def save_folder(pipe, folder, merges):
    """Saves `pipe` as diffusers does, but keeps the tokenizer files that the published folders carry."""
    pipe.save_pretrained(folder, safe_serialization=True)
    for name, tokenizer in pipe.components.items():
        if name.startswith("tokenizer") and tokenizer is not None:  # SDXL's refiner has no first one
            for file in (Path(folder) / name).iterdir():
                file.unlink()  # transformers 5 writes tokenizer.json, which SD1.5 and SDXL have not
            write_tokenizer(Path(folder) / name, merges, tokenizer.pad_token)


def lora_modules(unet):
    """(path, weight shape) of every module that a Hyper-SD LoRA touches."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return [
        (path, module.weight.shape)
        for path, module in unet.named_modules()
        if isinstance(module, kinds) and path.endswith(tuple("." + t for t in LORA_TARGETS))
    ]


def lora(unet, rank, alphas, strength, draws):
    """A LoRA of Hyper-SD's form: kohya's suffixes on diffusers' paths, F32, one scalar alpha for each module.

    `alphas` are dealt out in turn, but the attention projections all take the last one: diffusers 0.42.1 loses
    their own alphas on the way to PEFT and gives them the most common one of the file. Whatever the alpha, the
    merged change has `strength` times the size 1/sqrt(fan_in) of the weights, so that a wrong alpha shows.
    """
    tensors = {}
    for i, (path, shape) in enumerate(lora_modules(unet)):
        out, fan_in = shape[0], shape[1:].numel()
        alpha = alphas[-1] if ".to_" in path else alphas[i % len(alphas)]
        name = lora_name(path)
        down, up = name + ".lora_down.weight", name + ".lora_up.weight"
        tensors[down] = draws.draw(down, (rank, *shape[1:]), fan_in**-0.5)
        tensors[up] = draws.draw(up, (out, rank, *(1 for _ in shape[2:])), strength * rank**0.5 / alpha)
        tensors[name + ".alpha"] = draws.value(name + ".alpha", alpha)
    return tensors


def lora_name(path):
    """Kohya's name of a module of the UNet."""
    return "lora_unet_" + path.replace(".", "_")


def fuse(pipe, lora_file, scale=1.0):
    """Has diffusers merge a LoRA file into the weights of `pipe`, and forget the file."""
    pipe.load_lora_weights(str(lora_file))
    pipe.fuse_lora(lora_scale=scale)
    pipe.unload_lora_weights()
    return pipe
