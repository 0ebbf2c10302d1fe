"""`ds2edge data COMMAND`: prepare recordings to train on."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from ds2edge.arguments import CommandParser
from ds2edge.training.data import shard_command

COMMANDS = (shard_command,)  # each adds its own parser

EXAMPLES = """\
examples:
  ds2edge data shard speech/librispeech/manifest.tsv -o shards/librispeech
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
