"""Stage 6, a ControlNet for scribbles: what a finger draws, thick, wobbly and only in part. It begins as Canny's."""

import cv2
import numpy as np
from diffusers import ControlNetModel

from . import controlnet

STEPS = 4000
SHORT = 24  # pixels: shorter outlines are not drawn


def stroke(outline, rng):
    """A part of an outline [N, 2] as a hand follows it: cut to a few points, which are all a little beside it."""
    length = len(outline)
    part = round(length * rng.uniform(0.6, 1.0))
    begin = rng.integers(length)
    points = outline[(begin + np.arange(part)) % length][:: rng.integers(4, 9)].astype(float)
    wobble = rng.normal(0, rng.uniform(0.3, 1.6), points.shape) + rng.normal(0, 0.7, 2)
    return np.round(points + wobble).astype(np.int32)


def scribble(picture, rng):
    """uint8 [H, W, 3] to white strokes on black, uint8 [H, W]."""
    smooth = cv2.GaussianBlur(np.ascontiguousarray(picture), (0, 0), rng.uniform(1.0, 2.0))
    outlines, _ = cv2.findContours(cv2.Canny(smooth, 40, 110), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn, width, share = np.zeros(picture.shape[:2], np.uint8), int(rng.integers(2, 6)), rng.uniform(0.4, 1.0)
    for outline in outlines:
        if len(outline) >= SHORT and rng.uniform() < share:
            cv2.polylines(drawn, [stroke(outline[:, 0], rng)], False, 255, width, cv2.LINE_AA)
    return drawn


def scribbles(pictures, rng):
    return np.stack([scribble(picture, rng) for picture in pictures])


def train(setup, signals):
    def begin(_):
        return ControlNetModel.from_pretrained(setup.work / "controlnet")

    controlnet.train(setup, signals, "scribble", "controlnet-scribble", STEPS, begin, scribbles)
