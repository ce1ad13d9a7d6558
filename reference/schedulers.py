"""Tables and trajectories of diffusers' schedulers, for crates/hypersd-schedulers.

`alphas.safetensors` (betas to alphas_cumprod), `timesteps*.safetensors` (a hash of the timesteps for every step count
from 1 to 1000), and the trajectories in sets: `SET.json` says what was run and `SET.safetensors` what came out. All
trajectories use the same random start, model outputs and noise, different in every step.

An algorithm that is new gets a set of its own, so that the numbers of the others stay as they were recorded.
"""

import itertools
import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from common import save
from diffusers.schedulers import AysSchedules
from perflow import PeRFlow

torch.set_num_threads(2)
diffusers.utils.logging.set_verbosity_error()

OUT = Path("crates/hypersd-schedulers/tests/fixtures")
COUNTS = [1, 2, 3, 4, 5, 6, 8, 12, 20, 50]
SPACINGS = ["leading", "trailing", "linspace"]
PREDICTIONS = ["epsilon", "v_prediction", "sample"]
SHAPE = (1, 2, 2, 2)
CLASSES = {
    "ddim": diffusers.DDIMScheduler,
    "tcd": diffusers.TCDScheduler,
    "lcm": diffusers.LCMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler-a": diffusers.EulerAncestralDiscreteScheduler,
    "dpmpp-2m": diffusers.DPMSolverMultistepScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
    "dpmpp-2m-sde": diffusers.DPMSolverMultistepScheduler,
    "dpmpp-sde": diffusers.DPMSolverSDEScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "pndm": diffusers.PNDMScheduler,
    "ddpm": diffusers.DDPMScheduler,
    "perflow": PeRFlow,
}
# Whose trajectories are in the set `trajectories`.
FIRST = ["ddim", "tcd", "lcm", "euler", "euler-a", "dpmpp-2m"]
MULTISTEP = ("dpmpp-2m", "dpmpp-2m-sde", "unipc")
# scheduler/scheduler_config.json of SD1.5 and of SDXL.
SD15 = {
    "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None, "clip_sample": False,
}
SDXL = {
    "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0", "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": False, "interpolation_type": "linear",
    "num_train_timesteps": 1000, "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading", "trained_betas": None,
    "use_karras_sigmas": False,
}  # fmt: skip

generator = torch.Generator().manual_seed(2026)
START = torch.randn(SHAPE, generator=generator)
OUTPUTS = torch.randn((max(COUNTS), *SHAPE), generator=generator)
NOISE = torch.randn((max(COUNTS), *SHAPE), generator=generator)


class ShiftedLCM(diffusers.LCMScheduler):
    """LCM for models that were distilled at shifted timesteps, as NitroFusion's README has it: the model and the step are
    told the shifted timestep, the noise that follows is of the next one before it is shifted."""

    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        self.told = self.timesteps * self.shift // self.config.num_train_timesteps
        self.timesteps, self.plain = self.told, self.timesteps

    def step(self, *args, **kwargs):
        self.timesteps = self.plain
        out = super().step(*args, **kwargs)
        self.timesteps = self.told
        return out


def from_json(algorithm, config):
    """As a pipeline does it: the class that wrote the file reads it, `from_config` makes another of it."""
    if algorithm == "perflow":
        return PeRFlow(config)
    writer = getattr(diffusers, config.get("_class_name", CLASSES[algorithm].__name__))
    made = writer.from_config(config).config
    if "shifted_timestep" in config:
        scheduler = ShiftedLCM.from_config(made)
        scheduler.shift = config["shifted_timestep"]
        return scheduler
    kind = {"algorithm_type": "sde-dpmsolver++"} if algorithm == "dpmpp-2m-sde" else {}
    return CLASSES[algorithm].from_config(made, **kind)


