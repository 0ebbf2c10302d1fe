"""A GRU layer alone, forward and backward, its input product included: ours, Keras's, PyTorch's.

Each is compared with a float64 reference in the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pieces_beside import TORCH, Arrays, Variant, beside, parser_of

EXAMPLES = """examples:
  python benchmarks/recurrence.py --torch-python torch/bin/python
  python benchmarks/recurrence.py --shapes 32,200,640,384 --threads 2
"""
VARIANTS = (
    Variant("ours"),
    Variant("keras"),
    TORCH,
    Variant("ours", backend="jax", package="jax"),
)
SHAPES = ("16,134,512,384", "32,200,640,384", "8,100,1024,1024")


def problem(batch: int, steps: int, inputs: int, units: int) -> tuple[Arrays, Arrays]:
    """What is given, and what is right."""
    rng = np.random.default_rng(0)
    given = {
        "x": rng.normal(size=(batch, steps, inputs)).astype("f4"),
        "kernel": rng.normal(0, inputs**-0.5, (inputs, 3 * units)).astype("f4"),
        "recurrent": rng.normal(0, units**-0.5, (units, 3 * units)).astype("f4"),
        "upstream": rng.normal(size=(batch, steps, units)).astype("f4"),
    }
    value, gradient = reference(*(array.astype("f8") for array in given.values()))
    return given, {"value": value, "gradient": gradient}


def reference(x: Any, kernel: Any, recurrent: Any, upstream: Any) -> tuple[Any, Any]:
    """States, and the gradient of x, by the definition."""
    units, steps = recurrent.shape[0], x.shape[1]
    states, kept = np.zeros((x.shape[0], steps + 1, units)), []
    for t in range(steps):
        before = states[:, t]
        from_x, from_h = x[:, t] @ kernel, before @ recurrent
        gates = 1 / (1 + np.exp(-(from_x + from_h)[:, : 2 * units]))
        update, reset = gates[:, :units], gates[:, units:]
        new = np.tanh(from_x[:, 2 * units :] + reset * from_h[:, 2 * units :])
        states[:, t + 1] = update * before + (1 - update) * new
        kept.append((before, update, reset, new, from_h[:, 2 * units :]))
    gradient, carry = np.zeros_like(x), np.zeros_like(states[:, 0])
    for t in reversed(range(steps)):
        before, update, reset, new, from_h = kept[t]
        total = carry + upstream[:, t]
        d_new = total * (1 - update) * (1 - new**2)
        d_update = total * (before - new) * update * (1 - update)
        d_reset = d_new * from_h * reset * (1 - reset)
        gradient[:, t] = np.concatenate([d_update, d_reset, d_new], axis=1) @ kernel.T
        through = np.concatenate([d_update, d_reset, d_new * reset], axis=1)
        carry = total * update + through @ recurrent.T
    return states[:, 1:], gradient


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, EXAMPLES)
    help_text = "recordings, steps, inputs, units [%(default)s]"
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="B,T,I,H", help=help_text)
    options = parser.parse_args(arguments)
    problems = {shape: problem(*map(int, shape.split(","))) for shape in options.shapes}
    beside("recurrence", VARIANTS, problems, options)


if __name__ == "__main__":
    main()
