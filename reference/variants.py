"""Writes tests/fixtures/variants/: models that are not as the published ones, drawn by diffusers.

UNets that are not regular (BK-SDM's, SDXS's, SSD-1B's), one that is told the guidance scale (the full LCM models), a VAE of
three levels, and scheduler configurations as older converters write them. `cases.json` tells of each what the tiny model of
its family gets: `unet` or `vae` (a folder here), `scheduler_config` (in the place of its own) and `index_class` (what
`model_index.json` calls its class); `scheduler` is null where the model's own is taken, else what is built from the model's.
`<name>.safetensors` holds the latents.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from cases import SCHEDULERS
from common import save
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from tiny import DIFFUSION, FIXTURES, PROMPT, made, randomise
from weights import Draws

OUT = FIXTURES / "variants"
PIPELINES = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
PLAIN, ATTENDS = "DownBlock2D", "CrossAttnDownBlock2D"
UP_PLAIN, UP_ATTENDS = "UpBlock2D", "CrossAttnUpBlock2D"
SMALL = dict(sample_size=16, block_out_channels=(32, 64, 64), cross_attention_dim=64, attention_head_dim=8)
SDXL = dict(
    sample_size=16,
    block_out_channels=(32, 64, 64),
    cross_attention_dim=192,
    attention_head_dim=(1, 1, 1),
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=32,
    projection_class_embeddings_input_dim=128 + 6 * 32,
    down_block_types=(PLAIN, ATTENDS, ATTENDS),
    up_block_types=(UP_ATTENDS, UP_ATTENDS, UP_PLAIN),
)
UNETS = {
    # nota-ai/bk-sdm-tiny, segmind/tiny-sd: one resnet a block, no middle
    "bk": SMALL
    | dict(
        layers_per_block=1,
        down_block_types=(ATTENDS,) * 3,
        up_block_types=(UP_ATTENDS,) * 3,
        mid_block_type=None,
    ),
    # IDKiro/sdxs-512-dreamshaper: the largest image without attention
    "sdxs": SMALL
    | dict(
        layers_per_block=1,
        down_block_types=(PLAIN, ATTENDS, ATTENDS),
        up_block_types=(UP_ATTENDS, UP_ATTENDS, UP_PLAIN),
        mid_block_type=None,
    ),
    # segmind/SSD-1B: depths by site, other ones on the way up, one resnet in the middle
    "ssd": SDXL
    | dict(
        transformer_layers_per_block=[1, [2, 1], [1, 2]],
        reverse_transformer_layers_per_block=[[1, 2, 1], [2, 1, 1], 1],
        mid_block_type="UNetMidBlock2D",
    ),
    # SimianLuo/LCM_Dreamshaper_v7
    "lcm": SMALL
    | dict(
        layers_per_block=1,
        down_block_types=(ATTENDS, ATTENDS, PLAIN),
        up_block_types=(UP_PLAIN, UP_ATTENDS, UP_ATTENDS),
        time_cond_proj_dim=32,
    ),
    # latent-consistency/lcm-ssd-1b
    "lcm-ssd": SDXL
    | dict(
        layers_per_block=1,
        transformer_layers_per_block=[1, [2], [1]],
        reverse_transformer_layers_per_block=[[1, 2], [2, 1], 1],
        mid_block_type="UNetMidBlock2D",
        time_cond_proj_dim=32,
    ),
}
VAE = dict(
    block_out_channels=(32, 32, 32),
    down_block_types=("DownEncoderBlock2D",) * 3,
    up_block_types=("UpDecoderBlock2D",) * 3,
    layers_per_block=1,
    latent_channels=4,
    scaling_factor=0.13025,
    sample_size=64,
)
BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)
DDIM = dict(_class_name="DDIMScheduler", set_alpha_to_one=False, **BETAS)
PNDM = dict(_class_name="PNDMScheduler", skip_prk_steps=True, set_alpha_to_one=False, **BETAS)
DEFAULTS = dict(
    family="sd15", unet=None, vae=None, scheduler_config=None, index_class=None, scheduler=None, steps=3, guidance=0.0,
    width=128, height=64,
)  # fmt: skip
CASES = {
    "bk": dict(unet="bk", scheduler="ddim", guidance=3.0),
    "sdxs": dict(unet="sdxs", scheduler="euler"),
    "ssd": dict(family="sdxl", unet="ssd", scheduler="euler", guidance=3.0),
    "lcm": dict(unet="lcm", scheduler="lcm", guidance=8.0),
    "lcm-unguided": dict(unet="lcm", scheduler="lcm", guidance=0.0),
    "lcm-ssd": dict(family="sdxl", unet="lcm-ssd", scheduler="lcm", guidance=8.0),
    # 16 latents for 64 pixels, and SDXL is told 64
    "factor-4": dict(family="sdxl", vae="vae-4", scheduler="euler"),
    "factor-4-native": dict(family="sdxl", vae="vae-4", scheduler="euler", width=None, height=None),
    # kohya's scripts and older converters: what a class has for pixels
    "ddim-silent": dict(scheduler_config=DDIM),
    "ddim-clips": dict(scheduler_config=DDIM | dict(clip_sample=True, steps_offset=0)),
    "pndm-silent": dict(scheduler_config=PNDM, steps=5),
    "pndm-silent-ddim": dict(scheduler_config=PNDM, scheduler="ddim"),
    "pndm-clips-ddim": dict(scheduler_config=PNDM | dict(clip_sample=True, steps_offset=0), scheduler="ddim"),
    # the index and the file name two classes
    "index-euler": dict(scheduler_config=DDIM | dict(steps_offset=1), index_class="EulerDiscreteScheduler"),
}


def main():
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    draws = Draws(FIXTURES, "variants", seed=22)
    for name, config in UNETS.items():
        unet = UNet2DConditionModel(**config)
        randomise(unet, draws, f"variants/{name}/{DIFFUSION}", branch=0.5)
        unet.half().save_pretrained(OUT / name)
    vae = AutoencoderKL(**VAE)
    randomise(vae, draws, f"variants/vae-4/{DIFFUSION}")
    vae.half().save_pretrained(OUT / "vae-4")
    cases = [{"name": name, **DEFAULTS, **case} for name, case in CASES.items()]
    for case in cases:
        save(OUT / f"{case['name']}.safetensors", {"latents": run(case)})
    (OUT / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    draws.write()


def run(case):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder) / "model"
        shutil.copytree(made() / f"tiny-{case['family']}", folder)
        configure(folder, case)
        parts = {}
        if case["unet"]:
            parts["unet"] = UNet2DConditionModel.from_pretrained(OUT / case["unet"], torch_dtype=torch.float32)
        if case["vae"]:
            parts["vae"] = AutoencoderKL.from_pretrained(OUT / case["vae"], torch_dtype=torch.float32)
        pipe = PIPELINES[case["family"]].from_pretrained(folder, torch_dtype=torch.float32, **parts)
        pipe.set_progress_bar_config(disable=True)
        if case["scheduler"]:
            pipe.scheduler = SCHEDULERS[case["scheduler"]].from_config(pipe.scheduler.config)
        return pipe(
            PROMPT,
            num_inference_steps=case["steps"],
            guidance_scale=case["guidance"],
            width=case["width"],
            height=case["height"],
            generator=torch.Generator("cpu").manual_seed(0),
            output_type="latent",
        ).images


def configure(folder, case):
    if case["scheduler_config"]:
        text = json.dumps(case["scheduler_config"])
        (folder / "scheduler/scheduler_config.json").write_text(text)
        index = json.loads((folder / "model_index.json").read_text())
        index["scheduler"] = ["diffusers", case["index_class"] or case["scheduler_config"]["_class_name"]]
        (folder / "model_index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()
