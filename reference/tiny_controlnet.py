"""Writes tests/fixtures/: tiny ControlNets for the tiny models, and what they are shown.

    tiny-controlnet-sd15/, tiny-controlnet-sd15-b/, tiny-controlnet-sdxl/   folders as diffusers writes them
    weights/tiny-controlnet.tsv              the draws of their weights (`weights.py`)
    control/photo.png, photo-square.png      drawn to have what photographs have: shading, edges, texture, noise
    control/edges.png, edges-square.png      OpenCV's Canny of the two

Every parameter is random, also of the convolutions that training starts from zero. The network that reads the picture
is then fitted: with random values its biases drown the picture.
"""

import inspect

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image
from tiny import DIFFUSION, FIXTURES, randomise, rounded
from weights import Draws

FOLDER = FIXTURES / "control"
# width, height; the first is no multiple of 8
PHOTOS = {"photo": (150, 102), "photo-square": (128, 128)}
THRESHOLDS = 100, 200

# The channels of the network that reads the picture; as published 16, 32, 96, 256.
HINT_CHANNELS = (16, 24, 32, 32)
STRENGTH = 0.3  # of the residuals, beside the skips that they are added to


def main():
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    rng = np.random.default_rng(5)
    for name, size in PHOTOS.items():
        photo = draw(rng, *size)
        edges = cv2.Canny(photo, *THRESHOLDS)
        print(f"{name} {size}: {(edges > 0).mean():.1%} of the pixels are edges")
        Image.fromarray(photo).save(FOLDER / f"{name}.png")
        Image.fromarray(np.repeat(edges[..., None], 3, 2)).save(FOLDER / f"{name.replace('photo', 'edges')}.png")

    draws = Draws(FIXTURES, "tiny-controlnet", seed=3)
    write("tiny-controlnet-sd15", "tiny-sd15", draws)
    write("tiny-controlnet-sd15-b", "tiny-sd15", draws)
    # Published ones may have fewer transformer blocks than the UNet; so has this.
    write("tiny-controlnet-sdxl", "tiny-sdxl", draws, transformer_layers_per_block=[1, 1, 1])
    draws.write()


@torch.no_grad()
def write(name, model, draws, **changes):
    unet = UNet2DConditionModel.load_config(FIXTURES / model / "unet") | changes
    parameters = inspect.signature(ControlNetModel).parameters
    shared = {key: value for key, value in unet.items() if key in parameters}
    network = ControlNetModel.from_config(shared | {"conditioning_embedding_out_channels": HINT_CHANNELS})
    randomise(network, draws, f"{name}/{DIFFUSION}", branch=0.5)
    fit_hint(network.controlnet_cond_embedding)
    for conv in (*network.controlnet_down_blocks, network.controlnet_mid_block):
        conv.weight *= STRENGTH
        conv.bias *= STRENGTH
    rounded(network).half().save_pretrained(FIXTURES / name, safe_serialization=True)


def fit_hint(network):
    """Scales each convolution so that its output varies by 1 over the pictures, as the latents beside it do."""
    pictures = [np.array(Image.open(FOLDER / f"{name}-square.png")) for name in ("edges", "photo")]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
    for conv in (network.conv_in, *network.blocks, network.conv_out):
        conv.weight /= conv(x).std((0, 2, 3))[:, None, None, None]
        x = torch.nn.functional.silu(conv(x))


def draw(rng, width, height):
    """A landscape of sorts: sky and ground, hills, discs shaded like balls, a fence, texture, and a sensor's noise."""
    y, x = np.mgrid[:height, :width] / height
    horizon = 0.55 + 0.08 * np.sin(5 * x) + 0.03 * np.sin(17 * x + 1)
    sky = np.stack([110 + 90 * y, 150 + 60 * y, 230 - 40 * y], -1)
    ground = np.stack([120 - 60 * y, 140 - 40 * y, 60 - 20 * y], -1) + 14 * np.sin(60 * x * y)[..., None]
    picture = np.where((y < horizon)[..., None], sky, ground)
    for _ in range(6):
        radius = rng.uniform(0.06, 0.2)
        centre = rng.uniform(0.1, 0.9, 2) * (width / height, 1)
        u, v = (x - centre[0]) / radius, (y - centre[1]) / radius
        light = np.clip(1 - (u + 0.4) ** 2 / 3 - (v + 0.4) ** 2 / 3, 0.15, 1)
        ball = light[..., None] * rng.uniform(60, 250, 3)
        picture = np.where((u**2 + v**2 < 1)[..., None], ball, picture)
    fence = (np.abs((x * 9) % 1 - 0.5) < 0.08) & (y > 0.75)
    picture = np.where(fence[..., None], 70 + 120 * y[..., None], picture)
    return np.clip(np.round(picture + rng.normal(0, 3, picture.shape)), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
