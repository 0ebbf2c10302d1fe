"""`ds2edge compare A B`: which of two models makes fewer errors, and how sure that is."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ds2edge.arguments import CommandParser
from ds2edge.errors import ConfigError, DataError
from ds2edge.training.evaluation.alignment import LEGEND, marked
from ds2edge.training.evaluation.bootstrap import Bootstrap, Difference, paired
from ds2edge.training.evaluation.evaluate import (
    add_bootstrap_arguments,
    aligned,
    described,
    evaluate,
    given_bootstrap,
)
from ds2edge.training.evaluation.metrics import Counts, ErrorRate
from ds2edge.training.evaluation.outputs import open_recogniser
from ds2edge.training.evaluation.recognised import (
    WAY_NAMES,
    Evaluation,
    Recognised,
    Scores,
    read_evaluation,
    score,
)
from ds2edge.training.evaluation.sources import read_sources
from ds2edge.training.evaluation.split import refuse_test_split

SURE = 0.05  # p below it is called a difference

EPILOG = """examples:
  ds2edge evaluate dev.tsv --bundle old --json old.json
  ds2edge evaluate dev.tsv --bundle new --json new.json
  ds2edge compare old.json new.json
      two evaluations of the same recordings
  ds2edge compare en my-bundle --manifest speech/librispeech/manifest.tsv
      two bundles, on split dev
  ds2edge compare old.npz new.npz --manifest dev.tsv --language-model lm-en --resample speaker
      two checkpoints with one language model; whole speakers are drawn
"""


@dataclass(frozen=True)
class Row:
    """One rate of both models."""

    name: str  # the way of decoding, and what is counted
    first: float  # percent
    second: float
    apart: Difference


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge compare` command."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(format="ds2edge: %(message)s")
    bootstrap = given_bootstrap(given)
    first, second = (_evaluation(name, given) for name in (given.first, given.second))
    first, second = same_utterances(first, second)
    scores = score(first.utterances), score(second.utterances)
    rows = compare(*scores, bootstrap)
    if given.json:
        models = {"first": asdict(first.model), "second": asdict(second.model)}
        whole = {**models, "bootstrap": asdict(bootstrap), "rates": [asdict(row) for row in rows]}
        print(json.dumps(whole, ensure_ascii=False))
        return 0
    print(f"A  {first.model.name} {first.model.digest[:8]}")
    print(f"B  {second.model.name} {second.model.digest[:8]}")
    print(described(first.utterances))
    print(table(rows, bootstrap))
    _print_most(first, second, *scores, given.most)
    return 0


def same_utterances(first: Evaluation, second: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Both in one order.

    Raises:
        ConfigError: they are of a test split.
        DataError: they are not of the same utterances, or these not of the same text.
    """
    for one in (*first.utterances, *second.utterances):
        refuse_test_split(one.split, "comparing models")
    here, there = (
        sorted(evaluation.utterances, key=lambda one: (one.set, one.path, one.wanted))
        for evaluation in (first, second)
    )
    names = [{(one.set, one.path) for one in some} for some in (here, there)]
    alone = [sorted(names[0] - names[1]), sorted(names[1] - names[0])]
    if any(alone) or len(here) != len(there):
        example = ", ".join((*alone[0], *alone[1])[0]) if any(alone) else "one is listed twice"
        raise DataError(
            "needed two evaluations of the same utterances: "
            f"{len(alone[0])} of {len(here)} are only in the first, "
            f"{len(alone[1])} of {len(there)} only in the second ({example})"
        )
    for one, other in zip(here, there, strict=True):
        if one.wanted != other.wanted:
            raise DataError(
                f"{one.path} has the text {one.wanted!r} in the first evaluation, "
                f"{other.wanted!r} in the second: needed the same manifest and tokens"
            )
    return Evaluation(first.model, tuple(here)), Evaluation(second.model, tuple(there))


def compare(first: Scores, second: Scores, bootstrap: Bootstrap) -> list[Row]:
    """WER and CER of the ways that both were decoded in, and of the best way of each."""
    ways = [(way, way) for way in first.ways if way in second.ways]
    if first.best_way != second.best_way:
        ways.append((first.best_way, second.best_way))
    rows = []
    for here, there in ways:
        names = dict.fromkeys((WAY_NAMES[here], WAY_NAMES[there]))
        for kind, errors, others, lengths in (
            ("WER", first.word_errors[here], second.word_errors[there], first.words),
            ("CER", first.character_errors[here], second.character_errors[there], first.characters),
        ):
            apart = paired(errors, others, lengths, first.speakers.tolist(), bootstrap)
            rows.append(
                Row(
                    f"{' / '.join(names)}, {kind}",
                    _percent(errors, lengths),
                    _percent(others, lengths),
                    apart,
                )
            )
    return rows


