"""ds2edge's decoder against flashlight-text and pyctcdecode: speed, errors, memory."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import common  # noqa: F401  (first: it pins threads)
from decoder_characters import mandarin_problem
from decoder_measure import Outcome, measure_problem, pin
from decoder_problems import (
    ENGLISH_VOICE,
    Problem,
    real_problem,
    shortened,
    synthetic_english,
)
from decoder_report import plot, print_outcome, write_json

from ds2edge.arguments import CommandParser
from ds2edge.bundle import load_bundle
from ds2edge.errors import Ds2edgeError
from ds2edge.training.data.manifest import read_manifest

BEAMS = (16, 32, 64, 128, 512)
SPEED_AIM, MANDARIN_SPEED_AIM, MEMORY_AIM = 5.0, 8.0, 0.5

EPILOG = """examples:
  python benchmarks/decoder.py speech/librispeech/manifest.tsv --plot decoder.png
      recordings and synthetic speech, each decoder with the settings that are best for it
  python benchmarks/decoder.py tests/data/speech/manifest.tsv --quick --problems english
      a minute, to see that all works
  python benchmarks/decoder.py speech/librispeech/manifest.tsv --problems mandarin \\
      --characters sentences-zh.txt.xz --tools build/tools
      5,000 characters with a language model of them (make lm-tools builds the tools); settings are
      chosen at beam 200, the paper's for Mandarin

needs flashlight-text, pyctcdecode, kenlm, jiwer, and matplotlib for --plot; decoders that are
missing are left out. Errors are counted on --split, settings chosen on --tune-split.
"""


def main() -> None:
    given = arguments()
    pin(given.core)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        for problem in problems(given, Path(folder)):
            thin, rounds = (8, 1) if given.quick else (1, given.rounds)
            beams = sorted({problem.beam, *given.beams})
            outcome = measure_problem(problem, beams, thin, rounds, given.patience)
            mandarin = problem.measure == "CER"
            print_outcome(outcome, MANDARIN_SPEED_AIM if mandarin else SPEED_AIM, MEMORY_AIM)
            outcomes.append(outcome)
            if given.json:
                write_json(outcomes, given.json)
            if given.plot:
                plot(outcomes, given.plot)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = CommandParser("decoder.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("manifest", type=Path, help="manifest.tsv of recordings")
    parser.add_argument("--split", default="test", help="of it, to report [%(default)s]")
    parser.add_argument("--tune-split", default="dev", help="to choose settings [%(default)s]")
    parser.add_argument("--seconds", type=float, default=300, help="to report on [%(default)g]")
    parser.add_argument("--tune-seconds", type=float, default=150, help="[%(default)g]")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--cache", type=Path, help=".npz that keeps log-probabilities")
    parser.add_argument(
        "--problems",
        nargs="+",
        choices=("real", "english", "mandarin"),
        default=("real", "english", "mandarin"),
        help="real recordings, synthetic English, synthetic Mandarin [all]",
    )
    parser.add_argument("--characters", type=Path, help="Chinese text, one sentence a line")
    parser.add_argument("--tools", type=Path, help="folder of lmplz and build_binary [PATH]")
    parser.add_argument("--beams", type=int, nargs="+", default=BEAMS, help="[16 32 64 128 512]")
    parser.add_argument("--rounds", type=int, default=3, help="of every timing [%(default)s]")
    parser.add_argument(
        "--patience",
        type=float,
        default=15,
        help="seconds after which a setting is not repeated, nor tried at larger beams [15]",
    )
    parser.add_argument("--core", type=int, default=1, help="that all runs on [%(default)s]")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--plot", type=Path, help="draw error rate against speed here, a PNG")
    parser.add_argument("--quick", action="store_true", help="little audio, few settings, 2 beams")
    given = parser.parse_args()
    if given.quick:
        given.seconds, given.tune_seconds, given.beams = 30.0, 20.0, (16, 64)
    return given


def problems(given: argparse.Namespace, folder: Path) -> Iterator[Problem]:
    """The problems of the command line, each made when its turn comes, with and without model."""
    seconds = (given.tune_seconds, given.seconds)
    bundle = load_bundle(given.bundle)
    splits = (given.tune_split, given.split)

    def real() -> Problem:
        return real_problem(bundle, given.manifest, splits, seconds, given.cache)

    def english() -> Problem:
        tune, test = (
            shortened([u.text for u in read_manifest(given.manifest, split)], ENGLISH_VOICE, limit)
            for split, limit in zip(splits, seconds, strict=True)
        )
        return synthetic_english(bundle, tune, test)

    def mandarin() -> Problem:
        # 5,000 columns are large: a third of the audio.
        less = (seconds[0] / 3, seconds[1] / 3)
        return mandarin_problem(given.characters, given.tools, folder, less)

    makers = {"real": real, "english": english, "mandarin": mandarin}
    for name in given.problems:
        problem = makers[name]()
        yield problem
        if problem.language_model:
            yield problem.without_language_model()


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"decoder.py: {error}") from None
