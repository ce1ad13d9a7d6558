"""Writes Stable Diffusion 1.5 or SDXL, a Hyper-SD LoRA and a ControlNet at their published sizes, with random weights.

For measuring speed and memory, not pictures. Under `--out`:

    --family sd15   5 GB   stable-diffusion-v1-5/  Hyper-SD15-1step-lora.safetensors  taesd/  controlnet-sd15/
    --family sdxl  10 GB   stable-diffusion-xl-base-1.0/  Hyper-SDXL-1step-lora.safetensors  controlnet-sdxl/

SD1.5's folder is F32 as people have it, SDXL's F16; so are the ControlNets; the LoRAs are F32 as published. Parts are
built one at a time: SD1.5 takes 4 GB of memory, SDXL 7 GB.
"""

import argparse
import gc
import shutil
from pathlib import Path

import controlnet
import parts
import sd15
import sdxl
import torch
from common import save
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
from unet import SD15, SDXL
from weights import Draws

# The sizes of the published Hyper-SD15-1step-lora.safetensors and Hyper-SDXL-1step-lora.safetensors, to the byte.
LORA_BYTES = {"sd15": 269_127_096, "sdxl": 787_359_648}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True, metavar="DIR")
    arguments.add_argument("--family", choices=LORA_BYTES, default="sd15")
    given = arguments.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(15)
    {"sd15": write_sd15, "sdxl": write_sdxl}[given.family](given.out)


def write_sd15(out):
    folder = out / "stable-diffusion-v1-5"
    lora = write_lora(out / "Hyper-SD15-1step-lora.safetensors", LORA_BYTES["sd15"])
    write(folder / "unet", lambda: UNet2DConditionModel(**SD15), use=lora)
    write(folder / "text_encoder", text_encoder)
    name_as_published(folder / "text_encoder")
    write(folder / "vae", lambda: vae(sd15, sample_size=512))
    write(out / "taesd", AutoencoderTiny)
    write(out / "controlnet-sd15", lambda: ControlNetModel(**controlnet.PUBLISHED["sd15"]), torch.float16)
    write_small_files(folder, "tiny-sd15", tokenizers={"tokenizer": parts.EOS})


def write_sdxl(out):
    folder = out / "stable-diffusion-xl-base-1.0"
    half = torch.float16
    lora = write_lora(out / "Hyper-SDXL-1step-lora.safetensors", LORA_BYTES["sdxl"])
    write(folder / "unet", lambda: UNet2DConditionModel(**SDXL), half, lora)
    for name, build in ("text_encoder", text_encoder), ("text_encoder_2", text_encoder_2):
        write(folder / name, build, half)
        name_as_published(folder / name)
    write(folder / "vae", lambda: vae(sdxl, sample_size=1024), half)
    write(out / "controlnet-sdxl", lambda: ControlNetModel(**controlnet.PUBLISHED["sdxl_full"]), half)
    pads = {"tokenizer": parts.EOS, "tokenizer_2": sdxl.TOKENIZER_2_PAD}
    write_small_files(folder, "tiny-sdxl", tokenizers=pads)


def text_encoder():
    """CLIP ViT-L/14's."""
    return CLIPTextModel(text_config(width=768, layers=12, hidden_act="quick_gelu"))


def text_encoder_2():
    """OpenCLIP ViT-bigG/14's."""
    return CLIPTextModelWithProjection(text_config(width=1280, layers=32, hidden_act="gelu"))


def text_config(width, layers, hidden_act):
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        projection_dim=width,
        hidden_act=hidden_act,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )


def vae(family, sample_size):
    return AutoencoderKL(sample_size=sample_size, block_out_channels=(128, 256, 512, 512), **family.VAE_TOPOLOGY)


def write(folder, build, dtype=torch.float32, use=lambda model: None):
    """Builds a model in `dtype`, saves it, hands it to `use`, and lets go of it."""
    torch.set_default_dtype(dtype)
    model = build()
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder, safe_serialization=True)
    print(f"{folder}  {sum(p.numel() for p in model.parameters()):,} parameters in {model.dtype}", flush=True)
    use(model)
    del model
    gc.collect()


def name_as_published(text_encoder):
    """transformers 5 leaves out a prefix that the published files have, and that other programs look for."""
    path = text_encoder / "model.safetensors"
    known = ("text_model.", "text_projection.")
    tensors = load_file(path)
    save(path, {k if k.startswith(known) else f"text_model.{k}": v for k, v in tensors.items()}, {"format": "pt"})


def write_lora(path, size):
    """What to do with a UNet: write a LoRA of rank 64 for it."""

    def use(unet):
        draws = Draws(path.parent, path.stem, seed=15)
        save(path, parts.lora(unet, rank=64, alphas=(64,), strength=0.1, draws=draws), {"format": "pt"})
        assert path.stat().st_size == size, path.stat().st_size

    return use


def write_small_files(folder, tiny, tokenizers):
    """The tokenizers, and the scheduler and index of a tiny model: those say nothing about sizes."""
    for name, pad in tokenizers.items():
        parts.write_tokenizer(folder / name, parts.merges(), pad)
    fixture = parts.ROOT / "tests/fixtures" / tiny
    shutil.copytree(fixture / "scheduler", folder / "scheduler", dirs_exist_ok=True)
    shutil.copy(fixture / "model_index.json", folder)


if __name__ == "__main__":
    main()
