"""Statistics of corpora as one HTML page: figures, plots, and what is strange to listen to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ds2edge.errors import AudioError
from ds2edge.training.page import SAMPLE_RATE, Plot, beginning, embedded, render_page
from ds2edge.training.statistics.charts import histogram, speaker_chart, spectrogram, token_chart
from ds2edge.training.statistics.rows import Recordings, Row
from ds2edge.training.statistics.strange import Strange, most_strange
from ds2edge.training.statistics.summary import compared

TEMPLATE = Path(__file__).with_name("corpus.html.j2")
AUDIO = 600.0  # seconds of sound in a page, 4 MB of MP3
LONGEST = 20.0  # seconds of one recording
LISTED = 200  # lines of a table; --json has all

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """A strange recording to look at and listen to."""

    row: Row
    strange: Strange
    spectrogram: str  # URI
    audio: str  # URI, of its beginning
    is_whole: bool  # the audio


def write_page(
    path: Path,
    recordings: Recordings,
    figures: dict[str, Any],
    strange: Sequence[Strange],
    count: int,
) -> None:
    """Write the page.

    Args:
        figures: `summarise`.
        strange: all strange recordings.
        count: how many of them can be listened to.
    """
    page = render_page(
        TEMPLATE,
        title=", ".join(recordings.corpora),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        figures=figures,
        plots=_plots(recordings, figures),
        token_plot=token_chart(figures["tokens"]["counts"]),
        shown=_shown(recordings, most_strange(strange, count)),
        listed=LISTED,
        longest=LONGEST,
        duration=duration,
    )
    path.write_text(page, encoding="utf-8")


def duration(hours: float) -> str:
    """For people."""
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{3600 * hours:.1f} s"


def _shown(recordings: Recordings, chosen: Sequence[Strange]) -> list[Shown]:
    shown = []
    seconds = min(LONGEST, AUDIO / max(1, len(chosen)))
    for each in chosen:
        row = recordings.rows[each.place]
        try:
            samples = beginning(row.utterance.path, seconds)
        except AudioError as error:  # it is another file by now
            log.warning("left out of the page: %s", error)
            continue
        picture = spectrogram(samples, SAMPLE_RATE)
        is_whole = row.figures.seconds <= seconds
        shown.append(Shown(row, each, picture, embedded(samples), is_whole))
    return shown


def _plots(recordings: Recordings, figures: dict[str, Any]) -> list[Plot]:
    values = figures["values"]

    def plot(name: str, title: str, label: str, scale: float = 1.0) -> Plot:
        of = values[name]
        groups = {
            corpus: scale * compared(name, (recordings.rows[i] for i in recordings.of(corpus)))
            for corpus in recordings.corpora
        }
        groups = {corpus: group for corpus, group in groups.items() if len(group)}
        said = (
            f"Half of the recordings have {scale * of['median']:.3g} or less, "
            f"nine in ten {scale * of['5 %']:.3g} to {scale * of['95 %']:.3g}."
        )
        return Plot(title, histogram(groups, label), said)

    plots = [plot("seconds", "Length", "seconds")]
    if figures["all"]["characters"]:
        plots.append(plot("characters_per_second", "Speed", "characters a second"))
        plots.append(_words_plot(recordings, figures["vocabulary"]["of"]))
    if speakers := figures["speakers"]:
        minutes = [60 * hours for hours in speakers.values()]
        said = f"The median has {np.median(minutes):.1f} minutes, the first {max(minutes):.1f}."
        plots.append(Plot("Speech of each speaker", speaker_chart(minutes), said))
    plots += [
        plot("level", "Level without the silence", "dB of full scale"),
        plot("silence", "Silence", "% of the time", 100),
        plot("bandwidth", "Bandwidth", "kHz", 0.001),
    ]
    if values["clipped"]["most"]:
        plots.append(plot("clipped", "Clipping", "% of the samples", 100))
    return plots


def _words_plot(recordings: Recordings, of: str) -> Plot:
    counts = {
        corpus: np.array(
            [len(recordings.words(recordings.rows[i])) for i in recordings.of(corpus)], np.float64
        )
        for corpus in recordings.corpora
    }
    median = float(np.median(np.concatenate(list(counts.values()))))
    said = f"Half of the recordings have {median:g} {of} or less."
    return Plot(of.capitalize(), histogram(counts, f"{of} in a recording", whole=True), said)
