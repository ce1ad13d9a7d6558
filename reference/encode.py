"""Writes tests/fixtures/encode/: a photograph's latents, as diffusers' image-to-image pipelines make them of the encoder's
distribution without drawing from it (`sample_mode="argmax"`)."""

import torch
from common import save
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from tiny import FIXTURES, made


@torch.no_grad()
def main():
    photo = Image.open(FIXTURES / "control/photo.png").convert("RGB")
    pixels = VaeImageProcessor(vae_scale_factor=8).preprocess(photo.resize((96, 64), Image.LANCZOS))
    latents = {}
    for model in "tiny-sd15", "tiny-sdxl":
        vae = AutoencoderKL.from_pretrained(made() / model / "vae", torch_dtype=torch.float32)
        latents[model] = vae.config.scaling_factor * vae.encode(pixels).latent_dist.mode()
    tiny = AutoencoderTiny.from_pretrained(made() / "tiny-taesd", torch_dtype=torch.float32)
    latents["tiny-taesd"] = tiny.config.scaling_factor * tiny.encode(pixels).latents
    save(FIXTURES / "encode/latents.safetensors", latents)


if __name__ == "__main__":
    main()
