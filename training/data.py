"""Scenes as the training has them, and their pictures: drawn once and kept, or drawn on the spot.

On a CPU the pictures are drawn once, in shards of 1000 that are files of the work folder, and their latents are kept
beside them. Where there are worker processes to draw (`--workers`, for a GPU) a pool of pictures is filled while the
training runs and its oldest are replaced as new ones come.
"""

import dataclasses
import json
import multiprocessing

import numpy as np
import torch.utils.data
from PIL import Image

from .captions import caption, combinations, held_out
from .common import atomically
from .things import COLOURS, THINGS
from .world import PLACES, SIZE, TIMES, Scene, Thing, draw

SHARD = 1000
FRESH = 10**9  # the first seed of pictures that are drawn on the spot
KINDS = {"one": 0.58, "two": 0.26, "alike": 0.07, "three": 0.06, "none": 0.03}
SIZES = (0.29, 0.38)  # of a thing that is alone and in the middle
ANY_SIZE = (0.16, 0.42)
# Drawn so many times as often as the others: hard ones that everybody asks for.
OFTEN = {"paradise bird": 2.0, "jungle": 1.4}

DRAWN, HELD = combinations(held=False), combinations(held=True)
WEIGHTS = np.array([OFTEN.get(thing, 1.0) * OFTEN.get(place, 1.0) for thing, _, place, _ in DRAWN])
WEIGHTS /= WEIGHTS.sum()


def alone(rng, every=DRAWN, weights=WEIGHTS):
    """One thing: in the middle more often than not, or anywhere and of any size."""
    name, colour, place, time = every[rng.choice(len(every), p=weights)]
    if rng.uniform() < 0.6:
        return Scene((Thing(name, colour, rng.uniform(*SIZES), 0.5 + rng.uniform(-0.09, 0.09)),), place, time)
    size = rng.uniform(*ANY_SIZE)
    return Scene((Thing(name, colour, size, rng.uniform(size, 1 - size)),), place, time)


def beside(rng, kinds, held=False):
    """Several things from left to right; `kinds` are the numbers of those alike."""
    centres, size = ((0.27, 0.73), (0.2, 0.28)) if sum(kinds) == 2 else ((0.19, 0.5, 0.81), (0.15, 0.18))
    while True:
        names, colours = rng.choice(list(THINGS), len(kinds), replace=False), rng.choice(list(COLOURS), len(kinds))
        place, time = str(rng.choice(PLACES)), str(rng.choice(TIMES))
        if all(held_out(n, c, place, time) == held for n, c in zip(names, colours)):
            break
    repeated = [(str(n), str(c)) for n, c, count in zip(names, colours, kinds) for _ in range(count)]
    things = (Thing(n, c, rng.uniform(*size), x + rng.uniform(-0.03, 0.03)) for (n, c), x in zip(repeated, centres))
    return Scene(tuple(things), place, time)


def scene(rng):
    """A scene as the training set has them: combinations that are held out never occur in it, alone or with others."""
    kind = rng.choice(list(KINDS), p=list(KINDS.values()))
    if kind == "one":
        return alone(rng)
    if kind == "none":
        return Scene((), str(rng.choice(PLACES)), str(rng.choice(TIMES)))
    kinds = {"two": (1, 1), "alike": (2,), "three": ((1, 1, 1), (2, 1), (1, 2))[rng.integers(3)]}[kind]
    return beside(rng, kinds)


def picture(seed):
    """The picture of a seed, uint8 [128, 128, 3], and its scene."""
    rng = np.random.default_rng(seed)
    drawn = scene(rng)
    return np.asarray(draw(drawn, rng)), drawn


def held_pictures(count, seed=10**7):
    """Pictures of scenes that are held out, one thing each: what the VAE is measured with."""
    rng = np.random.default_rng(seed)
    scenes = [alone(rng, HELD, None) for _ in range(count)]
    return np.stack([np.asarray(draw(scene, rng)) for scene in scenes]), scenes


def shard(folder, number):
    return folder / f"pictures-{number:03}.npy", folder / f"scenes-{number:03}.json"


def draw_shard(folder, number):
    """Draws a shard, unless it is there. Its seeds are its places among all pictures."""
    pixels, scenes = shard(folder, number)
    if scenes.exists():
        return
    drawn = [picture(seed) for seed in range(number * SHARD, (number + 1) * SHARD)]
    with atomically(pixels) as file:
        np.save(file, np.stack([p for p, _ in drawn]))
    with atomically(scenes) as file:
        file.write(json.dumps([dataclasses.asdict(s) for _, s in drawn]).encode())


def draw_shards(setup, count):
    """Draws the first `count` shards, those that are not there, with all the workers that there are."""
    shards = [(setup.work, number) for number in range(count)]
    if setup.workers:
        with multiprocessing.Pool(setup.workers) as pool:
            pool.starmap(draw_shard, shards)
    else:
        for folder, number in shards:
            draw_shard(folder, number)


class Kept:
    """Pictures in shards, mapped."""

    def __init__(self, folder, shards):
        self.pixels = [np.load(shard(folder, i)[0], mmap_mode="r") for i in range(shards)]
        read = [s for i in range(shards) for s in json.loads(shard(folder, i)[1].read_text())]
        self.scenes = [Scene(tuple(Thing(**t) for t in s["things"]), s["place"], s["time"]) for s in read]

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, i):
        return self.pixels[i // SHARD][i % SHARD]

    def batch(self, chosen):
        """uint8 [N, 128, 128, 3]."""
        return np.stack([self[i] for i in chosen])


def sheet(path, columns=12, rows=8, seed=0):
    """A sheet of drawings; returns their captions."""
    drawn = [picture(seed + i) for i in range(columns * rows)]
    lines = [np.concatenate([p for p, _ in drawn[i : i + columns]], 1) for i in range(0, len(drawn), columns)]
    Image.fromarray(np.concatenate(lines)).save(path)
    rng = np.random.default_rng(seed)
    return [caption(s, rng) for _, s in drawn]


class Chunks(torch.utils.data.IterableDataset):
    """Fresh pictures without an end, in chunks; every worker has seeds of its own."""

    def __init__(self, size):
        self.size = size

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        seed = FRESH + worker.id * self.size
        while True:
            drawn = [picture(seed + i) for i in range(self.size)]
            yield np.stack([pixels for pixels, _ in drawn]), [scene for _, scene in drawn]
            seed += worker.num_workers * self.size


def stream(workers, size):
    """Chunks of fresh pictures from `workers` processes: (uint8 [size, 128, 128, 3], scenes)."""
    return torch.utils.data.DataLoader(
        Chunks(size), batch_size=None, num_workers=workers, prefetch_factor=4, collate_fn=lambda chunk: chunk
    )
