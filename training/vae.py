"""Stage 1, the KL VAE: SD1.5's, eight times smaller a side and four channels deep, in thin layers.

Trained on crops first and on whole pictures for the last third. The loss is L1 on pixels and on their differences to
the neighbours, which keeps edges sharp where a perceptual loss is not at hand, and a weak KL term.
"""

import argparse

import data
import numpy as np
import torch
from common import DEVICE, WORK, Run, descend, parameters_of, to_device, warmup_cosine
from diffusers import AutoencoderKL
from muon import Muon
from torch.nn import functional as F

WIDTHS = (16, 32, 48, 64)
KL_WEIGHT = 1e-5
EDGE_WEIGHT = 1.0


def network():
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
    )
    # Starts as an autoencoder with a little noise on its latents; with a deviation of one it learns far slower.
    torch.nn.init.constant_(vae.quant_conv.bias[4:], -6.0)
    return vae


def pixels(pictures):
    """uint8 [N, H, W, 3] to [-1, 1] [N, 3, H, W]."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
    return (x.to(DEVICE).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def batch(pictures, crop):
    """32 crops of 64x64, or 8 whole pictures: the same arithmetic."""
    if not crop:
        return pixels(pictures[np.random.randint(len(pictures), size=8)])
    chosen = np.random.randint(len(pictures), size=32)
    at = np.random.randint(0, 65, size=(32, 2))
    return pixels(np.stack([pictures[i, y : y + 64, x : x + 64] for i, (y, x) in zip(chosen, at)]))


def loss_of(vae, x):
    posterior = vae.encode(x).latent_dist
    y = vae.decode(posterior.sample()).sample
    l1 = F.l1_loss(y, x)
    edges = sum(F.l1_loss(y.diff(dim=d), x.diff(dim=d)) for d in (2, 3))
    kl = posterior.kl().mean() / 1024  # for each number of a latent
    return l1 + EDGE_WEIGHT * edges + KL_WEIGHT * kl, l1, kl


@torch.no_grad()
def encode_all(vae, pictures):
    """The latents' means in f16, with the factor that gives them a deviation of one."""
    latents = [vae.encode(pixels(pictures[i : i + 64])).latent_dist.mean for i in range(0, len(pictures), 64)]
    latents = torch.cat(latents)
    scale = 1 / latents.std().item()
    torch.save({"latents": latents.half().cpu(), "scale": scale}, WORK / "latents.pt")
    return scale


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1600)
    options = parser.parse_args()
    pictures, _ = data.load()
    torch.manual_seed(0)
    vae = to_device(network())
    print(f"{parameters_of(vae):,} parameters, {parameters_of(vae.decoder):,} of them the decoder's")
    optimizer = Muon(vae.parameters(), lr=5e-3)
    schedule = warmup_cosine(optimizer, options.steps)
    run = Run("vae", options.steps, {"vae": vae, "optimizer": optimizer, "schedule": schedule})
    for step in run:
        loss, l1, kl = loss_of(vae, batch(pictures, crop=step < options.steps * 2 // 3))
        descend(loss, vae.parameters(), optimizer, schedule)
        run.report(loss=loss, l1=l1, kl=kl)
    scale = encode_all(vae.eval(), pictures)
    vae.register_to_config(scaling_factor=scale)
    vae.save_pretrained(WORK / "vae")
    print(f"scaling factor {scale:.5f}")


if __name__ == "__main__":
    main()
