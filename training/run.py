"""Runs the training: `python -m training.run --work DIR`, from the repository's root.

Every stage takes up where it was stopped; one whose result is there is not run again. SIGTERM stops after the step that
is being taken and saves. There is one process (but for the workers that draw, where they are asked for), so that SIGSTOP
and SIGCONT pause and continue it.
"""

import argparse
from importlib import import_module
from pathlib import Path

import torch

from .common import ROOT, Setup, Signals, claim

# A stage's module, and what it leaves behind, in the order they need each other.
STAGES = {
    "vae": "vae/config.json",
    "judge": "judge.safetensors",
    "base": "base/text_encoder/config.json",
    "hyper": "hyper-lora.safetensors",
    "canny": "controlnet/config.json",
    "scribble": "controlnet-scribble/config.json",
    "polish": "vae-polished/config.json",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=("auto", *STAGES), default="auto")
    parser.add_argument("--work", type=Path, default=ROOT / "training/work", help="checkpoints, pictures, logs, results")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, on a CPU")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw pictures on the spot")
    parser.add_argument("--shards", type=int, default=30, help="thousands of pictures, without --workers")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")
    signals, _lock = Signals(), claim(options.work)
    setup = Setup(options.work, torch.device(options.device), options.workers, options.shards)
    for stage in STAGES if options.stage == "auto" else (options.stage,):
        if not (options.work / STAGES[stage]).exists():
            import_module(f".{stage}", __package__).train(setup, signals)
    print("all that was asked for is done", flush=True)


if __name__ == "__main__":
    main()
