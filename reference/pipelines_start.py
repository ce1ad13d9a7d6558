"""Writes tests/fixtures/pipelines-start/: what diffusers' pipelines that start from a picture make of the tiny models.

`cases.py` describes most fields and the files, which have no pixels here but where a case asks for them. Here also, in the words of
the `generate` example:

- `family`: "sd15" or "sdxl", which of the tiny models, with its own LoRA
- `vae`: "kl" or "taesd"
- `images`: files of tests/fixtures/, one, or one for each picture of the batch
- `strength`, or `noise_level`, which stands for a list of timesteps at strength 1 (`levelled`)
- `controlnets`, `control_images`, `control_scales`: as in `pipelines_controlnet.py`

The pictures are resized to `width` and `height` before diffusers' image processor sees them, by the same Lanczos that it
uses itself; without them it takes the picture's own size, rounded down to multiples of 8.
"""

import functools
import json
import shutil

import cases
import numpy as np
import parts
import torch
from common import save
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLImg2ImgPipeline,
)
from PIL import Image
from tiny import FIXTURES, made

OUT = FIXTURES / "pipelines-start"
PHOTO, SQUARE, EDGES = "control/photo.png", "control/photo-square.png", "control/edges-square.png"

START = dict(images=[SQUARE], strength=None, noise_level=None)
CONTROL = dict(controlnets=[], control_images=[], control_scales=[])
DEFAULTS = dict(family="sd15", lora=1.0, vae="kl") | cases.PROMPTS | cases.SCHEDULE | cases.REQUEST | START | CONTROL
DEFAULTS |= dict(width=96, height=64, seed=5)
CFG = dict(lora=None, guidance=7.5, negative="blurry, low quality")
CONTROLLED = dict(controlnets=["tiny-controlnet-sd15"], control_images=[EDGES], control_scales=[0.8])
XL_CONTROLLED = CONTROLLED | dict(controlnets=["tiny-controlnet-sdxl"])


def of_family(family, control):
    trailing = dict(family=family, spacing="trailing")
    tcd = dict(family=family, scheduler="tcd")
    return {
        # the step-distilled LoRAs
        **{f"ddim-{n}-{s}": trailing | dict(steps=n, strength=s) for n in (2, 4) for s in (0.5, 0.8, 1.0)},
        "ddim-4-0.5-cfg": trailing | CFG | dict(strength=0.5),
        "ddim-4-0.8-cfg": trailing | CFG | dict(strength=0.8),
        # the unified LoRA
        **{f"tcd-4-{s}-eta-{e}": tcd | dict(strength=s, eta=e) for s in (0.5, 0.8) for e in (0.3, 1.0)},
        "tcd-4-1.0": tcd | dict(strength=1.0, eta=1.0),
        "tcd-4-0.8-cfg": tcd | CFG | dict(strength=0.8, eta=0.3),
        "tcd-1-1.0": tcd | dict(steps=1, strength=1.0, eta=1.0),
        # all steps below a level of noise
        "tcd-1-level-0.6": tcd | dict(steps=1, noise_level=0.6, eta=1.0),
        "tcd-3-level-0.7": tcd | dict(steps=3, noise_level=0.7, eta=0.3),
        "euler-3-level-0.5": dict(family=family, scheduler="euler", steps=3, noise_level=0.5),
        # the other schedulers
        "lcm-4-0.5": dict(family=family, scheduler="lcm", strength=0.5),
        "lcm-4-0.8-cfg": dict(family=family, scheduler="lcm", strength=0.8) | CFG,
        "lcm-800": dict(family=family, scheduler="lcm", steps=None, timesteps=[800], strength=1.0),
        "euler-4-0.5": dict(family=family, scheduler="euler", spacing="trailing", strength=0.5),
        "euler-4-0.8-cfg": dict(family=family, scheduler="euler", strength=0.8) | CFG,
        "euler-4-1.0": dict(family=family, scheduler="euler", strength=1.0),
        # batches: a picture for all, and one for each
        "batch-2": tcd | dict(strength=0.5, eta=0.3, batch=2),
        "batch-2-of-2": tcd | dict(strength=0.8, eta=0.3, batch=2, images=[SQUARE, PHOTO]),
        "batch-2-of-2-cfg": trailing | CFG | dict(strength=0.5, batch=2, images=[PHOTO, SQUARE]),
        # sizes: odd ones, and the picture's own
        "72x104": tcd | dict(strength=0.5, eta=1.0, width=72, height=104, record=["pixels"]),
        "own-size": trailing | dict(strength=0.5, images=[PHOTO], width=None, height=None, steps=2),
        # a ControlNet beside it
        "controlnet": tcd | control | dict(strength=0.8, eta=1.0),
        "controlnet-cfg": trailing | control | CFG | dict(strength=0.5, batch=2),
    }


