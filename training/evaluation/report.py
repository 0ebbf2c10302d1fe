"""An evaluation as one HTML page: figures, plots, and the worst utterances to listen to.

The page needs no other file and no network, except for recordings beyond `LARGEST_AUDIO`, to which
it links beside itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ds2edge.audio_file import read_audio
from ds2edge.training.evaluation.alignment import worst
from ds2edge.training.evaluation.charts import histogram_chart, length_chart, speaker_chart
from ds2edge.training.evaluation.metrics import Piece, align, counted
from ds2edge.training.evaluation.recognised import (
    WAY_NAMES,
    Evaluation,
    Recognised,
    Scores,
    with_interval,
)
from ds2edge.training.page import SAMPLE_RATE, Plot, embedded, render_page

TEMPLATE = Path(__file__).with_name("report.html.j2")
WORST = 50  # utterances with their alignment
LARGEST_AUDIO = 8_000_000  # bytes of MP3 in a page


@dataclass(frozen=True)
class Worst:
    """One of the worst utterances."""

    one: Recognised
    errors: int
    words: int
    counted: str  # what the words are: characters, where a script writes no spaces
    pieces: list[Piece]
    audio: str  # URI: embedded, or of the file


def write_report(
    path: Path,
    evaluation: Evaluation,
    scores: Scores,
    figures: dict[str, Any],
    recordings: Sequence[Path],
) -> None:
    """Write the page.

    Args:
        figures: `all_figures` of the scores.
        recordings: the file of each utterance.
    """
    way, found = scores.best_way, evaluation.utterances
    page = render_page(
        TEMPLATE,
        model=evaluation.model,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        minutes=sum(one.seconds for one in found) / 60,
        figures=figures,
        sets={"all": figures["all"], **figures["sets"]},
        ways=[(each, WAY_NAMES[each]) for each in scores.ways],
        best_way=WAY_NAMES[way],
        with_interval=with_interval,
        plots=_plots(scores, figures, way, np.array([one.seconds for one in found])),
        worst=_worst(path, evaluation, scores, recordings),
        utterances=[
            (one, one.said[way], int(scores.words[i]), int(scores.word_errors[way][i]))
            for i, one in enumerate(found)
        ],
    )
    path.write_text(page, encoding="utf-8")


def _worst(
    page: Path, evaluation: Evaluation, scores: Scores, recordings: Sequence[Path]
) -> list[Worst]:
    way, left, shown = scores.best_way, LARGEST_AUDIO, []
    for i in worst(scores, way, WORST):
        audio = embedded(read_audio(recordings[i], SAMPLE_RATE)) if left > 0 else ""
        left -= len(audio)
        if left <= 0:  # this one and all that follow
            audio = quote(os.path.relpath(recordings[i], page.resolve().parent))
        one = evaluation.utterances[i]
        errors, words = int(scores.word_errors[way][i]), int(scores.words[i])
        pieces = align(one.wanted, one.said[way])
        shown.append(Worst(one, errors, words, counted(one.wanted), pieces, audio))
    return shown


def _plots(
    scores: Scores, figures: dict[str, Any], way: str, seconds: np.ndarray[Any, Any]
) -> list[Plot]:
    rates, speakers = 100 * scores.rates(way), figures["speakers"]
    ranked = sorted(speakers, key=lambda name: speakers[name][way]["wer"])
    return [
        Plot(
            "Word error rate over length, with 95 % intervals",
            length_chart(scores, way, seconds),
            f"Utterances of {seconds.min():.1f} to {seconds.max():.1f} seconds; "
            "the table of all utterances has the figures.",
        ),
        Plot(
            "Word error rate by speaker, with 95 % intervals",
            speaker_chart(speakers, way),
            f"From {speakers[ranked[0]][way]['wer']} % ({ranked[0]}) to "
            f"{speakers[ranked[-1]][way]['wer']} % ({ranked[-1]}).",
        ),
        Plot(
            "Utterances by word error rate",
            histogram_chart(scores, way),
            f"{int((rates == 0).sum())} of {len(rates)} utterances have no error; "
            f"the median is {np.median(rates):.1f} %.",
        ),
    ]
