"""`ds2edge data COMMAND`: prepare recordings to train on."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from ds2edge.arguments import CommandParser
from ds2edge.training.augmentation import command as augment_command
from ds2edge.training.construction import (
    align_command,
    filter_command,
    label_command,
    segment_command,
)
from ds2edge.training.data import shard_command
from ds2edge.training.importing import command as import_command
from ds2edge.training.statistics import command as stats_command
from ds2edge.training.synthesis import command as synth_command
from ds2edge.training.texts import text_command, tokens_command

# Each adds its own parser.
COMMANDS = (
    import_command,
    align_command,
    segment_command,
    filter_command,
    label_command,
    augment_command,
    synth_command,
    text_command,
    tokens_command,
    stats_command,
    shard_command,
)

EXAMPLES = """\
examples:
  ds2edge data import librispeech train-clean-100.tar.gz dev-clean.tar.gz -o speech/librispeech
  ds2edge data align recordings -o aligned
  ds2edge data segment aligned -o speech/mine
  ds2edge data filter speech/mine/manifest.tsv -o speech/clean
  ds2edge data label speech/unlabelled/manifest.tsv -o speech/heard
  ds2edge data shard speech/librispeech/manifest.tsv -o shards/librispeech
  ds2edge data stats speech/librispeech/manifest.tsv -o librispeech.html
  ds2edge data synth sentences.txt -o speech/synthetic
  ds2edge data tokens novels.txt -o zh.tokens --numerals zh
  ds2edge data augment speech/calls/manifest.tsv -o speech/calls-noisy --noise speech/noise
  ds2edge data shard --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge data` command."""
    parser = CommandParser(
        "ds2edge data", description="Prepare recordings to train on.", epilog=EXAMPLES
    )
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)
