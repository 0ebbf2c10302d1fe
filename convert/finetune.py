"""`ds2edge finetune MODEL --data FOLDER`: a model adapted to recordings of a user's own."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

import keras

from ds2edge.bundle import load_bundle
from ds2edge.cache import cache_folder
from ds2edge.convert.restore import restore
from ds2edge.training.checkpoint import Checkpoint
from ds2edge.training.config import OptimizerConfig
from ds2edge.training.fine_tuning import FineTuning, fine_tuning_config
from ds2edge.training.keras_files import open_checkpoint
from ds2edge.training.loop import configure_threads
from ds2edge.training.network.extra_tokens import with_outputs
from ds2edge.training.run import Run
from ds2edge.training.train import live_hint, prepare, run_parser, run_to_the_end

EPILOG = """examples:
  ds2edge finetune en --data my-voice
      the embedded model, on the recordings of my-voice/manifest.tsv; four minutes help
  ds2edge finetune my-bundle.ds2 --data calls.tsv --keep speech/librispeech
      half of what it sees is of voices that it is not to forget
  ds2edge finetune en --data my-voice --noise noise
      with the noises of noise/manifest.tsv, so that it is understood beside them, too
  ds2edge finetune runs/en-forward/best.npz --data menu --token é --token ñ
      with two tokens more, which the texts of the manifest use

The manifest has the columns path, seconds, text, speaker and split, as for `ds2edge train`. Its
split train is learned from. Its split dev, a tenth of the recordings, say, chooses the best epoch;
without one the recordings that are learned from stand in for it. The same command goes on after
Ctrl-C or a kill.

What a model gains for one voice it loses for others; with a lower --learning-rate both are less. A
checkpoint is a better start than a bundle, whose weights int8 has rounded.

In the end the command that makes a bundle of it is printed; --like gives it the language model,
decoder and language of the bundle that it came from. A model with a token more needs a language
model with it: ds2edge lm TEXT -o lm --token é; and if its letters are of another language, that
one's code: ds2edge convert ... --language de
"""

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge finetune` command."""
    description = "Adapt a model to recordings of your own."
    parser = run_parser("ds2edge finetune", description, EPILOG, several=False)
    parser.add_argument(
        "model", help="bundle: en, folder or .ds2 file; or checkpoint, .npz or .keras"
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with manifest.tsv, or another manifest"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="corpus that is mixed in, so that less is forgotten; may be repeated",
    )
    parser.add_argument(
        "--token",
        action="append",
        default=[],
        metavar="CHAR",
        help="letter or digit that the model is to have besides; may be repeated",
    )
    parser.add_argument(
        "--epochs", type=int, default=0, help="passes [1 to 20, fewer the more there is]"
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=FineTuning.learning_rate,
        help="the highest [%(default)g]",
    )
    parser.add_argument(
        "--noise",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="corpus of noise, whose split train is mixed into two recordings of five, at 0 to "
        "30 dB, anew in every epoch; may be repeated",
    )
    options = parser.parse_args(arguments)
    configure_threads()  # before a model is built
    keras.utils.set_random_seed(OptimizerConfig.seed)  # of dropout, which no bundle tells
    start = open_model(options.model)
    if options.token:
        start = with_outputs(start, options.token)
    settings = FineTuning(
        options.data,
        tuple(options.keep),
        options.epochs,
        options.learning_rate,
        tuple(options.noise),
    )
    config = fine_tuning_config(start, settings)
    folder = options.out or cache_folder() / "runs" / config.name

    def prepared() -> Run:
        if config.data.dev[0].split == "train":
            log.warning(
                "%s has no split dev: the figures are of what it learns from, better than they "
                "will be elsewhere",
                options.data,
            )
        return prepare(config, settings.root, folder, options.fresh, start)

    then = f"to use it: {next_command(options, folder)}{_language_hint(options)}"
    then += live_hint(config.model)
    return run_to_the_end(prepared, folder, options, start, config, then)


def open_model(reference: str) -> Checkpoint:
    """A checkpoint by its .npz or .keras file; or the one that a bundle, by name or path, was.

    Raises:
        BundleError, DataError: there is none, or it is damaged.
    """
    if Path(reference).suffix in (".npz", ".keras"):
        return open_checkpoint(Path(reference))
    return restore(load_bundle(reference))


def next_command(options: argparse.Namespace, folder: Path) -> str:
    """What makes a bundle of the result."""
    data = options.data.resolve()
    bundle = f"{(data.parent if data.name == 'manifest.tsv' else data).stem}.ds2"
    command = ["ds2edge", "convert", str(folder / "best.npz"), "-o", bundle]
    if Path(options.model).suffix not in (".npz", ".keras"):
        command += ["--like", options.model]
    if _has_letters(options):
        command += ["--language", "CODE"]
    if not options.token:
        return shlex.join(command)
    words = ["ds2edge", "lm", "TEXT", "-o", "lm"]
    words += [part for token in options.token for part in ("--token", token)]
    return f"{shlex.join(words)} && {shlex.join([*command, '--language-model', 'lm'])}"


def _has_letters(options: argparse.Namespace) -> bool:
    """Whether the model learned letters, which may be of another language; digits are of all."""
    return any(map(str.isalpha, options.token))


def _language_hint(options: argparse.Namespace) -> str:
    if not _has_letters(options):
        return ""
    return (
        "; CODE stands for its language, such as de: of en, --display writes the figures and "
        "capitals of English"
    )
