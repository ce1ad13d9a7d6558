"""Writes tests/fixtures/pipelines/: what diffusers' StableDiffusionPipeline makes of the tiny model, case by case.

`cases.json` lists the cases; their fields are the options of the `generate` example, so that this script and the
Rust test read the same list:

- `lora` is the weight of tiny-sd15-lora.safetensors (null: not loaded); `vae` is "kl" or "taesd" (tiny-taesd)
- `spacing`, `timesteps`, `negative`, `width`, `height`: null where the option is not given
- `karras`: `use_karras_sigmas` of the scheduler's configuration, which is otherwise the folder's

`<name>.safetensors` holds `noise` (what the seed's generator draws first, before any scaling), `latents` (the result
of `output_type="latent"`), `pixels` (u8, [B, H, W, 3], the result of `output_type="pil"`), and where the case asks
for them `steps` (the latents after each step, [N, B, 4, H/8, W/8]) and `context` (the prompt's embeddings).
"""

import functools
import json
import shutil

import numpy as np
import sd15
import torch
from common import save
from diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
    TCDScheduler,
)

FIXTURES = sd15.ROOT / "tests/fixtures"
OUT = FIXTURES / "pipelines"
SCHEDULERS = {
    "ddim": DDIMScheduler,
    "tcd": TCDScheduler,
    "lcm": LCMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler,
    "dpmpp-2m": DPMSolverMultistepScheduler,
}

DEFAULTS = dict(
    prompt="a photo of a cat sitting on a windowsill, golden hour",
    negative=None,
    lora=1.0,
    vae="kl",
    scheduler="ddim",
    spacing=None,
    karras=False,
    steps=4,
    timesteps=None,
    eta=0.0,
    guidance=0.0,
    seed=0,
    width=None,
    height=None,
    batch=1,
    record=[],
)
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
}


def main():
    torch.set_num_threads(2)
    shutil.rmtree(OUT, ignore_errors=True)
    cases = [{"name": name, **DEFAULTS, **case, "record": RECORD.get(name, [])} for name, case in CASES.items()]
    for case in cases:
        tensors = run(**case)
        spread, clipped = judge(tensors["pixels"])
        deviation = tensors["latents"].std()
        print(f"latents' deviation {deviation:.2f}, pixels' {spread:.1f}, {clipped:.1%} clipped: ", end="")
        save(OUT / f"{case['name']}.safetensors", tensors)
    (OUT / "cases.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@functools.cache
def folder(lora, vae):
    """The tiny folder as a pipeline in f32, with its LoRA merged at the given weight."""
    parts = {"vae": AutoencoderTiny.from_pretrained(FIXTURES / "tiny-taesd")} if vae == "taesd" else {}
    pipe = StableDiffusionPipeline.from_pretrained(FIXTURES / "tiny-sd15", dtype=torch.float32, **parts)
    pipe.set_progress_bar_config(disable=True)
    own = pipe.scheduler.config
    return (pipe if lora is None else sd15.fuse(pipe, FIXTURES / "tiny-sd15-lora.safetensors", lora)), own


def run(name, prompt, negative, lora, vae, scheduler, spacing, karras, seed, width, height, batch, record, **numbers):
    """Runs one case twice, for latents and for pixels."""
    pipe, config = folder(lora, vae)
    changes = {"timestep_spacing": spacing} if spacing else {}
    changes |= {"use_karras_sigmas": True} if karras else {}
    steps = []

    def generate(output_type):
        pipe.scheduler = SCHEDULERS[scheduler].from_config(config, **changes)
        count = {"num_inference_steps": numbers["steps"]} if numbers["steps"] else {"timesteps": numbers["timesteps"]}
        return pipe(
            prompt,
            negative_prompt=negative,
            width=width,
            height=height,
            eta=numbers["eta"],
            guidance_scale=numbers["guidance"],
            num_images_per_prompt=batch,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type=output_type,
            callback_on_step_end=lambda _, i, t, tensors: steps.append(tensors["latents"].clone()) or {},
            **count,
        ).images

    latents = generate("latent")
    noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(seed))
    tensors = {"noise": noise, "latents": latents}
    if "steps" in record:
        tensors["steps"] = torch.stack(steps)
    if "context" in record:
        tensors["context"] = pipe.encode_prompt(prompt, "cpu", 1, False)[0]
    tensors["pixels"] = torch.from_numpy(np.stack([np.asarray(image) for image in generate("pil")]))
    return tensors


def judge(pixels):
    """Deviation and share of clipped bytes; a picture that is flat or mostly clipped would compare nothing."""
    spread = pixels.float().std().item()
    clipped = ((pixels == 0) | (pixels == 255)).float().mean().item()
    assert spread > 25 and clipped < 0.1, (spread, clipped)
    return spread, clipped


if __name__ == "__main__":
    main()
