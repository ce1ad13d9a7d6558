"""What the ControlNets' stages share: a copy of the UNet's first half learns to bring hints in (arXiv 2302.05543)."""

import torch

from . import base, examples, sampling
from .common import Average, Run, descend, save_folder
from .muon import Muon

BATCH = {"cpu": 32, "cuda": 128}
SILENT = 0.3  # share of empty captions, so that a hint is followed where words are silent


def residuals_from(controlnet, hint):
    """What `sampling.sample` passes on to the UNet at each step."""

    def residuals(x, t, context):
        down, mid = controlnet(x, t, context, hint, return_dict=False)
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}

    return residuals


def as_hint(setup, maps):
    """uint8 [N, H, W] to [N, 3, H, W] in [0, 1]."""
    return (torch.from_numpy(maps).to(setup.device).float() / 255)[:, None].expand(-1, 3, -1, -1).contiguous()


@torch.no_grad()
def look(setup, unet, controlnet, texts, vae, maps, path):
    """A sheet: hints, then 25 steps from the noise of one seed without and with them, for words that do not say what."""
    hint = as_hint(setup, maps)
    context, empty = texts(["a picture"] * len(maps)), texts([""])
    rows = [maps[..., None].repeat(3, -1)]
    for residuals in (None, residuals_from(controlnet, hint)):
        rows.append(sampling.decode(vae, sampling.sample(unet, context, empty, 25, residuals=residuals)))
    sampling.sheet(rows, path)


def train(setup, signals, name, folder, steps, begin, hints):
    """Trains the ControlNet that `begin(unet)` gives on the maps uint8 [N, H, W] that `hints(pictures, rng)` makes."""
    batch = BATCH[setup.device.type]
    unet, texts, vae = base.load(setup)
    source = examples.of(setup, vae)
    controlnet = setup.network(begin(unet)).requires_grad_(True).train()
    parameters = list(controlnet.parameters())
    optimizer, average = Muon(parameters, lr=2e-3), Average(parameters, decay=0.998)
    state = {"controlnet": controlnet, "optimizer": optimizer, "average": average}
    run = Run(setup, signals, name, steps, state)
    for step in run:
        x0, words, chosen = source.batch(run.rng, batch, drop=SILENT)
        noise, t = torch.randn_like(x0), torch.randint(0, 1000, (batch,), device=x0.device)
        hint = as_hint(setup, hints(source.pictures(chosen), run.rng))
        with setup.precision():
            x, context = sampling.add_noise(x0, noise, t), texts(words)
            eps = unet(x, t, context, **residuals_from(controlnet, hint)(x, t, context)).sample
        loss = base.noise_loss(eps, noise, t)
        descend(loss, parameters, optimizer, run.rate())
        average.update()
        run.report(loss=loss)
        if step % 500 == 499:
            maps = hints(source.pictures(range(12)), run.rng)
            with average.applied():
                look(setup, unet, controlnet, texts, vae, maps, setup.work / f"sheets/{name}-{step + 1:05}.png")
    with average.applied():
        save_folder(controlnet, setup.work / folder)
