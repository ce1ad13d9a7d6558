"""Writes tests/fixtures/: a tiny Stable Diffusion 1.5 folder, a Hyper-SD LoRA for it, and a tiny TAESD.

Everything has the topology, the files and the names of the published models; only the widths are small. Every
parameter is random, norms and biases too, so that nothing is a no-op. Three things are then fitted, because random
values there give latents and pictures that test little: the UNet's last convolution predicts the noise (latents
stay of order one), and the last convolutions of both decoders fill the range of a picture without leaving it.
"""

import copy
import shutil
import tempfile

import sd15
import torch
from common import save
from diffusers import AutoencoderKL, AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

FIXTURES = sd15.ROOT / "tests/fixtures"

# The last layers of the residual branches.
BRANCH_ENDS = ("conv2.weight", "proj_out.weight", "to_out.0.weight", "ff.net.2.weight", "conv.4.weight")
PROMPT = "a photo of a cat sitting on a windowsill, golden hour"


def main():
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(15)
    merges = sd15.merges(1000)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = sd15.write_tokenizer(folder, merges)
        pipe = sd15.pipeline(
            randomise(unet(), generator, branch=0.5),
            randomise(text_encoder(vocabulary), generator),
            randomise(vae(), generator),
            folder,
        )

    adapter = sd15.lora(pipe.unet, rank=2, alphas=(1, 2, 8), strength=0.3, generator=generator)
    lora_file = FIXTURES / "tiny-sd15-lora.safetensors"
    save(lora_file, adapter, {"format": "pt"})

    fit_noise_prediction(pipe, lora_file, generator)
    fit_picture(pipe.vae.decoder.conv_out, lambda z: pipe.vae.decode(z).sample, generator, scale=1 / 0.18215)
    tiny = randomise(taesd(), generator, branch=0.5)
    fit_picture(tiny.decoder.layers[-1], lambda z: tiny.decode(z).sample, generator, slope=2.0)

    shutil.rmtree(FIXTURES / "tiny-sd15", ignore_errors=True)
    sd15.save_folder(pipe.to(torch.float16), FIXTURES / "tiny-sd15", merges)
    tiny.to(torch.float16).save_pretrained(FIXTURES / "tiny-taesd", safe_serialization=True)
    check(FIXTURES / "tiny-sd15", lora_file)


def unet():
    # These widths give conv_shortcut the same places as 320, 640, 1280, 1280 do: 278 LoRA targets.
    widths = (32, 64, 32, 32)
    return UNet2DConditionModel(sample_size=16, block_out_channels=widths, cross_attention_dim=64, **sd15.UNET_TOPOLOGY)


def text_encoder(vocabulary):
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=1,  # of width 64, as in every CLIP
        hidden_act="quick_gelu",
        bos_token_id=0,  # these three are wrong in SD1.5's own config too
        eos_token_id=2,
        pad_token_id=1,
    )
    return CLIPTextModel(config)


def vae():
    return AutoencoderKL(sample_size=128, block_out_channels=(32, 64, 32, 32), **sd15.VAE_TOPOLOGY)


def taesd():
    return AutoencoderTiny(encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4)


@torch.no_grad()
def randomise(model, generator, branch=1.0):
    """Makes every parameter random, such that activations stay of order one; exact in f16.

    `branch` scales what the residual branches add to the trunk.
    """
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if p.ndim > 1:
            size = 0.5 if "embedding.weight" in name else p[0].numel() ** -0.5
            p.copy_((branch if name.endswith(BRANCH_ENDS) else 1) * size * noise)
        elif "norm" in name and name.endswith("weight"):
            p.copy_(1 + 0.2 * noise)
        else:
            p.copy_(0.1 * noise)
    return rounded(model).eval()


@torch.no_grad()
def rounded(model):
    """The values that f16 can hold, in f32."""
    for p in model.parameters():
        p.copy_(p.half().float())
    return model


@torch.no_grad()
def fit_noise_prediction(pipe, lora_file, generator):
    """Fits the UNet's last convolution, by ridge regression, to tell the noise in a noisy latent.

    Without it one step from t = 999 divides an arbitrary output by sqrt(0.0047). Both the plain and the merged
    weights are sampled, since both are used.
    """
    merged = copy.deepcopy(pipe.unet)
    sd15.fuse(StableDiffusionPipeline(**{**pipe.components, "unet": merged}, requires_safety_checker=False), lora_file)
    context = pipe.encode_prompt(PROMPT, "cpu", 8, False)[0]
    inputs, targets = [], []
    for network in (pipe.unet, merged):
        hook = network.conv_out.register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
        for t in (999, 999, 999, 999, 874, 749, 624, 499, 374, 249):
            a = pipe.scheduler.alphas_cumprod[t]
            noise = torch.randn(8, 4, 16, 16, generator=generator)
            x0 = torch.randn(8, 4, 16, 16, generator=generator)
            network(a.sqrt() * x0 + (1 - a).sqrt() * noise, t, context)
            targets.append(noise)
        hook.remove()
    columns = torch.nn.functional.unfold(torch.cat(inputs), 3, padding=1).transpose(1, 2).flatten(0, 1)
    rows = torch.cat([columns, torch.ones(len(columns), 1)], 1).double()
    noise = torch.cat(targets).flatten(2).transpose(1, 2).flatten(0, 1).double()
    ridge = 1e-3 * len(rows) * torch.eye(rows.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ noise).float()
    pipe.unet.conv_out.weight.copy_(solution[:-1].T.reshape(pipe.unet.conv_out.weight.shape))
    pipe.unet.conv_out.bias.copy_(solution[-1])
    rounded(pipe.unet)
    left = (rows @ solution.double() - noise).unflatten(0, (2, -1, 8 * 256)).std((0, 2, 3))
    print("noise left unexplained, by step:", *(f"{x:.2f}" for x in left))


@torch.no_grad()
def fit_picture(last, decode, generator, scale=1.0, slope=1.0):
    """Fits the last convolution so that latents become pixels of spread 0.4 around 0 in each colour.

    `scale` is what the pipeline multiplies latents with, `slope` what the decoder does to its last output.
    """
    latents = 5 * torch.randn(8, 4, 16, 16, generator=generator)
    factor = 0.4 / decode(latents * scale).std((0, 2, 3))
    last.weight.mul_(factor[:, None, None, None])
    last.bias.mul_(factor)
    last.bias.sub_(decode(latents * scale).mean((0, 2, 3)) / slope)
    rounded(last)


def check(folder, lora_file):
    """Diffusers itself loads what was written, and merges W + alpha/rank * up @ down into all 278 modules."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    adapter = load_file(lora_file)
    expected = {name: p.clone() for name, p in pipe.unet.state_dict().items()}
    for path, shape in sd15.lora_modules(pipe.unet):
        name = sd15.lora_name(path)
        down, up = adapter[name + ".lora_down.weight"], adapter[name + ".lora_up.weight"]
        alpha = adapter[name + ".alpha"]
        expected[path + ".weight"] += (alpha / len(down) * up.flatten(1) @ down.flatten(1)).reshape(shape)
    assert len(adapter) == 3 * 278
    sd15.fuse(pipe, lora_file)
    for name, p in pipe.unet.state_dict().items():
        torch.testing.assert_close(p, expected[name], rtol=1e-5, atol=1e-6, msg=name)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{folder}  {size:,} bytes, {len(adapter) // 3} modules of the LoRA merged")


if __name__ == "__main__":
    main()
