"""A tiny KL autoencoder and a tiny TAESD, with every parameter random, and what diffusers computes with them.

Writes `crates/hypersd-models/tests/fixtures/vae/`: for each network its configuration, inputs and outputs in f32, and in
`../weights/` the draws of its weights (`weights.py`; in f16, so that both sides start from the same numbers). Also the
configurations of the published models.
"""

from pathlib import Path

import torch
from common import randomize, save
from diffusers import AutoencoderKL, AutoencoderTiny
from weights import Draws

FIXTURES = Path("crates/hypersd-models/tests/fixtures")
FOLDER = FIXTURES / "vae"

KL = dict(
    block_out_channels=(128, 256, 512, 512),
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=2,
    sample_size=512,
)
SDXL = KL | dict(scaling_factor=0.13025, sample_size=1024)
TINY = KL | dict(block_out_channels=(16, 16, 32, 32), norm_num_groups=8, sample_size=64)
TAESD = dict(
    encoder_block_out_channels=(16,) * 4,
    decoder_block_out_channels=(16,) * 4,
)


def config(network, name):
    network.save_config(FOLDER)
    (FOLDER / "config.json").rename(FOLDER / f"{name}.json")


def weights(network, name, draws):
    config(network, name)
    save(FOLDER / f"{name}.safetensors", {k: v.half() for k, v in network.state_dict().items()})
    draws.write()


def pictures(*shape):
    return torch.rand(*shape) * 2 - 1


@torch.no_grad()
def kl():
    draws = Draws(FIXTURES, "vae-tiny_kl", seed=3)
    vae = randomize(AutoencoderKL(**TINY), draws, "vae/tiny_kl.safetensors").eval()
    # Two logarithms of variances that must be clamped, below and above.
    vae.quant_conv.bias[5] = -45.0
    vae.quant_conv.bias[7] = 35.0
    weights(vae, "tiny_kl", draws)
    torch.manual_seed(103)
    for case, (batch, height, width) in {"even": (2, 32, 40), "odd": (1, 45, 51)}.items():
        image = pictures(batch, 3, height, width)
        moments = vae.encode(image).latent_dist
        noise = torch.randn(moments.mean.shape)
        sample = moments.mean + moments.std * noise
        latents = torch.randn(moments.mean.shape) * vae.config.scaling_factor
        decoded = vae.decode(latents / vae.config.scaling_factor).sample
        tensors = dict(image=image, mean=moments.mean, logvar=moments.logvar, noise=noise, sample=sample)
        save(FOLDER / f"tiny_kl_{case}.safetensors", tensors | dict(latents=latents, decoded=decoded))
    tiled(vae)


@torch.no_grad()
def tiled(vae):
    """Latents that take three rows and two columns of tiles of 64 pixels."""
    latents = torch.randn(1, 4, 17, 11) * vae.config.scaling_factor
    vae.enable_tiling()
    decoded = vae.decode(latents / vae.config.scaling_factor).sample
    vae.disable_tiling()
    save(FOLDER / "tiny_kl_tiled.safetensors", dict(latents=latents, decoded=decoded))


@torch.no_grad()
def taesd():
    draws = Draws(FIXTURES, "vae-tiny_taesd", seed=4)
    vae = randomize(AutoencoderTiny(**TAESD), draws, "vae/tiny_taesd.safetensors", stream=1).eval()
    weights(vae, "tiny_taesd", draws)
    torch.manual_seed(104)
    for case, (batch, height, width) in {"even": (2, 32, 40), "odd": (1, 45, 51)}.items():
        image = pictures(batch, 3, height, width)
        latents = vae.encode(image).latents
        drawn = torch.randn(latents.shape) * 2  # some beyond the soft clamp
        tensors = dict(image=image, encoded=latents, latents=drawn, decoded=vae.decode(drawn).sample)
        save(FOLDER / f"tiny_taesd_{case}.safetensors", tensors)


if __name__ == "__main__":
    torch.set_num_threads(2)
    kl()
    taesd()
    with torch.device("meta"):
        config(AutoencoderKL(**KL), "sd15")
        config(AutoencoderKL(**SDXL), "sdxl")
        config(AutoencoderTiny(), "taesd")
