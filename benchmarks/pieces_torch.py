"""CTC or a recurrent layer in PyTorch: a worker of ctc.py and recurrence.py; needs PyTorch only."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from worker import serve


def ctc(given: dict[str, Any]) -> tuple[Any, Any]:
    """A step, and what it found: losses and gradient."""
    logits = torch.tensor(given["logits"], requires_grad=True)
    tokens, lengths, steps = (
        torch.tensor(given[k].astype("i8")) for k in ("tokens", "lengths", "steps")
    )
    last: dict[str, Any] = {}

    def step() -> float:
        logits.grad = None
        log_probs = logits.log_softmax(-1).transpose(0, 1)
        losses = functional.ctc_loss(
            log_probs, tokens, steps, lengths, reduction="none", zero_infinity=True
        )
        losses.sum().backward()
        last.update(value=losses.detach().numpy(), gradient=logits.grad.numpy())
        return float(losses.sum().detach())

    return step, last


def recurrence(given: dict[str, Any]) -> tuple[Any, Any]:
    """A step, and what it found: states and the gradient of the inputs."""
    units = given["recurrent"].shape[0]
    layer = torch.nn.GRU(given["kernel"].shape[0], units)
    with torch.no_grad():
        for name, matrix in (("weight_ih_l0", "kernel"), ("weight_hh_l0", "recurrent")):
            update, reset, new = np.split(given[matrix], 3, axis=1)  # of ours; theirs: r, z, n
            rows = np.concatenate([reset, update, new], axis=1).T
            getattr(layer, name).copy_(torch.tensor(rows))
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    x = torch.tensor(given["x"].transpose(1, 0, 2), requires_grad=True)
    upstream = torch.tensor(given["upstream"].transpose(1, 0, 2))
    last: dict[str, Any] = {}

    def step() -> float:
        x.grad = None
        layer.zero_grad()
        states, _ = layer(x)
        states.backward(upstream)
        last.update(
            value=states.detach().numpy().transpose(1, 0, 2),
            gradient=x.grad.numpy().transpose(1, 0, 2),
        )
        return float(states[-1, 0, 0])

    return step, last


def main() -> None:
    spec = json.loads(sys.argv[1])
    torch.set_num_threads(spec["threads"])
    step, last = {"ctc": ctc, "recurrence": recurrence}[spec["piece"]](dict(np.load(spec["given"])))
    for _ in range(2):
        step()
    np.savez(spec["found"], **last)
    serve(step)


if __name__ == "__main__":
    main()
