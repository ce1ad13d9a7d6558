"""What the Python programs beside hypersd in `benches/stages` share: options, answers, and inputs of the right shapes.

A program is a function from the options to its stages, `{"unet": prepare, ...}`. `prepare()` loads what the stage needs
and returns what is to be timed; a number that this returns is taken for its seconds. How the driver asks is written in
`benches/stages/peer.rs`.
"""

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path

import torch

TIMESTEP = 999
TOKENS = 77


def serve(stages_of, description, add_options=lambda options: None, dtypes=("f32", "f16"), memory=None):
    """Answers until the input ends. What a stage needs is kept until another stage is asked for. `memory` gives the peak
    in bytes for the options, where it is not this process's on the CPU.
    """
    given = parse(description, add_options, dtypes)
    torch.set_num_threads(given.threads)
    torch.set_grad_enabled(False)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print is no answer
    stages = stages_of(given)
    needs = {"taesd": given.taesd, "live": given.taesd, "control": given.controlnet, "swap": given.lora}
    print("ready", *(stage for stage in stages if needs.get(stage, True)), file=answers)
    prepared = run = None
    for line in sys.stdin:
        stage = line.strip()
        if stage == "memory":
            print(memory(given) if memory else peak_memory(), file=answers)
            continue
        if stage != prepared:
            run = None
            gc.collect()  # before the next is loaded
            run, prepared = stages[stage](), stage
        start = time.perf_counter()
        made = run()
        seconds = time.perf_counter() - start
        print(made if isinstance(made, float) else seconds, file=answers)
        if given.save and hasattr(made, "__array__"):
            name = f"{stage}.{Path(sys.argv[0]).stem.removeprefix('bench_')}.{given.dtype}"
            made.__array__().astype("<f4").tofile(given.save / name)
        del made  # before the next is
        gc.collect()


def parse(description, add_options, dtypes):
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--serve", action="store_true", required=True, help="take the stages from standard input")
    options.add_argument("--model", type=Path, required=True, metavar="DIR")
    options.add_argument("--lora", metavar="FILE", help="left out: nothing is merged")
    options.add_argument("--taesd", type=Path, metavar="DIR")
    options.add_argument("--controlnet", type=Path, metavar="DIR")
    options.add_argument("--size", type=int, default=512, help="width and height in pixels")
    options.add_argument("--batch", type=int, default=1, help="rows that a network is given at once")
    options.add_argument("--dtype", choices=dtypes, default="f32")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--save", type=Path, metavar="DIR", help="write there what a stage made last, as f32")
    add_options(options)
    return options.parse_args()


def is_sdxl(given):
    return (given.model / "text_encoder_2").is_dir()


def latents(given):
    side = given.size // 8
    return normal(given.batch, 4, side, side)


def condition(given):
    """What the networks take beside latents and time."""
    config = json.loads((given.model / "unet/config.json").read_text())
    context = {"encoder_hidden_states": normal(given.batch, TOKENS, config["cross_attention_dim"])}
    if not is_sdxl(given):
        return context
    sides = [given.size, given.size]
    time_ids = torch.tensor([[*sides, 0, 0, *sides]] * given.batch, dtype=torch.float32)
    return context | {"added_cond_kwargs": {"text_embeds": normal(given.batch, 1280), "time_ids": time_ids}}


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def peak_memory():
    """The most memory that this process has had in use, in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
