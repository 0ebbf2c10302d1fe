"""Plots of corpora: histograms, hours by speaker, spectrograms."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MaxNLocator

from ds2edge.audio import FloatArray
from ds2edge.training.plots import ACCENT, BAND, INK, SETTINGS, data_uri, new_figure

CORPORA = (INK, BAND, ACCENT, "#6b9080", "#8d6a9f", "#b08968", "#999999")  # all others are grey
BINS = 40
GREY = "#808080"  # can be read on white and on black
WINDOW, HOP = 400, 160  # samples at 16 kHz: 25 ms every 10 ms
RANGE = 70.0  # dB that a spectrogram shows
COLUMNS = 1000  # of a spectrogram, at most


def histogram(
    groups: Mapping[str, npt.NDArray[np.float64]], label: str, whole: bool = False
) -> str:
    """How many recordings have which value; the corpora above each other.

    Args:
        groups: the values of each corpus.
        label: what the values are, with their unit.
        whole: they are whole numbers, of which no bar is to have more than another.

    Returns: as `data_uri`.
    """
    figure, axes = new_figure(5.4, 2.6)
    values = list(groups.values())
    everything = np.concatenate(values)
    low, high = float(everything.min()), float(everything.max())
    width = -(-(high - low + 1) // BINS) if whole else (high - low) / BINS or 1 / BINS
    edges = low + width * np.arange(max(1, -(-(high - low) // width)) + 1 + whole) - 0.5 * whole
    colours = [CORPORA[min(i, len(CORPORA) - 1)] for i in range(len(values))]
    names = list(groups)
    axes.hist(values, edges.tolist(), stacked=True, color=colours, label=names, rwidth=0.92)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=label, ylabel="recordings")
    if len(groups) > 1:
        axes.legend(fontsize=8, frameon=False)
    return data_uri(figure)


def speaker_chart(minutes: Sequence[float]) -> str:
    """Minutes of each speaker, the most first.

    Returns: as `data_uri`.
    """
    figure, axes = new_figure(5.4, 2.6)
    ordered = sorted(minutes, reverse=True)
    axes.fill_between(range(len(ordered) + 1), [*ordered, ordered[-1]], step="post", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="speakers", ylabel="minutes", xlim=(0, None), ylim=(0, None))
    return data_uri(figure)


def token_chart(counts: Mapping[str, int]) -> str:
    """How often the most frequent tokens are used.

    Returns: as `data_uri`.
    """
    figure, axes = new_figure(10.8, 2.2)
    shown = list(counts.items())[:60]
    axes.bar([str(i) for i in range(len(shown))], [count for _, count in shown], color=INK)
    names = ["\u2423" if name == "space" else name for name, _ in shown]  # a bracket for a space
    axes.set_xticks(range(len(shown)), names, fontsize=8)
    axes.set(ylabel="times", xlim=(-0.7, len(shown) - 0.3))
    return data_uri(figure)


def spectrogram(samples: FloatArray, sample_rate: int) -> str:
    """Of mono samples at 16 kHz; as PNG inside a URI, whose ground is the page's."""
    padded = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    frames = frames[:: -(-len(frames) // COLUMNS)]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)) ** 2
    level = 10 * np.log10(power.T + 1e-10)
    top = float(level.max())
    with mpl.rc_context({**SETTINGS, "text.color": GREY, "axes.labelcolor": GREY}):
        figure, axes = new_figure(8.4, 2.0)
        extent = (0.0, len(samples) / sample_rate, 0.0, sample_rate / 2000)
        axes.imshow(
            level,
            aspect="auto",
            origin="lower",
            extent=extent,
            cmap="magma",
            vmin=top - RANGE,
            vmax=top,
            interpolation="nearest",
        )
        axes.tick_params(colors=GREY)
        axes.set_xlabel("seconds", color=GREY)
        axes.set_ylabel("kHz", color=GREY)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=100, transparent=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
