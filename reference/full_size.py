"""Writes Stable Diffusion 1.5, TAESD and a Hyper-SD LoRA at their published sizes, with random F32 weights.

For measuring speed and memory, not pictures. 5 GB under `--out`:

    stable-diffusion-v1-5/   Hyper-SD15-1step-lora.safetensors   taesd/

Parts are built one at a time: 4 GB of memory are enough.
"""

import argparse
import gc
import shutil
from pathlib import Path

import parts
import sd15
import torch
from common import save
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

# The size of the published Hyper-SD15-1step-lora.safetensors, to the byte.
LORA_BYTES = 269_127_096


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True, metavar="DIR")
    out = arguments.parse_args().out
    torch.set_num_threads(2)
    torch.manual_seed(15)

    folder = out / "stable-diffusion-v1-5"
    write(folder / "unet", unet, write_lora(out / "Hyper-SD15-1step-lora.safetensors"))
    write(folder / "text_encoder", text_encoder)
    write(folder / "vae", vae)
    write(out / "taesd", AutoencoderTiny)
    parts.write_tokenizer(folder / "tokenizer", parts.merges())
    tiny = parts.ROOT / "tests/fixtures/tiny-sd15"  # its scheduler and index say nothing about sizes
    shutil.copytree(tiny / "scheduler", folder / "scheduler", dirs_exist_ok=True)
    shutil.copy(tiny / "model_index.json", folder)


def unet():
    return UNet2DConditionModel(
        sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, **sd15.UNET_TOPOLOGY
    )


def text_encoder():
    config = CLIPTextConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=768,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )
    return CLIPTextModel(config)


def vae():
    return AutoencoderKL(sample_size=512, block_out_channels=(128, 256, 512, 512), **sd15.VAE_TOPOLOGY)


def write(folder, build, use=lambda model: None):
    """Builds a model, saves it, hands it to `use`, and lets go of it."""
    model = build()
    model.save_pretrained(folder, safe_serialization=True)
    print(f"{folder}  {sum(p.numel() for p in model.parameters()):,} parameters")
    use(model)
    del model
    gc.collect()


def write_lora(path):
    """What to do with the UNet: write a LoRA of rank 64 for it."""

    def use(unet):
        generator = torch.Generator().manual_seed(15)
        save(path, parts.lora(unet, rank=64, alphas=(64,), strength=0.1, generator=generator), {"format": "pt"})
        assert path.stat().st_size == LORA_BYTES, path.stat().st_size

    return use


if __name__ == "__main__":
    main()
