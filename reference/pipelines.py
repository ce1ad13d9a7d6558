"""Writes tests/fixtures/pipelines/: what diffusers' StableDiffusionPipeline makes of the tiny model, case by case.

`cases.py` describes the files. Here also: `vae` is "kl" or "taesd" (tiny-taesd), and some cases record `context` (the
prompt's embeddings).
"""

import functools

import cases
import parts
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from tiny import FIXTURES, made

DEFAULTS = cases.PROMPTS | dict(lora=1.0, vae="kl") | cases.SCHEDULE | cases.REQUEST
THINGS = ("cat", "dog", "tree", "river", "tower", "cloud")
LONG = ", ".join(f"{kind} {thing}" for kind in ("a red", "an old", "one glowing") for thing in THINGS)  # 106 tokens
UNICODE = "Ein süßes Kätzchen, 水彩画の猫 🐈‍⬛, кот  в\tсапогах — 3½ naïve “quotes”!!"
TCD_UNIFIED = dict(scheduler="tcd", eta=1.0)
CFG = dict(lora=None, spacing="leading", guidance=7.5)

CASES = {
    # the step-distilled LoRAs
    **{f"ddim-{n}": dict(spacing="trailing", steps=n) for n in (1, 2, 4, 8)},
    # the unified LoRA
    **{f"tcd-{n}-eta-{e}": dict(scheduler="tcd", steps=n, eta=e) for n in (1, 4) for e in (0.0, 0.3, 1.0)},
    # the 1-step UNet's schedule, and LCM's own
    "lcm-800": dict(scheduler="lcm", steps=None, timesteps=[800]),
    "lcm-4": dict(scheduler="lcm"),
    # the other schedulers
    "euler-4": dict(scheduler="euler", spacing="trailing"),
    "euler-4-leading": dict(scheduler="euler"),
    "euler-a-4": dict(scheduler="euler-a", spacing="trailing"),
    "dpmpp-2m-5": dict(scheduler="dpmpp-2m", steps=5),
    "dpmpp-2m-5-karras": dict(scheduler="dpmpp-2m", steps=5, karras=True),
    "tcd-timesteps": dict(scheduler="tcd", steps=None, timesteps=[999, 600, 200], eta=0.3),
    "ddim-eta": dict(spacing="trailing", eta=1.0),
    # guidance
    "cfg": CFG,
    "cfg-negative": dict(CFG, negative="blurry, low quality"),
    "cfg-lora": dict(spacing="trailing", steps=8, guidance=5.0),
    # the strength of the LoRA
    "no-lora": dict(TCD_UNIFIED, lora=None),
    "half-lora": dict(TCD_UNIFIED, lora=0.5),
    # shapes; 72x40 makes the noise no multiple of 16 and most sides inside the UNet odd
    "batch-2": dict(TCD_UNIFIED, batch=2, width=96, height=64),
    "batch-2-cfg": dict(CFG, negative="dark", batch=2, width=64, height=64),
    "96x64": dict(TCD_UNIFIED, width=96, height=64),
    "72x40": dict(spacing="trailing", width=72, height=40),
    "seed": dict(TCD_UNIFIED, seed=4_294_967_295),
    # prompts
    "prompt-long": dict(TCD_UNIFIED, prompt=LONG, steps=1),
    "prompt-unicode": dict(TCD_UNIFIED, prompt=UNICODE, steps=1),
    "prompt-empty": dict(TCD_UNIFIED, prompt="", steps=1),
    # the small decoder
    "taesd": dict(TCD_UNIFIED, vae="taesd", steps=1),
    "taesd-batch-2": dict(vae="taesd", spacing="trailing", batch=2, width=64, height=64),
}
RECORD = {
    "ddim-4": ["steps", "context"],
    "tcd-4-eta-0.3": ["steps"],
    "cfg-negative": ["steps"],
    "dpmpp-2m-5": ["steps"],
    "tcd-1-eta-1.0": ["pixels"],  # what `generate` is compared with
}


def main():
    torch.set_num_threads(2)
    full = {name: DEFAULTS | case | dict(record=RECORD.get(name, [])) for name, case in CASES.items()}
    cases.write(FIXTURES / "pipelines", full, run)


@functools.cache
def folder(lora, vae):
    """The tiny folder as a pipeline in f32, with its LoRA merged at the given weight."""
    own = {"vae": AutoencoderTiny.from_pretrained(made() / "tiny-taesd")} if vae == "taesd" else {}
    pipe = StableDiffusionPipeline.from_pretrained(made() / "tiny-sd15", dtype=torch.float32, **own)
    pipe.set_progress_bar_config(disable=True)
    config = pipe.scheduler.config
    return (pipe if lora is None else parts.fuse(pipe, made() / "tiny-sd15-lora.safetensors", lora)), config


def run(case):
    pipe, config = folder(case["lora"], case["vae"])
    tensors = cases.run(pipe, config, case)
    if "context" in case["record"]:
        tensors["context"] = pipe.encode_prompt(case["prompt"], "cpu", 1, False)[0]
    return tensors


if __name__ == "__main__":
    main()