def table(rows: Sequence[Row], bootstrap: Bootstrap) -> str:
    """The comparison for people."""
    cells: list[tuple[str, ...]] = [("%", "A", "B", "B - A", "", "p", "B wins", "loses", "same")]
    cells += [_cells(row) for row in rows]
    note = (
        f"in brackets: {100 * bootstrap.level:.0f} % intervals, {bootstrap.samples:,} paired "
        f"bootstrap samples of {bootstrap.unit}s; p: permutations of them"
    )
    words = [row for row in rows if row.name.endswith("WER")]
    return "\n".join([*aligned(cells), note, *(f"{row.name}: {verdict(row)}" for row in words)])


def verdict(row: Row) -> str:
    """Whether a difference is more than chance."""
    if row.apart.p >= SURE:
        return f"no difference that these recordings can tell (p = {row.apart.p:.2g})"
    return f"{'B' if row.apart.rate < 0 else 'A'} is better (p = {row.apart.p:.2g})"


def _parser() -> CommandParser:
    parser = CommandParser(
        "ds2edge compare",
        description="Compare two models on the same recordings, never on a test split.",
        epilog=EPILOG,
    )
    parser.add_argument("first", metavar="A", help="evaluation.json, bundle or checkpoint.npz")
    parser.add_argument("second", metavar="B", help="the same, of what may be better")
    parser.add_argument(
        "--manifest", action="append", type=Path, default=[], help="for models; may be repeated"
    )
    parser.add_argument("--split", default="dev", help="of the manifests [dev]")
    parser.add_argument(
        "--language-model", type=Path, metavar="FOLDER", help="for models [a bundle's own]"
    )
    add_bootstrap_arguments(parser)
    parser.add_argument("--most", type=int, default=5, metavar="N", help="utterances shown [5]")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    return parser


def _cells(row: Row) -> tuple[str, ...]:
    apart = row.apart
    interval = ""
    if apart.interval:
        interval = "({:+.2f} to {:+.2f})".format(*(100 * end for end in apart.interval))
    counts = (str(count) for count in (apart.wins, apart.losses, apart.ties))
    shown = (f"{row.first:.2f}", f"{row.second:.2f}", f"{100 * apart.rate:+.2f}", interval)
    return (row.name, *shown, f"{apart.p:.4f}", *counts)


def _print_most(
    first: Evaluation, second: Evaluation, here: Scores, there: Scores, count: int
) -> None:
    """The utterances of which the word errors differ most, in the best way of each model."""
    from rich.console import Console
    from rich.text import Text

    more = there.word_errors[there.best_way] - here.word_errors[here.best_way]
    order = np.argsort(-abs(more), kind="stable")[: max(0, count)]
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    if any(more[order]):
        console.print(f"\nmost different; {LEGEND}")
    for i in order:
        if not more[i]:
            break
        one: Recognised = first.utterances[i]
        title = f"{one.set}, {one.path}, speaker {one.speaker}: {more[i]:+d} errors"
        console.print(Text(title, style="bold"))
        for name, side, way in (("A", first, here.best_way), ("B", second, there.best_way)):
            said = side.utterances[i].said[way]
            console.print(Text(f"  {name} ").append_text(marked(one.wanted, said)))


def _evaluation(name: str, given: argparse.Namespace) -> Evaluation:
    """Read it, or evaluate the model of that name."""
    if Path(name).suffix == ".json":
        return read_evaluation(Path(name))
    refuse_test_split(given.split, "comparing models")
    if not given.manifest:
        raise ConfigError(f"to compare the model {name}, give --manifest MANIFEST")
    sources = read_sources(given.manifest, given.split)
    recogniser = open_recogniser(name, given.language_model)
    return Evaluation(recogniser.facts, tuple(evaluate(recogniser, sources)))


def _percent(errors: Counts, lengths: Counts) -> float:
    return ErrorRate(int(errors.sum()), int(lengths.sum())).percent
