"""Error rates of a bundle on a stream, on the recordings of any manifest, beside pocketsphinx.

Each recording is fed in blocks of 100 ms, as a microphone gives them. pocketsphinx has the model
that it brings and hears each recording as a whole, which it does best. With --closed each recording
is one of the manifest's own texts, and the share that is right is counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import common  # first: it pins threads
import numpy as np
from accuracy_systems import OURS, PEER, RATE, systems

from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.bundle import MANIFEST, Bundle, load_bundle
from ds2edge.bundle_archive import file_digest
from ds2edge.errors import DataError, Ds2edgeError
from ds2edge.progress import track
from ds2edge.text import TokenSet, normalise
from ds2edge.training.data.manifest import corpus_names
from ds2edge.training.evaluation.bootstrap import Interval, paired, rate_interval
from ds2edge.training.evaluation.evaluate import record_looks
from ds2edge.training.evaluation.metrics import (
    Counts,
    character_counts,
    character_errors,
    word_counts,
    word_errors,
)
from ds2edge.training.evaluation.recognised import ModelFacts
from ds2edge.training.evaluation.sources import Source, read_sources
from ds2edge.training.evaluation.split import is_test
from ds2edge.training.files import partial_file

EPILOG = """examples:
  python benchmarks/accuracy.py --manifest speech/librispeech/manifest.tsv \\
      --manifest speech/speechocean762/manifest.tsv --plot accuracy.png
      the test splits of each, or all recordings of one that has none
  python benchmarks/accuracy.py --manifest mine.tsv --bundle my.ds2 --speakers
      a model of your own, speaker by speaker
  python benchmarks/accuracy.py --closed --manifest speech/keywords/manifest.tsv
      each recording is one of the texts of the manifest, and nothing else is

