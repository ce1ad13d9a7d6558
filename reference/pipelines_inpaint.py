"""Writes tests/fixtures/pipelines-inpaint/: what diffusers' inpainting pipelines and InstructPix2Pix make of the tiny models.

`cases.py` and `pipelines_start.py` describe most fields and the files. Here also, in the words of the `generate` example:

- `channels`: 4 for the family's own UNet; 9 and 8 for one with another first convolution, which is in `conv_in.safetensors`
  by family and channels, and is all that is not the family's own
- `mask`, `mask_blur`, `mask_crop`
- `image_guidance`: of InstructPix2Pix
- `masked_control`: the control image is the start picture with masked pixels -1
- `guidance_rescale`, `zero_snr`: for pipelines from a prompt or a picture, which have no mask then

The latents are those after the last step, of a callback: with a crop diffusers gives out pictures only.
`mask.png` is a mask with soft edges, of the photograph's size.
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
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image, ImageDraw, ImageFilter
from tiny import FIXTURES, made

OUT = FIXTURES / "pipelines-inpaint"
PHOTO, SQUARE = "control/photo.png", "control/photo-square.png"
MASK = "pipelines-inpaint/mask.png"

START = dict(images=[PHOTO], strength=1.0, noise_level=None, mask=MASK, mask_blur=0, mask_crop=None)
MORE = dict(channels=4, image_guidance=None, masked_control=False, controlnets=[], control_images=[], control_scales=[])
RESCALE = dict(guidance_rescale=0.0, zero_snr=False, prediction=None)
DEFAULTS = dict(family="sd15", vae="kl") | cases.PROMPTS | cases.SCHEDULE | cases.REQUEST | START | MORE | RESCALE
DEFAULTS |= dict(width=96, height=64, seed=5)
CFG = dict(guidance=7.5, negative="blurry, low quality")
CONTROLLED = dict(controlnets=["tiny-controlnet-sd15"], control_images=["control/edges.png"], control_scales=[0.8])
XL_CONTROLLED = CONTROLLED | dict(controlnets=["tiny-controlnet-sdxl"])


def of_family(family, control):
    trailing = dict(family=family, spacing="trailing")
    tcd = dict(family=family, scheduler="tcd", eta=0.3)
    nine = dict(channels=9)
    pixels = dict(record=["pixels"]) if family == "sd15" else {}
    return {
        # a plain UNet
        "ddim-4-1.0": trailing | pixels,
        "ddim-4-0.8-cfg": trailing | CFG | dict(strength=0.8),
        "tcd-4-1.0": tcd,
        "tcd-4-0.5": tcd | dict(strength=0.5),
        "lcm-4-0.8": dict(family=family, scheduler="lcm", strength=0.8),
        "euler-4-1.0": dict(family=family, scheduler="euler"),
        "euler-4-0.5-cfg": dict(family=family, scheduler="euler", strength=0.5) | CFG,
        "tcd-1-1.0": tcd | dict(steps=1),
        "batch-2": tcd | dict(batch=2, strength=0.8, images=[SQUARE]),
        "blur": trailing | dict(mask_blur=4, strength=0.8),
        "crop": trailing | pixels | dict(mask_crop=8, strength=0.8),
        "crop-blur": tcd | pixels | dict(mask_crop=3, mask_blur=5, width=64, height=104),
        "controlnet": tcd | control | dict(strength=0.8),
        # one with nine channels
        "nine-ddim-4-1.0": trailing | nine,
        "nine-ddim-4-0.8-cfg": trailing | nine | CFG | dict(strength=0.8),
        "nine-tcd-4-1.0": tcd | nine,
        "nine-tcd-4-0.5-cfg": tcd | nine | CFG | dict(strength=0.5),
        "nine-euler-4-1.0-cfg": dict(family=family, scheduler="euler") | nine | CFG,
        "nine-batch-2": tcd | nine | dict(batch=2, strength=0.8, images=[SQUARE]),
        "nine-crop-blur": trailing | nine | dict(mask_crop=6, mask_blur=3),
        "nine-controlnet-cfg": trailing | nine | control | CFG,
        # guidance, rescaled
        "rescale": trailing | CFG | dict(mask=None, images=[], guidance_rescale=0.7),
    }


ZERO_SNR = dict(mask=None, images=[], zero_snr=True, prediction="v_prediction", spacing="trailing")
CASES = {
    **{f"sd15-{name}": case for name, case in of_family("sd15", CONTROLLED).items()},
    **{f"sdxl-{name}": case for name, case in of_family("sdxl", XL_CONTROLLED).items()},
    "sd15-dpmpp-2m-6-0.7": dict(scheduler="dpmpp-2m", steps=6, strength=0.7),
    "sd15-unipc-6-0.7": dict(scheduler="unipc", steps=6, strength=0.7),
    "sd15-euler-a-4": dict(scheduler="euler-a", spacing="trailing"),
    "sd15-taesd": dict(scheduler="tcd", eta=0.3, strength=0.5, vae="taesd"),
    "sd15-taesd-nine": dict(scheduler="tcd", eta=0.3, vae="taesd", channels=9),
    "sd15-masked-control": dict(CONTROLLED, spacing="trailing", masked_control=True, control_images=[PHOTO]),
    # InstructPix2Pix
    "sd15-change": dict(channels=8, image_guidance=1.5, spacing="trailing", mask=None) | CFG,
    "sd15-change-euler": dict(channels=8, image_guidance=1.2, scheduler="euler", mask=None, guidance=5.0),
    "sd15-change-unguided": dict(channels=8, image_guidance=1.5, scheduler="tcd", eta=0.3, mask=None),
    "sd15-change-batch-2": dict(channels=8, image_guidance=1.5, scheduler="tcd", eta=0.3, mask=None, batch=2) | CFG,
    # betas that end at pure noise
    "sd15-zero-snr": ZERO_SNR | dict(record=["steps"]),
    "sdxl-zero-snr-rescale": ZERO_SNR | dict(family="sdxl", guidance=5.0, guidance_rescale=0.5, scheduler="euler"),
}


def main():
    torch.set_num_threads(1)
    all_cases = [{"name": name, **DEFAULTS, **case} for name, case in CASES.items()]
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    draw_mask().save(FIXTURES / MASK)
    weights = {f"{family}.{channels}": conv_in(family, channels) for family, channels in CHANNELS}
    save(OUT / "conv_in.safetensors", {name: weight.half() for name, weight in weights.items()})
    for case in all_cases:
        tensors = run(case)
        print(f"latents' deviation {tensors['latents'].std():.2f}: ", end="")
        save(OUT / f"{case['name']}.safetensors", tensors)
    (OUT / "cases.json").write_text(json.dumps(all_cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def draw_mask():
    mask = Image.new("RGB", Image.open(FIXTURES / PHOTO).size)
    pen = ImageDraw.Draw(mask)
    pen.ellipse((50, 20, 110, 70), fill="white")
    pen.rectangle((90, 50, 125, 80), fill=(200, 160, 90))
    return mask.filter(ImageFilter.BoxBlur(2))


CHANNELS = ("sd15", 8), ("sd15", 9), ("sdxl", 9)


@functools.cache
def conv_in(family, channels):
    """A first convolution for more channels: the family's own for the latents, random for the others."""
    own = base(family).unet.conv_in.weight
    generator = torch.Generator().manual_seed(channels)
    more = torch.randn(own.shape[0], channels - 4, 3, 3, generator=generator) * 0.1
    return torch.cat([own, more], 1).half().float()


