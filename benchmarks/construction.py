"""How well long recordings become training data: alignment, cuts, transcripts.

The utterances of each speaker are joined into one recording, and their texts into one text, so that
it is known where each begins. Both are given to `ds2edge data align` and `segment`; a second time
with words of the text deleted, inserted and replaced.

Needs pocketsphinx, which tells where words begin and end, and matplotlib for --plot.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from alignment import Span, align
from common import print_table

from ds2edge import cli
from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.errors import Ds2edgeError
from ds2edge.text import normalise
from ds2edge.training.construction.alignment import Alignment, read_alignment
from ds2edge.training.data.manifest import Utterance, read_column, read_manifest
from ds2edge.training.evaluation.listener import open_listener
from ds2edge.training.evaluation.metrics import word_error_rate

RATE = 16_000
EXACT = 0.1  # s that a recovered word may reach across a true cut
INSIDE = 0.05  # s from the edge of a word: an aligner is no more exact
QUIET = 25.0  # dB below what is loud
AIMS = (98.0, 90.0)  # % of true cuts between the right words; with a text that is right, and wrong

EPILOG = """examples:
  python benchmarks/construction.py speech/librispeech/manifest.tsv --split test --plot lengths.png
  python benchmarks/construction.py speech/librispeech/manifest.tsv --split dev --wrong 0.2
"""


@dataclass(frozen=True)
class Joined:
    """One speaker's utterances as a long recording."""

    speaker: str
    recording: Path
    lines: list[list[str]]  # words of each utterance
    edges: list[float]  # s, begin of each utterance, and the end of the last
    spans: list[Span]  # words by pocketsphinx, s from the beginning


@dataclass(frozen=True)
class Made:
    """What became of it."""

    joined: Joined
    right: list[bool]  # for each true cut, whether the words around it are on their sides
    found: float  # share of the words of the text
    segments: list[Utterance]
    spans: list[tuple[float, float]]  # s, of each segment

    @property
    def inside(self) -> list[tuple[float, Span]]:
        """Cuts inside a word, as pocketsphinx has it, and that word."""
        return [
            (edge, span)
            for edge in {edge for ends in self.spans for edge in ends}
            for span in self.joined.spans
            if span.start + INSIDE < edge < span.end - INSIDE
        ]

    @property
    def loud(self) -> list[float]:
        """Cuts where it is not quiet: less than `QUIET` fainter than what is loud."""
        samples = read_audio(self.joined.recording, RATE)
        width = RATE // 20  # 50 ms
        levels = 10 * np.log10(np.convolve(samples**2, np.ones(width) / width, "same") + 1e-10)
        limit = np.percentile(levels, 95) - QUIET
        edges = {edge for ends in self.spans for edge in ends}
        inside = [edge for edge in edges if 0 < edge < len(samples) / RATE]
        return [edge for edge in inside if levels[round(edge * RATE) - 1] > limit]

    def transcripts(self) -> tuple[list[str], list[str]]:
        """What is said in each segment, by the words in its middle, and its transcript."""
        said = []
        for start, end in self.spans:
            inside = [s.text for s in self.joined.spans if start <= (s.start + s.end) / 2 < end]
            said.append(" ".join(inside))
        return said, [one.text for one in self.segments]


def main() -> None:
    parser = CommandParser("construction.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("manifest", type=Path, help="manifest.tsv of recordings")
    parser.add_argument("--split", default="test", help="of it [%(default)s]")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--wrong", type=float, default=0.1, help="share of words [%(default)g]")
    parser.add_argument("--seed", type=int, default=1, help="which words are wrong [%(default)s]")
    parser.add_argument("--target", default="7", help="s, length of segments [%(default)s]")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="lengths of the segments")
    given = parser.parse_args()
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in read_manifest(given.manifest, given.split):
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    with TemporaryDirectory() as folder:
        work = Path(folder)
        joined = [join(work, given.bundle, *item) for item in by_speaker.items()]
        right = [make(one, one.lines, work / "right", given) for one in joined]
        rng, words = np.random.default_rng(given.seed), vocabulary(joined)
        wrong = [
            make(one, spoiled(one.lines, given.wrong, words, rng), work / "wrong", given)
            for one in joined
        ]
        report(right, wrong, given.wrong)
    if given.plot:
        plot(right, float(given.target), given.plot)
        print(f"\n{given.plot}")


def join(work: Path, bundle: str, speaker: str, utterances: Sequence[Utterance]) -> Joined:
    """Write the recording; where its words are, pocketsphinx tells of each utterance alone."""
    tokens = open_listener(bundle).tokens
    samples = [read_audio(utterance.path, RATE) for utterance in utterances]
    edges = (np.cumsum([0, *map(len, samples)]) / RATE).tolist()
    path = work / f"{speaker}.flac"
    soundfile.write(path, np.concatenate(samples), RATE)
    spans = [
        Span(span.text, span.start + start, span.end + start, span.guessed)
        for start, spoken in zip(edges, align(utterances), strict=False)
        for span in spoken
    ]
    lines = [normalise(utterance.text, tokens).split() for utterance in utterances]
    return Joined(speaker, path, lines, edges, spans)


