"""What the stages of the training share: where and how they work, checkpoints, averages of weights, logs."""

import contextlib
import fcntl
import json
import os
import signal
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parent.parent
CRATE = ROOT / "crates/hypersd-demo"


@dataclass(frozen=True)
class Setup:
    """Where a training works, on what, and with how many processes that draw pictures while it runs."""

    work: Path
    device: torch.device
    workers: int = 0
    shards: int = 30

    @property
    def fast(self):
        return self.device.type == "cuda"

    def precision(self):
        """bf16 where the device is fast at it; weights and losses stay in f32."""
        return torch.autocast("cuda", torch.bfloat16) if self.fast else contextlib.nullcontext()

    def network(self, network):
        """Channels last: a third faster on a CPU, and no slower elsewhere."""
        return network.to(self.device, memory_format=torch.channels_last)

    def pixels(self, pictures):
        """uint8 [N, H, W, 3] to [-1, 1] [N, 3, H, W]."""
        x = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device).permute(0, 3, 1, 2)
        return (x.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


@contextlib.contextmanager
def atomically(path):
    """A file that is there whole or not at all: written beside its name, synced, then renamed."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def save_folder(module, folder):
    """A module in diffusers' or transformers' form; the folder appears when it is whole."""
    partial = folder.with_name(folder.name + ".partial")
    module.save_pretrained(partial)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(folder)


def parameters_of(network):
    return sum(p.numel() for p in network.parameters())


class Signals:
    """SIGTERM and SIGINT end the program after the step that is being taken, or at once where no step is."""

    def __init__(self):
        self.asked = self.stepping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask)

    def ask(self, *_):
        self.asked = True
        if not self.stepping:
            raise SystemExit(0)


def claim(work):
    """Makes the work folder this process's alone: its lock goes with the process, its number is in `pid`."""
    work.mkdir(parents=True, exist_ok=True)
    lock = (work / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"{work}: another training works here (see {work / 'pid'})") from None
    (work / "pid").write_text(f"{os.getpid()}\n")
    return lock


def rate(step, steps, warmup=100, falling=0.3, floor=0.02):
    """The share of the learning rate at a step: it rises, stays, and falls in a line for the last `falling` of all steps.

    With no memory of its own it follows when `steps` is changed during a run, before the fall.
    """
    left = (steps - step) / (falling * steps)
    return min((step + 1) / warmup, max(floor, min(1.0, left)))


def descend(loss, parameters, optimizer, share):
    """One step down the gradient, of length one at most before the optimizer scales it; none where it is not finite."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if not torch.nn.utils.clip_grad_norm_(parameters, 1.0).isfinite():
        return
    for group in optimizer.param_groups:
        group["lr"] = share * group["full_lr"]
    optimizer.step()


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

    @contextlib.contextmanager
    def applied(self):
        """Puts the average where the live weights are, for a while."""
        with torch.no_grad():
            kept = [p.detach().clone() for p in self.live]
            torch._foreach_copy_(self.live, self.mean)
            yield
            torch._foreach_copy_(self.live, kept)

    def state_dict(self):
        return {"mean": self.mean, "steps": self.steps}

    def load_state_dict(self, state):
        torch._foreach_copy_(self.mean, state["mean"])
        self.steps = state["steps"]


class Run:
    """A stage's loop: resumes from its checkpoint, logs losses, saves every few minutes and when it is asked to stop.

    All that is random in a step comes from the stage's name and the step's number (`rng`, and torch's own generator), so
    that a run that was interrupted goes on as one that was not.
    """

    def __init__(self, setup, signals, name, steps, state, save_every=240.0, log_every=25):
        self.name, self.steps, self.state, self.signals = name, steps, state, signals
        self.save_every, self.log_every = save_every, log_every
        self.path, self.log = setup.work / f"{name}.pt", setup.work / f"{name}.jsonl"
        self.step, self.elapsed = 0, 0.0
        if self.path.exists():
            saved = torch.load(self.path, map_location=setup.device, weights_only=True)
            for key, part in state.items():
                part.load_state_dict(saved[key])
            self.step, self.elapsed = saved["step"], saved["elapsed"]
            print(f"{name}: resumed at step {self.step} of {steps}", flush=True)

    def __iter__(self):
        """Numbers of the steps that are left. `report` takes what the step measured."""
        last, last_save, self.sums, self.count = time.monotonic(), time.monotonic(), {}, 0
        self.signals.stepping = True
        while self.step < self.steps:
            seed = zlib.crc32(f"{self.name} {self.step}".encode())
            torch.manual_seed(seed)
            self.rng = np.random.default_rng(seed)
            yield self.step
            self.step += 1
            now = time.monotonic()
            self.elapsed, last = self.elapsed + now - last, now
            ends = self.step == self.steps or self.signals.asked
            if self.step % self.log_every == 0 or ends:
                self.write()
            if now - last_save > self.save_every or ends:
                self.save()
                last_save = now
            if self.signals.asked:
                print(f"{self.name}: stopped at step {self.step}, saved", flush=True)
                raise SystemExit(0)
        self.signals.stepping = False

    def rate(self):
        return rate(self.step, self.steps)

    def report(self, **values):
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(torch.as_tensor(value).detach())
        self.count += 1

    def write(self, **measured):
        """A line of the log: means since the last one, or what was measured now."""
        means = measured or {key: round(total / max(1, self.count), 5) for key, total in self.sums.items()}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
        line = json.dumps({"time": stamp, "step": self.step, "seconds": round(self.elapsed), **means})
        print(self.name, line, flush=True)
        with self.log.open("a") as log:
            log.write(line + "\n")
        if not measured:
            self.sums, self.count = {}, 0

    def save(self):
        saved = {key: part.state_dict() for key, part in self.state.items()}
        with atomically(self.path) as file:
            torch.save({**saved, "step": self.step, "elapsed": self.elapsed}, file)
