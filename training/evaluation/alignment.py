"""The utterances with most errors, for people: what was said beside what was recognised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ds2edge.training.evaluation.metrics import align, counted
from ds2edge.training.evaluation.recognised import Recognised, Scores

if TYPE_CHECKING:
    from rich.text import Text

LEGEND = "(said -> recognised)  -lost-  +too many+"


def worst(scores: Scores, way: str, count: int) -> list[int]:
    """The utterances that cost most: most word errors, then the highest rate; none without."""
    errors, rates = scores.word_errors[way], scores.rates(way)
    order = np.lexsort((-rates, -errors))[: max(0, count)]
    return [int(i) for i in order if errors[i]]


def print_worst(found: Sequence[Recognised], scores: Scores, way: str, count: int) -> None:
    """On standard output: in colour on a terminal that has them, always with marks."""
    from rich.console import Console
    from rich.text import Text

    if not (chosen := worst(scores, way, count)):
        return
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(f"\nmost errors; {LEGEND}")
    for i in chosen:
        one = found[i]
        errors = f"{scores.word_errors[way][i]} errors in {scores.words[i]} {counted(one.wanted)}"
        title = f"{one.set}, {one.path}, speaker {one.speaker}: {errors}"
        console.print(Text(title, style="bold"))
        console.print(Text("  ").append_text(marked(one.wanted, one.said[way])))


def marked(wanted: str, said: str) -> Text:
    """The alignment in one line; colours only repeat what the marks say."""
    from rich.text import Text

    pieces = []
    for piece in align(wanted, said):
        if piece.is_right:
            pieces.append(Text(piece.wanted))
        elif not piece.said:
            pieces.append(Text(f"-{piece.wanted}-", style="red"))
        elif not piece.wanted:
            pieces.append(Text(f"+{piece.said}+", style="magenta"))
        else:
            pieces.append(Text(f"({piece.wanted} -> {piece.said})", style="yellow"))
    return Text(" ").join(pieces)
