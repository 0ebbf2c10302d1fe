"""How plots look, and how they get into a page: drawn by matplotlib without a screen."""

from __future__ import annotations

import base64
import io
import warnings
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, ACCENT, BAND = "#1b4965", "#c2410c", "#9ecae1"  # told apart by brightness, too
SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "ds2edge",  # the same plot is the same file
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "font.size": 9,
}


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Sizes in inches."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes: Axes = figure.subplots()
    return figure, axes


def data_uri(figure: Figure) -> str:
    """A figure as SVG inside a URI, for one page without other files; the page shows through."""
    file = io.BytesIO()
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        # The browser's fonts have what matplotlib's has not, as Mandarin characters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="svg", metadata=plot_metadata(".svg"), transparent=True)
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


def plot_metadata(suffix: str) -> dict[str, None]:
    """No date: the same plot is the same file."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}[suffix]
