"""Writes tests/fixtures/pipelines-recipes/: what the settings of every recipe make of the tiny models.

The settings are transcribed from what the publishers say (docs/recipes.md cites it), not from the table in `src/recipe`.
Recipes that share all of them share a case; `recipes` names them. `cases.py` describes the files, of which each has the latents
alone. The pipelines are diffusers', of the tiny SD1.5 and SDXL; a recipe for Stable Diffusion 2 is run on the former, for what
it sets is the scheduler's. Where diffusers has no scheduler, the publisher's is taken: NitroFusion's shifted LCM and PeRFlow's.
DPM++ SDE draws its noise from the generator instead of from a Brownian tree.
"""

import functools
import json
import shutil

import torch
from common import save
from diffusers import (
    DDIMScheduler,
    DPMSolverSDEScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    TCDScheduler,
)
from perflow import PeRFlow
from schedulers import ShiftedLCM
from tiny import FIXTURES, PROMPT, made

OUT = FIXTURES / "pipelines-recipes"
WIDTH, HEIGHT = 96, 64
FAMILIES = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}


class Piped(PeRFlow):
    """PeRFlow as a pipeline calls a scheduler."""

    def set_timesteps(self, count, device=None):
        super().set_timesteps(count)

    def step(self, eps, t, x, return_dict=False):
        return (super().step(eps, t, x).prev_sample,)


class FromTheFirst(ShiftedLCM):
    """NitroFusion's scheduler, which does not look for its place by a timestep that it was told shifted."""

    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        self.set_begin_index(0)

    def step(self, output, t, x, generator=None, return_dict=True):  # so that a pipeline sees that it takes one
        return super().step(output, t, x, generator=generator, return_dict=return_dict)


