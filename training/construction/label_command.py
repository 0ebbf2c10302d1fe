"""`ds2edge data label MANIFEST -o FOLDER`: recordings without transcripts, to train on."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from ds2edge.errors import ConfigError, DataError
from ds2edge.training.construction.pseudo_labels import Search, pseudo_labels, surest
from ds2edge.training.data.manifest import read_manifest, refuse_others, write_manifest
from ds2edge.training.evaluation.outputs import add_model_arguments
from ds2edge.training.evaluation.split import is_test
from ds2edge.training.processes import add_jobs_argument, check_jobs

EXAMPLES = """\
examples:
  ds2edge data label speech/unlabelled/manifest.tsv -o speech/heard
      speech/heard/manifest.tsv with split train: the surer three quarters of what the embedded
      model hears, whatever the texts are, and a column `score`
  ds2edge data label calls/manifest.tsv -o calls-heard --bundle mine --language-model lm-large
      by a model of yours, with a language model too large for a bundle

A model that goes on with them, `ds2edge train --start`, learns of voices that nobody transcribed.
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "label",
        help="recordings without transcripts: take what the model hears, where it is sure",
        description="Take for a transcript what the model hears, where it is sure (pseudo-labels).",
        epilog=EXAMPLES,
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--split", help="of the manifest [all]")
    parser.add_argument(
        "--keep",
        type=float,
        default=0.75,
        metavar="SHARE",
        help="keep so many, the surest [%(default)g]",
    )
    add_model_arguments(parser)
    add_jobs_argument(parser, "processes that listen")
    parser.set_defaults(run=run, beam=Search.beam)


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code."""
    check_jobs(options.jobs)
    if not 0 < options.keep <= 1:
        raise ConfigError(f"--keep needs a share, above 0 and at most 1, got {options.keep:g}")
    target = options.output / "manifest.tsv"
    if options.manifest.resolve() == target.resolve():
        raise ConfigError(f"{options.output} has the manifest itself; give another folder")
    refuse_others(target, "score")
    utterances = read_manifest(options.manifest, options.split)
    if any(is_test(utterance.split) for utterance in utterances):
        raise ConfigError(f"{options.manifest} has a test split, not to be trained on; use --split")
    search = Search(
        options.checkpoint or options.bundle, str(options.language_model or ""), options.beam
    )
    labels = pseudo_labels(utterances, search, options.jobs)
    kept = surest(labels, options.keep)
    if not kept:
        raise DataError(f"nothing was heard in the recordings of {options.manifest}")
    write_manifest(
        target,
        [replace(utterances[i], text=labels[i].text, split="train") for i in kept],
        [{"score": f"{labels[i].score:.4f}"} for i in kept],
    )
    hours = sum(utterances[i].seconds for i in kept) / 3600
    least = min(labels[i].score for i in kept)
    print(
        f"{target}: {len(kept)} of {len(utterances)} recordings, {hours:.2f} hours, "
        f"those with a score of {least:.3f} a letter or more"
    )
    return 0
