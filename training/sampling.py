"""Noise schedule and DDIM steps, as SD1.5 has them, and sheets of samples to look at."""

import functools

import numpy as np
import torch
from PIL import Image

SCALED_LINEAR = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHAS = torch.cumprod(1 - SCALED_LINEAR, 0).float()


@functools.cache
def alphas(device):
    return ALPHAS.to(device)


def coefficients(t):
    """sqrt(alpha), sqrt(1 - alpha) for timesteps [B], as [B, 1, 1, 1]; t = -1 is the clean picture."""
    alpha = torch.where(t < 0, 1.0, alphas(t.device)[t.clamp(min=0)])[:, None, None, None]
    return alpha.sqrt(), (1 - alpha).sqrt()


def add_noise(x0, noise, t):
    a, s = coefficients(t)
    return a * x0 + s * noise


def predict_x0(x, eps, t):
    a, s = coefficients(t)
    return (x - s * eps) / a


def ddim(x, eps, t, t_next):
    """The step of the probability-flow ODE's solver from `t` to `t_next` (DDIM with eta 0)."""
    a, s = coefficients(t_next)
    return a * predict_x0(x, eps, t) + s * eps


def guided(unet, x, t, context, empty, scale):
    """Noise predicted with classifier-free guidance; `scale` is a number or [B, 1, 1, 1]."""
    both = unet(torch.cat([x, x]), torch.cat([t, t]), torch.cat([empty, context])).sample.float()
    without, with_ = both.chunk(2)
    return without + scale * (with_ - without)


def trailing(steps):
    """Timesteps with trailing spacing, and -1 at their end."""
    return [round(1000 - i * 1000 / steps) - 1 for i in range(steps)] + [-1]


@torch.no_grad()
def sample(unet, context, empty, steps, guidance=0.0, seed=0, eta=0.0, residuals=None):
    """Latents from noise: DDIM with eta 0, or with eta 1 TCD, which predicts x0 and adds fresh noise."""
    generator = torch.Generator().manual_seed(seed)

    def noise():
        return torch.randn(len(context), 4, 16, 16, generator=generator).to(context.device)

    x, spaced = noise(), trailing(steps)
    for now, then in zip(spaced, spaced[1:]):
        t, t_next = (torch.full((len(x),), value, device=x.device) for value in (now, then))
        if guidance > 1:
            eps = guided(unet, x, t, context, empty.expand_as(context), guidance)
        else:
            eps = unet(x, t, context, **(residuals(x, t, context) if residuals else {})).sample.float()
        if eta and then >= 0:
            x = add_noise(predict_x0(x, eps, t), noise(), t_next)
        else:
            x = ddim(x, eps, t, t_next)
    return x


@torch.no_grad()
def decode(vae, latents):
    """uint8 [N, 128, 128, 3]."""
    pictures = vae.decode(latents / vae.config.scaling_factor).sample
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def sheet(rows, path):
    """Pictures in rows, [[H, W, 3], …], as one PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(path)
