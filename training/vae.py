"""Stage 1, the KL VAE: SD1.5's, eight times smaller a side and four channels deep, in thin layers.

Trained on crops first and on whole pictures for the last third. The loss is L1 on pixels and on their differences to
the neighbours, which keeps edges sharp, the mean square that PSNR is of, and a weak KL term. It begins with the weights
of the crate's VAE. At its end the latents are moved so that the mean of every channel is zero (`centre`): sampling
begins with noise, whose mean is zero, and a model takes another mean for a hint at the time of the day.
"""

import torch
from diffusers import AutoencoderKL
from torch.nn import functional as F

from . import data
from .common import CRATE, Average, Run, descend, parameters_of, save_folder
from .muon import Muon

STEPS = 8000
SHARDS = 8  # as many pictures are enough for it
KL_WEIGHT = 1e-5
EDGE_WEIGHT = 1.0
SQUARE_WEIGHT = 2.0
HELD = 64  # pictures that it is measured with
PICTURES = {"cpu": 4, "cuda": 16}  # a batch's arithmetic


def network():
    return AutoencoderKL.from_pretrained(CRATE / "model/vae", torch_dtype=torch.float32)


def batch(setup, pictures, rng, crop):
    """Whole pictures, or four times as many crops of half their sides: the same arithmetic."""
    count = PICTURES[setup.device.type]
    if not crop:
        return setup.pixels(pictures.batch(rng.integers(len(pictures), size=count)))
    drawn = pictures.batch(rng.integers(len(pictures), size=4 * count))
    corners = rng.integers(0, 65, size=(4 * count, 2))
    return setup.pixels([p[y : y + 64, x : x + 64] for p, (y, x) in zip(drawn, corners)])


def loss_of(vae, x):
    posterior = vae.encode(x).latent_dist
    y = vae.decode(posterior.sample()).sample
    l1, square = F.l1_loss(y, x), F.mse_loss(y, x)
    edges = sum(F.l1_loss(y.diff(dim=d), x.diff(dim=d)) for d in (2, 3))
    kl = posterior.kl().mean() / posterior.mean[0].numel()
    return l1 + EDGE_WEIGHT * edges + SQUARE_WEIGHT * square + KL_WEIGHT * kl, l1, kl


@torch.no_grad()
def psnr(vae, x):
    """Of each picture, decoded from the mean of its latents: decibels, their mean."""
    decoded = torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in x.split(8)])
    square = ((decoded.clamp(-1, 1) - x) / 2).square().mean((1, 2, 3))
    return (-10 * square.log10()).mean().item()


@torch.no_grad()
def centre(vae, mean):
    """The same VAE with latents whose `mean` [4] is taken off by the encoder and put on again by the decoder."""
    vae.quant_conv.bias[: len(mean)] -= mean
    vae.post_quant_conv.bias += vae.post_quant_conv.weight[:, :, 0, 0] @ mean


@torch.no_grad()
def encode(setup, vae, pictures):
    """Means of latents [N, 4, 16, 16]."""
    parts = [pictures[i : i + 32] for i in range(0, len(pictures), 32)]
    return torch.cat([vae.encode(setup.pixels(part)).latent_dist.mean for part in parts])


def train(setup, signals):
    data.draw_shards(setup, SHARDS)
    pictures = data.Kept(setup.work, SHARDS)
    vae = setup.network(network())
    print(f"VAE: {parameters_of(vae):,} parameters, {parameters_of(vae.decoder):,} of them the decoder's", flush=True)
    parameters = list(vae.parameters())
    optimizer, average = Muon(parameters, lr=2e-3), Average(parameters)
    run = Run(setup, signals, "vae", STEPS, {"vae": vae, "optimizer": optimizer, "average": average})
    held = setup.pixels(data.held_pictures(HELD)[0])
    if run.step == 0:
        run.write(psnr_held_out=round(psnr(vae, held), 2))
    for step in run:
        loss, l1, kl = loss_of(vae, batch(setup, pictures, run.rng, crop=step < STEPS * 2 // 3))
        descend(loss, parameters, optimizer, run.rate())
        average.update()
        run.report(loss=loss, l1=l1, kl=kl)
        if step % 250 == 249:
            with average.applied():
                run.write(psnr_held_out=round(psnr(vae, held), 2))
    with average.applied():
        sample = encode(setup, vae, pictures.batch(range(0, len(pictures), 4)))
        centre(vae, sample.mean((0, 2, 3)))
        vae.register_to_config(scaling_factor=1 / sample.std((0, 2, 3)).square().mean().sqrt().item())
        run.write(psnr_centred=round(psnr(vae, held), 2), scaling_factor=vae.config.scaling_factor)
        save_folder(vae, setup.work / "vae")
