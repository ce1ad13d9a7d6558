"""A judge that knows drawings only: which thing, and of which colour, is in a picture?

It never sees what the model paints. Pictures of one thing, all combinations, those held out from the model's training
too; noise, blur and shifts of brightness keep it from leaning on single pixels.
"""

import argparse

import data
import numpy as np
import torch
from captions import combinations
from common import DEVICE, WORK, Run, descend, to_device, warmup_cosine
from muon import Muon
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from vae import pixels
from world import COLOURS, THINGS, Scene, Thing, draw

CHANNELS = (3, 24, 48, 96, 128, 128)
STRIDES = (2, 2, 2, 2, 1)


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        for i, stride in enumerate(STRIDES):
            self.add_module(f"conv{i}", nn.Conv2d(CHANNELS[i], CHANNELS[i + 1], 3, stride, 1))
        self.things = nn.Linear(2 * CHANNELS[-1], len(THINGS))
        self.colours = nn.Linear(2 * CHANNELS[-1], len(COLOURS))

    def forward(self, x):
        for i in range(len(STRIDES)):
            x = F.relu(self.get_submodule(f"conv{i}")(x))
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return self.things(x), self.colours(x)


def examples(seed, count):
    """Fresh drawings with their labels."""
    rng = np.random.default_rng(seed)
    every = combinations(held=False) + combinations(held=True)
    pictures, labels = [], []
    for i in rng.integers(len(every), size=count):
        thing, colour, place, time = every[i]
        scene = Scene((Thing(thing, colour, rng.uniform(*data.SIZES)),), place, time)
        pictures.append(np.asarray(draw(scene, rng)))
        labels.append((list(THINGS).index(thing), list(COLOURS).index(colour)))
    return np.stack(pictures), torch.tensor(labels, device=DEVICE)


def disturbed(x):
    """A little blur, noise, and another brightness: what must not change the answer."""
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "replicate"), 3, 1)
    share = torch.rand(len(x), 1, 1, 1, device=x.device)
    x = x + share * (blurred - x)
    x = x + 0.08 * torch.rand(len(x), 1, 1, 1, device=x.device) * torch.randn_like(x)
    return x * (1 + 0.1 * torch.randn(len(x), 1, 1, 1, device=x.device)).clamp(0.8, 1.2)


def right(judge, pictures, labels):
    """Shares of right things and right colours."""
    with torch.no_grad():
        answers = torch.stack([y.argmax(1) for y in judge(pixels(pictures))], 1)
    return (answers == labels).float().mean(0).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--pictures", type=int, default=6_000)
    options = parser.parse_args()
    torch.manual_seed(4)
    judge = to_device(Judge())
    pictures, labels = examples(10**6, options.pictures)
    optimizer = Muon(judge.parameters(), lr=2e-3)
    schedule = warmup_cosine(optimizer, options.steps)
    run = Run("judge", options.steps, {"judge": judge, "optimizer": optimizer, "schedule": schedule})
    for _ in run:
        chosen = np.random.randint(len(pictures), size=48)
        thing, colour = judge(disturbed(pixels(pictures[chosen])))
        loss = F.cross_entropy(thing, labels[chosen, 0]) + F.cross_entropy(colour, labels[chosen, 1])
        descend(loss, judge.parameters(), optimizer, schedule)
        run.report(loss=loss)
    judge.half().float()
    fresh, truth = examples(2 * 10**6, 1000)
    print("right on 1,000 fresh drawings: things {:.1%}, colours {:.1%}".format(*right(judge, fresh, truth)))
    weights = {name: p.detach().half().cpu().contiguous() for name, p in judge.named_parameters()}
    save_file(weights, WORK / "judge.safetensors", {"things": ",".join(THINGS), "colours": ",".join(COLOURS)})


if __name__ == "__main__":
    main()
