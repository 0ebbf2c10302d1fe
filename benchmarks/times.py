"""Start and end times of words: against pocketsphinx's forced alignment, and between beams.

Takes the words that are recognised as the reference has them, and how far their times are from
those of the same words in pocketsphinx's alignment of the reference with the recording; then how
many of the words that are the same at a small and at the largest beam have the same times.

Needs pocketsphinx, and matplotlib for --plot.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from alignment import Span, align
from common import print_table

from ds2edge import Ds2edgeError, StreamOptions, Transcriber, Word
from ds2edge.progress import track
from ds2edge.training.data.manifest import Utterance, read_manifest

EXAMPLES = """examples:
  python benchmarks/times.py speech/librispeech/manifest.tsv --split test
  python benchmarks/times.py speech/librispeech/manifest.tsv --split dev --plot times.png
  python benchmarks/times.py my/manifest.tsv --split dev --bundle my.ds2 --beams 4 32
"""
FAR = 200.0  # ms
AIMS = {"start": "60 ms, 95 % within 200 ms", "end": "100 ms"}
Milliseconds = npt.NDArray[np.float64]


@dataclass
class Agreement:
    """How the words of one beam compare with those of the largest."""

    same: int = 0  # words
    same_times: int = 0
    elsewhere: int = 0  # the times do not even touch: another occurrence of the word
    same_neighbours: int = 0  # words with the same word before and after them
    same_neighbours_times: int = 0

    def add(self, words: Sequence[Word], reference: Sequence[Word]) -> None:
        """Count one recording."""
        texts, others = texts_of(words), texts_of(reference)
        for i, j in matches(texts, others):
            one, other = words[i], reference[j]
            equal = (one.start, one.end) == (other.start, other.end)
            neighbours = around(texts, i) == around(others, j)
            self.same += 1
            self.same_times += equal
            self.elsewhere += one.end <= other.start or other.end <= one.start
            self.same_neighbours += neighbours
            self.same_neighbours_times += equal and neighbours


def matches(first: Sequence[str], second: Sequence[str]) -> list[tuple[int, int]]:
    """Places of the words that a shortest edit from `first` to `second` leaves alone."""
    costs = np.zeros((len(first) + 1, len(second) + 1), dtype=np.int64)
    costs[:, 0], costs[0] = np.arange(len(first) + 1), np.arange(len(second) + 1)
    for i, word in enumerate(first):
        for j, other in enumerate(second):
            changed = costs[i, j] + (word != other)
            costs[i + 1, j + 1] = min(changed, costs[i, j + 1] + 1, costs[i + 1, j] + 1)
    i, j = len(first), len(second)
    kept = []
    while i and j:
        equal = first[i - 1] == second[j - 1]
        if costs[i, j] == costs[i - 1, j - 1] + (not equal):
            i, j = i - 1, j - 1
            if equal:
                kept.append((i, j))
        elif costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return kept[::-1]


def texts_of(words: Sequence[Word]) -> list[str]:
    return [word.text for word in words]


def around(texts: Sequence[str], place: int) -> tuple[str, str]:
    """The words before and after; at the ends of a text, none."""
    before = texts[place - 1] if place else ""
    return before, texts[place + 1] if place + 1 < len(texts) else ""


def recognise(
    utterances: Sequence[Utterance], bundle: str, beams: Sequence[int]
) -> dict[int, list[tuple[Word, ...]]]:
    """For each beam, the words of each recording."""
    transcriber = Transcriber(bundle)
    words: dict[int, list[tuple[Word, ...]]] = {beam: [] for beam in beams}
    for utterance in track(utterances, "recognising", len(utterances)):
        for beam in beams:
            transcript = transcriber.transcribe(utterance.path, options=StreamOptions(beam=beam))
            words[beam].append(tuple(transcript.words))
    return words


def errors(
    words: Sequence[Sequence[Word]], spans: Sequence[Sequence[Span]]
) -> dict[str, Milliseconds]:
    """Ours less pocketsphinx's, in ms, for each word recognised as it was spoken."""
    found: dict[str, list[float]] = {"start": [], "end": []}
    for recognised, spoken in zip(words, spans, strict=True):
        for i, j in matches(texts_of(recognised), [span.text for span in spoken]):
            if not spoken[j].guessed:
                found["start"].append(1000 * (recognised[i].start - spoken[j].start))
                found["end"].append(1000 * (recognised[i].end - spoken[j].end))
    return {side: np.array(values) for side, values in found.items()}


