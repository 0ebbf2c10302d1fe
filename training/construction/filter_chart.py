"""Pictures of the filter: chances, receiver curve, errors against what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ds2edge.training.construction.transcript_filter import Chances

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3)  # kept, of the table
PAPER = (0.17, 0.05)  # word errors before and after (section 5.1), with more than half kept


@dataclass(frozen=True)
class KeptCurve:
    """Errors of the likeliest transcripts, by how many of them are kept."""

    kept: npt.NDArray[np.float64]  # share, rising, shape = (n,)
    errors: npt.NDArray[np.float64]  # word error rate of those, 0..1, shape = (n,)

    def at(self, share: float) -> float:
        """Word error rate where so many are kept."""
        return float(np.interp(share, self.kept, self.errors))

    def table(self, share: float) -> str:
        """Lines for people; `share` is what was kept."""
        shares = sorted({*SHARES, round(share, 3)}, reverse=True)
        rows = [
            f"  {100 * one:5.1f} %  {100 * self.at(one):6.2f} %"
            + ("  <- kept" if one == round(share, 3) else "")
            for one in shares
        ]
        return "\n".join(["  kept     words wrong", *rows])


def kept_curve(chances: Chances, texts: Sequence[str], said: Sequence[str]) -> KeptCurve:
    """Errors of transcripts, the likeliest first.

    Args:
        texts: transcripts, normalised.
        said: what is really said, normalised.
    """
    from ds2edge.training.evaluation.metrics import word_counts, word_errors

    order = np.argsort(-chances, kind="stable")
    errors = np.cumsum(word_errors(said, texts)[order])
    words = np.maximum(np.cumsum(word_counts(said)[order]), 1)
    return KeptCurve(np.arange(1, len(order) + 1) / len(order), errors / words)


def plot_chances(
    chances: Chances, threshold: float, curve: KeptCurve | None, file: IO[bytes]
) -> None:
    """How likely the transcripts are; where it is known what is said, their errors as well."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10 if curve else 5, 3.4), layout="constrained")
    left, *right = figure.subplots(1, 2 if curve else 1, squeeze=False)[0]
    left.hist(chances, bins=np.linspace(0, 1, 51), color="tab:blue", log=True)
    left.axvline(threshold, color="black", ls=":", label=f"kept from {threshold:.2f} on")
    left.set(xlabel="chance that the transcript is right", ylabel="recordings")
    left.legend()
    if curve:
        _plot_kept(right[0], curve, float((chances >= threshold).mean()))
    figure.savefig(file, format="png", dpi=150)


def plot_filter(
    chances: Chances, good: npt.NDArray[np.bool_], threshold: float, file: IO[bytes]
) -> None:
    """The receiver curve of labelled examples, and the chances of both kinds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_receiver(left, chances, good, threshold)
    bins = np.linspace(0, 1, 41)
    right.hist(chances[good], bins=bins, alpha=0.7, label="right", color="tab:blue", log=True)
    right.hist(chances[~good], bins=bins, alpha=0.7, label="wrong", color="tab:orange", log=True)
    right.axvline(threshold, color="black", ls=":", label=f"kept from {threshold:.2f} on")
    right.set(xlabel="chance that the transcript is right", ylabel="examples")
    right.legend()
    figure.savefig(file, format="png", dpi=150)


def plot_receiver(
    axes: Any, chances: Chances, good: npt.NDArray[np.bool_], threshold: float
) -> float:
    """Right ones kept against wrong ones kept. Returns: the area below."""
    from sklearn.metrics import roc_auc_score, roc_curve

    area = float(roc_auc_score(good, chances))
    wrong_kept, right_kept, _ = roc_curve(good, chances)
    kept = chances >= threshold
    axes.plot(wrong_kept, right_kept, color="tab:blue", label=f"area {area:.3f}")
    axes.plot(kept[~good].mean(), kept[good].mean(), "ko", label="threshold")
    axes.set(xlabel="wrong transcripts that are kept", ylabel="right ones that are kept")
    axes.legend(loc="lower right")
    return area


def _plot_kept(axes: Any, curve: KeptCurve, share: float) -> None:
    percent = 100 * curve.kept, 100 * curve.errors
    axes.plot(*percent, color="tab:blue", label="ours")
    axes.plot(100 * share, 100 * curve.at(share), "ko", label="kept")
    before, after = (100 * rate for rate in PAPER)
    axes.plot([100, 50], [before, after], "x", color="tab:gray", label="the paper's 17 and 5 %")
    axes.set(xlabel="recordings that are kept, %", ylabel="words of their transcripts wrong, %")
    axes.set(ylim=0)
    axes.legend()
