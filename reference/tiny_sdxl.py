"""Writes tests/fixtures/: a tiny SDXL folder, and the draws of its weights (`weights.py`), of a Hyper-SD LoRA for it,
and of a second UNet as one file.

Everything has the topology, the files and the names of the published models; only widths and depths are small. It
keeps the rules by which a single file is read without a configuration: heads of width 64, norms of 32 groups.
"""

import shutil
import tempfile

import parts
import sdxl
import torch
from common import save
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from tiny import DIFFUSION, FIXTURES, PROMPT, check, fit_noise_prediction, fit_picture, merged, randomise
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
from weights import Draws

SIZE = 128  # of the picture
WIDTHS = 64, 128  # of the two text encoders; the second gives the pooled embedding
LORA = FIXTURES / "tiny-sdxl-lora.safetensors"
ONE_STEP = FIXTURES / "tiny-sdxl-1step-unet.safetensors"
TIME_WIDTH = 32  # of each of the six numbers that say the picture's size and cut


def main():
    torch.set_num_threads(1)
    draws = Draws(FIXTURES, "tiny-sdxl", seed=1024)
    merges = parts.merges(300)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        vocabulary = parts.write_tokenizer(first, merges)
        parts.write_tokenizer(second, merges, sdxl.TOKENIZER_2_PAD)
        pipe = sdxl.pipeline(
            randomise(unet(), draws, f"tiny-sdxl/unet/{DIFFUSION}", branch=0.5),
            randomise(text_encoder(vocabulary), draws, "tiny-sdxl/text_encoder/model.safetensors"),
            randomise(text_encoder_2(vocabulary), draws, "tiny-sdxl/text_encoder_2/model.safetensors"),
            randomise(vae(), draws, f"tiny-sdxl/vae/{DIFFUSION}"),
            (first, second),
        )

    # One alpha for all modules, unlike the rank.
    draws.file(LORA.name)
    save(LORA, parts.lora(pipe.unet, rank=2, alphas=(8,), strength=0.3, draws=draws), {"format": "pt"})

    alphas = pipe.scheduler.alphas_cumprod
    fit_noise_prediction(pipe.unet, (pipe.unet, merged(pipe, LORA)), alphas, condition(pipe), draws)
    one_step = randomise(unet(), draws, ONE_STEP.name, branch=0.5)
    fit_noise_prediction(one_step, (one_step,), alphas, condition(pipe), draws)
    fit_picture(pipe.vae.decoder.conv_out, lambda z: pipe.vae.decode(z).sample, draws, scale=1 / 0.13025)

    save(ONE_STEP, {k: v.half() for k, v in one_step.state_dict().items()})
    shutil.rmtree(FIXTURES / "tiny-sdxl", ignore_errors=True)
    parts.save_folder(pipe.to(torch.float16), FIXTURES / "tiny-sdxl", merges)
    check(StableDiffusionXLPipeline, FIXTURES / "tiny-sdxl", LORA, modules=len(parts.lora_modules(pipe.unet)))
    draws.write()


def unet():
    widths = (32, 64, 64)
    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        block_out_channels=widths,
        attention_head_dim=(1, 1, 1),  # misnamed: the number of heads, of width 64 where there is attention
        transformer_layers_per_block=(1, 1, 2),
        cross_attention_dim=sum(WIDTHS),
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=WIDTHS[1] + 6 * TIME_WIDTH,
        **sdxl.UNET_TOPOLOGY,
    )


def text_encoder(vocabulary):
    return CLIPTextModel(text_config(WIDTHS[0], vocabulary, "quick_gelu"))


def text_encoder_2(vocabulary):
    return CLIPTextModelWithProjection(text_config(WIDTHS[1], vocabulary, "gelu"))


def text_config(width, vocabulary, activation):
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=width // 64,
        hidden_act=activation,
        bos_token_id=0,  # these three are wrong in SDXL's own configs too
        eos_token_id=2,
        pad_token_id=1,
    )


def vae():
    return AutoencoderKL(sample_size=SIZE, block_out_channels=(32,) * 4, **sdxl.VAE_TOPOLOGY)


@torch.no_grad()
def condition(pipe, batch=8):
    """What the UNet takes besides latents and time."""
    context, _, pooled, _ = pipe.encode_prompt(PROMPT, device="cpu", do_classifier_free_guidance=False)
    time_ids = torch.tensor([[SIZE, SIZE, 0, 0, SIZE, SIZE]] * batch)
    added = {"text_embeds": pooled.expand(batch, -1), "time_ids": time_ids}
    return {"encoder_hidden_states": context.expand(batch, -1, -1), "added_cond_kwargs": added}


if __name__ == "__main__":
    main()
