"""What every SDXL has, whatever its size. `tiny_sdxl.py` fills it with weights."""

from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
from transformers import CLIPTokenizer

UNET_TOPOLOGY = dict(
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    layers_per_block=2,
    use_linear_projection=True,
    addition_embed_type="text_time",
    norm_num_groups=32,
)
VAE_TOPOLOGY = dict(
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=2,
    latent_channels=4,
    scaling_factor=0.13025,
    force_upcast=True,
)
TOKENIZER_2_PAD = "!"  # token 0

# The scheduler that SDXL base ships, setting by setting (some mean nothing to Euler, but to what is built from it).
SCHEDULER = dict(
    beta_end=0.012,
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    clip_sample=False,
    interpolation_type="linear",
    num_train_timesteps=1000,
    prediction_type="epsilon",
    sample_max_value=1.0,
    set_alpha_to_one=False,
    skip_prk_steps=True,
    steps_offset=1,
    timestep_spacing="leading",
    trained_betas=None,
    use_karras_sigmas=False,
)


def pipeline(unet, text_encoder, text_encoder_2, vae, tokenizer_folders):
    """Puts the parts together, as the model index of SDXL base says."""
    tokenizer, tokenizer_2 = map(CLIPTokenizer.from_pretrained, tokenizer_folders)
    return StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=unet,
        scheduler=EulerDiscreteScheduler.from_config(SCHEDULER),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