def vocabulary(joined: Sequence[Joined]) -> list[str]:
    """All words, as often as they are said."""
    return [word for one in joined for line in one.lines for word in line]


def spoiled(
    lines: Sequence[Sequence[str]], share: float, words: Sequence[str], rng: np.random.Generator
) -> list[list[str]]:
    """A share of the words deleted, followed by another one, or replaced by one: a third each."""
    found = []
    for line in lines:
        found.append([])
        for word in line:
            way = int(rng.integers(3)) if rng.random() < share else None
            if way != 0 and way != 2:
                found[-1].append(word)
            if way in (1, 2):
                found[-1].append(words[int(rng.integers(len(words)))])
    return found


def make(joined: Joined, lines: Sequence[Sequence[str]], work: Path, given: object) -> Made:
    """Align and cut, with the commands that anyone would use."""
    aligned, out = work / "aligned", work / joined.speaker
    text = work / f"{joined.speaker}.txt"
    work.mkdir(exist_ok=True)
    text.write_text("\n".join(" ".join(line) for line in lines))
    run("align", str(joined.recording), "--text", str(text), "-o", str(aligned))
    alignment = aligned / f"{joined.speaker}.json"
    run("segment", str(alignment), "-o", str(out), "--target", given.target)
    manifest = out / "manifest.tsv"
    starts, ends = (map(float, read_column(manifest, name) or []) for name in ("start", "end"))
    found = read_alignment(alignment)
    return Made(
        joined,
        [right(found, line, cut) for line, cut in enumerate(joined.edges[1:-1])],
        found.share_found(),
        read_manifest(manifest),
        list(zip(starts, ends, strict=True)),
    )


def right(alignment: Alignment, line: int, cut: float) -> bool:
    """Whether the cut after a line lies between the words of the lines before it and after it."""
    before = [word.end for word in alignment.found if word.line <= line]
    after = [word.start for word in alignment.found if word.line > line]
    return bool(before and after) and before[-1] - EXACT <= cut <= after[0] + EXACT


def run(*arguments: str) -> None:
    if code := cli.main(["data", *arguments]):
        sys.exit(code)


def report(right: Sequence[Made], wrong: Sequence[Made], share: float) -> None:
    """A row for each speaker and text, and one for all."""
    rows = []
    for name, made, aim in (("right", right, AIMS[0]), (f"{share:.0%} wrong", wrong, AIMS[1])):
        rows += [row(one.joined.speaker, name, [one]) for one in made]
        rows.append(row("all", name, made))
        rows.append(["aim", name, "", f"{aim:.0f}", "", "", "", "0", "0", "", ""])
    header = ["speaker", "text", "cuts", "right %", "words found %", "segments", "mean s"]
    print_table([*header, "cuts in words", "where loud", "time kept %", "WER of texts %"], rows)
    for one in (*right, *wrong):
        for edge, span in one.inside:
            where = f"{span.text!r}, {span.start:.2f} to {span.end:.2f} s"
            print(f"speaker {one.joined.speaker}: a cut at {edge:.2f} s, inside {where}")


def row(speaker: str, text: str, made: Sequence[Made]) -> list[str]:
    cuts = [one for each in made for one in each.right]
    seconds = [end - start for each in made for start, end in each.spans]
    total = sum(each.joined.edges[-1] for each in made)
    pairs = [each.transcripts() for each in made]
    said, texts = ([one for pair in pairs for one in pair[side]] for side in (0, 1))
    return [
        speaker,
        text,
        str(len(cuts)),
        f"{100 * np.mean(cuts):.1f}",
        f"{100 * np.mean([each.found for each in made]):.1f}",
        str(len(seconds)),
        f"{np.mean(seconds):.1f}",
        str(sum(len(each.inside) for each in made)),
        str(sum(len(each.loud) for each in made)),
        f"{100 * sum(seconds) / total:.1f}",
        f"{100 * word_error_rate(said, texts).rate:.1f}",
    ]


def plot(made: Sequence[Made], target: float, path: Path) -> None:
    """Lengths of the segments."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    seconds = [end - start for each in made for start, end in each.spans]
    axes.hist(seconds, bins=np.arange(0, 16, 0.5), color="tab:blue")
    axes.axvline(target, color="tab:orange", label=f"asked for: {target:g} s")
    axes.axvline(np.mean(seconds), color="black", ls=":", label=f"mean: {np.mean(seconds):.1f} s")
    axes.set(xlabel="length of a segment, s", ylabel="segments")
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    try:
        main()
    except (Ds2edgeError, ModuleNotFoundError) as error:
        sys.exit(f"construction.py: {error}")