A manifest has the columns path, seconds, text, speaker and split, tab-separated; paths are relative
to it. Recordings without text are left out. Looks at a test split are logged, as those of
`ds2edge evaluate` are.
"""
MISTAKES = 5  # that are told of each system, of a closed vocabulary
MOST_SPEAKERS = 12  # that are told, the worst


@dataclass(frozen=True)
class Heard:
    """A set of recordings and what each system made of them."""

    name: str
    speakers: list[str]
    wanted: list[str]  # normalised
    said: dict[str, list[str]]  # by system


@dataclass(frozen=True)
class Row:
    """Errors of a system on a set."""

    name: str  # of the set
    system: str
    recordings: int
    words: int
    rate: float  # of word errors; of recordings that are not right, in a closed vocabulary
    interval: Interval | None  # 95 %, by recording
    characters: float  # error rate
    more: float | None = None  # what ours has more, 0 or less: no worse than the peer
    more_interval: Interval | None = None
    times: float | None = None  # as many errors as the peer


def main() -> int:
    given = arguments()
    bundle = load_bundle(given.bundle)
    tokens, names = bundle.manifest.tokens, corpus_names(given.manifest)
    pairs = zip(given.manifest, names, strict=True)  # all are looked at before one is heard
    sets = [sources_of(path, name, given.split, tokens)[:: given.every] for path, name in pairs]
    heard = [hear(sources, bundle, given.closed) for sources in sets]
    rows = [row for one in heard for row in rows_of(one, given.closed)]
    print()
    common.print_table(*table(rows, given.closed))
    differences = "differences: " if given.closed else ""
    print(f"in brackets: 95 % intervals, {differences}bootstrap samples of recordings")
    if PEER not in heard[0].said:
        print(f"{PEER} is not installed: pip install {PEER}")
    for one in heard:
        if given.closed:
            print("\n".join(mistakes(one)))
        elif given.speakers:
            print()
            common.print_table(*speaker_table(one))
    if given.json:
        with partial_file(given.json, sync=False) as file:
            file.write(json.dumps([asdict(row) for row in rows], indent=1).encode() + b"\n")
    if given.plot:
        draw(given.plot, rows, given.closed)
        print(f"plot: {given.plot}")
    return 0


def arguments() -> argparse.Namespace:
    parser = CommandParser("accuracy.py", description=__doc__, epilog=EPILOG)
    parser.add_argument(
        "--manifest", type=Path, action="append", required=True, help="may be repeated"
    )
    parser.add_argument("--split", help="of the manifests [test; all if there is none]")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--closed", action="store_true", help="nothing but the manifest's texts")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="Nth recording only")
    parser.add_argument("--speakers", action="store_true", help="a table of them, the worst first")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the rows, to write")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="to draw")
    given = parser.parse_args()
    if given.every < 1:
        parser.error(f"--every needs 1 or more, got {given.every}")
    return given


def hear(sources: Sequence[Source], bundle: Bundle, closed: bool) -> Heard:
    """Let every system hear the recordings of a set.

    Raises:
        Ds2edgeError: the bundle or a recording cannot be used.
    """
    tokens, name = bundle.manifest.tokens, sources[0].set
    wanted = [normalise(source.utterance.text, tokens) for source in sources]
    compared = systems(bundle, sorted(set(wanted)) if closed else ())
    said: dict[str, list[str]] = {system: [] for system in compared}
    for source in track(sources, name, len(sources)):
        samples = read_audio(source.utterance.path, RATE)
        for system, transcribe in compared.items():
            said[system].append(normalise(transcribe(samples), tokens))
    heard = Heard(name, [source.utterance.speaker for source in sources], wanted, said)
    row = row_of(heard, OURS, closed)
    rates = {"wer": round(100 * row.rate, 2), "cer": round(100 * row.characters, 2)}
    decoder = bundle.manifest.decoder.plain()
    facts = ModelFacts(bundle.manifest.name, file_digest(bundle.folder / MANIFEST), decoder)
    record_looks("accuracy.py", sources, facts, {name: {"language_model": rates}})
    return heard


def sources_of(manifest: Path, name: str, split: str | None, tokens: TokenSet) -> list[Source]:
    """The recordings of a split that have a text; of test splits, if None, or else of all.

    Returns: as one set, called by the corpus' name and the splits that are in it.

    Raises:
        DataError: the manifest cannot be used, or none has a text.
    """
    every = read_sources([manifest], split)
    tests = [source for source in every if is_test(source.utterance.split)]
    some = every if split or not tests else tests
    kept = [source for source in some if normalise(source.utterance.text, tokens)]
    if len(kept) < len(some):
        print(f"{manifest}: {len(some) - len(kept)} of {len(some)} recordings have no text")
    if not kept:
        raise DataError(f"{manifest} has no recording with a text to compare with")
    splits = dict.fromkeys(source.utterance.split for source in kept)
    return [source._replace(set=f"{name} {', '.join(splits)}".strip()) for source in kept]


def rows_of(heard: Heard, closed: bool) -> list[Row]:
    """A row for each system."""
    return [row_of(heard, system, closed) for system in heard.said]


def row_of(heard: Heard, system: str, closed: bool) -> Row:
    """Its error rates, and beside the peer the difference of ours on the same recordings."""
    errors, lengths = errors_of(heard, system, closed)
    letters, length = character_errors(heard.wanted, heard.said[system]), heard.wanted
    row = Row(
        heard.name,
        system,
        len(heard.wanted),
        int(word_counts(heard.wanted).sum()),
        float(errors.sum() / lengths.sum()),
        share_interval(errors) if closed else rate_interval(errors, lengths),
        float(letters.sum() / character_counts(length).sum()),
    )
    if system != PEER:
        return row
    ours, _ = errors_of(heard, OURS, closed)
    difference = paired(errors, ours, lengths)
    times = float(ours.sum() / errors.sum()) if errors.any() else None
    return replace(row, more=difference.rate, more_interval=difference.interval, times=times)


def errors_of(heard: Heard, system: str, closed: bool) -> tuple[Counts, Counts]:
    """Errors and words of each recording; closed: whether it is wrong, and 1."""
    said = heard.said[system]
    if not closed:
        return word_errors(heard.wanted, said), word_counts(heard.wanted)
    wrong = [a != b for a, b in zip(heard.wanted, said, strict=True)]
    return np.array(wrong, np.int64), np.ones(len(wrong), np.int64)


def share_interval(wrong: Counts) -> Interval:
    """Wilson's 95 % interval of the share of ones: wide where few are heard and none is wrong."""
    count, errors, z = len(wrong), int(wrong.sum()), 1.96
    centre = (errors + z**2 / 2) / (count + z**2)
    half = z * sqrt(errors * (count - errors) / count + z**2 / 4) / (count + z**2)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def table(rows: Sequence[Row], closed: bool) -> tuple[list[str], list[list[str]]]:
    """Header and cells."""
    rate = ["right, %"] if closed else ["WER, %", "CER, %"]
    beside = ["more errors of ds2edge, points", "times as many"]
    header = ["recordings of", "number", "words", "system", *rate, *beside]
    cells = []
    for row in rows:
        shown = [percent(row.rate, row.interval, closed)]
        shown += [] if closed else [f"{100 * row.characters:.2f}"]
        more = "" if row.more is None else percent(row.more, row.more_interval, False, "+")
        times = "" if row.times is None else f"x {row.times:.2f}"
        numbers = [str(row.recordings), str(row.words)]
        cells.append([row.name, *numbers, row.system, *shown, more, times])
    return header, cells