@functools.cache
def base(family):
    kind = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}[family]
    return kind.from_pretrained(made() / f"tiny-{family}", dtype=torch.float32)


@functools.cache
def unet(family, channels):
    own = base(family).unet
    if channels == 4:
        return own
    other = UNet2DConditionModel.from_config(own.config, in_channels=channels).eval()
    other.load_state_dict(own.state_dict() | {"conv_in.weight": conv_in(family, channels)})
    return other


INPAINT = {"sd15": StableDiffusionInpaintPipeline, "sdxl": StableDiffusionXLInpaintPipeline}
CONTROL = {"sd15": StableDiffusionControlNetInpaintPipeline, "sdxl": StableDiffusionXLControlNetInpaintPipeline}
PROMPT = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}


def pipeline(case):
    family = case["family"]
    parts = dict(base(family).components) | {"unet": unet(family, case["channels"])}
    if case["vae"] == "taesd":
        parts["vae"] = AutoencoderTiny.from_pretrained(made() / "tiny-taesd")
    kind = INPAINT if case["mask"] else PROMPT
    kind = kind[family]
    if case["channels"] == 8:
        kind = StableDiffusionInstructPix2PixPipeline
    if case["controlnets"]:
        net = made() / case["controlnets"][0]
        parts["controlnet"] = ControlNetModel.from_pretrained(net, torch_dtype=torch.float32)
        kind = CONTROL[family]
    names = kind.__init__.__code__.co_varnames
    pipe = kind(**{name: part for name, part in parts.items() if name in names}, **(
        {"requires_safety_checker": False} if family == "sd15" else {}
    ))
    pipe.set_progress_bar_config(disable=True)
    changes = {"timestep_spacing": case["spacing"]} if case["spacing"] else {}
    changes |= {"rescale_betas_zero_snr": True} if case["zero_snr"] else {}
    changes |= {"prediction_type": case["prediction"]} if case["prediction"] else {}
    config = base(family).scheduler.config
    pipe.scheduler = cases.SCHEDULERS[case["scheduler"]].from_config(config, **changes)
    return pipe


