"""diffusers, as a program beside hypersd in `benches/stages`.

Stages:

- `load`: `from_pretrained` and merging the LoRA into the weights just loaded
- `text`: the text encoders; `unet`: one call; `control`: that call with the ControlNet's before it
- `vae`, `taesd`: decoding latents to pixels; `encode`: pixels to latents, by the VAE
- `live`: one TCD step from a picture, TAESD both ways, the prompt encoded again
- `image`, `four`: one and four TCD steps through the whole pipeline with the LoRA merged, from the prompt to the picture
- `swap`: reading the LoRA, merging it, and taking it out again, for the one exchange that hypersd makes

With `--dtype f16` or `bf16` PyTorch stores in half precision and computes in it too. With `--device cuda` UNet, ControlNet
and decoders are `channels_last`, a run has ended when the card has, and the peak is of what PyTorch has reserved there. With `--compile` the networks of the stages
`unet`, `control`, `vae` and `taesd` go through `torch.compile`, which is not part of the times.
"""

import bench_worker as worker
import parts
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    AutoPipelineForImage2Image,
    ControlNetModel,
    DiffusionPipeline,
    TCDScheduler,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextModel, CLIPTextModelWithProjection

PROMPT = "a photo of a cat sitting on a windowsill, golden hour"
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class Bench:
    def __init__(self, given):
        self.given = given
        self.dtype = DTYPES[given.dtype]

    def stages(self):
        own = ("load", "text", "unet", "control", "vae", "taesd", "encode", "image", "four", "live", "swap")
        compiled = ("unet", "control", "vae", "taesd")
        names = compiled if self.given.compile else own
        return {name: self._until_done(getattr(self, name)) for name in names}

    # Each stage prepares, and returns what is to be timed.

    def load(self):
        return self._pipeline

    def text(self):
        encoders = [self._network(CLIPTextModel, self.given.model / "text_encoder")]
        if worker.is_sdxl(self.given):
            encoders.append(self._network(CLIPTextModelWithProjection, self.given.model / "text_encoder_2"))
        ids = torch.ones(self.given.batch, worker.TOKENS, dtype=torch.long, device=self.given.device)
        return lambda: [encoder(ids, output_hidden_states=True) for encoder in encoders]

    def unet(self):
        unet = self._network(UNet2DConditionModel, self.given.model / "unet")
        latents, condition = self._inputs()
        return self._warm(lambda: unet(latents, worker.TIMESTEP, **condition))

    def control(self):
        unet = self._network(UNet2DConditionModel, self.given.model / "unet")
        controlnet = self._network(ControlNetModel, self.given.controlnet)
        latents, condition = self._inputs()
        edges = self._cast(worker.normal(self.given.batch, 3, self.given.size, self.given.size))

        def step():
            down, mid = controlnet(
                latents, worker.TIMESTEP, controlnet_cond=edges, return_dict=False, **condition
            )
            residuals = dict(down_block_additional_residuals=down, mid_block_additional_residual=mid)
            return unet(latents, worker.TIMESTEP, **condition, **residuals)

        return self._warm(step)

    def vae(self):
        # As the pipeline does for SDXL, on a card; on the CPU f16 is f16.
        on_card = self.given.device != "cpu"
        upcast = on_card and self.dtype == torch.float16 and worker.is_sdxl(self.given)
        return self._decoder(AutoencoderKL, self.given.model / "vae", torch.float32 if upcast else self.dtype)

    def taesd(self):
        return self._decoder(AutoencoderTiny, self.given.taesd, self.dtype)

    def encode(self):
        vae = self._network(AutoencoderKL, self.given.model / "vae")
        pixels = self._cast(worker.normal(self.given.batch, 3, self.given.size, self.given.size))
        return self._warm(lambda: vae.encode(pixels).latent_dist.mode())

    def live(self):
        kind = AutoPipelineForImage2Image
        tiny = AutoencoderTiny.from_pretrained(self.given.taesd, torch_dtype=self.dtype)
        pipe = kind.from_pipe(self._pipeline(), vae=tiny.to(self.given.device))
        pipe.scheduler = TCDScheduler.from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        picture = Image.effect_noise((self.given.size, self.given.size), 60).convert("RGB")
        return lambda: pipe(PROMPT, image=picture, timesteps=[499], strength=1.0, eta=1.0, guidance_scale=0.0)

    def image(self):
        return self._picture(1)

    def four(self):
        return self._picture(4)

    def swap(self):
        pipe = self._pipeline()

        def exchange():
            pipe.load_lora_weights(self.given.lora)
            pipe.fuse_lora()
            pipe.unfuse_lora()
            pipe.unload_lora_weights()

        return exchange

    def _picture(self, steps):
        pipe = self._pipeline()
        pipe.scheduler = TCDScheduler.from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        sides = dict(width=self.given.size, height=self.given.size)
        guidance = 2.0 if self.given.batch == 2 else 0.0
        return lambda: pipe(PROMPT, num_inference_steps=steps, eta=1.0, guidance_scale=guidance, **sides)

    def _pipeline(self):
        pipe = DiffusionPipeline.from_pretrained(self.given.model, dtype=self.dtype)
        pipe = pipe.to(self.given.device)
        if self.given.lora:
            parts.fuse(pipe, self.given.lora)
        self._settle(pipe.unet)
        self._settle(pipe.vae)
        return pipe

    def _decoder(self, kind, folder, dtype):
        vae = self._network(kind, folder, dtype)
        decode = torch.compile(vae.decode) if self.given.compile else vae.decode
        latents = worker.latents(self.given).to(self.given.device, dtype)
        return self._warm(lambda: decode(latents))

    def _network(self, kind, folder, dtype=None):
        network = self._settle(kind.from_pretrained(folder, dtype=dtype or self.dtype))
        if self.given.compile:
            network.compile()
        return network

    def _settle(self, network):
        """The network where it is to run, and as one would run it there."""
        network = network.to(self.given.device)
        if self.given.device == "cuda":
            network = network.to(memory_format=torch.channels_last)
        return network

    def _inputs(self):
        return self._cast(worker.latents(self.given)), self._cast(worker.condition(self.given))

    def _cast(self, value):
        if isinstance(value, dict):
            return {name: self._cast(part) for name, part in value.items()}
        return value.to(self.given.device, self.dtype)

    def _until_done(self, prepare):
        """A stage, of which preparing and each run end when the device has done what it was told to."""

        def waiting(act):
            done = act()
            if self.given.device == "cuda":
                torch.cuda.synchronize()
            return done

        def prepare_and_wait():
            run = waiting(prepare)
            return lambda: waiting(run)

        return prepare_and_wait

    def _warm(self, run):
        """`torch.compile` compiles in the first run, which belongs to preparing."""
        if self.given.compile:
            run()
        return run


def main():
    def add_options(options):
        options.add_argument("--compile", action="store_true", help="with torch.compile")
        options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")

    def memory(given):
        return torch.cuda.max_memory_reserved() if given.device == "cuda" else worker.peak_memory()

    worker.serve(lambda given: Bench(given).stages(), __doc__, add_options, tuple(DTYPES), memory)


if __name__ == "__main__":
    main()
