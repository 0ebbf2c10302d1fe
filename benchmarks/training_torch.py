"""One training step of Deep Speech 2 in PyTorch: a worker of training_speed.py; needs PyTorch only.

Of what PyTorch offers it takes the fastest: its fused GRU, batch norm of the GRU's input (padding
not left out, which would cost more), fused AdamW. Memory layout, form of the row convolution and
torch.compile are tried, and the best of them is measured.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from worker import serve

Spec = dict[str, Any]  # what training_speed.py tells of a model and a batch
CLIP_NORM, AVERAGING, TRIAL = 2.0, 0.998, 2  # steps of each way that is tried


def same_padding(bins: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-bins // stride) - 1) * stride + kernel - bins, 0)
    return total // 2, total - total // 2


class Convolution(nn.Module):
    def __init__(self, spec: Spec, inputs: int, bins: int, both: bool) -> None:
        super().__init__()
        kernel, stride = spec["frequency"] or bins, spec["frequency_stride"]
        stride = stride if spec["frequency"] else bins
        past = spec["time"] - spec["time_stride"]
        past = past // 2 if both else past
        future = spec["time"] - spec["time_stride"] - past
        self.time_stride = spec["time_stride"]
        self.padding = (*same_padding(bins, kernel, stride), past, future)
        size, steps = (spec["time"], kernel), (spec["time_stride"], stride)
        self.convolution = nn.Conv2d(inputs, spec["channels"], size, steps, bias=False)
        self.norm = nn.BatchNorm2d(spec["channels"])
        self.bins = -(-bins // stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        missing = -x.shape[2] % self.time_stride
        low, high, past, future = self.padding
        x = functional.pad(x, (low, high, past, future + missing))
        return functional.hardtanh(self.norm(self.convolution(x)), 0, 20)


class Model(nn.Module):
    """Features of shape = (batch, frames, bins) to logits of shape = (steps, batch, tokens)."""

    def __init__(self, spec: Spec, row: str) -> None:
        super().__init__()
        model, self.row_kind = spec["model"], row
        self.both, self.dropout = model["direction"] == "both", model["dropout"]
        channels, bins, convolutions = 1, spec["bins"], []
        for one in model["convolutions"]:
            convolutions.append(Convolution(one, channels, bins, self.both))
            channels, bins = one["channels"], convolutions[-1].bins
        self.convolutions = nn.Sequential(*convolutions)
        sizes = [channels * bins] + [model["units"]] * model["layers"]
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in sizes[:-1])
        kind = nn.GRU if model["cell"] == "gru" else nn.RNN
        more = {} if model["cell"] == "gru" else {"nonlinearity": "relu"}
        self.recurrences = nn.ModuleList(
            kind(size, model["units"], bidirectional=self.both, **more) for size in sizes[:-1]
        )
        units = model["units"]
        if not self.both:
            self.row = nn.Parameter(torch.randn(model["look_ahead"] + 1, units) * 0.1)
            self.row_norm = nn.BatchNorm1d(units)
        self.connected = None
        if model["connected"]:
            self.connected_norm = nn.BatchNorm1d(units)
            self.connected = nn.Linear(units, model["connected"])
            units = model["connected"]
        self.head = nn.Linear(units, spec["tokens"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.convolutions(x[:, None])
        x = x.permute(2, 0, 1, 3).flatten(2)
        for i, (norm, recurrence) in enumerate(zip(self.norms, self.recurrences, strict=True)):
            x = functional.dropout(x, self.dropout) if i and self.dropout else x
            x, _ = recurrence(over_steps(norm, x))
            if self.both:
                x = sum(x.chunk(2, dim=2))
        if not self.both:
            x = functional.hardtanh(over_steps(self.row_norm, self.look_ahead(x)), 0, 20)
        if self.connected:
            x = functional.hardtanh(self.connected(over_steps(self.connected_norm, x)), 0, 20)
        return self.head(functional.dropout(x, self.dropout) if self.dropout else x)

    def look_ahead(self, x: torch.Tensor) -> torch.Tensor:
        tau = len(self.row) - 1
        if self.row_kind == "convolution":
            ahead = functional.pad(x.permute(1, 2, 0), (0, tau))
            kernel = self.row.t()[:, None].contiguous()
            return functional.conv1d(ahead, kernel, groups=x.shape[2]).permute(2, 0, 1)
        ahead, steps = functional.pad(x, (0, 0, 0, 0, 0, tau)), x.shape[0]
        return sum(ahead[j : j + steps] * self.row[j] for j in range(tau + 1))


def over_steps(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Batch norm over all steps of all recordings."""
    return norm(x.flatten(0, 1)).view_as(x)


