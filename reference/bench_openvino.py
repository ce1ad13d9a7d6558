"""OpenVINO on the CPU, as a program beside hypersd in `benches/stages`: diffusers' networks, converted.

A network is converted once, by a process of its own, to `openvino/` beside the folder of the model, where a UNet takes
as much disk as its weights (`--dtype f32`) or half of that (`f16`). What is measured reads that file, sets the shapes,
and compiles, with `f32` as the precision of the arithmetic for either. `--dtype bf16` is the f32 file with `bf16` as that
precision. `--dtype q8` is int8 by NNCF (preset mixed, of the UNet as a transformer), calibrated on three random inputs,
and what is left in floats computes in `--rest`. `control` is one network of the ControlNet and the UNet. `image` (SD1.5
only) is text encoder, UNet, diffusers' TCD step and VAE. No LoRA is merged.
"""

import multiprocessing

import bench_worker as worker
import openvino
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, TCDScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

T = torch.tensor(float(worker.TIMESTEP))


class Denoiser(torch.nn.Module):
    """A UNet and what may come before it, with plain tensors for inputs."""

    def __init__(self, given, controlnet=False):
        super().__init__()
        self.unet = UNet2DConditionModel.from_pretrained(given.model / "unet", dtype=torch.float32)
        self.controlnet = None
        if controlnet:
            self.controlnet = ControlNetModel.from_pretrained(given.controlnet, dtype=torch.float32)

    def forward(self, latents, t, context, *rest):
        rest = list(rest)
        edges = rest.pop() if self.controlnet else None
        condition = {"encoder_hidden_states": context, "return_dict": False}
        if rest:
            condition["added_cond_kwargs"] = dict(zip(("text_embeds", "time_ids"), rest))
        if self.controlnet is None:
            return self.unet(latents, t, **condition)[0]
        down, mid = self.controlnet(latents, t, controlnet_cond=edges, **condition)
        residuals = dict(down_block_additional_residuals=down, mid_block_additional_residual=mid)
        return self.unet(latents, t, **condition, **residuals)[0]


class Decoder(torch.nn.Module):
    def __init__(self, kind, folder):
        super().__init__()
        self.vae = kind.from_pretrained(folder, dtype=torch.float32)

    def forward(self, latents):
        return self.vae.decode(latents, return_dict=False)[0]


class Text(torch.nn.Module):
    """All of a model's text encoders, to the states that a UNet is given."""

    def __init__(self, given):
        super().__init__()
        kinds = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
        folders = [given.model / name for name in kinds if (given.model / name).is_dir()]
        encoders = [kinds[folder.name].from_pretrained(folder, dtype=torch.float32) for folder in folders]
        self.encoders = torch.nn.ModuleList(encoders)

    def forward(self, ids):
        states = [encoder(ids, output_hidden_states=True) for encoder in self.encoders]
        if len(states) == 1:
            return states[0].last_hidden_state
        return *(state.hidden_states[-2] for state in states), states[1].text_embeds


def network(stage, given):
    match stage:
        case "text":
            return Text(given)
        case "unet":
            return Denoiser(given)
        case "control":
            return Denoiser(given, controlnet=True)
        case "vae":
            return Decoder(AutoencoderKL, given.model / "vae")
        case "taesd":
            return Decoder(AutoencoderTiny, given.taesd)


def inputs(stage, given):
    match stage:
        case "text":
            return [torch.ones(given.batch, worker.TOKENS, dtype=torch.long)]
        case "unet" | "control":
            condition = worker.condition(given)
            added = condition.pop("added_cond_kwargs", {})
            edges = [worker.normal(given.batch, 3, given.size, given.size)] if stage == "control" else []
            return [worker.latents(given), T, *condition.values(), *added.values(), *edges]
        case "vae" | "taesd":
            return [worker.latents(given)]


def convert(stage, given, path):
    torch.set_grad_enabled(False)
    example = inputs(stage, given)
    model = openvino.convert_model(network(stage, given).eval(), example_input=tuple(example))
    openvino.save_model(model, path, compress_to_fp16=given.dtype == "f16")


def quantize(stage, given, path):
    import nncf

    def calibration(seed):
        generator = torch.Generator().manual_seed(seed)
        return [
            torch.randn(x.shape, generator=generator).numpy() if x.ndim > 0 and x.is_floating_point() else x.numpy()
            for x in inputs(stage, given)
        ]

    model = openvino.Core().read_model(converted(stage, given, "f32"))
    ports = [port.get_any_name() for port in model.inputs]
    data = nncf.Dataset([dict(zip(ports, calibration(seed))) for seed in range(1, 4)])
    kind = {} if stage in ("vae", "taesd") else {"model_type": nncf.ModelType.TRANSFORMER}
    model = nncf.quantize(model, data, preset=nncf.QuantizationPreset.MIXED, subset_size=3, **kind)
    openvino.save_model(model, path, compress_to_fp16=False)


def converted(stage, given, dtype):
    """The file of a network, which is made if it is not there."""
    path = given.model.parent / "openvino" / given.model.name / f"{stage}.{dtype}.xml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if dtype == "q8":
            converted(stage, given, "f32")
        # Its memory shall not be counted.
        make = quantize if dtype == "q8" else convert
        process = multiprocessing.get_context("spawn").Process(target=make, args=(stage, given, path))
        process.start()
        process.join()
    return path


def compiled(stage, given):
    """The network on inputs of its shapes, ready to run."""
    path = converted(stage, given, "f32" if given.dtype == "bf16" else given.dtype)
    model = openvino.Core().read_model(path)
    example = [tensor.numpy() for tensor in inputs(stage, given)]
    model.reshape({port: list(tensor.shape) for port, tensor in zip(model.inputs, example)})
    options = {
        "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "q8": given.rest}.get(given.dtype, "f32"),
        "INFERENCE_NUM_THREADS": given.threads,
        "NUM_STREAMS": 1,
        "ENABLE_HYPER_THREADING": True,  # else it may take fewer threads than it is told
    }
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    return example, lambda *tensors: request.infer(list(tensors))[0]


def alone(stage, given):
    example, run = compiled(stage, given)
    return lambda: run(*example)


def image(given):
    [ids], text = compiled("text", given)
    [_, t, _], unet = compiled("unet", given)
    given.batch, rows = 1, given.batch
    [noise], vae = compiled("vae", given)
    given.batch = rows
    scheduler = TCDScheduler.from_pretrained(given.model / "scheduler")

    def run():
        scheduler.set_timesteps(1)
        predicted = torch.from_numpy(unet(noise.repeat(rows, 0), t, text(ids)))
        if rows == 2:
            predicted = predicted[:1] + 2.0 * (predicted[1:] - predicted[:1])
        x = scheduler.step(predicted, scheduler.timesteps[0], torch.from_numpy(noise), eta=1.0).prev_sample
        return vae(x.numpy())

    return run


def stages(given):
    names = ("text", "unet", "control", "vae", "taesd")
    made = {stage: lambda stage=stage: alone(stage, given) for stage in names}
    return made if worker.is_sdxl(given) else made | {"image": lambda: image(given)}


if __name__ == "__main__":
    def rest(options):
        options.add_argument("--rest", choices=("f32", "bf16"), default="bf16", help="beside int8")

    worker.serve(stages, __doc__, add_options=rest, dtypes=("f32", "f16", "bf16", "q8"))
