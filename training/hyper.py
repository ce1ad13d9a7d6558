"""Stage 4, the Hyper-SD LoRA: trajectory-segmented consistency distillation (Ren et al., arXiv 2404.13686, section 3.1).

The time axis is cut into 8, then 4, 2 and 1 segments, each stage going on from the last. From a noisy latent at `t` the
teacher, with guidance, solves its ODE one step down to `t_n`. The student's jump from `t` to the start of the segment
must be where its jump from `t_n` leads, which gets no gradient. In the last stage that start is the clean picture: one
step suffices, and more (TCD, eta 1) refine.

The student's weights are `W + up @ down`, made once a step: as fast as training `W` itself, and what merging gives.
"""

import copy

import torch
from parts import lora_modules, lora_name
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrize

from . import base, examples, sampling
from .common import Average, Run, atomically, descend
from .muon import Muon

STEPS = 5000
RANK = 12
GUIDANCE = 5.0
BATCH = {"cpu": 32, "cuda": 128}
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
        layer = LowRank(shape).to(unet.device)
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
    with atomically(path) as file:
        save_file({name: tensor.cpu() for name, tensor in tensors.items()}, file.name, {"format": "pt"})


def segments_at(step, steps):
    """How many segments there are at a step."""
    done = 0.0
    for segments, share in STAGES:
        done += share
        if step < done * steps:
            return segments
    return STAGES[-1][0]


def times(segments, size, device):
    """`t`, the teacher's `t_n` and the segment's start, [B] each; every eighth `t` is the first step's, 999."""
    t = SKIP * torch.randint(1, 1000 // SKIP + 1, (size,), device=device) - 1
    t[: size // 8] = 999
    width = 1000 // segments
    start = torch.div(t, width, rounding_mode="floor") * width - 1
    return t, torch.maximum(t - SKIP, start), start


def distance(a, b):
    """Pseudo-Huber, smooth near zero and linear for outliers."""
    return ((a - b).square().mean((1, 2, 3)) + 1e-4).sqrt().mean() - 1e-2


def loss_of(student, teacher, x0, context, empty, segments):
    t, t_n, start = times(segments, len(x0), x0.device)
    noise = torch.randn_like(x0)
    # The first step begins with noise that has nothing of a picture in it, as sampling does.
    x = torch.where((t == 999)[:, None, None, None], noise, sampling.add_noise(x0, noise, t))
    # First, so that the weights it makes and caches have gradients.
    jumped = sampling.ddim(x, student(x, t, context).sample.float(), t, start)
    with torch.no_grad():
        eps = sampling.guided(teacher, x, t, context, empty, GUIDANCE)
        x_n = sampling.ddim(x, eps, t, t_n)
        eps_n = student(x_n, t_n.clamp(min=0), context).sample.float()
        arrived = torch.where((t_n == start)[:, None, None, None], x_n, sampling.ddim(x_n, eps_n, t_n, start))
    return distance(jumped, arrived)


@torch.no_grad()
def look(student, texts, vae, path):
    """A sheet of the prompts at 1, 2 and 4 steps."""
    context, empty = texts(base.PROMPTS), texts([""])
    latents = [sampling.sample(student, context, empty, steps, eta=1.0) for steps in (1, 2, 4)]
    sampling.sheet([sampling.decode(vae, x) for x in latents], path)


def train(setup, signals):
    torch.manual_seed(2)
    batch = BATCH[setup.device.type]
    teacher, texts, vae = base.load(setup)
    source = examples.of(setup, vae)
    student, layers = student_of(teacher)
    parameters = list(layers.parameters())
    optimizer, average = Muon(parameters, lr=2e-3), Average(parameters, decay=0.998)
    run = Run(setup, signals, "hyper", STEPS, {"lora": layers, "optimizer": optimizer, "average": average})
    with torch.no_grad():
        empty = texts([""]).expand(batch, -1, -1)
    for step in run:
        x0, words, _ = source.batch(run.rng, batch, drop=0.0)
        segments = segments_at(step, STEPS)
        with parametrize.cached(), setup.precision():
            loss = loss_of(student, teacher, x0, texts(words), empty, segments)
        descend(loss, parameters, optimizer, run.rate())
        average.update()
        run.report(loss=loss, segments=segments)
        if step % 500 == 499:
            with average.applied():
                look(student, texts, vae, setup.work / f"sheets/hyper-{step + 1:05}.png")
    with average.applied():
        save_lora(setup.work / "hyper-lora.safetensors", teacher, layers)
