"""stable-diffusion.cpp, as a program beside hypersd in `benches/stages`, by way of `stable-diffusion-cpp-python`, which
brings the C++ and builds it for the processor it is installed on.

It only draws whole pictures, here with one TCD step, and logs what their parts took to a hundredth of a second. The
times of `text`, `unet`, `control`, `vae` and `taesd` are from that log; before `unet` and `control` TAESD is decoded
with where there is one, which is soonest done. Peak memory is that of the whole program for every stage. Guidance
(`--batch 2`) is two calls of the network one after the other, and a picture is decoded alone. No LoRA is merged.

`--direct` convolves without copying patches of the image first, `--flash` never holds a whole attention matrix.
"""

import ctypes
import re
import sys

import bench_worker as worker
import stable_diffusion_cpp
from PIL import Image
from stable_diffusion_cpp import StableDiffusion

PROMPT = "a photo of a cat sitting on a windowsill, golden hour"
LOGGED = {
    "text": "get_learned_condition",
    "unet": "sampling",
    "control": "sampling",
    "vae": "decode_first_stage",
    "taesd": "decode_first_stage",
}
ERROR = 3  # the level of errors in the log
WEIGHTS = "diffusion_pytorch_model.safetensors"


class Bench:
    def __init__(self, given):
        self.given = given
        self.log = []
        self.listener = stable_diffusion_cpp.sd_log_callback(self.listen)  # kept, because C++ does not
        stable_diffusion_cpp.sd_set_log_callback(self.listener, ctypes.c_void_p(0))

    def stages(self):
        return {stage: lambda stage=stage: self.prepare(stage) for stage in (*LOGGED, "image")}

    def prepare(self, stage):
        given = self.given
        options = {"taesd_path": str(given.taesd / WEIGHTS)} if given.taesd and stage not in ("vae", "image") else {}
        drawing = {}
        if stage == "control":
            options["control_net_path"] = str(given.controlnet / WEIGHTS)
            drawing["control_image"] = Image.new("RGB", (given.size, given.size))
        model = StableDiffusion(
            str(given.model),
            n_threads=given.threads,
            wtype=given.dtype,
            vae_decode_only=True,
            diffusion_conv_direct=given.direct,
            vae_conv_direct=given.direct,
            flash_attn=given.flash,
            diffusion_flash_attn=given.flash,
            verbose=True,
            **options,
        )

        def run():
            self.log.clear()
            model.generate_image(
                PROMPT,
                width=given.size,
                height=given.size,
                cfg_scale=2.0 if given.batch == 2 else 1.0,
                sample_method="tcd",
                sample_steps=1,
                eta=1.0,
                **drawing,
            )
            return self.logged(LOGGED[stage]) if stage in LOGGED else None

        return run

    def listen(self, level, text, data):
        self.log.append(text.decode(errors="replace"))
        if level == ERROR:
            print(self.log[-1], end="", file=sys.stderr)

    def logged(self, what):
        """Seconds of a part of the last picture."""
        found = re.search(rf"{what} completed, taking ([\d.]+)s", "".join(self.log))
        return float(found[1])


def main():
    def add_options(options):
        options.add_argument("--direct", action="store_true")
        options.add_argument("--flash", action="store_true")

    worker.serve(lambda given: Bench(given).stages(), __doc__, add_options)


if __name__ == "__main__":
    main()
