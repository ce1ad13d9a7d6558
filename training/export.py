"""Stage 6: puts what was trained where it is used.

`crates/hypersd-demo/` gets the diffusers folder, the LoRA and the ControlNet, in f16; `tests/fixtures/demo/` gets the
judge, the captions of everything that was held out, and edges of drawings of it.
"""

import json
import shutil

import base
import captions
import numpy as np
import parts
import sd15
import torch
from common import ROOT, WORK
from controlnet import THRESHOLDS
from cv2 import Canny
from data import HELD, SIZES
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel
from world import Scene, Thing, draw

CRATE = ROOT / "crates/hypersd-demo"
FIXTURES = ROOT / "tests/fixtures/demo"
EDGES = 48


def models():
    pipe = sd15.pipeline(
        UNet2DConditionModel.from_pretrained(WORK / "base/unet"),
        CLIPTextModel.from_pretrained(WORK / "base/text_encoder"),
        AutoencoderKL.from_pretrained(WORK / "vae"),
        WORK / "tokenizer",
    )
    shutil.rmtree(CRATE / "model", ignore_errors=True)
    parts.save_folder(pipe.to(torch.float16), CRATE / "model", base.merges_for(captions.words()))
    ControlNetModel.from_pretrained(WORK / "controlnet").half().save_pretrained(CRATE / "controlnet")
    shutil.copy(WORK / "hyper-lora.safetensors", CRATE / "hyper-lora.safetensors")
    for path in CRATE.rglob("config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)  # a folder of the machine it was trained on
        parts.write_json(path, config)


def fixtures():
    """Captions that say everything of each scene held out; edges of every few of them, as a drawing has them."""
    FIXTURES.mkdir(parents=True, exist_ok=True)
    shutil.copy(WORK / "judge.safetensors", FIXTURES / "judge.safetensors")
    rng = np.random.default_rng(7)
    written, drawn = [], []
    order = [HELD[i] for i in rng.permutation(len(HELD))]
    for i, (thing, colour, place, time) in enumerate(order):
        scene = Scene((Thing(thing, colour, rng.uniform(*SIZES)),), place, time)
        words = captions.caption(scene, rng, full=True)
        written.append({"caption": words, "thing": thing, "colour": colour})
        if i < EDGES:
            name = f"{i:02}.png"
            (FIXTURES / "edges").mkdir(exist_ok=True)
            edges = Canny(np.asarray(draw(scene, rng)), *THRESHOLDS)
            Image.fromarray(edges).convert("1").save(FIXTURES / "edges" / name, optimize=True)
            drawn.append({"file": name, "caption": words})
    parts.write_json(FIXTURES / "captions.json", written)
    parts.write_json(FIXTURES / "edges.json", drawn)


def main():
    models()
    fixtures()
    size = sum(file.stat().st_size for file in CRATE.rglob("*") if file.is_file())
    print(f"{CRATE}: {size:,} bytes; {len(json.loads((FIXTURES / 'captions.json').read_text()))} captions")


if __name__ == "__main__":
    main()
