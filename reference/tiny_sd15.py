"""Writes tests/fixtures/: a tiny Stable Diffusion 1.5 folder, and the draws of its weights (`weights.py`), of a
Hyper-SD LoRA for it, and of a tiny TAESD.

Everything has the topology, the files and the names of the published models; only the widths are small.
"""

import shutil
import tempfile

import parts
import sd15
import torch
from common import save
from diffusers import AutoencoderKL, AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from tiny import DIFFUSION, FIXTURES, PROMPT, check, fit_noise_prediction, fit_picture, merged, randomise
from transformers import CLIPTextConfig, CLIPTextModel
from weights import Draws


def main():
    torch.set_num_threads(2)
    draws = Draws(FIXTURES, "tiny-sd15", seed=15)
    merges = parts.merges(1000)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = parts.write_tokenizer(folder, merges)
        pipe = sd15.pipeline(
            randomise(unet(), draws, f"tiny-sd15/unet/{DIFFUSION}", branch=0.5),
            randomise(text_encoder(vocabulary), draws, "tiny-sd15/text_encoder/model.safetensors"),
            randomise(vae(), draws, f"tiny-sd15/vae/{DIFFUSION}"),
            folder,
        )

    lora_file = FIXTURES / "tiny-sd15-lora.safetensors"
    draws.file(lora_file.name)
    adapter = parts.lora(pipe.unet, rank=2, alphas=(1, 2, 8), strength=0.3, draws=draws)
    save(lora_file, adapter, {"format": "pt"})

    networks = pipe.unet, merged(pipe, lora_file)
    condition = {"encoder_hidden_states": pipe.encode_prompt(PROMPT, "cpu", 8, False)[0]}
    fit_noise_prediction(pipe.unet, networks, pipe.scheduler.alphas_cumprod, condition, draws)
    fit_picture(pipe.vae.decoder.conv_out, lambda z: pipe.vae.decode(z).sample, draws, scale=1 / 0.18215)
    tiny = randomise(taesd(), draws, f"tiny-taesd/{DIFFUSION}", branch=0.5)
    fit_picture(tiny.decoder.layers[-1], lambda z: tiny.decode(z).sample, draws, slope=2.0)

    shutil.rmtree(FIXTURES / "tiny-sd15", ignore_errors=True)
    parts.save_folder(pipe.to(torch.float16), FIXTURES / "tiny-sd15", merges)
    tiny.to(torch.float16).save_pretrained(FIXTURES / "tiny-taesd", safe_serialization=True)
    check(StableDiffusionPipeline, FIXTURES / "tiny-sd15", lora_file, modules=278)
    draws.write()


def unet():
    # These widths give conv_shortcut the same places as 320, 640, 1280, 1280 do: 278 LoRA targets.
    widths = (32, 64, 32, 32)
    return UNet2DConditionModel(sample_size=16, block_out_channels=widths, cross_attention_dim=64, **sd15.UNET_TOPOLOGY)


def text_encoder(vocabulary):
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=1,  # of width 64, as in every CLIP
        hidden_act="quick_gelu",
        bos_token_id=0,  # these three are wrong in SD1.5's own config too
        eos_token_id=2,
        pad_token_id=1,
    )
    return CLIPTextModel(config)


def vae():
    return AutoencoderKL(sample_size=128, block_out_channels=(32, 64, 32, 32), **sd15.VAE_TOPOLOGY)


def taesd():
    return AutoencoderTiny(encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4)


if __name__ == "__main__":
    main()