def run(case):
    pipe = pipeline(case)
    size = (case["width"], case["height"])
    images = [Image.open(FIXTURES / name).convert("RGB") for name in case["images"]]
    given = dict(num_inference_steps=case["steps"])
    if case["channels"] == 8:
        given |= dict(image=images[0].resize(size, Image.LANCZOS), image_guidance_scale=case["image_guidance"])
    else:
        given |= dict(width=case["width"], height=case["height"])
    if case["mask"]:
        mask = Image.open(FIXTURES / case["mask"])
        if case["mask_blur"]:
            mask = pipe.mask_processor.blur(mask, case["mask_blur"])
        given |= dict(image=images[0], mask_image=mask, strength=case["strength"], padding_mask_crop=case["mask_crop"])
    if case["controlnets"]:
        control = Image.open(FIXTURES / case["control_images"][0]).convert("RGB")
        if case["masked_control"]:
            control = without_masked(control.resize(size, Image.LANCZOS), mask.resize(size, Image.LANCZOS))
        given |= dict(control_image=control, controlnet_conditioning_scale=case["control_scales"][0])
    if case["guidance_rescale"]:
        given["guidance_rescale"] = case["guidance_rescale"]
    last = []

    def generate(output_type):
        return pipe(
            case["prompt"],
            negative_prompt=case["negative"],
            eta=case["eta"],
            guidance_scale=case["guidance"],
            num_images_per_prompt=case["batch"],
            generator=torch.Generator("cpu").manual_seed(case["seed"]),
            output_type=output_type,
            callback_on_step_end=lambda _, i, t, tensors: last.append(tensors["latents"].clone()) or {},
            **given,
        ).images

    images = generate("pil" if case["mask_crop"] is not None or "pixels" in case["record"] else "latent")
    tensors = {"latents": last[-1]}
    if "steps" in case["record"]:
        tensors["steps"] = torch.stack(last)
    if "pixels" in case["record"]:
        tensors["pixels"] = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    return tensors


def without_masked(image, mask):
    """As the model card of control_v11p_sd15_inpaint has it."""
    pixels = np.array(image).astype(np.float32) / 255
    pixels[np.array(mask.convert("L")).astype(np.float32) / 255 > 0.5] = -1.0
    return torch.from_numpy(pixels[None].transpose(0, 3, 1, 2))


if __name__ == "__main__":
    main()