def run(case, config):
    """The rows [t, input scale, draws, x (8), x0 (8)] of every step, [init_noise_sigma, add_noise (8)], and for every
    step the latent (8) that it went on from, which UniPC's corrector has changed."""
    algorithm = case["algorithm"]
    scheduler = from_json(algorithm, config)
    kwargs = {"strength": case["strength"]} if "strength" in case else {}
    if "timesteps" in case:
        scheduler.set_timesteps(timesteps=case["timesteps"], **kwargs)
    elif "sigmas" in case:
        scheduler.set_timesteps(sigmas=case["sigmas"], **kwargs)
    else:
        scheduler.set_timesteps(case["steps"], **kwargs)
    if case.get("precise") or case.get("exact"):
        scheduler.sigmas = scheduler.sigmas.double() if hasattr(scheduler, "sigmas") else None
        for name in ("alphas_cumprod", "final_alpha_cumprod"):
            if case.get("exact") and hasattr(scheduler, name):
                setattr(scheduler, name, getattr(scheduler, name).double())
    # Heun's and the stochastic DPM-Solver's list is of evaluations, two in a step; PNDM's has one more than steps.
    order = getattr(scheduler, "order", 1)
    evaluations = len(scheduler.timesteps)
    count = (evaluations + 1) // 2 if order == 2 else evaluations - (algorithm == "pndm" and evaluations > 1)
    assert count == case.get("steps", count), case
    # As `get_timesteps` of the image-to-image pipelines.
    begin = (count - int(count * case.get("tail", 1.0))) * order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    x = START * scheduler.init_noise_sigma
    timesteps = scheduler.timesteps[begin:]
    start = [float(scheduler.init_noise_sigma), *scheduler.add_noise(OUTPUTS[0], NOISE[0], timesteps[:1]).flatten().tolist()]

    rows, corrected = [], []
    module = __import__(CLASSES[algorithm].__module__, fromlist=["randn_tensor"])
    exact = torch.Tensor.double if case.get("exact") else torch.Tensor.float
    x = exact(x)
    for i, t in enumerate(timesteps):
        drawn = []
        if hasattr(module, "randn_tensor"):
            module.randn_tensor = lambda *_, **__: drawn.append(i) or NOISE[i]
        scheduler.noise_sampler = lambda *_: drawn.append(i) or NOISE[i]
        scale = scheduler.scale_model_input(torch.ones(1), t)
        options = {"eta": case["eta"]} if algorithm in ("ddim", "tcd") else {}
        out = scheduler.step(exact(OUTPUTS[i]), t, x, **options)
        corrected.append(getattr(scheduler, "last_sample", x).flatten())
        x = out.prev_sample
        x0 = getattr(out, "pred_original_sample", None)
        if algorithm in MULTISTEP:
            x0 = scheduler.model_outputs[-1]
        x0 = torch.zeros_like(x) if x0 is None else x0
        rows.append(torch.cat([torch.tensor([t, scale, len(drawn)]), x.flatten().float(), x0.flatten().float()]))
    rows = torch.stack(rows)
    assert rows.isfinite().all(), case
    return rows, torch.tensor(start), torch.stack(corrected)


def case(algorithm, config, eta=0.0, **request):
    """What is run, and the configuration."""
    return {"algorithm": algorithm, "eta": eta, **request}, config


def cases():
    """The grid, and what it leaves out."""
    for n, spacing, prediction in itertools.product(COUNTS, SPACINGS, PREDICTIONS):
        config = SD15 | {"timestep_spacing": spacing, "prediction_type": prediction}
        for eta in (0.0, 0.3, 1.0):
            yield case("ddim", config, eta, steps=n)
        for karras in (False, True):
            for algorithm in ("euler", "dpmpp-2m"):
                yield case(algorithm, config | {"use_karras_sigmas": karras}, steps=n)
        if prediction != "sample":
            yield case("euler-a", config, steps=n)
    for n, prediction in itertools.product(COUNTS, PREDICTIONS):
        config = SD15 | {"prediction_type": prediction}
        for eta in (0.0, 0.3, 1.0):
            yield case("tcd", config, eta, steps=n)
        yield case("lcm", config, steps=n)
        yield case("lcm", config | {"clip_sample": True, "clip_sample_range": 1.5}, steps=n)

    for n in (1, 2, 4, 6, 8, 20):
        for algorithm in FIRST:
            # Nothing given: the defaults of the class. SDXL's file. What the class itself writes (with -Infinity).
            yield case(algorithm, {}, steps=n)
            yield case(algorithm, SDXL, steps=n)
            yield case(algorithm, json.loads(CLASSES[algorithm](steps_offset=1).to_json_string()), steps=n)
            for schedule in ("linear", "squaredcos_cap_v2"):
                yield case(algorithm, SDXL | {"beta_schedule": schedule}, 0.5, steps=n)
            for spacing in SPACINGS:
                zero_snr = SDXL | {"rescale_betas_zero_snr": True, "timestep_spacing": spacing}
                yield case(algorithm, zero_snr | {"prediction_type": "v_prediction"}, 0.7, steps=n)
            if algorithm not in ("tcd", "lcm"):
                yield case(algorithm, SDXL | {"rescale_betas_zero_snr": True}, 0.7, steps=n)
        yield case("ddim", SD15 | {"clip_sample": True, "clip_sample_range": 0.7, "set_alpha_to_one": True}, 0.4, steps=n)
        yield case("euler", SDXL | {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10.0}, steps=n)
        yield case("euler", SDXL | {"final_sigmas_type": "sigma_min"}, steps=n)
        for last in ({"final_sigmas_type": "sigma_min"}, {"euler_at_final": True}, {"lower_order_final": False}):
            yield case("dpmpp-2m", SDXL | {"final_sigmas_type": "sigma_min"} | last, steps=n)
        for spacing in SPACINGS:
            cosine = SDXL | {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1}
            yield case("dpmpp-2m", cosine | {"timestep_spacing": spacing}, steps=n)
        yield case("dpmpp-2m", SDXL | {"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": True}, steps=n)

    for timesteps in ([800], [999, 749, 499, 249], [900, 17], [999, 998, 3, 0]):
        for algorithm in ("tcd", "lcm", "euler", "dpmpp-2m"):
            yield case(algorithm, SD15, 0.3, timesteps=timesteps)
    for n, strength in itertools.product((1, 2, 4, 8), (0.3, 0.5, 0.75)):
        for algorithm in ("tcd", "lcm"):
            yield case(algorithm, SD15, 0.3, steps=n, strength=strength)
        if int(n * strength) > 0:
            for algorithm in FIRST:
                yield case(algorithm, SD15 | {"timestep_spacing": "trailing"}, 0.3, steps=n, tail=strength)


