"""Writes tests/fixtures/pipelines-refiner/: what diffusers makes of the tiny SDXL with the tiny refiner after it.

`cases.py` describes the files. A case runs StableDiffusionXLPipeline (from a picture: its Img2Img sibling) with
`denoising_end`, then StableDiffusionXLImg2ImgPipeline over the refiner with `denoising_start` from those latents, both with one
generator. Here also:

- `switch_at`: that share; null where the refiner draws by itself, from a picture
- `lora`: the weight of the base's LoRA
- `images`, `strength`: as in `pipelines_start.py`; no images where drawing starts from noise
"""

import functools

import cases
import numpy as np
import parts
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image
from tiny import FIXTURES, made

PICTURE = "control/photo-square.png"
DEFAULTS = (
    cases.PROMPTS
    | dict(lora=None, switch_at=0.8, images=[], strength=None)
    | cases.SCHEDULE
    | cases.REQUEST
    | dict(steps=8, width=96, height=64)
)
CFG = dict(guidance=5.0, negative="blurry, low quality")
TRAILING = dict(spacing="trailing")

CASES = {
    "ddim": TRAILING | dict(record=["steps"]),
    "ddim-0.5": TRAILING | dict(switch_at=0.5),
    "ddim-cfg": TRAILING | CFG,
    # without a negative prompt the base's is zeros, and the refiner's the empty prompt
    "ddim-cfg-none": TRAILING | dict(guidance=5.0),
    "ddim-eta": TRAILING | dict(eta=1.0),
    "euler": dict(scheduler="euler", steps=5),
    "euler-0.5-cfg": dict(scheduler="euler", switch_at=0.5) | CFG,
    "euler-karras": dict(scheduler="euler", karras=True),
    "euler-a": dict(scheduler="euler-a"),
    "tcd-0.5": dict(scheduler="tcd", steps=4, eta=0.3, switch_at=0.5),
    "lcm-0.5": dict(scheduler="lcm", steps=4, switch_at=0.5),
    "lcm-timesteps": dict(scheduler="lcm", steps=None, timesteps=[999, 700, 400, 100], switch_at=0.8),
    "dpmpp-2m": dict(scheduler="dpmpp-2m"),
    "dpmpp-2m-0.5-cfg": dict(scheduler="dpmpp-2m", switch_at=0.5) | CFG,
    "unipc-0.5": dict(scheduler="unipc", switch_at=0.5),
    "heun": dict(scheduler="heun", steps=5),
    "heun-0.5-cfg": dict(scheduler="heun", steps=5, switch_at=0.5) | CFG,
    "pndm-0.5": dict(scheduler="pndm", switch_at=0.5),
    "batch-2": TRAILING | dict(batch=2),
    "batch-2-cfg": dict(scheduler="euler", batch=2, switch_at=0.5) | CFG,
    "lora": dict(scheduler="tcd", steps=4, eta=1.0, lora=1.0, switch_at=0.5),
    "square": dict(scheduler="euler", width=128, height=128, seed=7),
    # from a picture, with both
    "picture": dict(scheduler="euler", images=[PICTURE], strength=0.8),
    "picture-cfg": TRAILING | CFG | dict(images=[PICTURE], strength=0.6, switch_at=0.5, batch=2),
    # the refiner as a model
    "alone": dict(scheduler="euler", images=[PICTURE], strength=0.3, switch_at=None, steps=10),
    "alone-cfg": TRAILING | CFG | dict(images=[PICTURE], strength=0.5, switch_at=None, batch=2),
    "alone-cfg-none": TRAILING | dict(guidance=3.0, images=[PICTURE], strength=0.5, switch_at=None),
}


def main():
    torch.set_num_threads(1)
    full = {name: DEFAULTS | case for name, case in CASES.items()}
    cases.write(FIXTURES / "pipelines-refiner", full, run)


@functools.cache
def loaded(kind, folder, lora):
    """A tiny folder as a pipeline in f32, with its LoRA merged at the given weight, and its scheduler's configuration."""
    pipe = kind.from_pretrained(made() / folder, dtype=torch.float32, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    config = pipe.scheduler.config
    lora_file = made() / f"{folder}-lora.safetensors"
    return (pipe if lora is None else parts.fuse(pipe, lora_file, lora)), config


def run(case):
    steps = []
    latents = draw(case, "latent", steps)
    noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(case["seed"]))
    tensors = {"noise": noise, "latents": latents}
    if "steps" in case["record"]:
        tensors["steps"] = torch.stack(steps)
    tensors["pixels"] = torch.from_numpy(np.stack([np.asarray(image) for image in draw(case, "pil", [])]))
    return tensors


def draw(case, output_type, steps):
    """The pictures of a case; `steps` is given the latents after each step."""
    generator = torch.Generator("cpu").manual_seed(case["seed"])
    number = {"num_inference_steps": case["steps"]} if case["steps"] else {"timesteps": case["timesteps"]}
    common = number | dict(
        prompt=case["prompt"],
        negative_prompt=case["negative"],
        eta=case["eta"],
        guidance_scale=case["guidance"],
        num_images_per_prompt=case["batch"],
        generator=generator,
        callback_on_step_end=lambda _, i, t, tensors: steps.append(tensors["latents"].clone()) or {},
    )
    size = {"width": case["width"], "height": case["height"]}
    from_picture = {}
    if case["images"]:
        [name] = case["images"]
        image = Image.open(FIXTURES / name).convert("RGB").resize(tuple(size.values()), Image.LANCZOS)
        from_picture = {"image": image, "strength": case["strength"]}
    refiner = ready(StableDiffusionXLImg2ImgPipeline, "tiny-sdxl-refiner", None, case)
    if case["switch_at"] is None:
        return refiner(**common, **from_picture, output_type=output_type).images
    kind = StableDiffusionXLImg2ImgPipeline if from_picture else StableDiffusionXLPipeline
    base = ready(kind, "tiny-sdxl", case["lora"], case)
    handed_over = base(
        **common, **(from_picture or size), denoising_end=case["switch_at"], output_type="latent"
    ).images
    # As the documentation has it, the base's VAE decodes.
    refiner.vae, own = base.vae, refiner.vae
    # `num_images_per_prompt` pictures are handed over: as many prompts, of one each.
    many = common | dict(prompt=[case["prompt"]] * case["batch"], num_images_per_prompt=1)
    if case["negative"] is not None:
        many["negative_prompt"] = [case["negative"]] * case["batch"]
    try:
        return refiner(
            **many, image=handed_over, denoising_start=case["switch_at"], output_type=output_type
        ).images
    finally:
        refiner.vae = own


def ready(kind, folder, lora, case):
    pipe, config = loaded(kind, folder, lora)
    changes = {"timestep_spacing": case["spacing"]} if case["spacing"] else {}
    changes |= {"use_karras_sigmas": True} if case["karras"] else {}
    pipe.scheduler = cases.SCHEDULERS[case["scheduler"]].from_config(config, **changes)
    return pipe


if __name__ == "__main__":
    main()
