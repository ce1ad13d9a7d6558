"""What every Stable Diffusion 1.5 has, whatever its size.

`tiny_sd15.py` and `full_size.py` fill it with weights.
"""

from diffusers import PNDMScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

UNET_TOPOLOGY = dict(
    down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    layers_per_block=2,
    attention_head_dim=8,  # misnamed: the number of heads
    norm_num_groups=32,
)
VAE_TOPOLOGY = dict(
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=2,
    latent_channels=4,
    scaling_factor=0.18215,
)


# The scheduler that SD1.5 ships, setting by setting (clip_sample means nothing to PNDM, but to what is built from it).
SCHEDULER = dict(
    beta_end=0.012,
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    num_train_timesteps=1000,
    set_alpha_to_one=False,
    skip_prk_steps=True,
    steps_offset=1,
    trained_betas=None,
    clip_sample=False,
)


def pipeline(unet, text_encoder, vae, tokenizer_folder):
    """Puts the parts together; without a safety checker, as the model index of a stripped folder says."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer_folder),
        unet=unet,
        scheduler=PNDMScheduler.from_config(SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