def refined(cases):
    """Steps of higher order divide the roundings of their coefficients by the square or cube of the step in lambda. What
    torch rounds in f32 then shows, and differs from processor to processor: with many steps, and with the last of fewer.
    There the same code is given sigmas in f64, so that all its coefficients are."""
    for request, config in cases:
        precise = request.get("steps", 9) > 8 or config.get("lower_order_final") is False
        yield request | ({"precise": True} if precise else {}), config


def unipc():
    """UniPC: every order and both B(h), with and without its corrector."""
    for n, spacing, prediction in itertools.product(COUNTS, SPACINGS, PREDICTIONS):
        yield case("unipc", SD15 | {"timestep_spacing": spacing, "prediction_type": prediction}, steps=n)
    for n in COUNTS:
        for order, kind in itertools.product((1, 2, 3), ("bh1", "bh2")):
            # With bh1 and a last sigma of zero, diffusers multiplies infinity by 0.
            last = {"final_sigmas_type": "sigma_min" if kind == "bh1" else "zero"}
            yield case("unipc", SDXL | {"solver_order": order, "solver_type": kind} | last, steps=n)
        for order in (1, 2, 3):
            yield case("unipc", SD15 | {"solver_order": order, "use_karras_sigmas": True}, steps=n)
    for n in (1, 2, 3, 4, 6, 8, 20):
        yield case("unipc", {}, steps=n)
        yield case("unipc", json.loads(diffusers.UniPCMultistepScheduler(steps_offset=1).to_json_string()), steps=n)
        yield case("unipc", SDXL | {"solver_type": "midpoint"}, 0.5, steps=n)
        yield case("unipc", SDXL | {"solver_order": 3, "disable_corrector": [0, 1, 3]}, steps=n)
        yield case("unipc", SDXL | {"disable_corrector": list(range(20))}, steps=n)
        for schedule in ("linear", "squaredcos_cap_v2"):
            for karras in (False, True):
                yield case("unipc", SDXL | {"beta_schedule": schedule, "use_karras_sigmas": karras}, steps=n)
        # With more steps it shows that torch's square roots, of which these tables are, differ between processors.
        for spacing in SPACINGS if n < 6 else ():
            zero_snr = SDXL | {"rescale_betas_zero_snr": True, "timestep_spacing": spacing}
            yield case("unipc", zero_snr | {"prediction_type": "v_prediction"}, steps=n)
            yield case("unipc", zero_snr, steps=n)
        for karras in (False, True):
            least = SDXL | {"final_sigmas_type": "sigma_min", "use_karras_sigmas": karras}
            yield case("unipc", least, steps=n)
        yield case("unipc", SDXL | {"final_sigmas_type": "sigma_min", "lower_order_final": False}, steps=n)
        limits = {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10.0}
        yield case("unipc", SDXL | limits | {"final_sigmas_type": "sigma_min"}, steps=n)
    for n, strength, order in itertools.product((2, 4, 8), (0.5, 0.75), (1, 2, 3)):
        config = SD15 | {"timestep_spacing": "trailing", "solver_order": order, "disable_corrector": [6]}
        yield case("unipc", config, steps=n, tail=strength)


