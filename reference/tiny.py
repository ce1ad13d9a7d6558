"""What the tiny models share: every parameter is random, norms and biases too, so that nothing is a no-op.

Three things are then fitted, because random values there give latents and pictures that test little: the UNet's last
convolution predicts the noise (latents stay of order one), and the last convolutions of the decoders fill the range of
a picture without leaving it.
"""

import copy
import functools

import parts
import torch
import weights
from safetensors.torch import load_file

FIXTURES = parts.ROOT / "tests/fixtures"
DIFFUSION = "diffusion_pytorch_model.safetensors"  # as diffusers calls the weights of a part
PROMPT = "a photo of a cat sitting on a windowsill, golden hour"

# Where the noise prediction is fitted.
TIMESTEPS = (999, 999, 999, 999, 874, 749, 624, 499, 374, 249)

# The last layers of the residual branches.
BRANCH_ENDS = ("conv2.weight", "proj_out.weight", "to_out.0.weight", "ff.net.2.weight", "conv.4.weight")


@functools.cache
def made():
    """The folder with the tiny models, their weights drawn again from the lists that the `tiny_*.py` wrote."""
    return weights.made(FIXTURES)


@torch.no_grad()
def randomise(model, draws, file, branch=1.0):
    """Makes every parameter random, such that activations stay of order one; exact in f16.

    `draws` is told that they are the next of a file's. `branch` scales what the residual branches add to the trunk.
    """
    draws.file(file)
    for name, p in model.named_parameters():
        if p.ndim > 1:
            size = 0.5 if "embedding.weight" in name else p[0].numel() ** -0.5
            p.copy_(draws.draw(name, p.shape, (branch if name.endswith(BRANCH_ENDS) else 1) * size))
        elif "norm" in name and name.endswith("weight"):
            p.copy_(draws.draw(name, p.shape, 0.2, 1))
        else:
            p.copy_(draws.draw(name, p.shape, 0.1))
    return rounded(model).eval()


@torch.no_grad()
def rounded(model):
    """The values that f16 can hold, in f32."""
    for p in model.parameters():
        p.copy_(p.half().float())
    return model


def merged(pipe, lora_file):
    """The UNet of `pipe` with a LoRA in it; `pipe` keeps its own."""
    return parts.fuse(copy.deepcopy(pipe), lora_file).unet


@torch.no_grad()
def fit_noise_prediction(unet, networks, alphas_cumprod, condition, draws, timesteps=TIMESTEPS):
    """Fits the last convolution of `unet`, by ridge regression, to tell the noise in a noisy latent.

    Without it one step from t = 999 divides an arbitrary output by sqrt(0.0047). `networks` are those that will use
    this convolution: the plain and the merged one. `condition` is what they take besides latents and time.
    """
    inputs, targets = [], []
    for network in networks:
        hook = network.conv_out.register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
        for t in timesteps:
            a = alphas_cumprod[t]
            noise = draws.randn(8, 4, 16, 16)
            x0 = draws.randn(8, 4, 16, 16)
            network(a.sqrt() * x0 + (1 - a).sqrt() * noise, t, **condition)
            targets.append(noise)
        hook.remove()
    columns = torch.nn.functional.unfold(torch.cat(inputs), 3, padding=1).transpose(1, 2).flatten(0, 1)
    rows = torch.cat([columns, torch.ones(len(columns), 1)], 1).double()
    noise = torch.cat(targets).flatten(2).transpose(1, 2).flatten(0, 1).double()
    ridge = 1e-3 * len(rows) * torch.eye(rows.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ noise).float()
    unet.conv_out.weight.copy_(solution[:-1].T.reshape(unet.conv_out.weight.shape))
    unet.conv_out.bias.copy_(solution[-1])
    rounded(unet)
    left = (rows @ solution.double() - noise).unflatten(0, (len(networks), -1, 8 * 256)).std((0, 2, 3))
    print("noise left unexplained, by step:", *(f"{x:.2f}" for x in left))


@torch.no_grad()
def fit_picture(last, decode, draws, scale=1.0, slope=1.0):
    """Fits the last convolution so that latents become pixels of spread 0.4 around 0 in each colour.

    `scale` is what the pipeline multiplies latents with, `slope` what the decoder does to its last output.
    """
    latents = 5 * draws.randn(8, 4, 16, 16)
    factor = 0.4 / decode(latents * scale).std((0, 2, 3))
    last.weight.mul_(factor[:, None, None, None])
    last.bias.mul_(factor)
    last.bias.sub_(decode(latents * scale).mean((0, 2, 3)) / slope)
    rounded(last)


def check(pipeline, folder, lora_file, modules):
    """Diffusers itself loads what was written, and merges W + alpha/rank * up @ down into all modules of the LoRA."""
    pipe = pipeline.from_pretrained(folder, dtype=torch.float32)
    adapter = load_file(lora_file)
    expected = {name: p.clone() for name, p in pipe.unet.state_dict().items()}
    for path, shape in parts.lora_modules(pipe.unet):
        name = parts.lora_name(path)
        down, up = adapter[name + ".lora_down.weight"], adapter[name + ".lora_up.weight"]
        alpha = adapter[name + ".alpha"]
        expected[path + ".weight"] += (alpha / len(down) * up.flatten(1) @ down.flatten(1)).reshape(shape)
    assert len(adapter) == 3 * modules, len(adapter)
    parts.fuse(pipe, lora_file)
    for name, p in pipe.unet.state_dict().items():
        torch.testing.assert_close(p, expected[name], rtol=1e-5, atol=1e-6, msg=name)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{folder}  {size:,} bytes, {modules} modules of the LoRA merged")
