"""What the fixture scripts share."""

from pathlib import Path

import torch
from safetensors.torch import save_file


def save(path, tensors, metadata=None):
    """Writes `tensors` (name -> torch tensor) to `path`, folders included."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.detach().contiguous() for name, t in tensors.items()}, path, metadata)
    print(f"{path}  {path.stat().st_size:,} bytes  {len(tensors)} tensors")


# Layers that bring normalised activations back into the stream that the next norm reads.
INTO_THE_STREAM = ("conv_in", "conv1", "conv2", "time_emb_proj", "proj_in", "to_out", "net.2")


@torch.no_grad()
def randomize(network, draws, file, stream=0.03, others=None):
    """Makes every parameter random, norms and biases too, so that nothing is a no-op, and rounds it through f16, so
    that it can be stored so. The activations that norms read have about the deviation `stream`: small enough that a
    wrong epsilon (1e-5 for 1e-6) shows. `draws` is told that they are the next of a file's; `others` has the
    deviation of parameters that are not for this rule, by name."""
    draws.file(file)
    for name, parameter in network.named_parameters():
        scale, shift = (others or {}).get(name) or deviation(name, parameter, stream), 0
        if "norm" in name.split(".")[-2] and name.endswith("weight"):
            shift = 1
        parameter.copy_(draws.draw(name, parameter.shape, scale, shift).half())
    return network


def deviation(name, parameter, stream):
    layer = name.rpartition(".")[0]
    if "norm" in layer.rpartition(".")[2]:
        return 0.2
    into_the_stream = stream if any(part in layer for part in INTO_THE_STREAM) else 1
    if parameter.ndim > 1:
        return parameter[0].numel() ** -0.5 * into_the_stream
    own = stream if layer.endswith(("conv", "conv_shortcut", "proj_out")) else 1
    return 0.2 * own * into_the_stream
