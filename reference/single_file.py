"""Writes tests/fixtures/tiny-sd15-single.safetensors and tiny-sdxl-single.safetensors: each tiny folder as one file.

The names and shapes are those of the original repositories (LDM for SD1.x, SGM for SDXL), the tensors are the
folders', in f16. A few tensors that published files carry and nobody needs are there too. Diffusers reads each file
back, and every tensor of every network must be the folder's. Run `tiny_sd15.py` and `tiny_sdxl.py` first.
"""

import re

import torch
from common import save
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from tiny import FIXTURES

UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE = {
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn": "attn",
    "fc1": "c_fc",
    "fc2": "c_proj",
}


def main():
    torch.set_num_threads(1)
    for name, pipeline, convert in (("sd15", StableDiffusionPipeline, sd15), ("sdxl", StableDiffusionXLPipeline, sdxl)):
        folder, file = FIXTURES / f"tiny-{name}", FIXTURES / f"tiny-{name}-single.safetensors"
        pipe = pipeline.from_pretrained(folder, dtype=torch.float16)
        save(file, convert(pipe), {"format": "pt"})
        again = pipeline.from_single_file(file, config=str(folder), torch_dtype=torch.float16, local_files_only=True)
        for part, network in networks(pipe).items():
            want, got = network.state_dict(), getattr(again, part).state_dict()
            assert want.keys() == got.keys(), part
            assert all(torch.equal(want[key], got[key]) for key in want), part


def networks(pipe):
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def sd15(pipe):
    tensors = unet(pipe.unet) | vae(pipe.vae)
    tensors |= clip(pipe.text_encoder, "cond_stage_model.transformer.text_model.")
    alphas_cumprod = pipe.scheduler.alphas_cumprod
    return tensors | {
        "alphas_cumprod": alphas_cumprod,
        "sqrt_alphas_cumprod": alphas_cumprod.sqrt(),
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(470_000, dtype=torch.int32),
    }


def sdxl(pipe):
    tensors = unet(pipe.unet) | vae(pipe.vae)
    tensors |= clip(pipe.text_encoder, "conditioner.embedders.0.transformer.text_model.")
    return tensors | open_clip(pipe.text_encoder_2, "conditioner.embedders.1.model.")


def unet(network):
    return {"model.diffusion_model." + unet_name(key, network): p for key, p in network.state_dict().items()}


def unet_name(key, network):
    """Blocks are numbered through all levels; a level has `stride` of them, and input block 0 is conv_in."""
    stride = network.config.layers_per_block + 1
    match = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|\w+samplers)\.(\d+)\.(.*)", key)
    if not match:
        key = renamed(key, UNET)
        return renamed(key, UNET_RESNET) if re.match(r"middle_block\.[02]", key) else key
    side, level, kind, layer, rest = match.groups()
    first = stride * int(level) + (side == "down")
    block = ("input_blocks." if side == "down" else "output_blocks.") + str(first + int(layer))
    if kind == "resnets":
        return f"{block}.0.{renamed(rest, UNET_RESNET)}"
    if kind == "attentions":
        return f"{block}.1.{rest}"
    last = first + stride - 1
    if kind == "downsamplers":
        return f"input_blocks.{last}.0.{rest.replace('conv', 'op')}"
    place = 2 if hasattr(network.up_blocks[int(level)], "attentions") else 1  # after the resnet and the attention
    return f"output_blocks.{last}.{place}.{rest}"


def vae(network):
    """The autoencoder: attention as 1x1 convolutions, the decoder's blocks counted from the picture."""
    last = len(network.config.block_out_channels) - 1
    tensors = {}
    for key, p in network.state_dict().items():
        key = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", key)
        key = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{last - int(m[1])}.block.", key)
        key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
        key = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{last - int(m[1])}.upsample", key)
        key = renamed(key, VAE)
        tensors["first_stage_model." + key] = p[..., None, None] if "attn_1" in key and p.ndim == 2 else p
    return tensors


def clip(encoder, prefix):
    """The names are transformers' own; older files also carry the positions 0..76."""
    tensors = {prefix + key.removeprefix("text_model."): p for key, p in encoder.state_dict().items()}
    return tensors | {prefix + "embeddings.position_ids": torch.arange(77)[None]}


def open_clip(encoder, prefix):
    """OpenCLIP's names; queries, keys and values are one matrix, and the projection stands the other way round."""
    rest = encoder.state_dict()
    tensors = {"text_projection": rest.pop("text_projection.weight").T, "logit_scale": torch.tensor(4.6052)}
    for layer in range(encoder.config.num_hidden_layers):
        for kind in ("weight", "bias"):
            names = [f"text_model.encoder.layers.{layer}.self_attn.{x}_proj.{kind}" for x in "qkv"]
            fused = torch.cat([rest.pop(name) for name in names])
            tensors[f"transformer.resblocks.{layer}.attn.in_proj_{kind}"] = fused
    tensors |= {renamed(key.removeprefix("text_model."), OPEN_CLIP): p for key, p in rest.items()}
    return {prefix + key: p for key, p in tensors.items()}


def renamed(key, names):
    """`key` with every run of its components that is in `names` exchanged."""
    for old, new in names.items():
        key = re.sub(rf"(?<![^.]){re.escape(old)}(?![^.])", new, key)
    return key


if __name__ == "__main__":
    main()
