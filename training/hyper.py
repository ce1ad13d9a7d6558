"""Stage 3, the Hyper-SD LoRA: trajectory-segmented consistency distillation (Ren et al., arXiv 2404.13686, section 3.1).

The time axis is cut into 8, then 4, 2 and 1 segments, each stage going on from the last. From a noisy latent at `t` the
teacher, with guidance, solves its ODE one step down to `t_n`. The student's jump from `t` to the start of the segment
must be where its jump from `t_n` leads, which gets no gradient. In the last stage that start is the clean picture: one
step suffices, and more (TCD, eta 1) refine.

The student's weights are `W + up @ down`, made once a step: as fast as training `W` itself, and what merging gives.
"""

import argparse
import copy

import base
import captions
import sampling
import torch
from common import DEVICE, WORK, Average, Run, descend, warmup_cosine
from muon import Muon
from parts import lora_modules, lora_name
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrize

RANK = 12
GUIDANCE = 5.0
BATCH = 32
SKIP = 40  # the teacher's step, in timesteps
STAGES = ((8, 0.15), (4, 0.15), (2, 0.2), (1, 0.5))  # segments, share of all steps


class LowRank(nn.Module):
    """The weight of a linear or convolution with a LoRA on it; alpha is the rank."""

    def __init__(self, shape, rank=RANK):
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, shape[1:].numel()).normal_(std=shape[1:].numel() ** -0.5))
        self.up = nn.Parameter(torch.zeros(shape[0], rank))

    def forward(self, weight):
        return weight + (self.up @ self.down).view_as(weight).contiguous(memory_format=layout(weight))


def layout(weight):
    return torch.channels_last if weight.ndim == 4 else torch.contiguous_format


def student_of(unet):
    """A copy of `unet` with a LoRA on all that Hyper-SD's files touch, and the LoRA's layers by module path."""
    student = copy.deepcopy(unet)
    modules, layers = dict(student.named_modules()), nn.ModuleDict()
    for path, shape in lora_modules(unet):
        layer = LowRank(shape).to(DEVICE)
        parametrize.register_parametrization(modules[path], "weight", layer)
        layers[path.replace(".", "_")] = layer
    return student, layers


def save_lora(path, unet, layers):
    """Hyper-SD's form: kohya's suffixes on diffusers' paths, with alphas."""
    tensors = {}
    for module, shape in lora_modules(unet):
        layer, name = layers[module.replace(".", "_")], lora_name(module)
        down = layer.down.reshape(-1, *shape[1:])
        up = layer.up.reshape(*layer.up.shape, *(1 for _ in shape[2:]))
        tensors[name + ".lora_down.weight"] = down.detach().half().contiguous()
        tensors[name + ".lora_up.weight"] = up.detach().half().contiguous()
        tensors[name + ".alpha"] = torch.tensor(float(RANK))
    save_file({name: tensor.cpu() for name, tensor in tensors.items()}, path, {"format": "pt"})


def segments_at(step, steps):
    """How many segments there are at a step."""
    done = 0.0
    for segments, share in STAGES:
        done += share
        if step < done * steps:
            return segments
    return STAGES[-1][0]


def times(segments, size):
    """`t`, the teacher's `t_n` and the segment's start, [B] each; every eighth `t` is the first step's, 999."""
    t = SKIP * torch.randint(1, 1000 // SKIP + 1, (size,), device=DEVICE) - 1
    t[: size // 8] = 999
    width = 1000 // segments
    start = torch.div(t, width, rounding_mode="floor") * width - 1
    return t, torch.maximum(t - SKIP, start), start


def distance(a, b):
    """Pseudo-Huber, smooth near zero and linear for outliers."""
    return ((a - b).square().mean((1, 2, 3)) + 1e-4).sqrt().mean() - 1e-2


def loss_of(student, teacher, x0, context, empty, segments):
    t, t_n, start = times(segments, len(x0))
    x = sampling.add_noise(x0, torch.randn_like(x0), t)
    # First, so that the weights it makes and caches have gradients.
    jumped = sampling.ddim(x, student(x, t, context).sample, t, start)
    with torch.no_grad():
        eps = sampling.guided(teacher, x, t, context, empty, GUIDANCE)
        x_n = sampling.ddim(x, eps, t, t_n)
        eps_n = student(x_n, t_n.clamp(min=0), context).sample
        arrived = torch.where((t_n == start)[:, None, None, None], x_n, sampling.ddim(x_n, eps_n, t_n, start))
    return distance(jumped, arrived)


@torch.no_grad()
def look(student, texts, vae, path):
    """A sheet of the prompts at 1, 2 and 4 steps."""
    context, empty = texts(base.PROMPTS), texts([""])
    latents = [sampling.sample(student, context, empty, steps, eta=1.0) for steps in (1, 2, 4)]
    sampling.sheet([sampling.decode(vae, x) for x in latents], path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    options = parser.parse_args()
    torch.manual_seed(2)
    teacher, texts, vae = base.load()
    student, layers = student_of(teacher)
    parameters = list(layers.parameters())
    examples = base.Examples(drop=0.0)
    optimizer = Muon(parameters, lr=2e-3)
    schedule, average = warmup_cosine(optimizer, options.steps), Average(parameters, decay=0.995)
    state = {"lora": layers, "optimizer": optimizer, "schedule": schedule, "average": average}
    run = Run("hyper", options.steps, state)
    with torch.no_grad():
        empty = texts([""]).expand(BATCH, -1, -1)
    for step in run:
        x0, words, _ = examples.batch(BATCH)
        with parametrize.cached():
            loss = loss_of(student, teacher, x0, texts(words), empty, segments_at(step, options.steps))
        descend(loss, parameters, optimizer, schedule)
        average.update()
        run.report(loss=loss, segments=segments_at(step, options.steps))
        if step % 300 == 299:
            look(student, texts, vae, f"hyper-{step + 1:05}.png")
    average.store()
    look(student, texts, vae, "hyper.png")
    save_lora(WORK / "hyper-lora.safetensors", teacher, layers)


if __name__ == "__main__":
    main()
