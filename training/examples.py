"""Batches of latents with captions in fresh words, from pictures that are kept or from a pool that workers refill."""

import numpy as np
import torch

from . import data
from .captions import caption
from .common import atomically
from .vae import encode

POOL = 60_000  # pictures, 3 GB in bytes
REFILLED = 64  # of them at each batch


def of(setup, vae):
    return Pool(setup, vae) if setup.workers else Shards(setup, vae)


class Source:
    """What both kinds share: `latents` [N, 4, 16, 16] with a deviation of one, and `scenes`."""

    def batch(self, rng, size, drop):
        """Latents, captions of which a share of `drop` is empty, and the places of the pictures."""
        chosen = rng.integers(len(self.scenes), size=size)
        texts = ["" if rng.uniform() < drop else caption(self.scenes[i], rng) for i in chosen]
        return self.latents[torch.from_numpy(chosen).to(self.latents.device)].float(), texts, chosen


class Shards(Source):
    """Pictures in shards; their latents are encoded once and kept beside them."""

    def __init__(self, setup, vae):
        self.setup, latents = setup, []
        for number in range(setup.shards):
            data.draw_shard(setup.work, number)
            path = setup.work / f"latents-{number:03}.npy"
            if not path.exists():
                pixels = np.load(data.shard(setup.work, number)[0], mmap_mode="r")
                with atomically(path) as file:
                    np.save(file, encode(setup, vae, pixels).half().cpu().numpy())
                print(f"shard {number + 1} of {setup.shards} is drawn and encoded", flush=True)
            latents.append(torch.from_numpy(np.load(path)))
        self.latents = torch.cat(latents).to(setup.device) * vae.config.scaling_factor
        self.kept = data.Kept(setup.work, setup.shards)
        self.scenes = self.kept.scenes

    def pictures(self, chosen):
        """uint8 [N, 128, 128, 3]."""
        return self.kept.batch(chosen)


class Pool(Source):
    """Pictures that worker processes draw while the training runs; the oldest make room for the newest."""

    def __init__(self, setup, vae):
        self.setup, self.vae, self.next = setup, vae, 0
        self.stream = iter(data.stream(setup.workers, REFILLED))
        self.pixels = np.empty((POOL, data.SIZE, data.SIZE, 3), np.uint8)
        self.latents = torch.empty(POOL, 4, 16, 16, device=setup.device)
        self.scenes = []
        while len(self.scenes) < POOL // 4:
            self.refill()

    @torch.no_grad()
    def refill(self):
        """Takes a chunk of pictures from the workers."""
        pixels, scenes = next(self.stream)
        places = [(self.next + i) % POOL for i in range(len(scenes))]
        self.next = (self.next + len(scenes)) % POOL
        self.pixels[places] = pixels
        self.latents[places] = encode(self.setup, self.vae, pixels) * self.vae.config.scaling_factor
        for place, scene in zip(places, scenes):
            if place < len(self.scenes):
                self.scenes[place] = scene
            else:
                self.scenes.append(scene)

    def batch(self, rng, size, drop):
        self.refill()
        return super().batch(rng, size, drop)

    def pictures(self, chosen):
        """uint8 [N, 128, 128, 3]."""
        return self.pixels[chosen]
