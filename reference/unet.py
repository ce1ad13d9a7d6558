"""Tiny UNets of both families, with every parameter random, and what diffusers computes with them.

Writes `crates/hypersd-models/tests/fixtures/unet/`: for each family `<family>.json` (the configuration),
`<family>_<case>.safetensors` (inputs and outputs in f32, block by block) and in `../weights/` the draws of the weights
(`weights.py`; in f16, so that both sides start from the same numbers). Also the configurations of the published models, as diffusers writes them.
"""

from pathlib import Path

import torch
from common import randomize, save
from diffusers import UNet2DConditionModel
from weights import Draws

FIXTURES = "crates/hypersd-models/tests/fixtures"
FOLDER = f"{FIXTURES}/unet"

SD15 = dict(
    block_out_channels=(320, 640, 1280, 1280),
    down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    cross_attention_dim=768,
    attention_head_dim=8,
    sample_size=64,
)
SDXL = dict(
    block_out_channels=(320, 640, 1280),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    cross_attention_dim=2048,
    attention_head_dim=(5, 10, 20),
    transformer_layers_per_block=(1, 2, 10),
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=2816,
    sample_size=128,
)
# The same, small. Groups of 2 and 4 channels, heads of 4 and 8.
TINY_SD15 = SD15 | dict(
    block_out_channels=(16, 32, 32),
    down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    layers_per_block=1,
    cross_attention_dim=24,
    attention_head_dim=4,
    norm_num_groups=8,
    sample_size=16,
)
TINY_SDXL = SDXL | dict(
    block_out_channels=(16, 32),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    layers_per_block=2,
    cross_attention_dim=40,
    attention_head_dim=(2, 4),
    transformer_layers_per_block=(1, 2),
    addition_time_embed_dim=8,
    projection_class_embeddings_input_dim=20 + 6 * 8,
    norm_num_groups=8,
    sample_size=16,
)


def record(unet, inputs, residuals=None):
    """The outputs of every block, and the skips that the down blocks hand over."""
    seen = {}

    def remember(name):
        def hook(_module, _inputs, output):
            if isinstance(output, tuple):  # a down block: the image, then the skips, of which it is the last
                seen.update({f"{name}.skip.{i}": skip for i, skip in enumerate(output[1])})
            else:
                seen[name] = output

        return hook

    blocks = {"conv_in": unet.conv_in, "mid_block": unet.mid_block}
    blocks |= {f"down_blocks.{i}": block for i, block in enumerate(unet.down_blocks)}
    blocks |= {f"up_blocks.{i}": block for i, block in enumerate(unet.up_blocks)}
    hooks = [block.register_forward_hook(remember(name)) for name, block in blocks.items()]
    added = {k: inputs[v] for k, v in (("text_embeds", "pooled"), ("time_ids", "time_ids")) if v in inputs}
    down, mid = residuals or (None, None)
    out = unet(
        inputs["x"],
        inputs["t"],
        inputs["context"],
        added_cond_kwargs=added,
        down_block_additional_residuals=down,
        mid_block_additional_residual=mid,
    ).sample
    for hook in hooks:
        hook.remove()
    return seen | {"out": out}


def inputs(config, batch, height, width, t, generator):
    def random(*shape):
        return torch.randn(*shape, generator=generator)

    tensors = {
        "x": random(batch, 4, height, width),
        "t": torch.tensor(t),
        "context": random(batch, 7, config["cross_attention_dim"]),
    }
    if "addition_embed_type" in config:
        tensors["pooled"] = random(batch, 20)
        tensors["time_ids"] = torch.tensor(
            [[768.0, 1024.0, 16.0, 0.0, 1024.0, 1024.0], [2048.0, 512.0, 0.0, 100.0, 640.0, 1536.0]][:batch]
        )
    return tensors


@torch.no_grad()
def family(name, config, seed, cases):
    draws = Draws(FIXTURES, f"unet-{name}", seed)
    unet = randomize(UNet2DConditionModel(**config), draws, f"unet/{name}.safetensors").eval()
    unet.save_config(FOLDER)
    rename_config(name)
    save(f"{FOLDER}/{name}.safetensors", {k: v.half() for k, v in unet.state_dict().items()})
    draws.write()
    generator = torch.Generator().manual_seed(100 + seed)
    for case, (batch, height, width, t, controlled) in cases.items():
        tensors = inputs(config, batch, height, width, t, generator)
        outputs = record(unet, tensors)
        if controlled:  # only the sum is of interest: the blocks were compared without
            skips = [outputs["conv_in"]]
            skips += [v for i in range(9) for k, v in outputs.items() if k.startswith(f"down_blocks.{i}.skip")]
            down = [torch.randn(skip.shape, generator=generator) * 0.05 for skip in skips]
            mid = torch.randn(outputs["mid_block"].shape, generator=generator) * 0.05
            out = record(unet, tensors, (down, mid))["out"]
            outputs = {"out": outputs["out"], "controlled": out, "residual.mid": mid}
            outputs |= {f"residual.down.{i}": x for i, x in enumerate(down)}
        save(f"{FOLDER}/{name}_{case}.safetensors", tensors | outputs)


def rename_config(name):
    Path(FOLDER, "config.json").rename(Path(FOLDER, f"{name}.json"))


def published(name, config):
    with torch.device("meta"):
        UNet2DConditionModel(**config).save_config(FOLDER)
    rename_config(name)


if __name__ == "__main__":
    torch.set_num_threads(2)
    # batch, height, width, timesteps, with residuals. 9x13 does not halve evenly.
    family("tiny_sd15", TINY_SD15, 1, {"even": (2, 12, 20, [951.0, 17.25], False), "odd": (1, 9, 13, [499.5], True)})
    family("tiny_sdxl", TINY_SDXL, 2, {"even": (2, 10, 14, [999.0, 1.0], False), "odd": (2, 7, 9, [666.0], True)})
    published("sd15", SD15)
    published("sdxl", SDXL)
