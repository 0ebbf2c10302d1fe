"""Plots of evaluation and tuning, drawn by matplotlib without a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ds2edge.training.evaluation.bootstrap import rate_interval
from ds2edge.training.evaluation.recognised import Scores
from ds2edge.training.evaluation.search import RANGES, Tuned
from ds2edge.training.plots import ACCENT, BAND, INK, SETTINGS, data_uri, new_figure, plot_metadata

GROUPS = 8  # of recordings of like length
MOST_SPEAKERS = 60  # in a plot; more are a grey band


def length_chart(scores: Scores, way: str, seconds: npt.NDArray[np.float64]) -> str:
    """WER over length: a point for each utterance, a line through groups of like length.

    Returns: as `data_uri`.
    """
    figure, axes = new_figure(7, 3.2)
    axes.scatter(seconds, 100 * scores.rates(way), s=10, color=BAND, linewidths=0)
    order = np.argsort(seconds, kind="stable")
    groups = [g for g in np.array_split(order, min(GROUPS, max(1, len(order) // 5))) if len(g)]
    rows = []
    for group in groups:
        errors, words = scores.word_errors[way][group], scores.words[group]
        rate = errors.sum() / max(1, words.sum())
        low, high = rate_interval(errors, words) or (rate, rate)
        rows.append((seconds[group].mean(), 100 * rate, 100 * low, 100 * high))
    x, rate, low, high = np.array(rows).T
    axes.fill_between(x, low, high, color=INK, alpha=0.2, linewidth=0)
    axes.plot(x, rate, color=INK, marker="o", markersize=4)
    axes.set(xlabel="length, seconds", ylabel="WER, %", ylim=(0, None))
    return data_uri(figure)


def speaker_chart(speakers: Mapping[str, dict[str, Any]], way: str) -> str:
    """WER of each speaker with its interval, the best first; the values are `summary`'s.

    Returns: as `data_uri`.
    """
    names = sorted(speakers, key=lambda name: speakers[name][way]["wer"])[-MOST_SPEAKERS:]
    figure, axes = new_figure(7, 0.9 + 0.17 * len(names))
    for row, name in enumerate(names):
        figures = speakers[name][way]
        if interval := figures["wer_interval"]:
            axes.plot(interval, (row, row), color=BAND, linewidth=4, solid_capstyle="butt")
        axes.plot(figures["wer"], row, "o", color=INK, markersize=4)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set(xlabel="WER, %", xlim=(0, None), ylim=(-0.7, len(names) - 0.3))
    return data_uri(figure)


def histogram_chart(scores: Scores, way: str) -> str:
    """How many utterances have which WER.

    Returns: as `data_uri`.
    """
    figure, axes = new_figure(7, 2.6)
    rates = np.minimum(100 * scores.rates(way), 100)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.hist(rates, bins=list(range(0, 101, 5)), color=INK, rwidth=0.9)
    axes.set(xlabel="WER, % (100 and more are in the last bar)", ylabel="utterances")
    return data_uri(figure)


def tuning_chart(tuned: Tuned, path: Path) -> None:
    """WER over alpha and beta and, if it was searched, over the label prior's weight."""
    has_prior = any(trial.setting.prior for trial in tuned.trials)
    figure = Figure(figsize=(10 if has_prior else 5.5, 4.2), layout="constrained")
    panels = figure.subplots(1, 1 + has_prior, squeeze=False)[0]
    _weights_panel(figure, panels[0], tuned)
    if has_prior:
        _prior_panel(panels[1], tuned)
    with mpl.rc_context(SETTINGS):
        figure.savefig(path, dpi=150, metadata=plot_metadata(path.suffix))


def _weights_panel(figure: Figure, axes: Axes, tuned: Tuned) -> None:
    worst_first = sorted(tuned.trials, key=lambda trial: -trial.total)
    rates = [100 * tuned.rate(trial) for trial in worst_first]
    points = axes.scatter(
        *_places([trial.setting[:2] for trial in worst_first]),
        c=rates,
        # The few that lose most words would make all others look alike.
        vmax=float(np.quantile(rates, 0.8)),
        cmap="viridis_r",
        s=60,
        edgecolors="white",
        linewidths=0.5,
    )
    axes.scatter(
        *_places([trial.setting[:2] for trial in tuned.alike]),
        s=110,
        facecolors="none",
        edgecolors=ACCENT,
        linewidths=1.2,
        label="within one standard error",
    )
    axes.plot(
        *tuned.chosen.setting[:2],
        "*",
        color=ACCENT,
        markersize=15,
        label="chosen",
        markeredgecolor="white",
    )
    figure.colorbar(points, ax=axes, label="WER, %", extend="max")
    axes.set(xlabel="alpha", ylabel="beta", title="Weights of language model and words")
    axes.legend(fontsize=8)


def _prior_panel(axes: Axes, tuned: Tuned) -> None:
    weights = np.array([trial.setting.prior for trial in tuned.trials])
    rates = np.array([100 * tuned.rate(trial) for trial in tuned.trials])
    tried = np.unique(weights)
    if interval := tuned.interval(tuned.chosen):
        band = [100 * end for end in interval]
        axes.axhspan(*band, color=ACCENT, alpha=0.12, linewidth=0, label="95 % interval of chosen")
    axes.scatter(weights, rates, s=22, color=BAND)
    axes.plot(tried, [rates[weights == w].min() for w in tried], color=INK, label="best of each")
    chosen = tuned.chosen
    axes.plot(chosen.setting.prior, 100 * tuned.rate(chosen), "*", color=ACCENT, markersize=15)
    low = rates.min()
    axes.set_ylim(low - 0.2 * low - 0.5, float(np.quantile(rates, 0.9)) + 1)
    axes.set(xlabel="weight", ylabel="WER, %", xlim=(-0.03, RANGES["prior"][1]))
    axes.set_title("Weight of the label prior")
    axes.legend(fontsize=8)


def _places(pairs: Sequence[tuple[float, ...]]) -> tuple[list[float], list[float]]:
    x, y = zip(*pairs, strict=True)
    return list(x), list(y)
