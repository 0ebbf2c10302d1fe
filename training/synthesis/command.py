"""`ds2edge data synth TEXT... -o FOLDER`: speech for sentences, by free engines."""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path
from typing import Any

from ds2edge.errors import ConfigError
from ds2edge.training.data.spelling import add_token_arguments, given_tokens
from ds2edge.training.processes import add_jobs_argument
from ds2edge.training.synthesis.corpus import SynthesisOptions, reasons, synthesise
from ds2edge.training.synthesis.engines import NAMES, find_voices

FACTORS = 0.5, 2.0  # least and most of --pitch and --rate

EXAMPLES = """\
examples:
  ds2edge data synth sentences.txt -o speech/synthetic
      every sentence, by all engines that are installed
  ds2edge data synth books.txt.xz -o speech/synthetic --hours 10 --jobs 8
  ds2edge data synth commands.txt -o speech/commands --voices 'flite-*' 'espeak-ng-en-US*'
  ds2edge data synth --list-voices
  ds2edge data synth zh.txt -o speech/zh --language cmn --voices '*-pinyin*' --tokens zh.tokens

engines, and their packages: flite (flite), espeak-ng (espeak-ng), festival (festival
festvox-kallpc16k). FOLDER gets audio/*.flac, 16 kHz, mono, and manifest.tsv: the sentences as the
tokens spell them, which is what is spoken. Each has a voice, pitch and rate of its own, drawn by
number and --seed. Interrupted, the same command goes on. Licences: docs/data.md.
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    defaults = SynthesisOptions()
    parser = commands.add_parser(
        "synth",
        help="speech for text, by free engines",
        description="Let free speech engines speak the sentences of texts, one a line.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "texts", metavar="TEXT", nargs="*", type=Path, help="plain, or .xz or .gz; in its order"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--engine",
        action="append",
        choices=NAMES,
        default=[],
        help="may be given several times [all that are installed]",
    )
    parser.add_argument(
        "--voices", nargs="+", default=[], metavar="NAME", help="or a pattern with * [all]"
    )
    parser.add_argument("--list-voices", action="store_true", help="print their names, and end")
    parser.add_argument(
        "--language",
        default="en",
        help="as espeak-ng calls it; the others speak only en [%(default)s]",
    )
    add_token_arguments(parser, "that the sentences are spelled with [%(default)s]")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--limit", type=int, metavar="N", help="sentences [all]")
    amount.add_argument("--hours", type=float, metavar="H", help="of speech [all sentences]")
    for name in ("pitch", "rate"):
        ends = getattr(defaults, name)
        parser.add_argument(
            f"--{name}",
            nargs=2,
            type=float,
            default=ends,
            metavar=("LOW", "HIGH"),
            help=f"times the voice's own [{ends[0]:g} {ends[1]:g}]",
        )
    parser.add_argument(
        "--longest",
        type=float,
        default=defaults.longest,
        metavar="S",
        help="seconds of a recording; longer ones are left out [%(default)g]",
    )
    parser.add_argument(
        "--dev-share",
        type=float,
        default=defaults.dev_share,
        metavar="SHARE",
        help="of the sentences in split dev [%(default)g]",
    )
    parser.add_argument(
        "--split",
        choices=("train", "test"),
        default=defaults.split,
        help="of the others, train or test [%(default)s]",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="[%(default)s]")
    add_jobs_argument(parser, "engines at a time")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code."""
    logging.basicConfig(format="ds2edge: %(message)s")
    settings = _settings(options)
    if not options.list_voices and not (options.texts and options.output):
        raise ConfigError("needed: TEXT and -o FOLDER, or --list-voices")
    voices, without = find_voices(options.engine, options.language, options.voices)
    for line in without:
        logging.warning("%s", line)
    if options.list_voices:
        print("\n".join(voice.speaker for voice in voices))
        return 0
    made = synthesise(options.texts, options.output, given_tokens(options), voices, settings)
    speakers = len({utterance.speaker for utterance in made.utterances})
    minutes = made.seconds / 60
    print(
        f"{options.output}: {len(made.utterances):,} sentences, {minutes:.1f} minutes, "
        f"{speakers} voices"
    )
    if made.left_out:
        print(f"left out: {reasons(made.left_out)}")
    return 0


def _settings(given: argparse.Namespace) -> SynthesisOptions:
    least, most = FACTORS
    for name in ("pitch", "rate"):
        low, high = getattr(given, name)
        if not least <= low <= high <= most:
            raise ConfigError(
                f"--{name} needs two numbers from {least:g} to {most:g}, the lower one first; "
                f"got {low:g} {high:g}"
            )
    counts = [number for number in (given.limit, given.hours) if number is not None]
    if not all(0 < n < math.inf for n in [*counts, given.jobs, given.longest]) or given.seed < 0:
        raise ConfigError(
            "--limit, --hours, --jobs and --longest need more than 0, --seed 0 or more"
        )
    if not 0 <= given.dev_share < 1:
        raise ConfigError(f"--dev-share needs 0 or more and less than 1, got {given.dev_share:g}")
    return SynthesisOptions(
        limit=given.limit,
        hours=given.hours,
        pitch=tuple(given.pitch),
        rate=tuple(given.rate),
        dev_share=given.dev_share,
        split=given.split,
        longest=given.longest,
        seed=given.seed,
        jobs=given.jobs,
    )
