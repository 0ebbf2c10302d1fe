"""Is the words' confidence what it says? Calibration error and AUROC over a manifest."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common import print_table  # first: it pins threads

from ds2edge import StreamOptions, Transcriber
from ds2edge.arguments import CommandParser
from ds2edge.errors import Ds2edgeError
from ds2edge.progress import track
from ds2edge.text import normalise
from ds2edge.training.confidence import (
    BINS,
    auroc,
    calibration_error,
    correct_words,
    reliability,
)
from ds2edge.training.data.manifest import Utterance, read_manifest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AIM_ERROR, AIM_AUROC = 0.05, 0.75
EPILOG = """examples:
  python benchmarks/confidence.py speech/librispeech/manifest.tsv --split test
      the embedded English bundle, as it is
  python benchmarks/confidence.py dev.tsv --no-language-model --plot letters.png
      letters as heard, with a reliability plot

--plot needs matplotlib.
"""


def main() -> None:
    given = arguments()
    options = StreamOptions(language_model=not given.no_language_model, beam=given.beam)
    utterances = read_manifest(given.manifest, given.split)
    judged = list(judge(Transcriber(given.bundle), utterances, options))
    confidences, correct = [c for c, _ in judged], [right for _, right in judged]
    print(f"{len(utterances)} utterances, {len(judged)} words recognised\n")
    print_table(["", "value", "aim"], figures(confidences, correct))
    print()
    print_table(["confidence", "words", "mean confidence", "correct"], bins(confidences, correct))
    if given.plot:
        plot(confidences, correct, given.plot)
        print(f"\nplot: {given.plot}")


def arguments() -> argparse.Namespace:
    parser = CommandParser("confidence.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("manifest", type=Path, help="manifest.tsv")
    parser.add_argument("--split", help="only this split of it")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--beam", type=int, help="hypotheses kept [the bundle's]")
    parser.add_argument("--no-language-model", action="store_true", help="letters as heard")
    parser.add_argument("--plot", type=Path, help="write a reliability plot (PNG) here")
    return parser.parse_args()


def judge(
    transcriber: Transcriber, utterances: Sequence[Utterance], options: StreamOptions
) -> Iterator[tuple[float, bool]]:
    """Confidence of each word that is recognised, and whether it was said."""
    tokens = transcriber.bundle.manifest.tokens
    for utterance in track(utterances, "recognising", len(utterances)):
        words = transcriber.transcribe(utterance.path, options=options).words
        wanted = normalise(utterance.text, tokens).split()
        correct = correct_words(wanted, [word.text for word in words])
        yield from zip((word.confidence for word in words), correct, strict=True)


def figures(confidences: Sequence[float], correct: Sequence[bool]) -> list[list[str]]:
    """Rows of the table of results."""
    squares = [(c - right) ** 2 for c, right in zip(confidences, correct, strict=True)]
    mass_error = calibration_error(confidences, correct, equal_mass=True)
    aim = f"at most {AIM_ERROR}"
    return [
        ["words correct", f"{sum(correct) / len(correct):.3f}", ""],
        ["mean confidence", f"{sum(confidences) / len(confidences):.3f}", ""],
        ["calibration error", f"{calibration_error(confidences, correct):.3f}", aim],
        ["calibration error, bins of equal mass", f"{mass_error:.3f}", ""],
        ["AUROC", f"{auroc(confidences, correct):.3f}", f"at least {AIM_AUROC}"],
        ["Brier score", f"{sum(squares) / len(squares):.3f}", ""],
    ]


def bins(confidences: Sequence[float], correct: Sequence[bool]) -> list[list[str]]:
    """Rows of the table of bins of equal width."""
    return [
        [f"{i / BINS:.1f} to {(i + 1) / BINS:.1f}", str(words), f"{claimed:.3f}", f"{right:.3f}"]
        for i, (words, claimed, right) in enumerate(reliability(confidences, correct))
        if words
    ]


def plot(confidences: Sequence[float], correct: Sequence[bool], path: Path) -> None:
    """Share of correct words over confidence, and below it how many words there are."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    error, area = calibration_error(confidences, correct), auroc(confidences, correct)
    above.set_title(f"calibration error {error:.3f}, AUROC {area:.3f}")
    draw_reliability(above, confidences, correct)
    below.hist(confidences, bins=[i / BINS for i in range(BINS + 1)], color="C0", edgecolor="w")
    below.set(xlabel="confidence", ylabel="words", xlim=(0, 1))
    figure.savefig(path, dpi=150)


def draw_reliability(axes: Axes, confidences: Sequence[float], correct: Sequence[bool]) -> None:
    rows = [row for row in reliability(confidences, correct) if row[0]]
    claimed, right = [row[1] for row in rows], [row[2] for row in rows]
    # Two standard errors of a share among so many words.
    spread = [2 * (r * (1 - r) / words) ** 0.5 for words, _, r in rows]
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="perfect")
    axes.errorbar(claimed, right, yerr=spread, marker="o", capsize=3, label="words, ± 2 s.e.")
    axes.set(ylabel="correct", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", frameon=False)


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"confidence.py: {error}") from None