def print_errors(found: dict[str, Milliseconds]) -> None:
    header = ["time", "median error", "95 % within", "within 200 ms", "bias", "aim for the median"]
    rows = []
    for side, values in found.items():
        size = np.abs(values)
        median, most = np.median(size), np.percentile(size, 95)
        near = 100 * float(np.mean(size <= FAR + 1e-6))
        bias = f"{np.median(values):+.0f} ms"
        row = [side, f"{median:.0f} ms", f"{most:.0f} ms", f"{near:.1f} %", bias, AIMS[side]]
        rows.append(row)
    print_table(header, rows)


def print_agreement(words: dict[int, list[tuple[Word, ...]]], largest: int) -> None:
    header = ["beam", f"words as at {largest}", "with the same times", "not even touching"]
    rows = []
    for beam in sorted(set(words) - {largest}):
        seen = Agreement()
        for recognised, reference in zip(words[beam], words[largest], strict=True):
            seen.add(recognised, reference)
        alike = share(seen.same_neighbours_times, seen.same_neighbours)
        times = share(seen.same_times, seen.same)
        rows.append([str(beam), str(seen.same), times, str(seen.elsewhere), alike])
    print_table([*header, "same times, if the neighbours are the same"], rows)


def share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / max(whole, 1):.2f} %)"


def plot(found: dict[str, Milliseconds], path: Path) -> None:
    """Histograms of the errors of starts and ends."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    bins = np.arange(-305, 306, 10)
    for panel, (side, values) in zip(panels, found.items(), strict=True):
        panel.hist(np.clip(values, bins[0], bins[-1]), bins=bins, color="tab:blue")
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_title(f"{side}: median error {np.median(np.abs(values)):.0f} ms")
    panels[0].set_ylabel("words")
    figure.supxlabel("ds2edge less pocketsphinx, ms; the outermost bars hold all beyond")
    figure.savefig(path, dpi=150)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path, help="manifest.tsv: recordings and their text")
    parser.add_argument("--split", help="only this split of it [all]")
    parser.add_argument("--bundle", default="en", help="model bundle [%(default)s]")
    parser.add_argument(
        "--beams",
        type=int,
        nargs="+",
        default=[8, 16, 64, 256],
        help="beams to compare; errors are those of the largest [8 16 64 256]",
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw histograms of the errors")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    utterances = read_manifest(options.manifest, options.split)
    spans = align(utterances)
    words = recognise(utterances, options.bundle, options.beams)
    largest = max(options.beams)
    found = errors(words[largest], spans)
    if not len(found["start"]):
        raise Ds2edgeError("no word was both recognised and aligned: nothing to compare")
    seconds = sum(utterance.seconds for utterance in utterances)
    guessed = sum(span.guessed for spoken in spans for span in spoken)
    print(
        f"{len(utterances)} recordings, {seconds:.0f} s; {sum(map(len, spans))} words aligned, "
        f"{guessed} of them with a guessed pronunciation and not compared, "
        f"{sum(not spoken for spoken in spans)} recordings not aligned;\n"
        f"{len(found['start'])} words recognised at beam {largest} and compared\n"
    )
    print_errors(found)
    print()
    print_agreement(words, largest)
    if options.plot:
        plot(found, options.plot)
        print(f"\n{options.plot}")


def main() -> None:
    options = parse(None)
    try:
        run(options)
    except (Ds2edgeError, ModuleNotFoundError) as error:
        sys.exit(f"times.py: {error}")


if __name__ == "__main__":
    main()
