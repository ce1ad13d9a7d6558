"""Writes tests/fixtures/pipelines-sdxl/: what diffusers' StableDiffusionXLPipeline makes of the tiny SDXL.

`cases.py` describes the files. Here also: `unet` is null or the file that replaces the folder's UNet, and some cases
record `context` and `pooled` (the prompt's embeddings) or, with guidance, `negative_context` and `negative_pooled`.
Almost all cases give width and height: a single file does not say them.
"""

import functools

import cases
import parts
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from tiny import FIXTURES, made

DEFAULTS = cases.PROMPTS | dict(lora=1.0, unet=None) | cases.SCHEDULE | cases.REQUEST | dict(width=128, height=128)
ONE_STEP = dict(lora=None, unet="tiny-sdxl-1step-unet.safetensors", scheduler="lcm", steps=None, timesteps=[800])
TCD_UNIFIED = dict(scheduler="tcd", eta=1.0)
CFG = dict(lora=None, spacing="leading", guidance=5.0)

CASES = {
    # the step-distilled LoRAs
    **{f"ddim-{n}": dict(spacing="trailing", steps=n) for n in (2, 4, 8)},
    # the unified LoRA
    **{f"tcd-{n}-eta-{e}": dict(scheduler="tcd", steps=n, eta=e) for n in (1, 4) for e in (0.0, 0.3, 1.0)},
    # the one-step UNet
    "lcm-800": ONE_STEP,
    "lcm-800-batch-2": dict(ONE_STEP, batch=2, width=64, height=64, seed=7),
    # guidance; without a negative prompt its context is zeros, with an empty one it is not
    "cfg": CFG,
    "cfg-negative": dict(CFG, negative="blurry, low quality"),
    "cfg-negative-empty": dict(CFG, negative="", width=64, height=64),
    "cfg-lora": dict(spacing="trailing", steps=8, guidance=5.0, width=96, height=96),
    # the folder's own scheduler, and Euler as it is used with few steps
    "euler-4": dict(scheduler="euler"),
    "euler-4-trailing": dict(scheduler="euler", spacing="trailing"),
    # the strength of the LoRA
    "no-lora": dict(TCD_UNIFIED, lora=None),
    "half-lora": dict(TCD_UNIFIED, lora=0.5, width=64, height=64),
    # shapes; height and width are not interchangeable in the time ids
    "96x64": dict(TCD_UNIFIED, width=96, height=64),
    "72x104": dict(spacing="trailing", steps=2, width=72, height=104),
    "batch-2": dict(TCD_UNIFIED, batch=2, width=96, height=64),
    "batch-2-cfg": dict(CFG, negative="dark", batch=2, width=64, height=64),
    "model-size": dict(TCD_UNIFIED, steps=1, width=None, height=None),
    # the tokenizers differ in what they pad with; "!" is also a word
    "prompt-empty": dict(TCD_UNIFIED, prompt="", steps=1, width=64, height=64),
    "prompt-exclamation": dict(TCD_UNIFIED, prompt="wow! a cat!! sits", steps=1, width=64, height=64),
}
RECORD = {
    "ddim-4": ["steps", "context"],
    "cfg": ["context"],
    "cfg-negative": ["steps", "context"],
    "prompt-exclamation": ["context"],
}


def main():
    torch.set_num_threads(1)
    full = {name: DEFAULTS | case | dict(record=RECORD.get(name, [])) for name, case in CASES.items()}
    cases.write(FIXTURES / "pipelines-sdxl", full, run)


@functools.cache
def folder(lora, unet):
    """The tiny folder as a pipeline in f32, with its LoRA merged at the given weight."""
    pipe = StableDiffusionXLPipeline.from_pretrained(
        made() / "tiny-sdxl", dtype=torch.float32, add_watermarker=False
    )
    if unet is not None:
        pipe.unet = UNet2DConditionModel.from_config(pipe.unet.config).eval()
        pipe.unet.load_state_dict(load_file(made() / unet))
    pipe.set_progress_bar_config(disable=True)
    config = pipe.scheduler.config
    return (pipe if lora is None else parts.fuse(pipe, made() / "tiny-sdxl-lora.safetensors", lora)), config


def run(case):
    pipe, config = folder(case["lora"], case["unet"])
    tensors = cases.run(pipe, config, case)
    if "context" in case["record"]:
        guided = case["guidance"] > 1
        context, negative, pooled, negative_pooled = pipe.encode_prompt(
            case["prompt"], device="cpu", do_classifier_free_guidance=guided, negative_prompt=case["negative"]
        )
        tensors |= {"context": context, "pooled": pooled}
        tensors |= {"negative_context": negative, "negative_pooled": negative_pooled} if guided else {}
    return tensors


if __name__ == "__main__":
    main()