def solver_order():
    """DPM-Solver++ of first and third order."""
    for n, order in itertools.product(COUNTS, (1, 3)):
        for spacing, prediction in itertools.product(SPACINGS, PREDICTIONS):
            if order == 3 or prediction == "epsilon":
                config = SD15 | {"timestep_spacing": spacing, "prediction_type": prediction, "solver_order": order}
                yield case("dpmpp-2m", config, steps=n)
        yield case("dpmpp-2m", SDXL | {"use_karras_sigmas": True, "solver_order": order}, steps=n)
    for n in (1, 2, 3, 4, 6, 8, 20):
        third = SDXL | {"solver_order": 3}
        for last in ({"final_sigmas_type": "sigma_min"}, {"euler_at_final": True}, {"lower_order_final": False}):
            yield case("dpmpp-2m", third | {"final_sigmas_type": "sigma_min"} | last, steps=n)
        yield case("dpmpp-2m", third | {"lower_order_final": False}, steps=n)
        if n < 6:
            yield case("dpmpp-2m", third | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}, steps=n)
    for n, strength in itertools.product((2, 4, 8, 20), (0.3, 0.5, 0.75)):
        if int(n * strength) > 0:
            config = SD15 | {"timestep_spacing": "trailing", "solver_order": 3}
            yield case("dpmpp-2m", config, steps=n, tail=strength)
    for timesteps in ([800], [999, 749, 499, 249], [999, 900, 600, 300, 20]):
        yield case("dpmpp-2m", SD15 | {"solver_order": 3}, timesteps=timesteps)


FEW = (1, 2, 3, 4, 8)
CURVES = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")


def sigma_space():
    """Heun, and the stochastic DPM-Solver in both forms.

    Those of two evaluations are run in f64. In f32 it would show what the stochastic one rounds between sigma and its
    logarithm, and that Heun divides x − x0 by the sigma of the end of a step, which makes the rounding of x0 as many times
    larger as sigma has fallen: a hundred times in two steps."""
    for algorithm in ("heun", "dpmpp-sde", "dpmpp-2m-sde"):
        more = {} if algorithm == "dpmpp-2m-sde" else {"exact": True}
        both = PREDICTIONS[:2] if algorithm == "dpmpp-sde" else PREDICTIONS
        for n, spacing in itertools.product(FEW, SPACINGS):
            for prediction in both if n < 8 else both[:1]:
                yield case(algorithm, SD15 | {"timestep_spacing": spacing, "prediction_type": prediction}, steps=n, **more)
        for n, curve in itertools.product((1, 2, 4, 20), CURVES):
            yield case(algorithm, SDXL | {curve: True}, steps=n, **more)
        for n in (1, 4, 6):
            yield case(algorithm, {}, steps=n, **more)
            yield case(algorithm, SDXL | {"beta_schedule": "squaredcos_cap_v2"}, steps=n, **more)
            yield case(algorithm, SDXL | {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True}, steps=n, **more)
            limits = {"sigma_min": 0.1, "sigma_max": 10.0}
            for curve in CURVES:
                yield case(algorithm, SDXL | limits | {curve: True}, steps=n, **more)
        for n, strength in itertools.product((2, 4, 8), (0.5, 0.75)):
            yield case(algorithm, SD15 | {"timestep_spacing": "trailing"}, steps=n, tail=strength, **more)
    for n in (1, 4, 8):
        yield case("heun", SDXL | {"clip_sample": True, "clip_sample_range": 1.5}, steps=n, exact=True)
    for timesteps in ([800], [999, 749, 499, 249], [999, 998, 3, 0]):
        yield case("heun", SD15, timesteps=timesteps, exact=True)
        yield case("dpmpp-2m-sde", SD15, timesteps=timesteps)
    for n, order in itertools.product((1, 2, 3, 4, 6, 20), (1, 3)):
        # The third order of 20 steps draws its coefficients from f32 sigmas that are near to each other.
        more = {"precise": True} if n > 8 else {}
        yield case("dpmpp-2m-sde", SDXL | {"solver_order": order}, steps=n, **more)
        yield case("dpmpp-2m-sde", SDXL | {"solver_order": order, "euler_at_final": True}, steps=n, **more)
        yield case("dpmpp-2m-sde", SDXL | {"solver_order": order, "final_sigmas_type": "sigma_min"}, steps=n, **more)


