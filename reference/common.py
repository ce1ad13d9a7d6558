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
def randomize(network, stream=0.03):
    """Makes every parameter random, norms and biases too, so that nothing is a no-op, and rounds it through f16, so
    that it can be stored so. The activations that norms read have about the deviation `stream`: small enough that a
    wrong epsilon (1e-5 for 1e-6) shows."""
    for name, parameter in network.named_parameters():
        layer = name.rpartition(".")[0]
        if "norm" in layer.rpartition(".")[2]:
            parameter.normal_(std=0.2).add_(1 if name.endswith("weight") else 0)
        elif parameter.ndim > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
        else:
            parameter.normal_(std=0.2)
            if layer.endswith(("conv", "conv_shortcut", "proj_out")):
                parameter *= stream
        if any(part in layer for part in INTO_THE_STREAM):
            parameter *= stream
        parameter.copy_(parameter.half())
    return network
