"""Checks the recipe in a few minutes: every stage for a few steps on a few pictures, the export, and that resuming changes
nothing.

    python -m training.check [--device cuda] [--workers 2]

A run of four steps must end with the same weights, to the bit on a CPU, as one that is asked to stop after two of them
and is started again.
"""

import argparse
import tempfile
from importlib import import_module
from pathlib import Path

import torch

from . import base, canny, data, examples, export, hyper, judge, polish, scribble, vae
from .common import Setup, Signals
from .run import STAGES


class Interrupted(Signals):
    """Asks to stop during the second step of a stage."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    @property
    def asked(self):
        self.reads += self.stepping
        return self.reads > 2  # a step asks twice whether it is the last one

    @asked.setter
    def asked(self, _):
        pass


def small():
    """Makes all stages short."""
    for stage in (base, canny, hyper, judge, polish, scribble, vae):
        stage.STEPS = 4
    for module in (base, hyper, import_module(".controlnet", __package__)):
        module.BATCH = {"cpu": 4, "cuda": 8}
    data.SHARD, vae.SHARDS, vae.HELD, polish.SHARDS, polish.HELD, judge.PICTURES, judge.FRESH = 24, 1, 4, 1, 4, 16, 8
    examples.POOL, examples.REFILLED = 96, 24


def weights(work):
    return {stage: torch.load(work / f"{stage}.pt", map_location="cpu") for stage in STAGES}


def difference(a, b):
    """The greatest difference of tensors in two nested structures."""
    if isinstance(a, torch.Tensor):
        return (a.float() - b.float()).abs().max().item() if a.numel() else 0.0
    if isinstance(a, dict):
        return max((difference(a[key], b[key]) for key in a if key != "elapsed"), default=0.0)
    return max(map(difference, a, b), default=0.0) if isinstance(a, (list, tuple)) else 0.0


def run_all(setup, stop):
    for stage in STAGES:
        module = import_module(f".{stage}", __package__)
        if stop:
            try:
                module.train(setup, Interrupted())
                raise AssertionError(f"{stage} did not stop")
            except SystemExit:
                pass
        module.train(setup, Signals())
    return weights(setup.work)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    small()
    runs = []
    for stop in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            setup = Setup(Path(folder), torch.device(options.device), options.workers, shards=1)
            runs.append(run_all(setup, stop))
            missing = [path for path in STAGES.values() if not (setup.work / path).exists()]
            assert not missing, missing
            export.models(setup.work, setup.work / "crate", milestone=stop)
    differ = {stage: difference(runs[0][stage], runs[1][stage]) for stage in STAGES}
    print(differ)
    assert options.device != "cpu" or options.workers or not any(differ.values()), "a resumed run went elsewhere"
    print("every stage ran, stopped and resumed")


if __name__ == "__main__":
    main()