def curves():
    """Sigmas in other curves than that of Karras et al., and given ones."""
    for n, curve in itertools.product((1, 2, 3, 4, 8, 20), CURVES[1:]):
        more = {"precise": True} if n > 8 else {}
        for last in ({}, {"final_sigmas_type": "sigma_min"}):
            yield case("euler", SDXL | {curve: True} | last, steps=n)
            yield case("dpmpp-2m", SDXL | {curve: True} | last, steps=n, **more)
            yield case("unipc", SDXL | {curve: True} | last, steps=n, **more)
    for name in ("StableDiffusion", "StableDiffusionXL"):
        sigmas = AysSchedules[name + "Sigmas"]
        for config in (SD15, SDXL, SDXL | {"use_karras_sigmas": True, "prediction_type": "v_prediction"}):
            yield case("euler", config, sigmas=sigmas)
        yield case("euler", SDXL, sigmas=sigmas[:-1])
        yield case("heun", SDXL, timesteps=AysSchedules[name + "Timesteps"], exact=True)
        for algorithm in ("dpmpp-2m", "dpmpp-2m-sde"):
            yield case(algorithm, SDXL, timesteps=AysSchedules[name + "Timesteps"])


def timestep_space():
    """PNDM, DDPM, PeRFlow, and what LCM takes beside. PNDM finds the noise from a velocity at another latent than that
    which it goes on from, and subtracts multiples that are 14 times larger than what is left: in f64."""
    for n, spacing in itertools.product((1, 2, 3, 4, 5, 6, 8, 20), SPACINGS):
        for prediction in PREDICTIONS[:2] if n < 8 else PREDICTIONS[:1]:
            more = {"exact": True} if prediction == "v_prediction" else {}
            yield case("pndm", SD15 | {"timestep_spacing": spacing, "prediction_type": prediction}, steps=n, **more)
    for n, spacing in itertools.product(FEW, SPACINGS):
        for prediction in PREDICTIONS if n < 8 else PREDICTIONS[:1]:
            yield case("ddpm", SD15 | {"timestep_spacing": spacing, "prediction_type": prediction}, steps=n)
    for algorithm in ("pndm", "ddpm"):
        for n in (1, 4, 20):
            skip = {"skip_prk_steps": True} if algorithm == "pndm" else {}
            yield case(algorithm, skip, steps=n)
            yield case(algorithm, SDXL | {"set_alpha_to_one": True}, steps=n)
            yield case(algorithm, SDXL | {"beta_schedule": "squaredcos_cap_v2"}, steps=n)
        for n, strength in itertools.product((2, 4, 8), (0.3, 0.5, 0.75)):
            if int(n * strength) > 0:
                for spacing in SPACINGS:
                    yield case(algorithm, SD15 | {"timestep_spacing": spacing}, steps=n, tail=strength)
    yield case("pndm", SD15, steps=49)
    for n, kind in itertools.product((1, 2, 4, 20), ("fixed_small", "fixed_small_log", "fixed_large")):
        yield case("ddpm", SD15 | {"variance_type": kind}, steps=n)
        yield case("ddpm", SD15 | {"variance_type": kind, "clip_sample": True, "clip_sample_range": 0.7}, steps=n)
    for n in (1, 4):
        zero_snr = SDXL | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        yield case("ddpm", zero_snr | {"prediction_type": "v_prediction"}, steps=n)
        yield case("pndm", zero_snr, steps=n)
    for timesteps in ([800], [999, 749, 499, 249], [999, 998, 3, 0]):
        yield case("ddpm", SD15, timesteps=timesteps)
    for n, prediction in itertools.product((4, 5, 6, 7, 8, 12, 20), ("ddim_eps", "diff_eps")):
        yield case("perflow", SD15 | {"prediction_type": prediction}, steps=n)
        yield case("perflow", {"prediction_type": prediction, "num_time_windows": 2}, steps=n)
        yield case("perflow", {"prediction_type": prediction, "beta_schedule": "linear"}, steps=n, tail=0.5)
    for n, shift in itertools.product((1, 2, 3, 4), (250, 500, 1000)):
        config = SDXL | {"original_inference_steps": 4, "shifted_timestep": shift}
        yield case("lcm", config, steps=n)
        if n > 1:
            yield case("lcm", config | {"prediction_type": "v_prediction"}, steps=n)
    for n, original in itertools.product((1, 4, 7), (8, 40, 100)):
        yield case("lcm", SD15 | {"original_inference_steps": original}, steps=n)
        yield case("tcd", SD15 | {"original_inference_steps": original}, 0.3, steps=n)


