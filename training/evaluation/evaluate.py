"""`ds2edge evaluate MANIFEST`: word and character error rates of a bundle or a checkpoint."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from ds2edge.arguments import CommandParser
from ds2edge.decoder import Decoder, LogProbs, greedy
from ds2edge.errors import ConfigError
from ds2edge.pipeline import decode_all
from ds2edge.progress import track
from ds2edge.text import TokenSet
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.data.spelling import reference
from ds2edge.training.evaluation import split
from ds2edge.training.evaluation.alignment import print_worst
from ds2edge.training.evaluation.bootstrap import Bootstrap
from ds2edge.training.evaluation.outputs import Recogniser, add_model_arguments, open_recogniser
from ds2edge.training.evaluation.recognised import (
    GREEDY,
    LANGUAGE_MODEL,
    WAY_NAMES,
    Evaluation,
    ModelFacts,
    Recognised,
    all_figures,
    score,
    summary,
    to_json,
    with_interval,
)
from ds2edge.training.evaluation.sources import Source, parted, read_sources, training_texts
from ds2edge.writing import is_unspaced

MOST_SPEAKERS = 20  # that the terminal shows

EPILOG = """examples:
  ds2edge evaluate speech/librispeech/manifest.tsv --split dev
      the embedded English bundle, greedy and with its language model
  ds2edge evaluate books.tsv calls.tsv --split dev --report dev.html --json dev.json
      two sets; a page with plots and the worst recordings; what was recognised
  ds2edge evaluate dev.tsv --checkpoint best.npz --language-model lm-en --alpha 0.6 --beta 1.5
      a checkpoint, with other decoder weights
  ds2edge evaluate --test-log
      every evaluation of a test split so far
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge evaluate` command."""
    parser = _parser()
    given = parser.parse_args(arguments)
    logging.basicConfig(format="ds2edge: %(message)s")
    if given.test_log:
        print(split.log_table())
        return 0
    if not given.manifests:
        parser.error("the following arguments are required: MANIFEST")
    bootstrap = given_bootstrap(given)
    check_folders(given.report, Path(given.json) if given.json else None)
    sources = read_sources(given.manifests, given.split)
    changes = {k: v for k in ("alpha", "beta", "beam") if (v := getattr(given, k)) is not None}
    recogniser = open_recogniser(given.checkpoint or given.bundle, given.language_model, changes)
    if given.seen:
        sources = parted(sources, training_texts(given.seen), recogniser.tokens)
    found = evaluate(recogniser, sources)
    scores = score(found)
    figures = all_figures(scores, bootstrap)
    evaluation = Evaluation(recogniser.facts, tuple(found))
    looks = record_looks("evaluate", sources, recogniser.facts, figures["sets"])
    if given.report:
        from ds2edge.training.evaluation.report import write_report

        recordings = [source.utterance.path for source in sources]
        write_report(given.report, evaluation, scores, figures, recordings)
    if given.json == "-":
        print(to_json(evaluation, figures), end="")
        return 0
    if given.json:
        Path(given.json).write_text(to_json(evaluation, figures), encoding="utf-8")
    print(f"{recogniser.listener.name}, {described(found)}")
    print(table(figures))
    if any(map(is_unspaced, "".join(one.wanted for one in found))):
        print("WER: mixed error rate, of words and of the characters of scripts without spaces")
    for name, seen in looks.items():
        print(f"test split, {name}: {seen}; see --test-log")
    print_worst(found, scores, scores.best_way, given.worst)
    return 0


def add_bootstrap_arguments(parser: argparse.ArgumentParser) -> None:
    """What the intervals come from."""
    defaults = Bootstrap()
    parser.add_argument(
        "--resample",
        choices=("utterance", "speaker"),
        default=defaults.unit,
        help="what the bootstrap draws: utterances, or all of a speaker's together [%(default)s]",
    )
    parser.add_argument(
        "--samples", type=int, default=defaults.samples, metavar="N", help="drawn [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of them [%(default)s]")


def given_bootstrap(given: argparse.Namespace) -> Bootstrap:
    """Raises: ConfigError: there are too few samples, or the seed is below 0."""
    if given.samples < 100 or given.seed < 0:
        raise ConfigError(
            f"--samples needs 100 or more and --seed 0 or more, got {given.samples}, {given.seed}"
        )
    return Bootstrap(given.resample, given.samples, seed=given.seed)


def check_folders(*files: Path | None) -> None:
    """Before the work that is to be written there.

    Raises:
        ConfigError: a file's folder does not exist.
    """
    for file in files:
        if file and not file.parent.is_dir():
            raise ConfigError(f"{file} cannot be written: there is no folder {file.parent}")


def evaluate(recogniser: Recogniser, sources: Sequence[Source]) -> list[Recognised]:
    """Recognise every utterance, as streaming would, greedily and by search."""
    utterances = [source.utterance for source in sources]
    log_probs = track(recogniser.log_probs(utterances), "recognising", len(utterances))
    found = recognise(utterances, log_probs, recogniser.tokens, recogniser.searches)
    return [
        replace(one, set=source.set, path=source.path)
        for one, source in zip(found, sources, strict=True)
    ]


def recognise(
    utterances: Sequence[Utterance],
    log_probs: Iterable[LogProbs],
    tokens: TokenSet,
    searches: Mapping[str, Decoder],
) -> list[Recognised]:
    """Decode each utterance's log-probabilities greedily and by each of the searches."""
    return [
        Recognised(
            set=utterance.split,
            path=str(utterance.path),
            speaker=utterance.speaker,
            split=utterance.split,
            seconds=utterance.seconds,
            wanted=reference(utterance.text, tokens),
            said={
                GREEDY: greedy(block, tokens),
                **{
                    way: tokens.join(word.text for word in decode_all(decoder, block))
                    for way, decoder in searches.items()
                },
            },
        )
        for utterance, block in zip(utterances, log_probs, strict=True)
    ]


def measured(
    decoder: Decoder, utterances: Sequence[Utterance], log_probs: Iterable[LogProbs]
) -> dict[str, Any]:
    """Greedy and by the decoder's search, as `summary`: what a bundle tells of itself."""
    searches = {LANGUAGE_MODEL: decoder}
    return summary(score(recognise(utterances, log_probs, decoder.tokens, searches)))


def record_looks(
    command: str, sources: Sequence[Source], model: ModelFacts, figures: dict[str, Any]
) -> dict[str, str]:
    """Write down which test splits a command saw.

    Args:
        figures: `summary` of each set.

    Returns: how often each was seen by now, for people.
    """
    tests = [source for source in sources if split.is_test(source.utterance.split)]
    date, seen = datetime.now(UTC).isoformat(timespec="seconds"), {}
    for name in dict.fromkeys(source.set for source in tests):
        data = split.data_digest((s.path, s.utterance.text) for s in tests if s.set == name)
        rates = {
            way: {rate: figures[name][way][rate] for rate in ("wer", "cer")}
            for way in WAY_NAMES
            if way in figures[name]
        }
        facts = (model.name, model.digest, model.decoder)
        seen[name] = split.record(split.Look(date, command, name, data, *facts, rates))
    return seen


def table(figures: dict[str, Any]) -> str:
    """`all_figures` for people: WER with its interval, CER."""
    ways = [way for way in WAY_NAMES if way in figures["all"]]
    rows: list[tuple[str, ...]] = [("", "", *chain(*((WAY_NAMES[way], "") for way in ways)))]
    rows.append(("", "words", *chain(*(("WER %", "CER %") for _ in ways))))
    rows.append(_row("all", figures["all"], ways))
    for kind in ("sets", "speakers"):
        groups = figures[kind]
        if len(groups) == 1:
            continue
        shown = sorted(groups, key=lambda name: -groups[name][ways[-1]]["wer"])
        rows += [_row(name, groups[name], ways) for name in shown[:MOST_SPEAKERS]]
        if len(groups) > MOST_SPEAKERS:
            rows.append((f"{len(groups) - MOST_SPEAKERS} better {kind}", *[""] * len(rows[0][1:])))
    bootstrap = figures["bootstrap"]
    note = (
        f"in brackets: {100 * bootstrap['level']:.0f} % intervals, {bootstrap['samples']:,} "
        f"bootstrap samples of {bootstrap['unit']}s"
    )
    return "\n".join([*aligned(rows), note])


def _parser() -> CommandParser:
    parser = CommandParser(
        "ds2edge evaluate",
        usage="%(prog)s [options] MANIFEST [MANIFEST ...]",
        description="Error rates on the recordings of manifests, with bootstrap intervals.",
        epilog=EPILOG,
    )
    parser.add_argument("manifests", metavar="MANIFEST", nargs="*", type=Path, help="manifest.tsv")
    parser.add_argument("--split", help="only this split of it [all, test too, which is logged]")
    add_model_arguments(parser)
    parser.add_argument(
        "--seen",
        nargs="+",
        type=Path,
        default=[],
        metavar="MANIFEST",
        help="part each set by whether split train of these has its texts, or their characters",
    )
    parser.add_argument("--alpha", type=float, help="weight of the language model")
    parser.add_argument("--beta", type=float, help="added for each word")
    add_bootstrap_arguments(parser)
    parser.add_argument("--worst", type=int, default=5, metavar="N", help="utterances shown [5]")
    parser.add_argument("--json", metavar="FILE", help="everything, for compare; - prints it")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="one HTML page, to be read offline"
    )
    parser.add_argument("--test-log", action="store_true", help="show when test splits were seen")
    return parser


def _row(name: str, figures: dict[str, Any], ways: Sequence[str]) -> tuple[str, ...]:
    rates = (figures[way] for way in ways)
    cells = ((with_interval(each, "wer"), f"{each['cer']:.2f}") for each in rates)
    return (name, str(figures["words"]), *chain(*cells))


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines with columns of equal width, names to the left, figures to the right."""
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [
        "  ".join(
            [name.ljust(first), *(cell.rjust(w) for cell, w in zip(cells, widths, strict=True))]
        ).rstrip()
        for name, *cells in rows
    ]


def described(found: Sequence[Recognised]) -> str:
    """How much was evaluated."""
    sets = list(dict.fromkeys(one.set for one in found))
    minutes = sum(one.seconds for one in found) / 60
    return f"{', '.join(sets)}: {len(found)} utterances, {minutes:.1f} minutes"
