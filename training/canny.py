"""Stage 5, a ControlNet for Canny's edges. It begins as a copy of the UNet with the hint's layers of the crate's."""

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel

from . import controlnet
from .common import CRATE

STEPS = 4000
THRESHOLDS = (100, 200)
HINT = ("controlnet_cond_embedding", "controlnet_down_blocks", "controlnet_mid_block")


def edges(pictures, rng=None):
    """Canny's edges of uint8 [N, H, W, 3], as uint8 [N, H, W]; nothing about them is random."""
    return np.stack([cv2.Canny(np.ascontiguousarray(p), *THRESHOLDS) for p in pictures])


def begin(unet):
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 24, 32))
    known = ControlNetModel.from_pretrained(CRATE / "controlnet", torch_dtype=torch.float32).state_dict()
    network.load_state_dict({k: v for k, v in known.items() if k.startswith(HINT)}, strict=False)
    return network


def train(setup, signals):
    controlnet.train(setup, signals, "canny", "controlnet", STEPS, begin, edges)
