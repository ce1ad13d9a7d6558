"""What Pillow and diffusers make of images: Lanczos, pixels to tensors and back, files of many modes.

Writes crates/hypersd-core/tests/fixtures/images.safetensors:
  resize/I/from, resize/I/to    u8 [H, W, 3], Pillow's LANCZOS
  processor/image               u8 [H, W, 3], and from it VaeImageProcessor's signed, unit and resized
  processor/decoded             f32 [2, 3, H, W], and from it VaeImageProcessor's pixels, u8 [2, H, W, 3]
  file/NAME                     u8 [H, W, 3], load_image of images/NAME
and the files themselves, crates/hypersd-core/tests/fixtures/images/NAME.
"""

from pathlib import Path

import numpy
import PIL
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils import load_image
from PIL import Image

from common import save

FIXTURES = Path("crates/hypersd-core/tests/fixtures")


def noise_image(rng, width, height, channels=3):
    return rng.integers(0, 256, (height, width, channels), dtype=numpy.uint8)


def resizes(rng):
    """Random sizes up and down, sides of one pixel, one side kept, hard edges that overshoot, one big shrink."""
    sizes = [tuple(map(int, rng.integers(1, 49, 4))) for _ in range(40)]
    sizes += [(1, 1, 9, 7), (9, 7, 1, 1), (1, 40, 40, 1), (40, 1, 1, 40), (2, 2, 33, 31), (31, 33, 2, 2)]
    sizes += [(16, 24, 16, 8), (16, 24, 40, 24), (16, 24, 16, 24), (48, 48, 24, 24), (24, 24, 48, 48)]
    sizes += [(201, 131, 64, 32)]
    for index, (from_w, from_h, to_w, to_h) in enumerate(sizes):
        pixels = noise_image(rng, from_w, from_h)
        if index % 4 == 0:
            pixels = (pixels // 128 * 255).astype(numpy.uint8)
        to = Image.fromarray(pixels).resize((to_w, to_h), Image.Resampling.LANCZOS)
        yield f"resize/{index:02}/from", pixels
        yield f"resize/{index:02}/to", numpy.array(to)


def processor(rng):
    pixels = noise_image(rng, 40, 24)
    image = Image.fromarray(pixels)
    signed, unit = VaeImageProcessor(), VaeImageProcessor(do_normalize=False)
    yield "processor/image", pixels
    yield "processor/signed", signed.preprocess(image)
    yield "processor/unit", unit.preprocess(image)
    yield "processor/resized_64x48", signed.preprocess(image, width=64, height=48)

    decoded = rng.normal(0, 0.8, (2, 3, 16, 24)).astype(numpy.float32)
    ties = ((numpy.arange(256, dtype=numpy.float32) + numpy.float32(0.5)) / 255 - numpy.float32(0.5)) * 2
    decoded[0, 0].flat[:256] = ties  # halves between two bytes, as near as floats come
    decoded = torch.from_numpy(decoded)
    yield "processor/decoded", decoded
    yield "processor/pixels", numpy.stack(signed.postprocess(decoded, output_type="pil"))


def files(rng):
    folder = FIXTURES / "images"
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(noise_image(rng, 7, 5))
    alpha = Image.fromarray(noise_image(rng, 7, 5, 4), "RGBA")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    smooth = Image.linear_gradient("L").resize((24, 16))
    saves = {
        "rgb.png": (image, {}),
        "rgba.png": (alpha, {}),
        "gray.png": (image.convert("L"), {}),
        "gray_alpha.png": (alpha.convert("LA"), {}),
        "palette.png": (image.quantize(16), {}),
        "palette_transparent.png": (image.quantize(16), {"transparency": 0}),
        "bits.png": (image.convert("1"), {}),
        "turned.png": (image, {"exif": exif}),
        "turned.jpg": (Image.merge("RGB", [smooth, smooth.rotate(180), smooth]), {"exif": exif, "quality": 95}),
    }
    for name, (image, options) in saves.items():
        image.save(folder / name, **options)
        yield f"file/{name}", numpy.array(load_image(str(folder / name)))


def main():
    torch.set_num_threads(2)
    assert PIL.__version__ == "12.3.0", "Pillow 13 resizes some shapes in another order"
    rng = numpy.random.default_rng(20240421)
    tensors = {**dict(resizes(rng)), **dict(processor(rng)), **dict(files(rng))}
    save(FIXTURES / "images.safetensors", {k: torch.as_tensor(v) for k, v in tensors.items()})


if __name__ == "__main__":
    main()
