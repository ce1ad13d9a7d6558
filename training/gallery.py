"""Draws the README's pictures of the demo model, through hypersd: docs/images/demo.png and demo-controlnet.png.

    cargo build --release --example generate
    python -m training.gallery
"""

import json
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .common import ROOT

PROGRAM = ROOT / "target/release/examples/generate"
IMAGES = ROOT / "docs/images"
PROMPTS = (
    "a photo of a cat",
    "a chocolate cookie",
    "a blue paradise bird in the jungle",
    "a red house in the snow at night",
    "an orange boat by the sea at sunset",
    "a purple mushroom in the meadow",
)
BASE = ("--model", "demo", "--scheduler", "ddim", "--spacing", "trailing")
LORA = ("--model", "demo", "--lora", "demo", "--recipe", "hyper-sd15-unified")
COLUMNS = {
    "base, 1 step": (*BASE, "--steps", "1"),
    "base, 4 steps": (*BASE, "--steps", "4", "--guidance", "5"),
    "base, 25 steps": (*BASE, "--steps", "25", "--guidance", "5"),
    "LoRA, 1 step": (*LORA, "--steps", "1"),
    "LoRA, 2 steps": (*LORA, "--steps", "2"),
    "LoRA, 4 steps": (*LORA, "--steps", "4"),
    "LoRA, 8 steps": (*LORA, "--steps", "8"),
}
FIXTURES = ROOT / "tests/fixtures/demo"
GUIDED = ("LoRA, 1 step", "LoRA, 4 steps")
CAPTION, GAP = 18, 4


def drawn(prompt, options, folder):
    output = Path(folder) / "picture.png"
    subprocess.run([PROGRAM, *options, "--output", output, "--no-metadata", prompt], check=True)
    return Image.open(output).convert("RGB")


def sheet(titles, rows):
    """Rows of pictures under titles, on white."""
    step = rows[0][0].width + GAP
    page = Image.new("RGB", (len(titles) * step - GAP, CAPTION + len(rows) * step - GAP), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for column, title in enumerate(titles):
        pen.text((column * step + step / 2, CAPTION / 2), title, "black", font, anchor="mm")
        for row, pictures in enumerate(rows):
            page.paste(pictures[column], (column * step, CAPTION + row * step))
    return page


def guided_row(file, caption, folder):
    """Edges, and what they make of one caption and seed: without them, then with them, at 1 and 4 steps."""
    edges = FIXTURES / "edges" / file
    control = ("--controlnet", "demo", "--control-image", edges)
    plain = [drawn(caption, COLUMNS[column], folder) for column in GUIDED]
    return [Image.open(edges).convert("RGB"), *plain, *(drawn(caption, (*COLUMNS[c], *control), folder) for c in GUIDED)]


def main():
    with tempfile.TemporaryDirectory() as folder:
        rows = [[drawn(prompt, options, folder) for options in COLUMNS.values()] for prompt in PROMPTS]
        sheet(list(COLUMNS), rows).save(IMAGES / "demo.png", optimize=True)
        chosen = json.loads((FIXTURES / "edges.json").read_text())[:4]
        rows = [guided_row(edges["file"], edges["caption"], folder) for edges in chosen]
        titles = ["edges", *(f"{name[6:]}, {how}" for how in ("no edges", "edges") for name in GUIDED)]
        sheet(titles, rows).save(IMAGES / "demo-controlnet.png", optimize=True)
    print(*IMAGES.glob("demo*.png"))


if __name__ == "__main__":
    main()