class Step:
    """A training step: forward, CTC, backward, clipping, AdamW, averaged weights."""

    def __init__(self, spec: Spec, layout: str, row: str, compiled: bool) -> None:
        torch.manual_seed(1)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = Model(spec, row).to(self.device)
        if layout == "channels last":
            self.model = self.model.to(memory_format=torch.channels_last)
        self.layout, self.half = layout, spec["precision"] == "bfloat16"
        self.run = torch.compile(self.model) if compiled else self.model
        self.parameters = list(self.model.parameters())
        self.averages = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(self.parameters, 1e-3, fused=True)
        rng = np.random.default_rng(0)
        shape = (len(spec["frames"]), max(spec["frames"]), spec["bins"])
        self.features = torch.from_numpy(rng.normal(size=shape).astype("f4")).to(self.device)
        stride = np.prod([c["time_stride"] for c in spec["model"]["convolutions"]])
        self.steps = torch.tensor([-(-n // int(stride)) for n in spec["frames"]])
        self.lengths = torch.tensor(spec["lengths"])
        shape = (len(spec["lengths"]), max(spec["lengths"]))
        self.targets = torch.from_numpy(rng.integers(1, spec["tokens"], shape)).to(self.device)
        self.weight = float(self.lengths.sum() + len(self.lengths))

    def __call__(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        features = self.features
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            logits = self.run(features)
        log_probs = logits.float().log_softmax(-1)
        losses = functional.ctc_loss(
            log_probs, self.targets, self.steps, self.lengths, reduction="none", zero_infinity=True
        )
        loss = losses.sum() / self.weight
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.parameters, 1 - AVERAGING)
        return loss.item()


def fastest(spec: Spec) -> tuple[Step, str]:
    """Of the ways to run it, and what it is called."""
    chosen: dict[str, Any] = {"layout": "contiguous", "row": "convolution", "compiled": False}
    forward = spec["model"]["direction"] == "forward"
    tries = [("layout", "channels last"), *([("row", "shifts")] if forward else [])]
    step = Step(spec, **chosen)
    best = seconds_of(step)
    for name, value in [*tries, *([("compiled", True)] if spec["compile"] else [])]:
        other = None
        try:
            other = Step(spec, **{**chosen, name: value})
            seconds = seconds_of(other)
        except Exception as error:  # torch.compile wants a compiler, and not every model
            print(f"{name} {value}: {type(error).__name__}", file=sys.stderr)
            continue
        if seconds < best:
            step, best, chosen = other, seconds, {**chosen, name: value}
    words = [chosen["layout"], *([f"row by {chosen['row']}"] if forward else [])]
    return step, ", ".join([*words, *(["compiled"] if chosen["compiled"] else [])])


def seconds_of(step: Step) -> float:
    step()
    found = []
    for _ in range(TRIAL):
        begin = time.perf_counter()
        step()
        found.append(time.perf_counter() - begin)
    return min(found)


def main() -> None:
    spec = json.loads(sys.argv[1])
    torch.set_num_threads(spec["threads"])
    if sys.platform == "linux":  # as ds2edge.training.memory does, which helps PyTorch as much
        for option in ((-1, -1), (-3, 2**30)):
            ctypes.CDLL(None).mallopt(*option)
    step, settings = fastest(spec)
    parameters = sum(p.numel() for p in step.parameters)
    name = torch.cuda.get_device_name() if step.device == "cuda" else "cpu"
    told = {"settings": settings, "parameters": parameters, "device": name}
    serve(step, **told, version=f"torch {torch.__version__}")


if __name__ == "__main__":
    main()
