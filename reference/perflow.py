"""PeRFlow's scheduler, which diffusers does not have, in f64.

Written from the paper (arXiv:2405.07510). The publisher's `src/scheduler_perflow.py`
(github.com/magic-research/piecewise-rectified-flow, commit 87bac76), in f32, has the same timesteps for 4 to 100 steps, and
trajectories within 1.1e-6 of these. In each of K windows of time the latent goes straight
from that at its begin to that at its end, and the model says an eps that links the two.
"""

from types import SimpleNamespace

import torch
from diffusers import DDPMScheduler


class PeRFlow:
    init_noise_sigma = 1.0
    order = 1

    def __init__(self, config):
        betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
        betas |= {key: config[key] for key in betas if key in config}
        self.alphas = DDPMScheduler(**betas).alphas_cumprod.double()
        self.kind = config.get("prediction_type", "ddim_eps")
        self.windows = config.get("num_time_windows", 4)

    def set_timesteps(self, count):
        """The first windows have one step more where they do not come out even."""
        times = []
        for i in range(self.windows):
            steps = count // self.windows + (i < count % self.windows)
            start, end = 1 - i / self.windows, 1 - (i + 1) / self.windows
            times += [(start + k * ((end - start) / steps)) * 1000 for k in range(steps)]
        self.timesteps = torch.tensor([int(t) for t in times])

    def scale_model_input(self, x, t):
        return x

    def level(self, t):
        """a at a time in thousandths, which counts from 1."""
        return self.alphas[max(int(t) - 1, 0)]

    def add_noise(self, x0, noise, t):
        a = self.level(t[0])
        return (a.sqrt() * x0 + (1 - a).sqrt() * noise).float()

    def step(self, eps, t, x):
        t, length = int(t), 1000 // self.windows
        later = self.timesteps[self.timesteps < t]
        to = int(later[0]) if len(later) else 0
        # The window (end, start] that t is in.
        end = (t - 1) // length * length
        start = end + length
        a_start, a_end = self.level(start), self.level(end)
        eps, x = eps.double(), x.double()

        # x_end = scale * x_start + shift * eps
        if self.kind == "ddim_eps":
            scale = (a_end / a_start).sqrt()
            shift = (1 - a_end).sqrt() - (a_end / a_start * (1 - a_start)).sqrt()
        else:
            # x_start = gamma * x_end + sqrt(1 - gamma^2) * eps
            gamma = (a_start / a_end).sqrt()
            scale, shift = 1 / gamma, -(1 - gamma**2).sqrt() / gamma
        # x = part * x_start + (1 - part) * x_end, solved for x_start.
        part = (t - end) / length
        x_start = (x - (1 - part) * shift * eps) / (part + (1 - part) * scale)
        x_end = scale * x_start + shift * eps
        # The line through both, at `to`.
        part = (to - end) / length
        out = part * x_start + (1 - part) * x_end
        x0 = (x_start - (1 - a_start).sqrt() * eps) / a_start.sqrt() if self.kind == "ddim_eps" else x_end
        return SimpleNamespace(prev_sample=out.float(), pred_original_sample=x0.float())
