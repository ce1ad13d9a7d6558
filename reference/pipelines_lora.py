"""Writes tests/fixtures/pipelines-lora/: LoRA files in every form that diffusers loads, and what its pipelines make of
the tiny models with them.

`cases.py` describes the cases. Here also: `family` is "sd15" or "sdxl", and `loras` lists the files that are stacked,
each with its weight in each network, as `set_adapters` takes them. Every case is one step of TCD.

Left out, because diffusers 0.42.1 does not load them as they are meant: alphas that differ within a file (attention
modules get the most common one), `lora_mid`, LoHa and LoKr. `lora.py` and `lora_forms.py` have those.
"""

import functools
import logging
import shutil

import cases
import parts
import torch
from common import save
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.training_utils import _collate_lora_metadata
from lora import TEXT, adapter, rename, sgm_names, targets
from tiny import FIXTURES, made

OUT = FIXTURES / "pipelines-lora"
PIPELINES = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
SAMPLERS = ("downsamplers.0.conv", "upsamplers.0.conv")
NETWORKS = ("unet", "text_encoder", "text_encoder_2")
DEFAULTS = cases.PROMPTS | cases.SCHEDULE | cases.REQUEST | dict(scheduler="tcd", steps=1, width=96, height=64)

ALONE = {
    "sd15": ("kohya", "ranks", "locon", "layers", "processors", "processors-unet", "peft", "rslora", "dora"),
    "sdxl": ("sgm", "peft-xl"),
}
STACKS = {
    "stack": dict(family="sd15", loras=dict(kohya=[0.7, 0.7], locon=[-0.4], peft=[0.5, 0.5])),
    "stack-networks": dict(family="sd15", loras={"peft": [0.3, 1.4], "kohya": [0.9, -0.5]}),
    "stack-xl": dict(family="sdxl", loras={"sgm": [0.6, 0.6, 0.6], "peft-xl": [0.5, 0.5, 0.5]}),
    "stack-xl-networks": dict(family="sdxl", loras={"sgm": [0.8, 0.0, 1.3], "peft-xl": [-0.5, 0.7, 0.4]}),
}

# By how much a case's LoRAs must move the latents, and each of them in each network; the test allows 2e-4.
MOVED, MOVED_BY_A_PART = 0.05, 0.01


def main():
    torch.set_num_threads(1)
    torch.manual_seed(4)
    logging.disable(logging.WARNING)  # of old names
    shutil.rmtree(OUT, ignore_errors=True)
    write_sd15(folder("sd15"))
    write_sdxl(folder("sdxl"))
    files = {file: file.read_bytes() for file in OUT.iterdir()}

    alone = {name: dict(family=family, loras={name: [1.0] * 3}) for family, names in ALONE.items() for name in names}
    full = {name: DEFAULTS | case | dict(loras=stack(case["loras"])) for name, case in (alone | STACKS).items()}
    cases.write(OUT, full, run)  # into an empty folder
    for file, content in files.items():
        file.write_bytes(content)


def stack(loras):
    weights = {name: dict(zip(NETWORKS, [*weights, 0.0, 0.0])) for name, weights in loras.items()}
    return [[f"lora-{name}.safetensors", by_network] for name, by_network in weights.items()]


@functools.cache
def folder(family):
    more = {"add_watermarker": False} if family == "sdxl" else {}
    pipe = PIPELINES[family].from_pretrained(made() / f"tiny-{family}", dtype=torch.float32, **more)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def factors(layer, rank, strength, alpha=None):
    """(down, up) whose merged change has `strength` times the size 1/sqrt(fan_in) of the weights."""
    out, *rest = layer.weight.shape
    down = torch.randn(rank, *rest) * layer.weight[0].numel() ** -0.5
    up = torch.randn(out, rank, *(1 for _ in rest[1:]))
    return down, up * (strength * rank**0.5 / (alpha or rank))


def some(network, suffixes, blocks=("down_blocks.1.", "mid_block.", "up_blocks.1.")):
    """Modules of a few blocks only, to keep the files small."""
    return {name: layer for name, layer in targets(network, suffixes).items() if name.startswith(blocks)}


def attention(unet):
    return some(unet, ["to_q", "to_k", "to_v", "to_out.0"])


def clip(text_encoder, suffixes=TEXT):
    """The modules with the paths they had before transformers 5, which files of other writers go by."""
    return {f"text_model.{n.removeprefix('text_model.')}": m for n, m in targets(text_encoder, suffixes).items()}


def kohya(modules, prefix, ranks, alpha, strength=0.5):
    """The names of kohya's scripts. `ranks` are dealt out in turn."""
    tensors = {}
    for i, (path, layer) in enumerate(modules.items()):
        rank = ranks[i % len(ranks)]
        down, up = factors(layer, rank, strength, alpha)
        key = prefix + path.replace(".", "_")
        tensors |= {key + ".lora_down.weight": down, key + ".lora_up.weight": up}
        tensors[key + ".alpha"] = torch.tensor(float(alpha))
    return tensors


def older(modules, name, strength=0.5):
    """Older diffusers, without alphas: `name` makes of a module's path what stands before `.down` and `.up`."""
    tensors = {}
    for path, layer in modules.items():
        down, up = factors(layer, 2, strength)
        tensors |= {f"{name(path)}.down.weight": down, f"{name(path)}.up.weight": up}
    return tensors


