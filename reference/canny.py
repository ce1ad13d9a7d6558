"""Edge maps that OpenCV finds, with aperture 3, in random and structured images, gray and RGB.

Writes `crates/hypersd-controlnet/tests/fixtures/canny.safetensors`: for every case a row `[width, height, channels,
l2]` of `sizes` and `[low, high]` of `thresholds`, and one after another the pixels of all images in `pixels` and
their edge maps in `edges`, eight pixels a byte, the first in the highest bit, each map in whole bytes.
"""

import cv2
import numpy as np
import torch
from common import save

PATH = "crates/hypersd-controlnet/tests/fixtures/canny.safetensors"
THRESHOLDS = [
    (100, 200),
    (200, 100),  # swapped
    (50, 150),
    (10, 10),
    (0, 0),
    (-5, 40),
    (33.25, 99.75),
    (0.5, 1020.5),
    (400, 1200.0),
    (150, 40000),  # beyond what dx² + dy² is cut off at
]
SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (1, 40), (40, 1), (2, 17), (17, 2), (3, 3), (15, 11), (16, 16), (17, 13)]
SIZES += [(31, 7), (32, 24), (33, 33), (48, 5), (64, 20), (65, 31), (40, 40), (96, 50), (128, 33), (49, 47)]


def noise(rng, w, h):
    return rng.integers(0, 256, (h, w, 3))


def levels(rng, w, h):
    """Few gray levels: plateaus and ties everywhere."""
    return rng.integers(0, 3, (h, w, 3)) * 60


def soft(rng, w, h):
    return cv2.GaussianBlur(noise(rng, w, h).astype(np.uint8), (5, 5), 0).astype(int) * 2 - 128


def ramp(rng, w, h):
    """A plane in any direction, a wall across it, and a little noise."""
    y, x = np.mgrid[:h, :w]
    slope = rng.normal(0, 20, (2, 3))
    plane = x[..., None] * slope[0] + y[..., None] * slope[1] + 128
    wall = ((x * slope[1, 0] - y * slope[0, 0]) > 0)[..., None] * rng.integers(0, 200, 3)
    return plane + wall + rng.integers(-3, 4, (h, w, 3))


def shapes(rng, w, h):
    image = np.full((h, w, 3), 90, np.uint8)
    for _ in range(4):
        x, y, r = (int(n) for n in rng.integers(0, max(w, h), 3))
        color = tuple(int(n) for n in rng.integers(0, 256, 3))
        cv2.circle(image, (x, y), r // 2, color, -1, cv2.LINE_AA)
        cv2.line(image, (y, x), (r, y), color, 2)
    return image


def waves(rng, w, h):
    y, x = np.mgrid[:h, :w]
    period = rng.uniform(2, 12, (2, 3))
    return np.sin(x[..., None] / period[0]) * np.cos(y[..., None] / period[1]) * 120 + 128


def cases(rng):
    for i in range(308):
        w, h = SIZES[i % len(SIZES)]
        make = (noise, levels, soft, ramp, shapes, waves)[i // 3 % 6]
        image = np.clip(make(rng, w, h), 0, 255).astype(np.uint8)
        if i % 2:
            image = np.ascontiguousarray(image[..., i // 2 % 3])
        yield image, THRESHOLDS[int(rng.integers(len(THRESHOLDS)))], i // 2 % 3 == 0


if __name__ == "__main__":
    cv2.setNumThreads(1)
    rng = np.random.default_rng(5)
    sizes, thresholds, pixels, edges = [], [], [], []
    for image, (low, high), l2 in cases(rng):
        found = cv2.Canny(image, low, high, L2gradient=l2)
        sizes.append([image.shape[1], image.shape[0], image.shape[2] if image.ndim == 3 else 1, l2])
        thresholds.append([low, high])
        pixels.append(image.ravel())
        edges.append(np.packbits(found.ravel() > 0))
        assert set(np.unique(found)) <= {0, 255}
    tensors = {
        "sizes": torch.tensor(sizes, dtype=torch.int32),
        "thresholds": torch.tensor(thresholds, dtype=torch.float32),
        "pixels": torch.from_numpy(np.concatenate(pixels)),
        "edges": torch.from_numpy(np.concatenate(edges)),
    }
    save(PATH, tensors)
    dense = [np.unpackbits(e).mean() for e in edges]
    print(f"{len(sizes)} cases, {sum(d > 0 for d in dense)} with edges, {np.mean(dense):.3f} of all pixels")
