"""`ds2edge data text TEXT... -o FILE`: texts as they are said, a sentence a line."""

from __future__ import annotations

import argparse
from typing import Any

from ds2edge.errors import DataError
from ds2edge.training.files import partial_file
from ds2edge.training.texts.prepare import (
    add_preparation_arguments,
    given_preparation,
    prepared_sentences,
)

EXAMPLES = """\
examples:
  ds2edge data text novels.txt -o zh.txt --numerals zh --simplify
      2023年3月5日 becomes 二零二三年三月五日, and traditional characters simplified ones
  ds2edge data text old.txt -o zh.txt --encoding gb18030

for lm, data tokens and data synth. Full-width letters and signs become half-width ones (Unicode's
form NFKC); punctuation and capital letters stay, which those commands leave out.
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "text",
        help="texts as they are said, a sentence a line",
        description="Make text ready: encoding, width, script, numerals; a sentence a line.",
        epilog=EXAMPLES,
    )
    add_preparation_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code."""
    preparation = given_preparation(options)
    count = 0
    with partial_file(options.output) as file:
        for sentence in prepared_sentences(options.texts, preparation):
            file.write(f"{sentence}\n".encode())
            count += 1
        if not count:
            raise DataError(f"no text in {', '.join(map(str, options.texts))}")
    print(f"{options.output}: {count:,} sentences")
    return 0
