"""`ds2edge data shard MANIFEST -o FOLDER`: many small files as few large ones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ds2edge.errors import ConfigError
from ds2edge.training.data.shards import write_shards
from ds2edge.training.processes import add_jobs_argument

EXAMPLES = """\
examples:
  ds2edge data shard speech/librispeech/manifest.tsv -o shards/librispeech
      then: ds2edge train CONFIG --data shards
  ds2edge data shard speech/calls/manifest.tsv -o /mnt/large/calls --megabytes 1000 --jobs 16

FOLDER gets SPLIT-NUMBER-DIGEST.tfrecord, with the bytes of the recordings as they are, and
manifest.tsv, which tells where each is. Interrupted, the same command goes on: what is whole is
kept. `ds2edge train` takes such a folder in the place of a corpus's, and learns the same from it.
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "shard",
        help="pack recordings into TFRecord shards",
        description="Pack the recordings of a manifest into TFRecord shards, for large sets.",
        epilog=EXAMPLES,
    )
    parser.add_argument("manifest", type=Path, help="table of recordings, see the README")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--megabytes",
        type=float,
        default=256.0,
        metavar="N",
        help="of recordings in a shard [%(default)g]",
    )
    add_jobs_argument(parser, "shards to write at a time")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code."""
    if not options.megabytes > 0 or options.jobs < 1:
        raise ConfigError("--megabytes needs more than 0, and --jobs 1 or more")
    size = round(options.megabytes * 1e6)
    shards, recordings = write_shards(options.manifest, options.output, size, options.jobs)
    print(f"{options.output}: {recordings} recordings in {shards} shards")
    return 0
