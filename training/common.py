"""What the stages of the training share: where they work, checkpoints, averages of weights, logs."""

import json
import os
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "reference"))  # `parts`: tokenizers, LoRA names and folders, as the fixtures have them
WORK = Path(os.environ.get("HYPERSD_TRAINING", ROOT / "training/work"))
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.set_num_threads(os.cpu_count())


def to_device(network):
    """Channels last: a third faster on a CPU, and no slower elsewhere."""
    return network.to(DEVICE, memory_format=torch.channels_last)


def parameters_of(network):
    return sum(p.numel() for p in network.parameters())


def warmup_cosine(optimizer, steps, warmup=100, floor=0.02):
    """Learning rates that rise for `warmup` steps and then fall along half a cosine."""

    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        share = min(1.0, (step - warmup) / max(1, steps - warmup))
        return floor + (1 - floor) * 0.5 * (1 + torch.cos(torch.tensor(share * torch.pi)).item())

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def descend(loss, parameters, optimizer, schedule):
    """One step down the gradient, of length one at most before the optimizer scales it."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    schedule.step()


class Average:
    """An exponential moving average of the weights of networks; short-sighted while there are few steps."""

    def __init__(self, parameters, decay=0.999):
        self.live, self.decay, self.steps = list(parameters), decay, 0
        self.mean = [p.detach().clone() for p in self.live]

    @torch.no_grad()
    def update(self):
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.live], 1 - decay)

    @torch.no_grad()
    def store(self):
        """Puts the average where the live weights are."""
        torch._foreach_copy_(self.live, self.mean)

    def state_dict(self):
        return {"mean": self.mean, "steps": self.steps}

    def load_state_dict(self, state):
        torch._foreach_copy_(self.mean, state["mean"])
        self.steps = state["steps"]


class Run:
    """A stage's loop: resumes from its checkpoint, logs losses, saves every few minutes and at the end."""

    def __init__(self, name, steps, state, save_every=120.0):
        self.name, self.steps, self.state, self.save_every = name, steps, state, save_every
        self.path, self.log = WORK / f"{name}.pt", WORK / f"{name}.jsonl"
        WORK.mkdir(parents=True, exist_ok=True)
        self.step, self.elapsed = 0, 0.0
        if self.path.exists():
            saved = torch.load(self.path, map_location=DEVICE, weights_only=True)
            for key, part in state.items():
                part.load_state_dict(saved[key])
            self.step, self.elapsed = saved["step"], saved["elapsed"]
            print(f"{name}: resumed at step {self.step}", flush=True)
        torch.manual_seed(self.step)

    def __iter__(self):
        """Numbers of the steps that are left. `self.report` takes what the step measured."""
        self.started = last_save = time.monotonic()
        before, self.sums, self.count = self.elapsed, {}, 0
        while self.step < self.steps:
            yield self.step
            self.step += 1
            self.elapsed = before + time.monotonic() - self.started
            if self.step % 50 == 0 or self.step == self.steps:
                self.write_log()
            if time.monotonic() - last_save > self.save_every or self.step == self.steps:
                self.save()
                last_save = time.monotonic()

    def report(self, **values):
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(torch.as_tensor(value).detach())
        self.count += 1

    def write_log(self):
        means = {key: round(total / max(1, self.count), 5) for key, total in self.sums.items()}
        line = json.dumps({"step": self.step, "seconds": round(self.elapsed), **means})
        print(self.name, line, flush=True)
        with self.log.open("a") as log:
            log.write(line + "\n")
        self.sums, self.count = {}, 0

    def save(self):
        saved = {key: part.state_dict() for key, part in self.state.items()}
        partial = self.path.with_suffix(".partial")
        torch.save({**saved, "step": self.step, "elapsed": self.elapsed}, partial)
        partial.replace(self.path)
