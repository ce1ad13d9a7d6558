"""Tiny ControlNets of both families, with every parameter random, and what diffusers computes with them.

Writes `crates/hypersd-controlnet/tests/fixtures/`: for each network `<name>.json` (the configuration),
`<name>_cases.safetensors` (inputs, hints and residuals in f32; the images in u8) and in `weights/` the draws of the
weights (`weights.py`; in f16, so that both sides start from the same numbers). Also the configurations of the published models, as diffusers
writes them.
"""

from pathlib import Path

import numpy as np
import torch
from common import randomize, save
from diffusers import ControlNetModel
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from unet import SD15, SDXL, TINY_SD15, TINY_SDXL, inputs
from weights import Draws

FOLDER = "crates/hypersd-controlnet/tests/fixtures"


def half(config):
    """A UNet's configuration without what its second half needs."""
    return {k: v for k, v in config.items() if k not in ("up_block_types", "sample_size")}


TINY = dict(conditioning_embedding_out_channels=(4, 6, 10, 12))
MID = dict(block_out_channels=(16, 32, 32), layers_per_block=1, attention_head_dim=(2, 4, 4))
NETWORKS = {
    "tiny_sd15": half(TINY_SD15) | TINY,
    "tiny_sdxl": half(TINY_SDXL) | TINY,
    # Attention sites without transformer blocks, as SDXL's smaller ControlNets have them.
    "tiny_sdxl_mid": half(TINY_SDXL)
    | TINY
    | MID
    | dict(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        transformer_layers_per_block=(0, 0, 1),
    ),
    "tiny_sdxl_small": half(TINY_SDXL)
    | TINY
    | MID
    | dict(down_block_types=("DownBlock2D",) * 3, transformer_layers_per_block=(0, 0, 0)),
}
PUBLISHED = {
    "sd15": half(SD15),
    "sdxl_full": half(SDXL),
    "sdxl_mid": half(SDXL) | dict(transformer_layers_per_block=(0, 0, 1)),
    "sdxl_small": half(SDXL)
    | dict(down_block_types=("DownBlock2D",) * 3, transformer_layers_per_block=(0, 0, 0)),
}
# Options of the call, and fields of the configuration.
CASES = {
    "plain": (dict(), dict()),
    "half": (dict(conditioning_scale=0.5), dict()),
    "guess": (dict(guess_mode=True, conditioning_scale=0.5), dict()),
    "bgr": (dict(), dict(controlnet_conditioning_channel_order="bgr")),
    "pooled": (dict(guess_mode=True, conditioning_scale=0.75), dict(global_pool_conditions=True)),
}


@torch.no_grad()
def network(config, draws, file):
    net = ControlNetModel(**config)
    # randomize is made for the UNet's stream; here SiLUs follow each other. Let the hint arrive as strong as latents.
    hint = {}
    for name, parameter in net.controlnet_cond_embedding.named_parameters(prefix="controlnet_cond_embedding"):
        gain = 0.1 if "conv_out" in name else 1.6
        hint[name] = 0.2 if parameter.ndim == 1 else gain * parameter[0].numel() ** -0.5
    return randomize(net, draws, file, others=hint).eval()


@torch.no_grad()
def family(name, config, seed, cases, batch, h, w, t):
    draws = Draws(FOLDER, name, seed)
    net = network(config, draws, f"{name}.safetensors")
    net.save_config(FOLDER)
    Path(FOLDER, "config.json").rename(Path(FOLDER, f"{name}.json"))
    save(f"{FOLDER}/{name}.safetensors", {k: v.half() for k, v in net.state_dict().items()})
    draws.write()

    generator = torch.Generator().manual_seed(100 + seed)
    tensors = inputs(config, batch, h, w, t, generator)
    image = torch.randint(0, 256, (batch, 3, 8 * h, 8 * w), generator=generator, dtype=torch.uint8)
    added = {k: tensors[v] for k, v in (("text_embeds", "pooled"), ("time_ids", "time_ids")) if v in tensors}
    tensors["image"] = image
    for case in cases:
        options, fields = CASES[case]
        net.register_to_config(**fields)
        inputs_ = (tensors["x"], tensors["t"], tensors["context"], image / 255)
        out = net(*inputs_, added_cond_kwargs=added, **options)
        net.register_to_config(controlnet_conditioning_channel_order="rgb", global_pool_conditions=False)
        down = {f"{case}.down.{i}": x for i, x in enumerate(out.down_block_res_samples)}
        tensors |= down | {f"{case}.mid": out.mid_block_res_sample}
    save(f"{FOLDER}/{name}_cases.safetensors", tensors)
    return net


@torch.no_grad()
def picture(net):
    """A picture that is resized on its way to the network, as ControlNet's pipelines do it."""
    pixels = np.random.default_rng(3).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    processor = VaeImageProcessor(vae_scale_factor=8, do_convert_rgb=True, do_normalize=False)
    image = processor.preprocess(Image.fromarray(pixels), height=40, width=56)
    tensors = inputs(NETWORKS["tiny_sd15"], 1, 5, 7, [333.0], torch.Generator().manual_seed(103))
    out = net(tensors["x"], tensors["t"], tensors["context"], image)
    down = {f"plain.down.{i}": x for i, x in enumerate(out.down_block_res_samples)}
    tensors |= down | {"plain.mid": out.mid_block_res_sample, "pixels": torch.from_numpy(pixels)}
    save(f"{FOLDER}/picture.safetensors", tensors)


if __name__ == "__main__":
    torch.set_num_threads(1)
    timesteps = [951.0, 17.25]
    sd15 = family("tiny_sd15", NETWORKS["tiny_sd15"], 11, CASES, 2, 6, 10, timesteps)
    picture(sd15)
    family("tiny_sdxl", NETWORKS["tiny_sdxl"], 12, ["plain", "guess"], 2, 5, 7, timesteps)
    family("tiny_sdxl_mid", NETWORKS["tiny_sdxl_mid"], 13, ["plain"], 2, 8, 4, timesteps)
    family("tiny_sdxl_small", NETWORKS["tiny_sdxl_small"], 14, ["plain"], 2, 4, 8, timesteps)
    for name, config in PUBLISHED.items():
        with torch.device("meta"):
            ControlNetModel(**config).save_config(FOLDER)
        Path(FOLDER, "config.json").rename(Path(FOLDER, f"{name}.json"))
