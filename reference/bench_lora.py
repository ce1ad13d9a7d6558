"""Times the merge of a LoRA of Hyper-SD's size into full-size weights: hypersd-lora and PEFT in turns.

    cargo build --release -p hypersd-lora --example merge_speed
    RAYON_NUM_THREADS=2 python reference/bench_lora.py --model sd15 --threads 2

The modules are those of the real UNets (278 and 788, rank 64, f32), the numbers in them are not. hypersd makes merged
weights beside the base's, PEFT adds to the weights in place and takes its part away again between the rounds, which is
not timed. `--parts` splits the modules among as many runs, one after the other, in each of which the two take turns: so
both sides of SDXL, 20 GB, fit into 6 GB. The times of a round are summed over the parts. `--options` are handed to
merge_speed.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

FIXTURES = Path("crates/hypersd-lora/tests/fixtures")
LEFT_OUT = ("conv_in", "conv_out", "time_embedding", "add_embedding")
RANK = 64


def layer(shape):
    if len(shape) == 2:
        made = nn.utils.skip_init(nn.Linear, shape[1], shape[0], bias=False)
    else:
        made = nn.utils.skip_init(nn.Conv2d, shape[1], shape[0], tuple(shape[2:]), bias=False)
    made.weight.data.fill_(0.01)
    return made


class Peft:
    def __init__(self, model, part, parts):
        network = nn.Module()
        lines = (FIXTURES / f"{model}.tsv").read_text().splitlines()
        for line in [line for line in lines if not line.startswith(LEFT_OUT)][part::parts]:
            _, shape, module, *_ = line.split("\t")
            network.add_module(module, layer([int(extent) for extent in shape.split("x")]))
        names = [name for name, _ in network.named_children()]
        config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=names, init_lora_weights=False)
        adapted = get_peft_model(network, config)
        self.layers = [module for module in adapted.modules() if isinstance(module, BaseTunerLayer)]
        assert len(self.layers) == len(names)

    @torch.no_grad()
    def seconds(self):
        """What diffusers' `fuse_lora` does with each layer."""
        start = time.perf_counter()
        for module in self.layers:
            module.merge()
        took = time.perf_counter() - start
        for module in self.layers:
            module.unmerge()
        return took


class Hypersd:
    def __init__(self, program, model, part, parts, options):
        command = [program, "--model", model, "--part", f"{part}/{parts}", "--serve", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def __del__(self):
        self.process.communicate()


def part_times(options, part):
    """Seconds of each side in each round, for one part of the modules."""
    sides = {}
    if options.only != "peft":
        sides["hypersd"] = Hypersd(options.program, options.model, part, options.parts, options.options.split())
    if options.only != "hypersd":
        sides["peft"] = Peft(options.model, part, options.parts)
    times = {name: [] for name in sides}
    for round in range(options.rounds + 1):
        for name, side in sides.items():
            took = side.seconds()
            if round:  # the first warms up
                times[name].append(took)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("sd15", "sdxl"), default="sd15")
    parser.add_argument("--program", default="target/release/examples/merge_speed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", choices=("hypersd", "peft"))
    parser.add_argument("--options", default="", help="for merge_speed, as in --options='--half --fresh'")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parts = [part_times(options, part) for part in range(options.parts)]
    times = {name: [sum(round) for round in zip(*(part[name] for part in parts))] for name in parts[0]}
    for name, took in times.items():
        for seconds in took:
            print(json.dumps({"stage": f"merge {options.model}", "side": name, "seconds": round_to(seconds)}))
    medians = {name: statistics.median(took) for name, took in times.items()}
    print(json.dumps({name: round_to(median) for name, median in medians.items()}))
    if len(medians) == 2:
        print(f"hypersd is {medians['peft'] / medians['hypersd']:.2f} times as fast")


def round_to(seconds, digits=4):
    return round(seconds, digits - 1 - math.floor(math.log10(seconds)))


if __name__ == "__main__":
    main()
