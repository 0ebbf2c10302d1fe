"""`ds2edge data filter MANIFEST -o FOLDER`: keep the transcripts that are likely to be right."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ds2edge.errors import ConfigError, DataError
from ds2edge.text import TokenSet, normalise
from ds2edge.training.construction.filter_chart import kept_curve, plot_chances, plot_filter
from ds2edge.training.construction.filter_features import filter_features
from ds2edge.training.construction.spoiled import Others, spoil
from ds2edge.training.construction.transcript_filter import (
    SHIPPED,
    read_filter,
    to_json,
    train_filter,
)
from ds2edge.training.data.manifest import (
    Utterance,
    read_column,
    read_manifest,
    refuse_others,
    write_manifest,
)
from ds2edge.training.evaluation.listener import add_listener_arguments, open_listener
from ds2edge.training.evaluation.split import refuse_test_split
from ds2edge.training.files import partial_file
from ds2edge.training.processes import add_jobs_argument, check_jobs

SAID = "said"  # the column of a manifest with what is really said

EXAMPLES = """\
examples:
  ds2edge data filter speech/mine/manifest.tsv -o speech/clean
      speech/clean/manifest.tsv with what is kept, dropped.tsv with the others, both with a column
      `chance`, from 0 to 1, and chances.png
  ds2edge data filter speech/mine/manifest.tsv -o speech/clean --keep 0.6
      the six tenths that are likeliest to be right

The filter that comes with ds2edge belongs to the embedded model; `ds2edge data train-filter` makes
one for another. Where a manifest has a column `said`, with what is really said, the picture shows
how many words of the transcripts are wrong, by the share that is kept.
"""

TRAIN_EXAMPLES = """\
examples:
  ds2edge data train-filter labelled.tsv -o my-filter.json --checkpoint best.npz
      a manifest with a column `said`: what is really said in recordings whose transcripts are
      right or wrong; my-filter.png shows how well they are told apart
  ds2edge data train-filter speech/librispeech/manifest.tsv -o my-filter.json --split dev
      without such a column: the transcripts are right, and each is spoiled for a bad example

