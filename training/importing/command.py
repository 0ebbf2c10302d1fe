"""`ds2edge data import LAYOUT SOURCE... -o FOLDER`: public corpora, and tables of your own."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ds2edge.errors import ConfigError
from ds2edge.training.data.spelling import add_token_arguments, given_tokens
from ds2edge.training.importing.engine import ImportOptions, import_corpus
from ds2edge.training.importing.layouts import LAYOUTS, table
from ds2edge.training.processes import add_jobs_argument
from ds2edge.training.texts.encodings import UTF_8
from ds2edge.training.texts.prepare import add_script_arguments, given_preparation

EXAMPLES = """\
examples:
  ds2edge data import librispeech train-clean-100.tar.gz dev-clean.tar.gz -o speech/librispeech
  ds2edge data import aishell-1 data_aishell.tgz -o speech/aishell --jobs 8
  ds2edge data import voxforge downloads/ -o speech/voxforge --dev-share 0.1
  ds2edge data import table calls.csv -o speech/calls --path-column file --text-column said
"""

NOTES = """\
FOLDER gets manifest.tsv, report.json, and dropped.tsv with what was left out and why. A source is a
folder, an archive (tar, tar.gz, tar.bz2, tar.xz, zip), which is unpacked into FOLDER/unpacked, or a
folder of archives. Recordings stay where they are; parts of long ones, and what needs another
format, are written to FOLDER/audio. Check sums that lie beside a download are compared, and those
that are published. Interrupted, the same command goes on.
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    layouts = "\n".join(f"  {name:<15} {layout.expects}" for name, layout in LAYOUTS.items())
    parser = commands.add_parser(
        "import",
        help="make a manifest of a public corpus, or of a table",
        description="Make a manifest of a public corpus or of a table, and verify each recording.",
        epilog=f"layouts, and what each looks for:\n{layouts}\n\n{NOTES}\n{EXAMPLES}",
    )
    parser.add_argument("layout", choices=LAYOUTS, metavar="LAYOUT", help="see below")
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="SOURCE", help="folder, archive or table"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add_jobs_argument(parser, "recordings to verify at a time")
    add_token_arguments(
        parser,
        "that are to spell the texts [english_characters; of Mandarin corpora mandarin_characters]",
    )
    parser.set_defaults(tokens=None, encoding=UTF_8)
    add_script_arguments(parser)
    parser.add_argument(
        "--longest",
        type=float,
        default=35.0,
        metavar="SECONDS",
        help="leave out what is longer [%(default)g]",
    )
    for split, share in (("dev", 0.05), ("test", 0.0)):
        parser.add_argument(
            f"--{split}-share",
            type=float,
            default=share,
            metavar="SHARE",
            help=f"of the speakers to hold back as {split} where the corpus has none [%(default)g]",
        )
    columns = parser.add_argument_group("columns of a table that are not called as is common")
    for name in ("path", "text", "speaker", "split"):
        columns.add_argument(f"--{name}-column", metavar="NAME")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code."""
    shares = options.dev_share, options.test_share
    if options.jobs < 1 or not options.longest > 0:
        raise ConfigError("--jobs needs 1 or more, and --longest more than 0 seconds")
    if not (min(shares) >= 0 and sum(shares) < 1):
        raise ConfigError("--dev-share and --test-share need 0 or more, together less than 1")
    layout = LAYOUTS[options.layout]
    given = [getattr(options, f"{name}_column") for name in ("path", "text", "speaker", "split")]
    if options.layout == "table":
        layout = replace(layout, read=partial(table.read, columns=table.Columns(*given)))
    elif any(given):
        raise ConfigError(f"columns are for the layout table, got {options.layout}")
    options.tokens = options.tokens or layout.tokens
    report = import_corpus(
        ImportOptions(
            name=options.layout,
            layout=layout,
            sources=tuple(options.sources),
            folder=options.output,
            token_set=given_tokens(options),
            longest=options.longest,
            dev_share=options.dev_share,
            test_share=options.test_share,
            jobs=options.jobs,
            prepare=given_preparation(options) if options.simplify or options.numerals else None,
        )
    )
    print("\n".join(report.lines))
    return 0