class FromGenerator(DPMSolverSDEScheduler):
    """DPM++ SDE with noise from the generator of the latents."""

    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        self.noise_sampler = lambda *_: torch.randn(1, 4, HEIGHT // 8, WIDTH // 8, generator=self.drawing)


def case(family, scheduler, recipes, guidance=0.0, eta=0.0, config=None, **steps):
    steps = {"steps": None, "timesteps": None} | steps
    return dict(family=family, scheduler=scheduler, recipes=recipes, guidance=guidance, eta=eta, config=config or {}) | steps


TRAILING = {"timestep_spacing": "trailing"}
NITRO = {"original_inference_steps": 4}
BOTH = ("sd15", "sdxl")
CASES = {
    # Hyper-SD
    **{f"{f}-ddim-{n}": case(f, "ddim", [f"hyper-{f}-{n}steps"], config=TRAILING, steps=n) for f in BOTH for n in (2, 4, 8)},
    **{
        f"{f}-ddim-{n}-cfg": case(f, "ddim", [f"hyper-{f}-{n}steps-cfg"], guidance=5.0, config=TRAILING, steps=n)
        for f in BOTH
        for n in (8, 12)
    },
    **{f"{f}-tcd-1": case(f, "tcd", [f"hyper-{f}-unified"], eta=1.0, steps=1) for f in BOTH},
    "sdxl-lcm-800": case("sdxl", "lcm", ["hyper-sdxl-1step-unet"], timesteps=[800]),
    # LCM-LoRA and what is run as it is
    "sd15-lcm-4": case("sd15", "lcm", ["lcm-lora-sd15", "flash-sd15", "pcm-sd15-lcmlike"], steps=4),
    "sdxl-lcm-4": case(
        "sdxl",
        "lcm",
        ["lcm-lora-sdxl", "flash-sdxl", "slam-lora-sdxl", "pcm-sdxl-lcmlike", "sdxl-merge-lcm", "sdxl-merge-dmd2"],
        steps=4,
    ),
    "sd15-lcm-2-cfg": case("sd15", "lcm", ["yoso-sd15"], guidance=1.5, steps=2),
    "sdxl-lcm-dmd2": case("sdxl", "lcm", ["dmd2-sdxl-4steps"], timesteps=[999, 749, 499, 249]),
    "sdxl-lcm-399": case("sdxl", "lcm", ["dmd2-sdxl-1step-unet"], timesteps=[399]),
    # NitroFusion
    "sdxl-shift-250": case("sdxl", "shifted-lcm", ["nitrosd-realism"], config=NITRO | {"shift": 250}, steps=1),
    "sdxl-shift-500": case("sdxl", "shifted-lcm", ["nitrosd-vibrant"], config=NITRO | {"shift": 500}, steps=1),
    "sdxl-shift-250-4": case("sdxl", "shifted-lcm", ["nitrosd-realism"], config=NITRO | {"shift": 250}, steps=4),
    # SDXL-Lightning and Turbo
    **{
        f"sdxl-euler-{n}": case("sdxl", "euler", [f"sdxl-lightning-{n}steps"], config=TRAILING, steps=n) for n in (2, 4, 8)
    },
    "sdxl-euler-a-1": case("sdxl", "euler-a", ["sdxl-turbo"], config=TRAILING, steps=1),
    "sdxl-euler-a-4": case("sdxl", "euler-a", ["sdxl-turbo"], config=TRAILING, steps=4),
    "sd15-euler-1": case("sd15", "euler", ["sd-turbo"], config=TRAILING, steps=1),
    # TCD-LoRA
    "sd15-tcd-4-0.3": case("sd15", "tcd", ["tcd-lora-sd15", "tcd-lora-sd21-base"], eta=0.3, steps=4),
    "sdxl-tcd-4-0.3": case("sdxl", "tcd", ["tcd-lora-sdxl"], eta=0.3, steps=4),
    # phased consistency
    **{f"{f}-tcd-{n}-0": case(f, "tcd", [f"pcm-{f}-{n}steps"], steps=n) for f in BOTH for n in (2, 4, 8, 16)},
    **{
        f"{f}-tcd-{n}-0-cfg": case(f, "tcd", [f"pcm-{f}-{n}steps-cfg"], guidance=7.5, steps=n)
        for f in BOTH
        for n in (4, 8, 16)
    },
    # PeRFlow
    "sd15-perflow-8": case(
        "sd15", "perflow", ["perflow-sd15"], guidance=7.5, config={"prediction_type": "diff_eps"}, steps=8
    ),
    "sdxl-perflow-6": case(
        "sdxl", "perflow", ["perflow-sdxl"], guidance=2.0, config={"prediction_type": "ddim_eps"}, steps=6
    ),
    # merges
    "sdxl-dpmpp-sde-6": case(
        "sdxl", "dpmpp-sde", ["sdxl-merge-dpmpp-sde"], guidance=2.0, config={"use_karras_sigmas": True}, steps=6
    ),
}
SCHEDULERS = {
    "ddim": DDIMScheduler,
    "tcd": TCDScheduler,
    "lcm": LCMScheduler,
    "shifted-lcm": FromTheFirst,
    "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler,
    "dpmpp-sde": FromGenerator,
}


@functools.cache
def folder(family):
    pipe = FAMILIES[family].from_pretrained(made() / f"tiny-{family}", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe, pipe.scheduler.config


@torch.no_grad()
def run(case):
    pipe, config = folder(case["family"])
    generator = torch.Generator("cpu").manual_seed(0)
    changes = {key: value for key, value in case["config"].items() if key != "shift"}
    if case["scheduler"] == "perflow":
        pipe.scheduler = Piped(dict(config) | changes)
    else:
        pipe.scheduler = SCHEDULERS[case["scheduler"]].from_config(config, **changes)
    pipe.scheduler.shift = case["config"].get("shift")
    pipe.scheduler.drawing = generator
    steps = {"num_inference_steps": case["steps"]} if case["steps"] else {"timesteps": case["timesteps"]}
    return pipe(
        PROMPT,
        width=WIDTH,
        height=HEIGHT,
        eta=case["eta"],
        guidance_scale=case["guidance"],
        generator=generator,
        output_type="latent",
        **steps,
    ).images


def main():
    torch.set_num_threads(1)
    results = {name: run(case) for name, case in CASES.items()}
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    listed = [{"name": name, "recipes": case["recipes"], "steps": case["steps"]} for name, case in CASES.items()]
    save(OUT / "latents.safetensors", results)
    for name, latents in results.items():
        print(f"{name}: deviation {latents.std():.2f}")
    text = ",\n".join(" " + json.dumps(case) for case in listed)
    (OUT / "cases.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
