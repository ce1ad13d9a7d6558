"""Draws the training pictures once and keeps them: `pictures.npy`, uint8 [N, 128, 128, 3], and `scenes.json`."""

import argparse
import dataclasses
import json
from multiprocessing import Pool

import numpy as np
from captions import combinations, held_out
from common import WORK
from world import COLOURS, PLACES, SIZE, THINGS, TIMES, Scene, Thing, draw

SHARE_OF_PAIRS = 0.2
SIZES = (0.29, 0.38)


def scene(rng, held=False):
    """A scene as the training set has them: combinations that are held out never occur in it, alone or in a pair."""
    if held or rng.uniform() >= SHARE_OF_PAIRS:
        every = HELD if held else DRAWN
        thing, colour, place, time = every[rng.integers(len(every))]
        return Scene((Thing(thing, colour, rng.uniform(*SIZES)),), place, time)
    while True:
        names, colours = rng.choice(list(THINGS), 2, replace=False), rng.choice(list(COLOURS), 2)
        place, time = rng.choice(PLACES), rng.choice(TIMES)
        if not any(held_out(n, c, place, time) for n, c in zip(names, colours)):
            things = tuple(Thing(str(n), str(c), rng.uniform(*SIZES)) for n, c in zip(names, colours))
            return Scene(things, str(place), str(time))


DRAWN, HELD = combinations(held=False), combinations(held=True)


def picture(seed):
    rng = np.random.default_rng(seed)
    drawn = scene(rng)
    return np.asarray(draw(drawn, rng)), drawn


def load():
    """The pictures, mapped, and their scenes."""
    read = json.loads((WORK / "scenes.json").read_text())
    scenes = [Scene(tuple(Thing(**t) for t in s["things"]), s["place"], s["time"]) for s in read]
    return np.load(WORK / "pictures.npy", mmap_mode="r"), scenes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=24_000)
    count = parser.parse_args().count
    WORK.mkdir(parents=True, exist_ok=True)
    pictures = np.lib.format.open_memmap(WORK / "pictures.npy", "w+", np.uint8, (count, SIZE, SIZE, 3))
    scenes = []
    with Pool() as pool:
        for i, (pixels, drawn) in enumerate(pool.imap(picture, range(count), chunksize=64)):
            pictures[i] = pixels
            scenes.append(dataclasses.asdict(drawn))
    (WORK / "scenes.json").write_text(json.dumps(scenes))
    print(f"{count} pictures, {len(HELD)} of {len(HELD) + len(DRAWN)} combinations held out")


if __name__ == "__main__":
    main()
