"""Learning curves as a picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ds2edge.training.files import partial_file

POINTS = 2000  # of a curve, at most: no screen shows more

log = logging.getLogger(__name__)


def draw_curves(
    path: Path, steps: Sequence[dict[str, Any]], history: Sequence[dict[str, Any]]
) -> None:
    """Loss, dev error, gradient norm and learning rate over the updates, as PNG.

    Args:
        steps, history: what `RunLog` writes down.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        log.info("no %s: matplotlib is not installed", path.name)
        return
    figure = Figure(figsize=(9, 9))
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.06, top=0.98, hspace=0.08)
    axes = figure.subplots(4, sharex=True)
    names = {
        "loss": "loss per token",
        "dev_cer": "CER on dev, %",
        "gradient_norm": "gradient norm",
        "learning_rate": "learning rate",
    }
    for axis, (name, label) in zip(axes, names.items(), strict=True):
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        if steps and name != "dev_cer":
            axis.plot(*_curve(steps, name), color="tab:blue", linewidth=0.7)
        if history and name in ("loss", "dev_cer"):
            x, y = _curve(history, name)
            axis.plot(x, y * (100 if name == "dev_cer" else 1), "o-", color="tab:orange")
    if steps:  # all of them positive
        axes[0].set_yscale("log")
        axes[2].set_yscale("log")
    axes[-1].set_xlabel("updates")
    figure.align_ylabels(axes)
    with partial_file(path, sync=False) as file:
        figure.savefig(file, format="png", dpi=100)


def _curve(
    records: Sequence[dict[str, Any]], name: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Steps and values; where there are many, the means of so many at a time."""
    x = np.array([record["step"] for record in records], float)
    y = np.array([record[name] for record in records], float)
    each = -(-len(x) // POINTS)
    whole = len(x) // each * each
    return x[:whole].reshape(-1, each).mean(axis=1), y[:whole].reshape(-1, each).mean(axis=1)
