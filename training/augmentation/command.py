"""`ds2edge data augment MANIFEST -o FOLDER`: copies of recordings as they sound elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ds2edge.errors import ConfigError
from ds2edge.training.config import AugmentConfig, NoiseCorpus
from ds2edge.training.processes import add_jobs_argument

EXAMPLES = """\
examples:
  ds2edge data augment speech/calls/manifest.tsv -o speech/calls-noisy --noise speech/noise:train
      each recording once more, with noise at 0 to 30 dB
  ds2edge data augment speech/calls/manifest.tsv -o speech/calls-far --rooms --gain --copies 3
      three copies of each, in simulated rooms, at other gains
  ds2edge data augment speech/calls/manifest.tsv -o speech/calls-phone --codec telephone
  ds2edge data augment speech/calls/manifest.tsv -o speech/calls-more --share 0.5 --speed \\
      --vocal-tract --rooms --noise speech/noise --snr 5 20 --band --codec mp3 --codec opus
      whatever happens to speech, each with a probability of a half

FOLDER gets a FLAC file of 16 kHz for each copy, and manifest.tsv, which says besides what was done
to it. Interrupted, the same command goes on: what is whole is kept. The same seed makes the same
copies. To train on other noise in every epoch, with no copies, set augment.noise in the
configuration of `ds2edge train`, or give `ds2edge finetune --noise`.
"""
SPEEDS = (0.9, 1.0, 1.1)
VOCAL_TRACT = (0.9, 1.1)  # factor of the formants
LEVELS = (-20.0, 6.0)  # dB
CODECS = AugmentConfig().codecs


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "augment",
        help="copy recordings with noise, in rooms, through codecs",
        description="Write copies of recordings as they would sound elsewhere: with noise, in a "
        "room, through a codec, faster, from another vocal tract.",
        epilog=EXAMPLES,
    )
    parser.add_argument("manifest", type=Path, help="table of recordings")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    noise = parser.add_argument_group("noise")
    noise.add_argument(
        "--noise",
        action="append",
        default=[],
        metavar="CORPUS[:SPLIT]",
        help="folder or manifest of recorded noise, of split train if none is named; repeatable",
    )
    noise.add_argument(
        "--snr",
        type=float,
        nargs=2,
        default=AugmentConfig.snr,
        metavar=("LOW", "HIGH"),
        help="dB of speech over noise, drawn between these [0 30]",
    )
    others = parser.add_argument_group("what else is done to each copy")
    others.add_argument("--rooms", action="store_true", help="a simulated room")
    others.add_argument(
        "--codec",
        action="append",
        default=[],
        choices=CODECS,
        help="one of those named; repeatable",
    )
    others.add_argument("--band", action="store_true", help="low or high frequencies are lost")
    others.add_argument("--speed", action="store_true", help="0.9, 1 or 1.1 times as fast")
    others.add_argument("--vocal-tract", action="store_true", help="formants 0.9 to 1.1 times")
    others.add_argument("--gain", action="store_true", help="-20 to 6 dB")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        metavar="P",
        help="probability of noise, room, codec and band, each for itself [%(default)g]",
    )
    parser.add_argument("--copies", type=int, default=1, metavar="N", help="[%(default)s]")
    parser.add_argument("--seed", type=int, default=1, help="[%(default)s]")
    add_jobs_argument(parser, "processes")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code."""
    from ds2edge.training.augmentation.chain import load_banks
    from ds2edge.training.augmentation.copies import RATE, Wanted, write_copies
    from ds2edge.training.augmentation.noise import read_noise

    if options.copies < 1 or options.jobs < 1 or options.seed < 0:
        raise ConfigError("--copies and --jobs need 1 or more, and --seed 0 or more")
    settings = settings_of(options)
    if not (settings.of_sound or options.speed or options.gain):
        raise ConfigError(
            "nothing is to be done; give --noise CORPUS, --rooms, --codec NAME, --band, --speed, "
            "--vocal-tract or --gain"
        )
    banks = load_banks(settings, Path(), RATE, options.seed)
    wanted = Wanted(
        settings,
        banks,
        read_noise(Path(), settings.noise),
        speeds=SPEEDS if options.speed else (1.0,),
        levels=LEVELS if options.gain else (),
        copies=options.copies,
        seed=options.seed,
    )
    files, lost = write_copies(options.manifest, options.output, wanted, options.jobs)
    more = f"; {lost} recordings cannot be read" if lost else ""
    print(f"{options.output}: {files} files{more}")
    return int(lost > 0)


def settings_of(options: argparse.Namespace) -> AugmentConfig:
    """What the options ask for.

    Raises:
        ConfigError: a number makes no sense.
    """
    share = options.share
    if not 0 < share <= 1:
        raise ConfigError(f"--share needs more than 0, 1 at most, got {share}")
    return AugmentConfig(
        noise=tuple(noise_corpus(name) for name in options.noise),
        noise_share=share,
        snr=tuple(options.snr),
        room_share=share if options.rooms else 0.0,
        codec_share=share if options.codec else 0.0,
        codecs=tuple(options.codec) or CODECS,
        band_share=share if options.band else 0.0,
        vocal_tract=VOCAL_TRACT if options.vocal_tract else (1.0, 1.0),
    )


def noise_corpus(name: str) -> NoiseCorpus:
    """CORPUS or CORPUS:SPLIT."""
    folder, _, split = name.rpartition(":")
    return NoiseCorpus(folder, split) if folder else NoiseCorpus(name)
