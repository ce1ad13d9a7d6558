"""diffusers, as a program beside hypersd in `benches/stages`.

Stages:

- `load`: `from_pretrained` and merging the LoRA into the weights just loaded
- `text`: the text encoders; `unet`: one call; `control`: that call with the ControlNet's before it
- `vae`, `taesd`: decoding latents to pixels
- `image`: one TCD step through the whole pipeline with the LoRA merged, from the prompt to the picture

With `--dtype f16` PyTorch stores in half precision and computes in it too. With `--compile` the networks of the stages
`unet`, `control`, `vae` and `taesd` go through `torch.compile`, which is not part of the times.
"""

import bench_worker as worker
import parts
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    DiffusionPipeline,
    TCDScheduler,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection

PROMPT = "a photo of a cat sitting on a windowsill, golden hour"
DTYPES = {"f32": torch.float32, "f16": torch.float16}


class Bench:
    def __init__(self, given):
        self.given = given
        self.dtype = DTYPES[given.dtype]

    def stages(self):
        own = ("load", "text", "unet", "control", "vae", "taesd", "image")
        compiled = ("unet", "control", "vae", "taesd")
        return {name: getattr(self, name) for name in (compiled if self.given.compile else own)}

    # Each stage prepares, and returns what is to be timed.

    def load(self):
        return self._pipeline

    def text(self):
        encoders = [self._network(CLIPTextModel, self.given.model / "text_encoder")]
        if worker.is_sdxl(self.given):
            encoders.append(self._network(CLIPTextModelWithProjection, self.given.model / "text_encoder_2"))
        ids = torch.ones(self.given.batch, worker.TOKENS, dtype=torch.long)
        return lambda: [encoder(ids, output_hidden_states=True) for encoder in encoders]

    def unet(self):
        unet = self._network(UNet2DConditionModel, self.given.model / "unet")
        latents, condition = self._inputs()
        return self._warm(lambda: unet(latents, worker.TIMESTEP, **condition))

    def control(self):
        unet = self._network(UNet2DConditionModel, self.given.model / "unet")
        controlnet = self._network(ControlNetModel, self.given.controlnet)
        latents, condition = self._inputs()
        edges = worker.normal(self.given.batch, 3, self.given.size, self.given.size).to(self.dtype)

        def step():
            down, mid = controlnet(
                latents, worker.TIMESTEP, controlnet_cond=edges, return_dict=False, **condition
            )
            residuals = dict(down_block_additional_residuals=down, mid_block_additional_residual=mid)
            return unet(latents, worker.TIMESTEP, **condition, **residuals)

        return self._warm(step)

    def vae(self):
        return self._decoder(AutoencoderKL, self.given.model / "vae")

    def taesd(self):
        return self._decoder(AutoencoderTiny, self.given.taesd)

    def image(self):
        pipe = self._pipeline()
        pipe.scheduler = TCDScheduler.from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        sides = dict(width=self.given.size, height=self.given.size)
        guidance = 2.0 if self.given.batch == 2 else 0.0
        return lambda: pipe(PROMPT, num_inference_steps=1, eta=1.0, guidance_scale=guidance, **sides)

    def _pipeline(self):
        pipe = DiffusionPipeline.from_pretrained(self.given.model, dtype=self.dtype)
        return parts.fuse(pipe, self.given.lora) if self.given.lora else pipe

    def _decoder(self, kind, folder):
        vae = self._network(kind, folder)
        decode = torch.compile(vae.decode) if self.given.compile else vae.decode
        latents = worker.latents(self.given).to(self.dtype)
        return self._warm(lambda: decode(latents))

    def _network(self, kind, folder):
        network = kind.from_pretrained(folder, dtype=self.dtype)
        if self.given.compile:
            network.compile()
        return network

    def _inputs(self):
        def cast(value):
            if isinstance(value, dict):
                return {name: cast(part) for name, part in value.items()}
            return value.to(self.dtype)

        return cast(worker.latents(self.given)), cast(worker.condition(self.given))

    def _warm(self, run):
        """`torch.compile` compiles in the first run, which belongs to preparing."""
        if self.given.compile:
            run()
        return run


def main():
    def add_options(options):
        options.add_argument("--compile", action="store_true", help="with torch.compile")

    worker.serve(lambda given: Bench(given).stages(), __doc__, add_options)


if __name__ == "__main__":
    main()
