"""Writes tests/fixtures/demo/parity/: what diffusers makes of the files of the embedded demo model, case by case.

`cases.py` describes the files. Here also: `lora` is the weight of the demo's own LoRA, and `control_image` a file of
tests/fixtures/demo/edges/ that the demo's ControlNet is shown (null: without).
"""

import functools

import cases
import parts
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from PIL import Image

DEMO = parts.ROOT / "crates/hypersd-demo"
FIXTURES = parts.ROOT / "tests/fixtures/demo"
PROMPT = "a red mushroom in the meadow by day"

DEFAULTS = dict(prompt=PROMPT, negative=None, lora=1.0, control_image=None) | cases.SCHEDULE | cases.REQUEST
TCD_UNIFIED = dict(scheduler="tcd", eta=1.0)

CASES = {
    "base-4-cfg": dict(lora=None, spacing="trailing", guidance=5.0),
    "lora-1": TCD_UNIFIED | dict(steps=1),
    "lora-4": TCD_UNIFIED | dict(seed=1),
    "lora-1-control": TCD_UNIFIED | dict(steps=1, control_image="00.png"),
    "lora-4-control": TCD_UNIFIED | dict(seed=1, control_image="00.png"),
}


def main():
    torch.set_num_threads(2)
    full = {name: DEFAULTS | case for name, case in CASES.items()}
    # A model that was trained paints black and white where they belong.
    cases.write(FIXTURES / "parity", full, run, most_clipped=1.0)


@functools.cache
def folder(lora, controlled):
    """The demo's folder as a pipeline in f32, with its LoRA merged at the given weight."""
    load, own = StableDiffusionPipeline, {}
    if controlled:
        load = StableDiffusionControlNetPipeline
        own["controlnet"] = ControlNetModel.from_pretrained(DEMO / "controlnet", torch_dtype=torch.float32)
    pipe = load.from_pretrained(DEMO / "model", dtype=torch.float32, **own)
    pipe.set_progress_bar_config(disable=True)
    config = pipe.scheduler.config
    return (pipe if lora is None else parts.fuse(pipe, DEMO / "hyper-lora.safetensors", lora)), config


def run(case):
    control = case["control_image"]
    pipe, config = folder(case["lora"], control is not None)
    more = {"image": Image.open(FIXTURES / "edges" / control).convert("RGB")} if control else {}
    return cases.run(pipe, config, case, **more)


if __name__ == "__main__":
    main()
