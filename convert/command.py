"""`ds2edge convert CHECKPOINT -o BUNDLE`: from a trained checkpoint to a verified bundle."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ds2edge.arguments import CommandParser
from ds2edge.bundle import MANIFEST, Bundle, load_bundle
from ds2edge.bundle_archive import file_digest
from ds2edge.convert.artefacts import FORMATS, Form
from ds2edge.convert.card import formats_table, parity_table
from ds2edge.convert.chunk import choose_chunk
from ds2edge.convert.converter import Told, convert
from ds2edge.decoder import SearchOptions
from ds2edge.errors import ConfigError, DataError
from ds2edge.language_model import language_model_of, open_language_model
from ds2edge.training.checkpoint import Checkpoint
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.evaluation.evaluate import record_looks
from ds2edge.training.evaluation.recognised import ModelFacts
from ds2edge.training.evaluation.sources import Source, read_sources
from ds2edge.training.keras_files import open_checkpoint

EPILOG = """examples:
  ds2edge convert runs/en-forward/best.npz -o my-bundle
      letters only, without a language model
  ds2edge convert best.npz -o en --language-model lm-en \\
      --dev speech/librispeech/manifest.tsv --test speech/librispeech/manifest.tsv
      decoder weights tuned on split dev; error rates and parity measured on split test
  ds2edge convert best.npz -o en --language-model lm-en --dev dev.tsv --prior-weight 0.4
      the label prior's weight as `ds2edge tune` found it
  ds2edge convert best.npz -o en --formats int8,fp32 --batches 1
      float weights besides, for GPUs; for one stream at a time only
  ds2edge convert model.weights.h5 --config model.toml -o en
      weights of Keras with the configuration that they were trained with
  ds2edge convert runs/en-mine/best.npz -o mine --like en
      a model that was fine-tuned, with the language model and decoder of the one that it was
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge convert` command."""
    parser = CommandParser(
        "ds2edge convert",
        description="Convert a checkpoint to a quantised model bundle and prove them equal.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="best.npz, last.npz or average.npz of `ds2edge train`; or .keras or .weights.h5",
    )
    parser.add_argument(
        "--config", type=Path, help="of .weights.h5, TOML [of the same name, beside it]"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder, or FILE.ds2")
    parser.add_argument("--name", help="of the bundle [name of --out]")
    form = Form()
    parser.add_argument(
        "--formats",
        type=_names,
        default=form.formats,
        metavar="A,B",
        help=f"of the weights: {', '.join(FORMATS)}; what runs on a CPU is tuned "
        f"[{','.join(form.formats)}]",
    )
    parser.add_argument(
        "--chunk",
        default=str(form.chunk_outputs),
        metavar="N",
        help="outputs of one step; more are a little faster and answer later; auto: the fewest "
        "that are within a tenth of the fastest, measured here [%(default)s]",
    )
    parser.add_argument(
        "--batches",
        type=_sizes,
        default=form.batches,
        metavar="1,N",
        help="streams that a step can take at once, for serving; they share the weights "
        f"[{','.join(map(str, form.batches))}]",
    )
    parser.add_argument(
        "--force", action="store_true", help="write it though it is not the checkpoint's model"
    )
    parser.add_argument("--language-model", type=Path, help="folder of `ds2edge lm`")
    parser.add_argument(
        "--like",
        metavar="BUNDLE",
        help="whose language model, decoder, delay and language to take over",
    )
    defaults = SearchOptions()
    parser.add_argument(
        "--beam", type=int, help=f"hypotheses kept [that of --like, or {defaults.beam}]"
    )
    parser.add_argument(
        "--max-ambiguity",
        type=int,
        help="outputs after which what is not certain is committed to the best "
        f"[that of --like, or {defaults.max_ambiguity}]",
    )
    parser.add_argument(
        "--delay",
        type=float,
        help="seconds from a sound to the output that tells it, as benchmarks/times.py measures it "
        "[that of --like, or 0]",
    )
    parser.add_argument(
        "--prior-weight",
        type=float,
        default=0.0,
        metavar="X",
        help="of the label prior that is divided out, as `ds2edge tune` finds it [%(default)s]",
    )
    parser.add_argument(
        "--dev",
        type=Path,
        help="manifest whose split dev tunes decoder and confidences, measures the label prior, "
        "and gives int8-static the ranges of activations",
    )
    parser.add_argument("--test", type=Path, help="manifest whose split test is measured")
    parser.add_argument("--notes", type=Path, help="Markdown for the model card: data, licences")
    parser.add_argument("--licence", default="", help="of the weights, an SPDX expression")
    parser.add_argument(
        "--language", help="whose figures and capitals --display writes [that of --like, or en]"
    )
    given = parser.parse_args(arguments)
    command = shlex.join(
        ["ds2edge", "convert", *(sys.argv[2:] if arguments is None else arguments)]
    )
    command = command.replace(os.path.expanduser("~"), "~")  # the card goes to other people
    test = read_sources([given.test], "test") if given.test else []
    like = load_bundle(given.like) if given.like else None
    changes = {k: v for k in ("beam", "max_ambiguity") if (v := getattr(given, k)) is not None}
    language_model = language_model_of(like) if like else None
    if given.language_model:
        language_model = open_language_model(given.language_model)
    delay = like.manifest.delay if like else 0.0
    checkpoint = open_checkpoint(given.checkpoint, given.config)
    bundle = convert(
        checkpoint,
        given.out,
        Told(
            given.name or given.out.stem,
            _read_text(given.notes) if given.notes else "",
            given.licence,
            command,
            given.language or (like.manifest.language if like else "en"),
        ),
        Form(given.formats, _chunk(given.chunk, checkpoint), given.batches),
        language_model=language_model,
        search=replace(like.manifest.decoder if like else defaults, **changes),
        prior_weight=given.prior_weight,
        delay=delay if given.delay is None else given.delay,
        confidence=like.manifest.confidence if like else {},
        dev=read_manifest(given.dev, "dev") if given.dev else [],
        test=[source.utterance for source in test],
        force=given.force,
    )
    print(f"{parity_table(bundle.manifest)}\n\n{formats_table(bundle.manifest)}")
    if bundle.manifest.artefacts[0].form == "whole":
        print("it answers when it has heard the end; for a live stream: ds2edge distill")
    _tell_looks(test, bundle)
    print(f"{given.out}: {bundle.size / 1e6:.2f} MB")
    return 0


def _tell_looks(test: Sequence[Source], bundle: Bundle) -> None:
    """Measuring on the test split is a look at it."""
    manifest = bundle.manifest
    facts = ModelFacts(
        manifest.name, file_digest(bundle.folder / MANIFEST), manifest.decoder.plain()
    )
    figures = {source.set: manifest.accuracy["test"] for source in test}
    for name, seen in record_looks("convert", test, facts, figures).items():
        print(f"test split, {name}: {seen}; see ds2edge evaluate --test-log")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"needed sizes such as 1,2,4, got {text!r}") from None


def _chunk(text: str, checkpoint: Checkpoint) -> int:
    if text == "auto":
        return choose_chunk(checkpoint)
    if not text.isdecimal():
        raise ConfigError(f"--chunk needs a number of outputs or auto, got {text!r}")
    return int(text)
