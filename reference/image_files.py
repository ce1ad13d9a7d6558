"""Pictures in every format that hypersd reads, and the pixels that Pillow gives for them.

Writes crates/hypersd-core/tests/fixtures/pictures/NAME and pictures.safetensors, which has what `load_image` gives, u8 [H, W, 3],
under each name.
"""

from pathlib import Path

import cv2
import numpy
import PIL
import torch
from diffusers.utils import load_image
from PIL import Image

from common import save

FIXTURES = Path("crates/hypersd-core/tests/fixtures")
FOLDER = FIXTURES / "pictures"


def photograph(rng, width=37, height=29):
    """Waves with grain: every frequency that a JPEG file keeps."""
    y, x = numpy.mgrid[0:height, 0:width]
    waves = [128 + 100 * numpy.sin(x / 7 + y / 11), 128 + 100 * numpy.cos(x / 5 - y / 9), (x * 5 + y * 3) % 256]
    pixels = numpy.stack(waves, -1) + rng.normal(0, 12, (height, width, 3))
    return Image.fromarray(numpy.clip(pixels, 0, 255).astype(numpy.uint8))


def pictures(rng):
    photo = photograph(rng)
    alpha = photo.convert("RGBA")
    alpha.putalpha(Image.fromarray(rng.integers(0, 255, (photo.height, photo.width), dtype=numpy.uint8)))
    turned = Image.Exif()
    turned[0x0112] = 8
    yield "444.jpg", photo, dict(subsampling=0, quality=90)
    yield "422.jpg", photo, dict(subsampling=1, quality=60)
    yield "420.jpg", photo, dict(subsampling=2, quality=75)
    yield "progressive.jpg", photo, dict(subsampling=2, quality=85, progressive=True)
    yield "restarts.jpg", photo, dict(quality=80, restart_marker_blocks=2)
    yield "gray.jpg", photo.convert("L"), {}
    yield "cmyk.jpg", photo.convert("CMYK"), {}
    yield "rgb.jpg", photo, dict(keep_rgb=True, quality=90)
    yield "turned.jpg", photo, dict(exif=turned)
    yield "lossy.webp", photo, dict(quality=60)
    yield "lossless.webp", photo, dict(lossless=True)
    yield "alpha.webp", alpha, dict(quality=80)
    yield "turned.webp", photo, dict(exif=turned)
    yield "rgb.bmp", photo, {}
    yield "rgba.bmp", alpha, {}
    yield "palette.bmp", photo.convert("P"), {}
    yield "bits.bmp", photo.convert("1"), {}
    yield "palette.gif", photo.quantize(30), {}
    yield "transparent.gif", photo.quantize(20), dict(transparency=3)
    frames = [photo.quantize(20), photo.rotate(30).quantize(20)]
    yield "moving.gif", frames[0], dict(save_all=True, append_images=frames[1:])
    yield "lzw.tiff", photo, dict(compression="tiff_lzw")
    yield "deflate.tiff", alpha, dict(compression="tiff_deflate")
    yield "gray.tiff", photo.convert("L"), {}
    yield "gray16.png", Image.fromarray(rng.integers(0, 1000, (9, 11), dtype=numpy.uint16)), {}
    yield "gray16.tiff", Image.fromarray(rng.integers(0, 1000, (9, 11), dtype=numpy.uint16)), {}


def main():
    assert PIL.__version__ == "12.3.0"
    rng = numpy.random.default_rng(7)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, picture, options in pictures(rng):
        picture.save(FOLDER / name, **options)
    for name, channels in (("rgb16.png", 3), ("rgba16.png", 4)):
        cv2.imwrite(str(FOLDER / name), rng.integers(0, 65536, (9, 11, channels), dtype=numpy.uint16))
    pixels = {path.name: torch.from_numpy(numpy.array(load_image(str(path)))) for path in sorted(FOLDER.iterdir())}
    save(FIXTURES / "pictures.safetensors", pixels)


if __name__ == "__main__":
    main()
