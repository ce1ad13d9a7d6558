"""Times what diffusers takes, stage by stage, for SD1.5 or SDXL, a LoRA, TAESD and a ControlNet as `full_size.py`
writes them.

Stages:

- `load`: `from_pretrained`; `lora`: reading and merging the LoRA into the weights just loaded
- `text`: the prompt's embeddings; `unet`: one call at batch 1; `control`: that call with the ControlNet's before it
- `vae`, `taesd`: decoding one latent to pixels
- `image`, `four`: one and four TCD steps through the whole pipeline, from the prompt to the picture
- `swap`: merging another LoRA and taking it out again, for the one exchange that hypersd makes; with `four` only if asked for

`text`, `unet`, `control`, `vae` and `taesd` run once untimed before they are first timed. Each timing is one JSON line,
`{"stage": "unet", "seconds": 8.1}`; at the end comes the peak memory of this process (`VmHWM`, which counts touched
pages of mapped files): for a whole run ask a fresh process for `--only load,lora,image`.

With `--serve` the stages come from standard input, one name a line, and each is answered at once, so that a driver can
interleave these timings with those of another program. `memory` asks for the peak so far.
"""

import argparse
import gc
import json
import sys
import time

import parts
import torch
from diffusers import AutoencoderTiny, ControlNetModel, DiffusionPipeline, TCDScheduler

