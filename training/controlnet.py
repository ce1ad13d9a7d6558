"""Stage 4, a canny ControlNet: a copy of the UNet's first half that learns to bring edges in (arXiv 2302.05543)."""

import argparse

import base
import cv2
import data
import numpy as np
import sampling
import torch
from common import DEVICE, WORK, Run, descend, to_device, warmup_cosine
from diffusers import ControlNetModel
from muon import Muon

BATCH = 32
THRESHOLDS = (100, 200)


def edges(pictures):
    """Canny's edges of uint8 [N, H, W, 3], as [N, 3, H, W] of zeros and ones."""
    maps = np.stack([cv2.Canny(np.ascontiguousarray(p), *THRESHOLDS) for p in pictures])
    return (torch.from_numpy(maps).to(DEVICE).float() / 255)[:, None].expand(-1, 3, -1, -1).contiguous()


def residuals_from(controlnet, hint):
    """What `sampling.sample` passes on to the UNet at each step."""

    def residuals(x, t, context):
        down, mid = controlnet(x, t, context, hint, return_dict=False)
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}

    return residuals


@torch.no_grad()
def look(unet, controlnet, texts, vae, pictures, path):
    """A sheet: edges, then 25 steps from the noise of one seed without and with them, for prompts that do not say what."""
    hint = edges(pictures)
    context, empty = texts(["a photo of a thing"] * len(pictures)), texts([""])
    rows = [(hint.permute(0, 2, 3, 1).cpu().numpy() * 255).astype(np.uint8)]
    for residuals in (None, residuals_from(controlnet, hint)):
        rows.append(sampling.decode(vae, sampling.sample(unet, context, empty, 25, residuals=residuals)))
    sampling.sheet(rows, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=700)
    options = parser.parse_args()
    torch.manual_seed(3)
    unet, texts, vae = base.load()
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 24, 32))
    controlnet = to_device(controlnet).requires_grad_(True)
    pictures, _ = data.load()
    examples = base.Examples(drop=0.3)  # so that edges are followed where words are silent
    optimizer = Muon(controlnet.parameters(), lr=2e-3)
    schedule = warmup_cosine(optimizer, options.steps)
    run = Run("controlnet", options.steps, {"controlnet": controlnet, "optimizer": optimizer, "schedule": schedule})
    for step in run:
        x0, words, chosen = examples.batch(BATCH)
        noise, t = torch.randn_like(x0), torch.randint(0, 1000, (BATCH,), device=DEVICE)
        x, context = sampling.add_noise(x0, noise, t), texts(words)
        residuals = residuals_from(controlnet, edges(pictures[chosen]))(x, t, context)
        loss = base.noise_loss(unet(x, t, context, **residuals).sample, noise, t)
        descend(loss, controlnet.parameters(), optimizer, schedule)
        run.report(loss=loss)
        if step % 300 == 299:
            look(unet, controlnet, texts, vae, pictures[:12], f"controlnet-{step + 1:05}.png")
    controlnet.save_pretrained(WORK / "controlnet")


if __name__ == "__main__":
    main()