CASES = {
    **{f"sd15-{name}": case for name, case in of_family("sd15", CONTROLLED).items()},
    **{f"sdxl-{name}": case for name, case in of_family("sdxl", XL_CONTROLLED).items()},
    # those that look back, or draw noise at every step
    "sd15-euler-a-4-0.8": dict(scheduler="euler-a", spacing="trailing", strength=0.8),
    "sd15-dpmpp-2m-6-0.7": dict(scheduler="dpmpp-2m", steps=6, strength=0.7),
    "sd15-unipc-6-0.7": dict(scheduler="unipc", steps=6, strength=0.7),
    "sd15-ddim-eta": dict(spacing="trailing", eta=1.0, strength=0.8),
    # an encoder that draws nothing
    "sd15-taesd": dict(scheduler="tcd", eta=0.3, strength=0.5, vae="taesd", record=["pixels"]),
}


def main():
    torch.set_num_threads(1)
    all_cases = [{"name": name, **DEFAULTS, **case} for name, case in CASES.items()]
    results = {case["name"]: run(case) for case in all_cases}
    shutil.rmtree(OUT, ignore_errors=True)
    for name, tensors in results.items():
        print(f"latents' deviation {tensors['latents'].std():.2f}: ", end="")
        save(OUT / f"{name}.safetensors", tensors)
    (OUT / "cases.json").write_text(json.dumps(all_cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


PLAIN = {"sd15": StableDiffusionImg2ImgPipeline, "sdxl": StableDiffusionXLImg2ImgPipeline}
CONTROLLED_PIPELINES = {
    "sd15": StableDiffusionControlNetImg2ImgPipeline,
    "sdxl": StableDiffusionXLControlNetImg2ImgPipeline,
}


@functools.cache
def folder(family, lora, vae, controlnets):
    """The tiny folder as a pipeline in f32, with its LoRA merged at the given weight."""
    own = {"vae": AutoencoderTiny.from_pretrained(made() / "tiny-taesd")} if vae == "taesd" else {}
    nets = [ControlNetModel.from_pretrained(made() / net, torch_dtype=torch.float32) for net in controlnets]
    if nets:
        own["controlnet"] = nets if len(nets) > 1 else nets[0]
    kind = (CONTROLLED_PIPELINES if nets else PLAIN)[family]
    pipe = kind.from_pretrained(made() / f"tiny-{family}", dtype=torch.float32, **own)
    pipe.set_progress_bar_config(disable=True)
    config = pipe.scheduler.config
    lora_file = made() / f"tiny-{family}-lora.safetensors"
    return (pipe if lora is None else parts.fuse(pipe, lora_file, lora)), config


def picture(name, case):
    image = Image.open(FIXTURES / name).convert("RGB")
    return image.resize((case["width"], case["height"]), Image.LANCZOS) if case["width"] else image


def schedule(case):
    """The arguments that say the steps."""
    if case["noise_level"] is not None:
        return dict(timesteps=levelled(case["noise_level"], case["steps"]), strength=1.0)
    if case["timesteps"] is not None:
        return dict(timesteps=case["timesteps"], strength=case["strength"])
    return dict(num_inference_steps=case["steps"], strength=case["strength"])


def levelled(level, steps):
    """`steps` timesteps from the share `level` of the noise schedule down."""
    return [round(1000 * level * (steps - i) / steps) - 1 for i in range(steps)]


def generate(case, output_type):
    pipe, config = folder(case["family"], case["lora"], case["vae"], tuple(case["controlnets"]))
    changes = {"timestep_spacing": case["spacing"]} if case["spacing"] else {}
    pipe.scheduler = cases.SCHEDULERS[case["scheduler"]].from_config(config, **changes)
    images = [picture(name, case) for name in case["images"]]
    control = {}
    if case["controlnets"]:
        control = dict(
            control_image=picture(case["control_images"][0], case),
            controlnet_conditioning_scale=case["control_scales"][0],
            guess_mode=False,
        )
    return pipe(
        case["prompt"],
        image=images if len(images) > 1 else images[0],
        negative_prompt=case["negative"],
        eta=case["eta"],
        guidance_scale=case["guidance"],
        num_images_per_prompt=case["batch"],
        generator=torch.Generator("cpu").manual_seed(case["seed"]),
        output_type=output_type,
        **schedule(case),
        **control,
    ).images


def run(case):
    tensors = {"latents": generate(case, "latent")}
    if "pixels" in case["record"]:
        tensors["pixels"] = torch.from_numpy(np.stack([np.asarray(image) for image in generate(case, "pil")]))
    return tensors


if __name__ == "__main__":
    main()