PROMPT = "a photo of a cat sitting on a windowsill, golden hour"
WARMED_UP = ("text", "unet", "control", "vae", "taesd")
STAGES = ("load", "lora", *WARMED_UP, "image", "four", "swap")
DEFAULT = [stage for stage in STAGES if stage not in ("four", "swap")]
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class Bench:
    """The pipeline and the inputs of the stages, each made when it is first needed."""

    def __init__(self, model, lora, taesd, controlnet, size, device="cpu", dtype=torch.float32, compiled=False):
        self.device, self.dtype, self.compiled = device, dtype, compiled
        self.model, self.lora_file, self.taesd_folder, self.controlnet_folder = model, lora, taesd, controlnet
        self.size = size
        self.pipe = self.tiny = self.controlnet = None
        self.merged = False
        self.warm = set()
        self.latents = torch.randn(1, 4, size // 8, size // 8, generator=torch.Generator().manual_seed(0))
        self.latents = self.latents.to(device, dtype)

    def time(self, stage):
        """Seconds of one run of a stage, without the preparation that it needs."""
        run = getattr(self, stage)()
        if stage in WARMED_UP and stage not in self.warm:
            run()
            self.warm.add(stage)
        self.wait()
        start = time.perf_counter()
        run()
        self.wait()
        return time.perf_counter() - start

    def wait(self):
        """Until the device has done what it was told to."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    # Each stage prepares, and returns what is to be timed.

    def load(self):
        self.pipe, self.merged = None, False
        gc.collect()
        return self._load

    def lora(self):
        if self.pipe is None or self.merged:
            self.load()()
        return self._merge

    def text(self):
        self._ready()
        return self._encode

    def unet(self):
        pipe = self._ready()
        condition = self._condition()
        return lambda: pipe.unet(self.latents, 999, **condition)

    def control(self):
        pipe = self._ready()
        condition = self._condition()
        if self.controlnet is None:
            self.controlnet = self._settled(ControlNetModel.from_pretrained(self.controlnet_folder, dtype=self.dtype))
        edges = torch.rand(1, 3, self.size, self.size, generator=torch.Generator().manual_seed(1)).round()
        edges = edges.to(self.device, self.dtype)

        def step():
            down, mid = self.controlnet(self.latents, 999, controlnet_cond=edges, return_dict=False, **condition)
            residuals = dict(down_block_additional_residuals=down, mid_block_additional_residual=mid)
            return pipe.unet(self.latents, 999, **condition, **residuals)

        return step

    def vae(self):
        pipe = self._ready()
        if self.dtype == torch.float16 and pipe.vae.config.force_upcast:
            pipe.vae.to(torch.float32)  # as the pipeline does for every picture
        latents = self.latents.to(pipe.vae.dtype) / pipe.vae.config.scaling_factor
        return lambda: pipe.vae.decode(latents)

    def taesd(self):
        self.tiny = self.tiny or self._settled(AutoencoderTiny.from_pretrained(self.taesd_folder, dtype=self.dtype))
        return lambda: self.tiny.decode(self.latents)

    def image(self):
        return self._image(1)

    def four(self):
        return self._image(4)

    def swap(self):
        pipe = self._ready()

        def exchange():
            pipe.load_lora_weights(self.lora_file)
            pipe.fuse_lora()
            pipe.unfuse_lora()
            pipe.unload_lora_weights()

        return exchange

    def _image(self, steps):
        pipe = self._ready()
        if self.dtype == torch.float16 and pipe.vae.config.force_upcast:
            pipe.vae.to(self.dtype)  # the pipeline casts it by itself
        generator = torch.Generator().manual_seed(0)
        sides = dict(width=self.size, height=self.size)
        options = dict(num_inference_steps=steps, eta=1.0, guidance_scale=0.0, generator=generator, **sides)
        return lambda: pipe(PROMPT, **options)

    def _load(self):
        self.pipe = DiffusionPipeline.from_pretrained(self.model, dtype=self.dtype).to(self.device)
        self.settled = False

    def _settled(self, network):
        """The network as one would run it on the device."""
        network = network.to(self.device)
        if self.device == "cuda":
            network = network.to(memory_format=torch.channels_last)
        if self.compiled:
            network.compile()
        return network

    def _merge(self):
        parts.fuse(self.pipe, self.lora_file)
        self.merged = True

    def _encode(self):
        return self.pipe.encode_prompt(
            PROMPT, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )

    def _condition(self):
        """What the networks take beside latents and time."""
        context, _, *pooled = self._encode()
        if not pooled:
            return {"encoder_hidden_states": context}
        sides = [self.size, self.size]
        added = {"text_embeds": pooled[0], "time_ids": torch.tensor([[*sides, 0, 0, *sides]], device=self.device)}
        return {"encoder_hidden_states": context, "added_cond_kwargs": added}

    def _ready(self):
        """The pipeline with the LoRA merged."""
        if self.pipe is None:
            self._load()
        if self.lora_file and not self.merged:
            self._merge()
        if not self.settled:  # after merging, which would be compiled in
            self._settled(self.pipe.unet)
            self._settled(self.pipe.vae.decoder)
            self.settled = True
        self.pipe.scheduler = TCDScheduler.from_config(self.pipe.scheduler.config)
        self.pipe.set_progress_bar_config(disable=True)
        return self.pipe


def peak_memory(device="cpu"):
    """The most memory that this process has had in use, in bytes: of a GPU's, what PyTorch has reserved."""
    if device == "cuda":
        return torch.cuda.max_memory_reserved()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", required=True, metavar="DIR")
    options.add_argument("--lora", metavar="FILE", help="left out: nothing is merged")
    options.add_argument("--taesd", metavar="DIR")
    options.add_argument("--controlnet", metavar="DIR")
    options.add_argument("--only", type=lambda names: names.split(","), help=f"some of {','.join(STAGES)}")
    options.add_argument("--rounds", type=int, default=1, help="how often to go through the stages")
    options.add_argument("--size", type=int, default=512, help="width and height in pixels")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--device", default="cpu", help="cpu (which hypersd calls flex) or cuda")
    options.add_argument("--dtype", choices=DTYPES, default="f32")
    options.add_argument("--compile", action="store_true", help="torch.compile the networks")
    options.add_argument("--serve", action="store_true", help="take the stages from standard input")
    options.add_argument("--out", type=argparse.FileType("w"), default=sys.stdout, help="where the JSON lines go")
    given = options.parse_args()

    needs = {"lora": given.lora, "swap": given.lora, "taesd": given.taesd, "control": given.controlnet}
    known = [stage for stage in STAGES if needs.get(stage, True)]
    if unknown := set(given.only or ()).difference(known):
        options.error(f"--only: {', '.join(unknown)}: expected some of {', '.join(known)}")

    torch.set_num_threads(given.threads)
    torch.set_grad_enabled(False)
    device = "cpu" if given.device == "flex" else given.device
    bench = Bench(given.model, given.lora, given.taesd, given.controlnet, given.size, device, DTYPES[given.dtype], given.compile)

    def tell(**line):
        print(json.dumps(line), file=given.out, flush=True)

    if given.serve:
        tell(ready=known)
        stages = iter(lambda: sys.stdin.readline().strip(), "")  # until the end, or an empty line
    else:
        stages = (given.only or [stage for stage in known if stage in DEFAULT]) * given.rounds
    for stage in stages:
        if stage in known:
            tell(stage=stage, seconds=round(bench.time(stage), 4))
        elif stage != "memory":
            tell(error=f"{stage}: expected memory or one of {', '.join(known)}")
        else:
            tell(stage="memory", bytes=peak_memory(device))
    tell(stage="memory", bytes=peak_memory(device))


if __name__ == "__main__":
    main()