def processor(path):
    """`….attn1.to_out.0` -> `….attn1.processor.to_out_lora`, as `save_attn_procs` wrote it."""
    module, projection = path.removesuffix(".0").rsplit(".", 1)
    return f"{module}.processor.{projection}_lora"


def text_processor(path):
    """`….self_attn.out_proj` -> `….self_attn.to_out_lora`."""
    module, projection = path.rsplit(".", 1)
    return f"{module}.to_{projection.removesuffix('_proj')}_lora"


def write(name, tensors):
    save(OUT / f"lora-{name}.safetensors", tensors)


def write_sd15(pipe):
    unet, text = pipe.unet, pipe.text_encoder
    write("kohya", kohya(attention(unet), "lora_unet_", [4], 2) | kohya(clip(text), "lora_te_", [2], 2))
    write("ranks", kohya(some(unet, parts.LORA_TARGETS, ("mid_block.", "up_blocks.2.")), "lora_unet_", [1, 2, 4], 3))
    convolutions = some(unet, ["conv1", "conv2", "conv_shortcut", *SAMPLERS])
    write("locon", kohya(convolutions, "lora_unet_", [2], 1))
    write("layers", older(attention(unet), lambda path: f"unet.{path}.lora")
          | older(clip(text), lambda path: f"text_encoder.{path}.lora_linear_layer"))
    write("processors", older(attention(unet), lambda path: "unet." + processor(path))
          | older(clip(text, TEXT[:4]), lambda path: "text_encoder." + text_processor(path)))
    write("processors-unet", older(attention(unet), processor))
    write_peft("peft", pipe, unet=dict(r=4, lora_alpha=3, rank_pattern={"to_v": 2}, alpha_pattern={"to_v": 5}),
               text_encoder=dict(r=2, lora_alpha=3))
    write_peft("rslora", pipe, unet=dict(r=2, lora_alpha=1, use_rslora=True))
    write_peft("dora", pipe, unet=dict(r=2, lora_alpha=1, use_dora=True))


def write_sdxl(pipe):
    unet = pipe.unet
    sgm = sgm_names(unet.config)
    suffixes = ["to_k", "ff.net.2", "proj_in", "conv1", "conv_shortcut", "time_emb_proj", *SAMPLERS]
    modules = some(unet, suffixes, ("down_blocks.0.", "down_blocks.1.", "mid_block.", "up_blocks.1."))
    names = {"lora_unet_" + path.replace(".", "_"): "lora_unet_" + sgm(path) for path in modules}
    write("sgm", rename(kohya(modules, "lora_unet_", [2], 1), names)
          | kohya(clip(pipe.text_encoder), "lora_te1_", [2], 1)
          | kohya(clip(pipe.text_encoder_2), "lora_te2_", [2], 1))
    write_peft("peft-xl", pipe, unet=dict(r=2, lora_alpha=1), text_encoder=dict(r=2, lora_alpha=3),
               text_encoder_2=dict(r=4, lora_alpha=2))


def write_peft(name, pipe, **configs):
    """What diffusers' own training scripts write, with the adapters' settings in the metadata."""
    networks = {part: getattr(pipe, part) for part in configs}
    modules = {part: TEXT for part in networks} | {"unet": list(attention(pipe.unet))}
    layers = {f"{part}_lora_layers": adapter(network, target_modules=modules[part], **configs[part])
              for part, network in networks.items()}
    for part, network in networks.items():  # PEFT has made a set of them, whose order differs from run to run
        network.peft_config["default"].target_modules = modules[part]
    file = OUT / f"lora-{name}.safetensors"
    pipe.save_lora_weights(OUT, weight_name=file.name, **layers, **_collate_lora_metadata(networks))
    print(f"{file}  {file.stat().st_size:,} bytes")
    pipe.unload_lora_weights()


def run(case):
    """One case, after making sure that every LoRA counts in every network that it is for and has a weight in."""
    pipe = folder(case["family"])
    config = pipe.scheduler.config
    base = cases.run(pipe, config, case)["latents"]
    names = [load(pipe, file) for file, _ in case["loras"]]
    loaded = pipe.get_list_adapters()
    weights = {name: {network: weights[network] for network in loaded if name in loaded[network]}
               for name, (_, weights) in zip(names, case["loras"])}

    def draw(weights):
        pipe.set_adapters(names, list(weights.values()))
        return cases.run(pipe, config, case)

    tensors = draw(weights)
    assert distance(tensors["latents"], base) > MOVED, case
    for name, by_network in weights.items():
        for network in (network for network, weight in by_network.items() if weight != 0):
            without = draw(weights | {name: by_network | {network: 0.0}})
            assert distance(tensors["latents"], without["latents"]) > MOVED_BY_A_PART, (case, name, network)
    pipe.unload_lora_weights()
    return tensors


def load(pipe, file):
    """Loads a file as an adapter, and gives its name."""
    name = file.removesuffix(".safetensors")
    if "processors-unet" in file:  # its names do not say that they are a UNet's
        pipe.unet.load_lora_adapter(OUT / file, prefix=None, adapter_name=name)
    else:
        pipe.load_lora_weights(OUT / file, adapter_name=name)
    return name


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


if __name__ == "__main__":
    main()