def trajectories(name, cases, with_corrected=False):
    configs, listed, rows, starts, corrected = [], [], [], [], []
    for case, config in cases:
        text = json.dumps(config)
        if text not in configs:
            configs.append(text)
        case_rows, start, case_corrected = run(case, config)
        listed.append(case | {"config": configs.index(text), "rows": len(case_rows)})
        rows.append(case_rows)
        starts.append(start)
        corrected.append(case_corrected)
    OUT.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in listed)
    (OUT / f"{name}.json").write_text(f'{{"configs": {json.dumps(configs, indent=0)},\n"cases": [\n{lines}\n]}}\n')
    tensors = {"start": START, "outputs": OUTPUTS, "noise": NOISE, "rows": torch.cat(rows), "starts": torch.stack(starts)}
    if with_corrected:
        tensors["corrected"] = torch.cat(corrected)
    save(OUT / f"{name}.safetensors", tensors)
    print(len(listed), "cases")


def alphas(name):
    tensors = {}
    for schedule, zero_snr in itertools.product(("linear", "scaled_linear", "squaredcos_cap_v2"), (False, True)):
        config = SD15 | {"beta_schedule": schedule, "rescale_betas_zero_snr": zero_snr}
        tensors[f"{schedule}.{zero_snr}".lower()] = from_json("ddim", config).alphas_cumprod
    save(OUT / f"{name}.safetensors", tensors)


def fnv(timesteps):
    """FNV-1a over the bits of f32 timesteps, without the low byte, so that it is exact as f32."""
    h = 2166136261
    for word in timesteps.float().numpy().view(np.uint32):
        h = ((h ^ int(word)) * 16777619) & 0xFFFFFFFF
    return h >> 8


def timesteps(name, plans):
    """One hash for every step count; −1 where timesteps repeat or reach 1000 (we refuse), N of the N + 1 of trailing."""
    tensors = {}
    for algorithm, spacing, karras in plans:
        config = SD15 | {"timestep_spacing": spacing, "use_karras_sigmas": karras}
        scheduler, hashes = from_json(algorithm, config), []
        for n in range(4 if algorithm == "perflow" else 1, 51 if algorithm == "tcd" else 1001):
            scheduler.set_timesteps(n)
            t = scheduler.timesteps[: n + (algorithm == "pndm" and n > 1)]
            down = t[1:] <= t[:-1] if algorithm == "pndm" else t[1:] < t[:-1]
            right = t[0] < 1000 + (algorithm == "perflow") and (karras or bool(down.all()))
            hashes.append(float(fnv(t)) if right else -1.0)
        tensors[f"{algorithm}.{'karras' if karras else spacing}"] = torch.tensor(hashes)
    save(OUT / f"{name}.safetensors", tensors)


SPACED = [(algorithm, spacing, False) for algorithm in ("ddim", "euler", "dpmpp-2m") for spacing in SPACINGS]
FILES = {
    "alphas": alphas,
    "timesteps": lambda name: timesteps(name, SPACED + [("tcd", "leading", False), ("dpmpp-2m", "leading", True)]),
    "timesteps-unipc": lambda name: timesteps(name, [("unipc", spacing, False) for spacing in SPACINGS]),
    "trajectories": lambda name: trajectories(name, cases()),
    "timesteps-samplers": lambda name: timesteps(
        name, [("pndm", spacing, False) for spacing in SPACINGS] + [("perflow", "leading", False)]
    ),
    "unipc": lambda name: trajectories(name, refined(unipc()), with_corrected=True),
    "solver-order": lambda name: trajectories(name, refined(solver_order())),
    "sigma-space": lambda name: trajectories(name, sigma_space()),
    "curves": lambda name: trajectories(name, curves(), with_corrected=True),
    "timestep-space": lambda name: trajectories(name, timestep_space()),
}

if __name__ == "__main__":
    # All files, or those that are named: another processor rounds some of torch's functions otherwise, so that making
    # a file again can change its last digits.
    for name in sys.argv[1:] or FILES:
        FILES[name](name)
