"""Writes tests/fixtures/: a tiny folder of SDXL's refiner, and the draws of its weights (`weights.py`).

It has the topology, the files and the names of the published refiner: four levels, of which the middle two attend, one text
encoder (the second of SDXL's) and no first, and five numbers of the picture. Its VAE is of the form of the tiny SDXL's.
"""

import shutil
import tempfile

import parts
import sdxl
import tiny_sdxl
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
from tiny import DIFFUSION, FIXTURES, PROMPT, fit_noise_prediction, fit_picture, randomise
from transformers import CLIPTokenizer
from weights import Draws

NAME = "tiny-sdxl-refiner"
WIDTH = tiny_sdxl.WIDTHS[1]  # of its text encoder
SCORE = 6.0  # how good the picture looks


def main():
    torch.set_num_threads(1)
    draws = Draws(FIXTURES, NAME, seed=384)
    merges = parts.merges(300)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = parts.write_tokenizer(folder, merges, sdxl.TOKENIZER_2_PAD)
        pipe = StableDiffusionXLImg2ImgPipeline(
            vae=randomise(tiny_sdxl.vae(), draws, f"{NAME}/vae/{DIFFUSION}"),
            text_encoder=None,
            text_encoder_2=randomise(
                tiny_sdxl.text_encoder_2(vocabulary), draws, f"{NAME}/text_encoder_2/model.safetensors"
            ),
            tokenizer=None,
            tokenizer_2=CLIPTokenizer.from_pretrained(folder),
            unet=randomise(unet(), draws, f"{NAME}/unet/{DIFFUSION}", branch=0.5),
            scheduler=EulerDiscreteScheduler.from_config(sdxl.SCHEDULER),
            requires_aesthetics_score=True,
            force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        )
    alphas = pipe.scheduler.alphas_cumprod
    timesteps = (999, 749, 499, 399, 299, 249, 199, 149, 99, 49)
    fit_noise_prediction(pipe.unet, (pipe.unet,), alphas, condition(pipe), draws, timesteps)
    fit_picture(pipe.vae.decoder.conv_out, lambda z: pipe.vae.decode(z).sample, draws, scale=1 / 0.13025)
    shutil.rmtree(FIXTURES / NAME, ignore_errors=True)
    parts.save_folder(pipe.to(torch.float16), FIXTURES / NAME, merges)
    StableDiffusionXLImg2ImgPipeline.from_pretrained(FIXTURES / NAME, dtype=torch.float32)  # diffusers reads it
    draws.write()


def unet():
    return UNet2DConditionModel(
        sample_size=tiny_sdxl.SIZE // 8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64, 64, 64),
        attention_head_dim=(1, 1, 1, 1),  # misnamed: the number of heads, of width 64
        transformer_layers_per_block=2,
        cross_attention_dim=WIDTH,
        addition_time_embed_dim=tiny_sdxl.TIME_WIDTH,
        projection_class_embeddings_input_dim=WIDTH + 5 * tiny_sdxl.TIME_WIDTH,
        layers_per_block=2,
        use_linear_projection=True,
        addition_embed_type="text_time",
        norm_num_groups=32,
    )


@torch.no_grad()
def condition(pipe, batch=8):
    """What the UNet takes besides latents and time."""
    context, _, pooled, _ = pipe.encode_prompt(PROMPT, device="cpu", do_classifier_free_guidance=False)
    time_ids = torch.tensor([[tiny_sdxl.SIZE, tiny_sdxl.SIZE, 0, 0, SCORE]] * batch)
    added = {"text_embeds": pooled.expand(batch, -1), "time_ids": time_ids}
    return {"encoder_hidden_states": context.expand(batch, -1, -1), "added_cond_kwargs": added}


if __name__ == "__main__":
    main()
