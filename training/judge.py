"""Stage 2, a judge that knows drawings only: which thing, and of which colour, is in a picture or in half of one?

It never sees what the model paints. It sees pictures of one thing, and left and right halves of pictures of two, of all
combinations, those held out from the model's training too, with outlines and without; noise, blur and shifts of
brightness keep it from leaning on single pixels.
"""

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from . import data
from .captions import combinations
from .common import Average, Run, atomically, descend
from .muon import Muon
from .things import COLOURS, THINGS
from .world import draw

STEPS = 1500
PICTURES = 4000  # of each kind
FRESH = 600  # that it is measured with
CHANNELS = (3, 24, 48, 96, 128, 128)
STRIDES = (2, 2, 2, 2, 1)


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        for i, stride in enumerate(STRIDES):
            self.add_module(f"conv{i}", nn.Conv2d(CHANNELS[i], CHANNELS[i + 1], 3, stride, 1))
        self.things = nn.Linear(2 * CHANNELS[-1], len(THINGS))
        self.colours = nn.Linear(2 * CHANNELS[-1], len(COLOURS))

    def features(self, x):
        """What every layer makes of [N, 3, H, W] in [-1, 1]."""
        layers = []
        for i in range(len(STRIDES)):
            layers.append(F.relu(self.get_submodule(f"conv{i}")(layers[-1] if layers else x)))
        return layers

    def forward(self, x):
        last = self.features(x)[-1]
        x = torch.cat([last.mean((2, 3)), last.amax((2, 3))], 1)
        return self.things(x), self.colours(x)


def label(thing):
    return list(THINGS).index(thing.name), list(COLOURS).index(thing.colour)


def singles(seed, count):
    """Fresh drawings of one thing, with their labels."""
    rng, every = np.random.default_rng(seed), combinations(held=False) + combinations(held=True)
    scenes = [data.alone(rng, every, None) for _ in range(count)]
    pictures = [np.asarray(draw(scene, rng, outlined=rng.uniform() < 0.7)) for scene in scenes]
    return np.stack(pictures), np.array([label(scene.things[0]) for scene in scenes])


def halves(seed, count):
    """Halves of fresh drawings of two things, [N, 128, 64, 3], with the label of the thing that is in each."""
    rng = np.random.default_rng(seed)
    pictures, labels = [], []
    for i in range(count // 2):
        scene = data.beside(rng, (1, 1), held=i % 6 == 0)
        pixels = np.asarray(draw(scene, rng, outlined=rng.uniform() < 0.7))
        pictures += [pixels[:, :64], pixels[:, 64:]]
        labels += [label(thing) for thing in scene.things]
    return np.stack(pictures), np.array(labels)


def kept(path, draw_all, *arguments):
    """What `draw_all` gives, drawn once and kept: a training that is resumed does not draw again."""
    if not path.exists():
        with atomically(path) as file:
            np.savez(file, **dict(zip(("pictures", "labels"), draw_all(*arguments))))
    read = np.load(path)
    return read["pictures"], read["labels"]


def disturbed(x):
    """A little blur, noise, and another brightness: what must not change the answer."""
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "replicate"), 3, 1)
    share = torch.rand(len(x), 1, 1, 1, device=x.device)
    x = x + share * (blurred - x)
    x = x + 0.08 * torch.rand(len(x), 1, 1, 1, device=x.device) * torch.randn_like(x)
    return x * (1 + 0.1 * torch.randn(len(x), 1, 1, 1, device=x.device)).clamp(0.8, 1.2)


@torch.no_grad()
def right(setup, judge, drawn):
    """Shares of right things and of right colours."""
    pictures, labels = drawn
    parts = range(0, len(pictures), 50)
    answers = [torch.stack([y.argmax(1) for y in judge(setup.pixels(pictures[i : i + 50]))], 1).cpu() for i in parts]
    return (torch.cat(answers).numpy() == labels).mean(0).tolist()


def load(setup):
    """The trained judge, from its checkpoint."""
    judge = setup.network(Judge())
    average = Average(judge.parameters())
    average.load_state_dict(torch.load(setup.work / "judge.pt", map_location=setup.device)["average"])
    with torch.no_grad():
        torch._foreach_copy_(average.live, average.mean)
    return judge.requires_grad_(False).eval()


def train(setup, signals):
    torch.manual_seed(1)
    judge = setup.network(Judge())
    kinds = (
        kept(setup.work / "judge-singles.npz", singles, 10**6, PICTURES),
        kept(setup.work / "judge-halves.npz", halves, 2 * 10**6, PICTURES),
    )
    optimizer, average = Muon(judge.parameters(), lr=2e-3), Average(judge.parameters(), decay=0.99)
    run = Run(setup, signals, "judge", STEPS, {"judge": judge, "optimizer": optimizer, "average": average})
    for step in run:
        pictures, labels = kinds[step % 2]
        chosen = run.rng.integers(len(pictures), size=(32, 64)[step % 2])
        thing, colour = judge(disturbed(setup.pixels(pictures[chosen])))
        truth = torch.from_numpy(labels[chosen]).to(setup.device)
        loss = F.cross_entropy(thing, truth[:, 0]) + F.cross_entropy(colour, truth[:, 1])
        descend(loss, judge.parameters(), optimizer, run.rate())
        average.update()
        run.report(loss=loss)
    with average.applied():
        judge.half().float()
        for name, drawn in {"whole": singles(3 * 10**6, FRESH), "halves": halves(4 * 10**6, FRESH)}.items():
            thing, colour = right(setup, judge, drawn)
            run.write(drawings=name, right_things=round(thing, 4), right_colours=round(colour, 4))
        weights = {name: p.detach().half().cpu().contiguous() for name, p in judge.named_parameters()}
        with atomically(setup.work / "judge.safetensors") as file:
            save_file(weights, file.name, {"things": ",".join(THINGS), "colours": ",".join(COLOURS)})
