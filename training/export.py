"""Puts what was trained where it is used, in f16: `python -m training.export --work DIR`.

`crates/hypersd-demo/` gets the diffusers folder, the LoRA and the ControlNets; `tests/fixtures/demo/` gets the judge and
the edges of drawings of what was held out. With `--milestone` a stage that is not at its end gives the average of its
weights so far, and one that has not begun leaves what the crate has, which does not fit the latents of the new base. Such
a crate is to go on training from (stages begin with the crate's weights), not to be used.

With `--lists` it writes nothing but the captions of the measure's pairs. `captions.json` is never written: it is what
the first model was measured with.
"""

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import parts
import sd15
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel

from . import canny, captions, data, hyper, warm
from .common import CRATE, ROOT, Average
from .world import Scene, Thing, draw

FIXTURES = ROOT / "tests/fixtures/demo"
EDGES = 48
PAIRS = 100


def averaged(work, name, networks):
    """`networks` with the averages of their weights that a stage's checkpoint has."""
    average = Average([p for network in networks for p in network.parameters()])
    average.load_state_dict(torch.load(work / f"{name}.pt", map_location="cpu")["average"])
    with torch.no_grad():
        torch._foreach_copy_(average.live, average.mean)
    return networks


def base_of(work, milestone):
    if not milestone or (work / "base/text_encoder").exists():
        unet = UNet2DConditionModel.from_pretrained(work / "base/unet")
        return unet, CLIPTextModel.from_pretrained(work / "base/text_encoder")
    return averaged(work, "base", (warm.unet(), warm.text_encoder(warm.tokenizer(work))))


def lora(work, crate, milestone, unet):
    trained, to = work / "hyper-lora.safetensors", crate / "hyper-lora.safetensors"
    if trained.exists() or not milestone:
        shutil.copy(trained, to)
    elif (work / "hyper.pt").exists():
        _, layers = hyper.student_of(unet.float())
        averaged(work, "hyper", (layers,))
        hyper.save_lora(to, unet, layers)


def controlnet(work, crate, name, milestone):
    folder = work / name
    if folder.exists() or not milestone:
        ControlNetModel.from_pretrained(folder).half().save_pretrained(crate / name)


def models(work, crate=CRATE, milestone=False):
    """Everything that is embedded, as the crate has it."""
    crate.mkdir(exist_ok=True)
    polished = work / "vae-polished"
    vae = AutoencoderKL.from_pretrained(polished if polished.exists() or not milestone else work / "vae")
    unet, encoder = base_of(work, milestone)
    lora(work, crate, milestone, unet)
    shutil.rmtree(crate / "model", ignore_errors=True)
    pipe = sd15.pipeline(unet, encoder, vae, work / "tokenizer").to(torch.float16)
    parts.save_folder(pipe, crate / "model", warm.merges_for(captions.words()))
    for name in ("controlnet", "controlnet-scribble"):
        controlnet(work, crate, name, milestone)
    for path in crate.rglob("config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)  # a folder of the machine it was trained on
        parts.write_json(path, config)
    size = sum(file.stat().st_size for file in crate.rglob("*") if file.is_file())
    print(f"{crate}: {size:,} bytes")


def edges():
    """Edges of drawings of what the first captions ask for."""
    read = json.loads((FIXTURES / "captions.json").read_text())
    order = [data.HELD[i] for i in np.random.default_rng(7).permutation(len(data.HELD))]
    (FIXTURES / "edges").mkdir(exist_ok=True)
    drawn = []
    for i, (asked, (thing, colour, place, time)) in enumerate(zip(read[:EDGES], order)):
        assert (asked["thing"], asked["colour"]) == (thing, colour), "captions are in another order"
        rng = np.random.default_rng((7, i))
        scene = Scene((Thing(thing, colour, rng.uniform(*data.SIZES)),), place, time)
        maps = cv2.Canny(np.asarray(draw(scene, rng)), *canny.THRESHOLDS)
        Image.fromarray(maps).convert("1").save(FIXTURES / "edges" / f"{i:02}.png", optimize=True)
        drawn.append({"file": f"{i:02}.png", "caption": asked["caption"]})
    parts.write_json(FIXTURES / "edges.json", drawn)


def pairs():
    """Captions of two things, neither of which was drawn in that place at that time in training."""
    rng, written = np.random.default_rng(8), []
    while len(written) < PAIRS:
        scene = data.beside(rng, (1, 1), held=True)
        if scene.things[0].colour == scene.things[1].colour:
            continue
        said = [captions.article(f"{thing.colour} {thing.name}") for thing in scene.things]
        places, times = captions.PLACE_NAMES[scene.place], captions.TIME_NAMES[scene.time]
        words = f"{said[0]} and {said[1]} {rng.choice(places[:3])} {rng.choice(times[:3])}"
        things = [{"thing": thing.name, "colour": thing.colour} for thing in scene.things]
        written.append({"caption": words, "things": things})
    parts.write_json(FIXTURES / "pairs.json", written)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "training/work")
    parser.add_argument("--milestone", action="store_true")
    parser.add_argument("--lists", action="store_true")
    options = parser.parse_args()
    pairs()
    if options.lists:
        return
    models(options.work, milestone=options.milestone)
    shutil.copy(options.work / "judge.safetensors", FIXTURES / "judge.safetensors")
    edges()


if __name__ == "__main__":
    main()
