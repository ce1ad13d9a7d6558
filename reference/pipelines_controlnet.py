"""Writes tests/fixtures/pipelines-controlnet/: what diffusers' ControlNet pipelines make of the tiny models.

`cases.py` describes the files. Here also, in the words of the `generate` example:

- `family`: "sd15" or "sdxl", which of the tiny models, with its own LoRA
- `controlnets`, `control_images`, `control_scales`: one for each ControlNet, folders and files of tests/fixtures/
- `control_start`, `control_end`: the share of the steps in which all of them act
- `guess_mode`

Some cases record what the ControlNet gives for the first step, scaled, `residual.down.N` and `residual.mid`, or
`control`, the control image as the network gets it. Without width and height the picture has the size of the (first)
control image, rounded down to multiples of 8.
"""

import functools

import cases
import parts
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
)
from PIL import Image, ImageOps
from tiny import FIXTURES, made

PIPELINES = {"sd15": StableDiffusionControlNetPipeline, "sdxl": StableDiffusionXLControlNetPipeline}
SD15, SD15_B, SDXL = "tiny-controlnet-sd15", "tiny-controlnet-sd15-b", "tiny-controlnet-sdxl"
EDGES, EDGES_SQUARE, PHOTO = "control/edges.png", "control/edges-square.png", "control/photo.png"

CONTROL = dict(control_start=0.0, control_end=1.0, guess_mode=False)
DEFAULTS = dict(family="sd15", lora=1.0) | cases.PROMPTS | CONTROL | cases.SCHEDULE | cases.REQUEST
TRAILING = dict(spacing="trailing", steps=2)
TCD_UNIFIED = dict(scheduler="tcd", eta=1.0)
CFG = dict(lora=None, spacing="leading", guidance=7.5)
SMALL = dict(width=96, height=64)


def one(net=SD15, image=EDGES_SQUARE, scale=1.0):
    return dict(controlnets=[net], control_images=[image], control_scales=[scale])


TWO = dict(controlnets=[SD15, SD15_B], control_images=[EDGES, PHOTO], control_scales=[0.7, 0.4])
XL = one(SDXL) | dict(family="sdxl")

CASES = {
    # the model card's recipes: step-distilled at scale 0.5, and unified
    "sd15-ddim-2": TRAILING | one(scale=0.5),
    "sd15-tcd-1": TCD_UNIFIED | dict(steps=1) | one(),
    "sd15-tcd-4": TCD_UNIFIED | one(),
    # several
    "sd15-two": TCD_UNIFIED | TWO,
    "sd15-two-cfg": CFG | TWO | SMALL,
    "sd15-two-of-one": TCD_UNIFIED | TWO | SMALL | dict(controlnets=[SD15, SD15]),
    # a share of the steps: the second and the third of four
    "sd15-start-end": TCD_UNIFIED | one() | dict(control_start=0.25, control_end=0.75),
    "sd15-start-end-two": TRAILING | TWO | SMALL | dict(steps=5, control_start=0.2, control_end=0.5),
    # guess mode
    "sd15-guess": TCD_UNIFIED | one() | dict(guess_mode=True),
    "sd15-guess-cfg": CFG | one() | SMALL | dict(guess_mode=True, guidance=4.0),
    "sd15-guess-two-cfg": CFG | TWO | SMALL | dict(guess_mode=True, guidance=4.0),
    # sizes
    "sd15-resized": TCD_UNIFIED | one(image=EDGES) | dict(width=96, height=64),
    "sd15-enlarged": TRAILING | one(image=EDGES) | dict(width=160, height=120),
    "sd15-image-size": TCD_UNIFIED | one(image=EDGES),
    # another picture, and no edges
    "sd15-photo": TCD_UNIFIED | one(image=PHOTO),
    # guidance, batch, no LoRA
    "sd15-cfg-negative": CFG | one() | dict(negative="blurry, low quality"),
    "sd15-batch-2": TCD_UNIFIED | one() | SMALL | dict(batch=2),
    "sd15-batch-2-cfg": CFG | one() | SMALL | dict(batch=2),
    "sdxl-ddim-2": TRAILING | XL | dict(control_scales=[0.5]),
    "sdxl-tcd-1": TCD_UNIFIED | XL | SMALL | dict(steps=1),
    "sdxl-tcd-4": TCD_UNIFIED | XL,
    "sdxl-image-size": TRAILING | XL | dict(control_images=[EDGES]),
    "sdxl-resized": TRAILING | XL | dict(control_images=[PHOTO], width=72, height=104),
    "sdxl-cfg": CFG | XL | SMALL | dict(guidance=5.0),
    "sdxl-cfg-negative": CFG | XL | dict(negative="blurry, low quality", guidance=5.0),
    "sdxl-guess-cfg": CFG | XL | SMALL | dict(guess_mode=True, guidance=4.0),
    "sdxl-start-end": TCD_UNIFIED | XL | SMALL | dict(control_start=0.25, control_end=0.75),
    "sdxl-batch-2-cfg": CFG | XL | SMALL | dict(batch=2, guidance=5.0),
}
RECORD = {
    "sd15-tcd-4": ["steps", "residuals"],
    "sd15-start-end": ["steps"],
    "sd15-guess": ["residuals"],
    "sd15-resized": ["control"],
    "sdxl-resized": ["residuals"],
}


