"""What the pipeline scripts share: the cases' fields, the schedulers, and running a case for latents and for pixels.

Every script writes a folder of `<name>.safetensors` and a `cases.json`, whose fields are the options of the `generate`
example, so that the script and the Rust test read the same list:

- `lora`: the weight of the family's tiny LoRA (null: not loaded)
- `spacing`, `timesteps`, `negative`, `width`, `height`: null where the option is not given
- `karras`: `use_karras_sigmas` of the scheduler's configuration, which is otherwise the folder's

`<name>.safetensors` holds `latents` (the result of `output_type="latent"`) and, where the case asks for it, `steps` (the
latents after each step, [N, B, 4, H/8, W/8]). The first case of each seed, size and batch has `noise` (what the seed's
generator draws first, before any scaling), and the first of each VAE, size and batch `pixels` (u8, [B, H, W, 3], the result
of `output_type="pil"`), as has one that records it: in the others they are the same, or made by the same decoder.
"""

import json
import shutil

import numpy as np
import torch
from common import save
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from tiny import PROMPT

SCHEDULERS = {
    "ddim": DDIMScheduler,
    "tcd": TCDScheduler,
    "lcm": LCMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler,
    "dpmpp-2m": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
    "heun": HeunDiscreteScheduler,
    "pndm": PNDMScheduler,
}

SCHEDULE = dict(scheduler="ddim", spacing=None, karras=False, steps=4, timesteps=None, eta=0.0)
REQUEST = dict(guidance=0.0, seed=0, width=None, height=None, batch=1, record=[])
PROMPTS = dict(prompt=PROMPT, negative=None)


def write(out, cases, run, most_clipped=0.1):
    """Runs all `cases` (name -> fields) with `run(case) -> tensors` and writes them to the folder `out`."""
    cases = [{"name": name, **case} for name, case in cases.items()]
    results = {case["name"]: run(case) for case in cases}
    shutil.rmtree(out, ignore_errors=True)
    begun, decoded = set(), set()
    for case in cases:
        name, tensors = case["name"], results[case["name"]]
        spread, clipped = judge(tensors["pixels"], most_clipped)
        if decodes_as(case) in decoded and "pixels" not in case["record"]:
            del tensors["pixels"]
        if begins_as(case) in begun:
            del tensors["noise"]
        begun.add(begins_as(case))
        decoded.add(decodes_as(case))
        deviation = tensors["latents"].std()
        print(f"latents' deviation {deviation:.2f}, pixels' {spread:.1f}, {clipped:.1%} clipped: ", end="")
        save(out / f"{name}.safetensors", tensors)
    (out / "cases.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def run(pipe, config, case, **more):
    """Runs one case twice, for latents and for pixels, with a scheduler made from `config`."""
    changes = {"timestep_spacing": case["spacing"]} if case["spacing"] else {}
    changes |= {"use_karras_sigmas": True} if case["karras"] else {}
    by_count, by_list = {"num_inference_steps": case["steps"]}, {"timesteps": case["timesteps"]}
    steps = []

    def generate(output_type):
        pipe.scheduler = SCHEDULERS[case["scheduler"]].from_config(config, **changes)
        return pipe(
            case["prompt"],
            negative_prompt=case["negative"],
            width=case["width"],
            height=case["height"],
            eta=case["eta"],
            guidance_scale=case["guidance"],
            num_images_per_prompt=case["batch"],
            generator=torch.Generator("cpu").manual_seed(case["seed"]),
            output_type=output_type,
            callback_on_step_end=lambda _, i, t, tensors: steps.append(tensors["latents"].clone()) or {},
            **(by_count if case["steps"] else by_list),
            **more,
        ).images

    latents = generate("latent")
    noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(case["seed"]))
    tensors = {"noise": noise, "latents": latents}
    if "steps" in case["record"]:
        tensors["steps"] = torch.stack(steps)
    tensors["pixels"] = torch.from_numpy(np.stack([np.asarray(image) for image in generate("pil")]))
    return tensors


def begins_as(case):
    """What its noise depends on."""
    return tuple(case.get(field) for field in ("family", "seed", "width", "height", "batch"))


def decodes_as(case):
    """What its decoder can tell of a case."""
    return tuple(case.get(field) for field in ("family", "vae", "width", "height", "batch"))


def judge(pixels, most_clipped):
    """Deviation and share of clipped bytes; a picture that is flat or mostly clipped would compare nothing."""
    spread = pixels.float().std().item()
    clipped = ((pixels == 0) | (pixels == 255)).float().mean().item()
    assert spread > 25 and clipped <= most_clipped, (spread, clipped)
    return spread, clipped