def percent(rate: float, interval: Interval | None, right: bool, sign: str = "") -> str:
    """A rate, or what it leaves of 100 %, with its interval."""
    ends = [rate, *(interval or ())]
    values = [100 * (1 - end) if right else 100 * end for end in ends]
    low_high = f" ({min(values[1:]):.1f} to {max(values[1:]):.1f})" if interval else ""
    return f"{values[0]:{sign}.2f}{low_high}"


def mistakes(heard: Heard) -> list[str]:
    """What each system took most often for something else."""
    lines = []
    for system, said in heard.said.items():
        pairs = zip(heard.wanted, said, strict=True)
        wrong = Counter((a, b or "nothing") for a, b in pairs if a != b)
        shown = [f"{a} as {b} {n} times" for (a, b), n in wrong.most_common(MISTAKES)]
        lines.append(f"{heard.name}, {system} heard " + ("; ".join(shown) or "all of it right"))
    return lines


def speaker_table(heard: Heard) -> tuple[list[str], list[list[str]]]:
    """WER of each speaker, those worst for ours first, the rest together."""
    counted = {system: errors_of(heard, system, False) for system in heard.said}
    speakers = np.array(heard.speakers)

    def rate(system: str, which: Any) -> float:
        errors, lengths = counted[system]
        return float(100 * errors[which].sum() / max(1, lengths[which].sum()))

    order = sorted(set(heard.speakers), key=lambda name: -rate(OURS, speakers == name))
    groups: dict[str, Any] = {name: speakers == name for name in order[:MOST_SPEAKERS]}
    if rest := order[MOST_SPEAKERS:]:
        groups[f"{len(rest)} others"] = np.isin(speakers, rest)
    rows = [
        [name, str(int(which.sum())), *(f"{rate(system, which):.2f}" for system in heard.said)]
        for name, which in groups.items()
    ]
    return [f"{heard.name}: speaker", "recordings", *(f"{s}, WER %" for s in heard.said)], rows


def draw(path: Path, rows: Sequence[Row], closed: bool) -> None:
    """Bars with intervals: a group for each set, a colour for each system."""
    from ds2edge.training.plots import new_figure

    names, compared = (list(dict.fromkeys(getattr(r, k) for r in rows)) for k in ("name", "system"))
    figure, axes = new_figure(2 + 1.8 * len(names), 4)
    places: Mapping[str, int] = {name: i for i, name in enumerate(names)}
    for number, system in enumerate(compared):
        own = [row for row in rows if row.system == system]
        at = [places[row.name] + 0.27 * (number - (len(compared) - 1) / 2) for row in own]
        values = [100 * (1 - row.rate if closed else row.rate) for row in own]
        axes.bar(at, values, 0.25, label=system, color=f"C{number}")
        for x, row in zip(at, own, strict=True):
            if row.interval:
                ends = [100 * (1 - end if closed else end) for end in row.interval]
                axes.plot([x, x], ends, color="black", linewidth=1)
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="right, %" if closed else "WER, %", ylim=(0, None))
    axes.legend(fontsize=8)
    with partial_file(path, sync=False) as file:
        figure.savefig(file, format="png", dpi=120)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Ds2edgeError, OSError) as error:
        print(f"accuracy.py: {error}", file=sys.stderr)
        sys.exit(2)