A few hundred recordings that the model was not trained on are enough.
"""


def add_parser(commands: Any) -> None:
    """Add both commands to a parser's subparsers."""
    parser = commands.add_parser(
        "filter",
        help="leave out recordings whose transcripts seem wrong",
        description="Leave out recordings whose transcripts are unlikely to be right.",
        epilog=EXAMPLES,
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--filter", type=Path, metavar="FILE", help="of train-filter [ds2edge's]")
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument("--keep", type=float, metavar="SHARE", help="keep so many, the likeliest")
    how_many.add_argument(
        "--threshold", type=float, metavar="CHANCE", help="keep from so likely on [the filter's]"
    )
    parser.add_argument("--split", help="of the manifest [all]")
    _add_common(parser)
    parser.set_defaults(run=run)
    trainer = commands.add_parser(
        "train-filter",
        help="make a filter for another model, or of your own examples",
        description="Learn from examples which transcripts are right.",
        epilog=TRAIN_EXAMPLES,
    )
    trainer.add_argument("manifests", nargs="+", type=Path, metavar="MANIFEST")
    trainer.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    trainer.add_argument("--split", default="train", help="of the manifests [%(default)s]")
    trainer.add_argument(
        "--wrong",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="of words that are wrong in a transcript that is still called right [%(default)g]",
    )
    trainer.add_argument(
        "--keep",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="of the right ones that the filter keeps unless told otherwise [%(default)g]",
    )
    trainer.add_argument("--seed", type=int, default=1, help="for spoiling [%(default)s]")
    _add_common(trainer)
    trainer.set_defaults(run=train)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_listener_arguments(parser)
    add_jobs_argument(parser, "processes that listen")


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code."""
    _check(options)
    found = read_filter(options.filter or SHIPPED)
    model = options.checkpoint or options.bundle
    listener = open_listener(model)
    if found.model != listener.digest:
        name = options.filter or "the filter that comes with ds2edge"
        raise DataError(
            f"{name} knows another model than {listener.name}; make one with "
            "`ds2edge data train-filter`"
        )
    if options.manifest.resolve().parent == options.output.resolve():
        raise ConfigError(f"{options.output} has the manifest itself; give another folder")
    refuse_others(options.output / "manifest.tsv", "chance")
    utterances = read_manifest(options.manifest, options.split)
    said = read_column(options.manifest, SAID, options.split)
    texts = [normalise(utterance.text, listener.tokens) for utterance in utterances]
    chances = found.chances(filter_features(utterances, texts, model, options.jobs))
    threshold = found.threshold if options.threshold is None else options.threshold
    if options.keep is not None:
        threshold = float(np.sort(chances)[::-1][max(1, round(options.keep * len(chances))) - 1])
    kept = chances >= threshold
    if not kept.any():
        raise DataError(f"no recording of {options.manifest} reaches a chance of {threshold:.3f}")
    for name, which in (("manifest.tsv", kept), ("dropped.tsv", ~kept)):
        rows = np.flatnonzero(which).tolist()
        write_manifest(
            options.output / name,
            [utterances[i] for i in rows],
            [{"chance": f"{chances[i]:.4f}", **({SAID: said[i]} if said else {})} for i in rows],
        )
    curve = None
    if said:
        curve = kept_curve(chances, texts, [normalise(text, listener.tokens) for text in said])
    with partial_file(options.output / "chances.png") as file:
        plot_chances(chances, threshold, curve, file)
    hours = sum(utterances[i].seconds for i in np.flatnonzero(kept)) / 3600
    print(
        f"{options.output / 'manifest.tsv'}: {kept.sum()} of {len(kept)} recordings, "
        f"{hours:.2f} hours, those from a chance of {threshold:.3f} on"
    )
    if curve:
        print(curve.table(float(kept.mean())))
    return 0


def train(options: argparse.Namespace) -> int:
    """Returns: the exit code."""
    _check(options)
    refuse_test_split(options.split, "training a filter")
    model = options.checkpoint or options.bundle
    listener = open_listener(model)
    utterances, texts, right = labelled(options, listener.tokens)
    good = np.array(right)
    features = filter_features(utterances, texts, model, options.jobs)
    found = train_filter(features, good, listener.digest, options.keep)
    with partial_file(options.output) as file:
        file.write(to_json(found).encode())
    chances = found.chances(features)
    picture = options.output.with_suffix(".png")
    with partial_file(picture) as file:
        plot_filter(chances, good, found.threshold, file)
    kept = chances >= found.threshold
    print(
        f"{options.output}: of {good.sum()} right transcripts {kept[good].mean():.1%} are kept, "
        f"of {(~good).sum()} wrong ones {kept[~good].mean():.1%}; {picture}"
    )
    return 0


def labelled(
    options: argparse.Namespace, tokens: TokenSet
) -> tuple[list[Utterance], list[str], list[bool]]:
    """Examples: recordings, transcripts, and whether these are right.

    Raises:
        DataError: a manifest cannot be read.
    """
    from ds2edge.training.evaluation.metrics import word_error_rate

    utterances: list[Utterance] = []
    texts: list[str] = []
    good: list[bool] = []
    rng = np.random.default_rng(options.seed)
    for manifest in options.manifests:
        some = read_manifest(manifest, options.split)
        own = [normalise(utterance.text, tokens) for utterance in some]
        if said := read_column(manifest, SAID, options.split):
            utterances, texts = utterances + some, texts + own
            good += [
                word_error_rate([normalise(right, tokens)], [text]).rate <= options.wrong
                for right, text in zip(said, own, strict=True)
            ]
            continue
        some, own = _with_text(some, own, manifest)
        words = [tokens.words(text) for text in own]
        others = Others(tuple(map(tuple, words)))
        utterances += some + some
        texts += own + [tokens.join(spoil(said, others, rng)) for said in words]
        good += [True] * len(own) + [False] * len(own)
    return utterances, texts, good


def _with_text(
    utterances: Sequence[Utterance], texts: Sequence[str], manifest: Path
) -> tuple[list[Utterance], list[str]]:
    pairs = [(u, text) for u, text in zip(utterances, texts, strict=True) if text]
    if len({text for _, text in pairs}) < 2:
        raise DataError(f"{manifest} needs two transcripts or more that differ")
    return [u for u, _ in pairs], [text for _, text in pairs]


def _check(options: argparse.Namespace) -> None:
    check_jobs(options.jobs)
    for name in ("keep", "threshold", "wrong"):
        value = getattr(options, name, None)
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"--{name} needs a number from 0 to 1, got {value:g}")
    if options.keep == 0:
        raise ConfigError("--keep needs more than 0")
