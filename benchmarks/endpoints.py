"""Where segments end, in long recordings made of the utterances of one speaker each.

Counts the endpoints that fall inside a word, by pocketsphinx's forced alignment of each utterance,
and the errors of the long recordings beside those of the same utterances one by one.

Needs pocketsphinx, and matplotlib for --plot.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from alignment import Span, align
from common import print_table

from ds2edge import Final, StreamOptions, Transcriber
from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.commands.flags import add_options, given_options
from ds2edge.errors import Ds2edgeError
from ds2edge.progress import track
from ds2edge.text import normalise
from ds2edge.training.data.manifest import Utterance, read_manifest
from ds2edge.training.evaluation.metrics import word_error_rate

RATE = 16_000
TOLERANCE = 0.05  # s from the edge of a word: an aligner is no more exact
AIM = 1.0  # points of WER

EPILOG = """examples:
  python benchmarks/endpoints.py speech/librispeech/manifest.tsv --split test --plot endpoints.png
  python benchmarks/endpoints.py speech/librispeech/manifest.tsv --split dev --silence-after 0.4
"""


@dataclass(frozen=True)
class Long:
    """The utterances of one speaker, one after the other."""

    speaker: str
    utterances: list[Utterance]
    spans: list[Span]  # seconds from the beginning of all
    segments: list[Final]
    alone: list[str]  # texts of the utterances, recognised one by one
    seconds: float

    @property
    def inside(self) -> list[tuple[float, Span]]:
        """Endpoints inside a word, and that word; the last one is the end of the recording."""
        ends = [segment.end for segment in self.segments[:-1]]
        return [
            (end, span)
            for end in ends
            for span in self.spans
            if span.start + TOLERANCE < end < span.end - TOLERANCE
        ]


def main() -> None:
    parser = CommandParser("endpoints.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("manifest", type=Path, help="manifest.tsv of recordings")
    parser.add_argument("--split", default="test", help="of it [%(default)s]")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw lengths and silences")
    add_options(parser, StreamOptions)
    given = parser.parse_args()
    transcriber, options = Transcriber(given.bundle), given_options(StreamOptions, given)
    utterances = read_manifest(given.manifest, given.split)
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    found = [join(transcriber, options, *item) for item in by_speaker.items()]
    report(transcriber, found)
    if given.plot:
        plot(found, given.plot)
        print(f"\n{given.plot}")


def join(
    transcriber: Transcriber, options: StreamOptions, speaker: str, utterances: list[Utterance]
) -> Long:
    """Recognise the utterances of a speaker as one recording, and one by one."""
    alone = StreamOptions.without_endpoints()
    samples = [read_audio(utterance.path, RATE) for utterance in utterances]
    starts = np.cumsum([0, *map(len, samples)]) / RATE
    spans = [
        Span(span.text, span.start + start, span.end + start, span.guessed)
        for start, spoken in zip(starts, align(utterances), strict=False)
        for span in spoken
    ]
    bar = track(samples, f"speaker {speaker}", len(samples))
    return Long(
        speaker,
        utterances,
        spans,
        list(transcriber.transcribe(np.concatenate(samples), RATE, options).segments),
        [transcriber.transcribe(one, RATE, alone).text for one in bar],
        float(starts[-1]),
    )


def report(transcriber: Transcriber, found: Sequence[Long]) -> None:
    """A row for each speaker, and one for all."""
    rows, totals = [], np.zeros(4)
    wanted, together, apart = [], [], []
    for one in found:
        texts = [normalise(u.text, transcriber.bundle.manifest.tokens) for u in one.utterances]
        joined = " ".join(segment.text for segment in one.segments if segment.words)
        whole = word_error_rate([" ".join(texts)], [joined])
        each = word_error_rate(texts, one.alone)
        counts = np.array([one.seconds, len(one.spans), len(one.segments), len(one.inside)])
        rows.append(row(one.speaker, counts, 100 * whole.rate, 100 * each.rate))
        totals += counts
        wanted += [texts]
        together += [joined]
        apart += [one.alone]
    whole = word_error_rate([" ".join(texts) for texts in wanted], together)
    each = word_error_rate(list(chain(*wanted)), list(chain(*apart)))
    rows.append(row("all", totals, 100 * whole.rate, 100 * each.rate))
    rows.append(["aim", "", "", "", "0", "", "", f"{AIM:+.0f}"])
    header = ["speaker", "seconds", "words aligned", "segments", "ends in words"]
    print_table([*header, "WER % joined", "one by one", "points"], rows)
    for one in found:
        for end, span in one.inside:
            where = f"{span.text!r}, {span.start:.2f} to {span.end:.2f} s"
            print(f"speaker {one.speaker}: a segment ends at {end:.2f} s, inside {where}")


def row(name: str, counts: np.ndarray, joined: float, alone: float) -> list[str]:
    return [
        name,
        *(f"{count:.0f}" for count in counts),
        f"{joined:.2f}",
        f"{alone:.2f}",
        f"{joined - alone:+.2f}",
    ]


def plot(found: Sequence[Long], path: Path) -> None:
    """Lengths of segments, and where their ends lie between the words around."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    lengths = [segment.end - segment.start for one in found for segment in one.segments]
    left.hist(lengths, bins=30, color="tab:blue")
    left.set(xlabel="length of a segment, s", ylabel="segments")
    before, after = [], []
    for one in found:
        starts = np.array([span.start for span in one.spans])
        ends = np.array([span.end for span in one.spans])
        for segment in one.segments[:-1]:
            if np.any(ends <= segment.end) and np.any(starts >= segment.end):
                before.append(segment.end - ends[ends <= segment.end].max())
                after.append(starts[starts >= segment.end].min() - segment.end)
    right.scatter(before, after, s=8, color="tab:blue")
    right.set(
        xlabel="from the end of the word before, s", ylabel="to the start of the next word, s"
    )
    right.set(xscale="symlog", yscale="symlog")
    figure.suptitle("Where segments end")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    try:
        main()
    except (Ds2edgeError, ModuleNotFoundError) as error:
        sys.exit(f"endpoints.py: {error}")
