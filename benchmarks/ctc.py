"""CTC alone, loss and gradient: ds2edge's, TensorFlow's, Keras's, optax's and PyTorch's.

Each is compared with a float64 reference in the same run. One text of every batch cannot be
aligned: its loss and gradient ought to be zero, and must never be NaN. Where there is optax, it
runs too: pip install optax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pieces_beside import TORCH, Arrays, Variant, beside, parser_of

EXAMPLES = """examples:
  python benchmarks/ctc.py --torch-python torch/bin/python
  python benchmarks/ctc.py --shapes 16,400,100,29 --threads 1
"""
VARIANTS = (
    Variant("ours"),
    Variant("tensorflow dense"),
    Variant("keras"),
    TORCH,
    Variant("ours", backend="jax", package="jax"),
    Variant("optax", backend="jax", package="optax"),
)
SHAPES = ("16,267,96,29", "64,100,30,29", "16,400,60,700", "8,200,30,5000")
NEVER = -np.inf


def problem(batch: int, steps: int, longest: int, tokens: int) -> tuple[Arrays, Arrays]:
    """What is given, with padding and a text that is too long, and what is right."""
    rng = np.random.default_rng(0)
    given = {
        "logits": rng.normal(0, 2, (batch, steps, tokens)).astype("f4"),
        "steps": np.linspace(0.8 * steps, steps, batch).astype("i4"),
        "tokens": rng.integers(1, tokens, (batch, longest)).astype("i4"),
        "lengths": np.linspace(0.7 * longest, longest, batch).astype("i4"),
    }
    given["steps"][0] = max(1, given["lengths"][0] - 1)
    for row, length in zip(given["tokens"], given["lengths"], strict=True):
        row[length:] = 0
    losses, gradients = zip(
        *(
            reference(logits[:n].astype("f8"), text[:length])
            for logits, n, text, length in zip(*given.values(), strict=True)
        ),
        strict=True,
    )
    gradient = np.zeros(given["logits"].shape)
    for whole, part in zip(gradient, gradients, strict=True):
        whole[: len(part)] = part
    return given, {"value": np.array(losses), "gradient": gradient}


def reference(logits: Any, text: Any) -> tuple[float, Any]:
    """Loss and gradient of one recording by the definition (Graves et al. 2006, section 4.1)."""
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    states = np.zeros(2 * len(text) + 1, int)
    states[1::2] = text
    skips = np.zeros(len(states), bool)
    skips[3::2] = text[1:] != text[:-1]
    emitted = log_probs[:, states]
    forward = _sums(emitted, skips)
    backward = _sums(emitted[::-1, ::-1], np.roll(skips, -2)[::-1])[::-1, ::-1]
    total = np.logaddexp.reduce(forward[-1, -2:])
    if total == NEVER:
        return 0.0, np.zeros_like(logits)
    occupied = np.exp(forward + backward - emitted - total)
    gradient = np.exp(log_probs)
    for state, token in enumerate(states):
        gradient[:, token] -= occupied[:, state]
    return -total, gradient


def _sums(emitted: Any, skips: Any) -> Any:
    """Log of the sum over all ways to each state at each step."""
    found = np.full(emitted.shape, NEVER)
    found[0, :2] = emitted[0, :2]
    for t in range(1, len(emitted)):
        before = found[t - 1]
        one, two = np.roll(before, 1), np.roll(before, 2)
        one[0], two[:2] = NEVER, NEVER
        ways = np.logaddexp(np.logaddexp(before, one), np.where(skips, two, NEVER))
        found[t] = ways + emitted[t]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, EXAMPLES)
    help_text = "recordings, steps, letters, tokens [%(default)s]"
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="B,T,L,V", help=help_text)
    options = parser.parse_args(arguments)
    with np.errstate(invalid="ignore"):
        problems = {shape: problem(*map(int, shape.split(","))) for shape in options.shapes}
    beside("ctc", VARIANTS, problems, options)


if __name__ == "__main__":
    main()