def main():
    torch.set_num_threads(1)
    full = {name: DEFAULTS | case | dict(record=RECORD.get(name, [])) for name, case in CASES.items()}
    cases.write(FIXTURES / "pipelines-controlnet", full, run)


@functools.cache
def folder(family, lora, controlnets):
    """The tiny folder as a pipeline in f32, with its LoRA merged and with the ControlNets."""
    nets = [ControlNetModel.from_pretrained(made() / net, torch_dtype=torch.float32) for net in controlnets]
    pipe = PIPELINES[family].from_pretrained(
        made() / f"tiny-{family}", dtype=torch.float32, controlnet=nets if len(nets) > 1 else nets[0]
    )
    pipe.set_progress_bar_config(disable=True)
    config = pipe.scheduler.config
    lora_file = made() / f"tiny-{family}-lora.safetensors"
    return (pipe if lora is None else parts.fuse(pipe, lora_file, lora)), config


def run(case):
    pipe, config = folder(case["family"], case["lora"], tuple(case["controlnets"]))
    images = [Image.open(FIXTURES / image).convert("RGB") for image in case["control_images"]]
    several = len(images) > 1

    def generate(images, scales):
        return cases.run(
            pipe,
            config,
            case,
            image=images if several else images[0],
            controlnet_conditioning_scale=scales if several else scales[0],
            control_guidance_start=case["control_start"],
            control_guidance_end=case["control_end"],
            guess_mode=case["guess_mode"],
        )

    calls = []
    hook = pipe.controlnet.register_forward_hook(
        lambda _, args, given, out: calls.append((given["controlnet_cond"], out)), with_kwargs=True
    )
    tensors = generate(images, case["control_scales"])
    hook.remove()

    # That there is something to compare: what the ControlNets do, and what their pictures do.
    without = generate(images, [0.0] * len(images))["latents"]
    flipped = generate([ImageOps.flip(image) for image in images], case["control_scales"])["latents"]
    effects = [((tensors["latents"] - other).norm() / other.norm()).item() for other in (without, flipped)]
    print("{}: without control {:.1%} off, with its pictures upside down {:.1%}".format(case["name"], *effects))
    assert min(effects) > 0.02 and max(effects) < 2, effects

    control, (down, mid) = calls[0]
    if "residuals" in case["record"]:
        tensors |= {f"residual.down.{i}": x for i, x in enumerate(down)} | {"residual.mid": mid}
    if "control" in case["record"]:
        tensors["control"] = control
    return tensors


if __name__ == "__main__":
    main()
