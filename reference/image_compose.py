"""What Pillow and diffusers make of pictures for inpainting: blurs, parts, fillings, overlays.

Writes crates/hypersd-core/tests/fixtures/compose.safetensors:
  blur/I/from, radius, to            u8 [H, W, 3], f32 [1]: ImageFilter.GaussianBlur
  fill/I/from, to; crop/I/from, to   VaeImageProcessor's resize modes
  region/I/mask, size, region        u8 [H, W, 3], width, height and padding, and get_crop_region's x1, y1, x2, y2
  overlay/0/own, painted, mask, to   VaeImageProcessor.apply_overlay without a crop
  luma                               u8 [H, W] of the mask
"""

from pathlib import Path

import numpy
import torch
from common import save
from diffusers.image_processor import VaeImageProcessor
from image import noise_image
from PIL import Image, ImageFilter

OUT = Path("crates/hypersd-core/tests/fixtures/compose.safetensors")
PROCESSOR = VaeImageProcessor()


def blurs(rng):
    for index, radius in enumerate((0.3, 0.5, 1, 2, 2.7, 4, 9, 33)):
        width, height = map(int, rng.integers(3, 24, 2))
        image = Image.fromarray(noise_image(rng, width, height))
        blurred = image.filter(ImageFilter.GaussianBlur(radius))
        yield f"blur/{index}/from", numpy.array(image)
        yield f"blur/{index}/radius", numpy.array([radius], dtype=numpy.float32)
        yield f"blur/{index}/to", numpy.array(blurred)


def resizes(rng):
    sizes = [(20, 9, 16, 16), (9, 20, 16, 16), (16, 8, 32, 16), (31, 30, 24, 24), (24, 25, 32, 32), (17, 5, 8, 16)]
    for mode in "fill", "crop":
        for index, (from_w, from_h, width, height) in enumerate(sizes):
            image = Image.fromarray(noise_image(rng, from_w, from_h))
            resized = PROCESSOR.resize(image, height, width, resize_mode=mode)
            yield f"{mode}/{index}/from", numpy.array(image)
            yield f"{mode}/{index}/to", numpy.array(resized)


def regions(rng):
    for index in range(24):
        width, height = map(int, rng.integers(8, 40, 2))
        mask = numpy.zeros((height, width, 3), dtype=numpy.uint8)
        left, right = sorted(map(int, rng.choice(width + 1, 2, replace=False)))
        top, bottom = sorted(map(int, rng.choice(height + 1, 2, replace=False)))
        mask[top:bottom, left:right] = rng.integers(1, 256, 3)
        mask[top:bottom, left:right, 0] = 200  # a luma above 0
        size = [*map(int, rng.integers(1, 9, 2) * 8), int(rng.integers(0, 9))]
        region = PROCESSOR.get_crop_region(Image.fromarray(mask), size[0], size[1], pad=size[2])
        yield f"region/{index:02}/mask", mask
        yield f"region/{index:02}/size", numpy.array(size)
        yield f"region/{index:02}/region", numpy.array(region)


def overlay(rng):
    own, painted = (Image.fromarray(noise_image(rng, 32, 24)) for _ in range(2))
    mask = noise_image(rng, 32, 24)
    mask[:6], mask[6:12] = 0, 255
    mask = Image.fromarray(mask)
    yield "overlay/0/own", numpy.array(own)
    yield "overlay/0/painted", numpy.array(painted)
    yield "overlay/0/mask", numpy.array(mask)
    yield "overlay/0/to", numpy.array(PROCESSOR.apply_overlay(mask, own, painted))
    yield "luma", numpy.array(mask.convert("L"))


def main():
    rng = numpy.random.default_rng(77)
    tensors = dict(blurs(rng)) | dict(resizes(rng)) | dict(regions(rng)) | dict(overlay(rng))
    save(OUT, {name: torch.as_tensor(array) for name, array in tensors.items()})


if __name__ == "__main__":
    main()
