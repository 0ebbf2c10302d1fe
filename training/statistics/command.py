"""`ds2edge data stats MANIFEST...`: what corpora consist of, and what is strange in them."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds2edge.errors import ConfigError
from ds2edge.training.data.spelling import add_token_arguments, given_tokens
from ds2edge.training.processes import add_jobs_argument

if TYPE_CHECKING:
    from ds2edge.training.statistics.rows import Recordings

MOST = 60  # recordings in a page

EXAMPLES = """\
examples:
  ds2edge data stats speech/librispeech/manifest.tsv -o librispeech.html
  ds2edge data stats speech/*/manifest.tsv -o speech.html --split train --json speech.json
  ds2edge data stats words/manifest.tsv -o words.html --tokens mandarin_characters --strange 30

The page needs no other file and no network. It has hours, speakers, lengths, levels, formats, words
and tokens, what is there twice or in two splits, and the strangest recordings to look at and listen
to. What was read is kept in the cache folder: a second call is quick, and after an interruption the
same command goes on.
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "stats",
        help="a page about what corpora consist of",
        description="What corpora consist of and what is strange in them, as one HTML page.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "manifests", metavar="MANIFEST", nargs="+", type=Path, help="tables of recordings"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PAGE", help=".html")
    parser.add_argument("--split", help="only this split of them [all]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, for programs")
    add_token_arguments(parser, "that the texts are to be spelled with [%(default)s]")
    parser.add_argument(
        "--strange",
        type=int,
        default=12,
        metavar="N",
        help=f"recordings to look at and listen to, {MOST} at most [%(default)s]",
    )
    add_jobs_argument(parser, "processes that read")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code."""
    from ds2edge.training.statistics.page import write_page  # late: imports matplotlib
    from ds2edge.training.statistics.rows import read_rows
    from ds2edge.training.statistics.strange import find_strange
    from ds2edge.training.statistics.summary import summarise

    logging.basicConfig(format="ds2edge: %(message)s")
    if not 0 <= options.strange <= MOST or options.jobs < 1:
        raise ConfigError(f"--strange needs 0 to {MOST}, and --jobs 1 or more")
    for file in filter(None, (options.output, options.json)):
        if not file.parent.is_dir():  # said before the work
            raise ConfigError(f"{file} cannot be written: there is no folder {file.parent}")
    recordings = read_rows(options.manifests, options.split, given_tokens(options), options.jobs)
    strange = find_strange(recordings)
    figures = summarise(recordings, strange)
    write_page(options.output, recordings, figures, strange, options.strange)
    if options.json:
        text = json.dumps(figures, indent=1, ensure_ascii=False) + "\n"
        options.json.write_text(text, encoding="utf-8")
    _print_summary(recordings, figures)
    print(options.output)
    return 0


def _print_summary(recordings: Recordings, figures: dict[str, Any]) -> None:
    # Imported late: rich is slower to import than ds2edge.
    from rich.console import Console
    from rich.table import Table

    from ds2edge.training.statistics.page import duration

    table = Table(box=None, pad_edge=False, header_style="bold")
    of = figures["vocabulary"]["of"]
    for name in ("corpus", "split"):
        table.add_column(name)
    for name in ("recordings", "duration", "speakers", of):
        table.add_column(name, justify="right")
    splits = [
        (corpus, split, row)
        for corpus, by in figures["corpora"].items()
        for split, row in by.items()
    ]
    if len(splits) > 1:
        splits.append(("all", "", figures["all"]))
    for corpus, split, row in splits:
        counts = (f"{row[name]:,}" for name in ("speakers", "words"))
        table.add_row(corpus, split, f"{row['utterances']:,}", duration(row["hours"]), *counts)
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(table)
    for finding in findings(figures):
        console.print(finding, soft_wrap=True)


def findings(figures: dict[str, Any]) -> list[str]:
    """What is worth a look, a line each."""
    lines = []
    for overlap in figures["overlaps"]:
        shares = [
            (len(overlap["speakers"]), "speaker"),
            (overlap["texts"]["count"], "text"),
            (len(overlap["audio"]), "recording"),
        ]
        shared = ", ".join(_counted(count, name) for count, name in shares if count)
        lines.append(f"{' and '.join(overlap['splits'])} share {shared}")
    unknown, unreadable = figures["unknown"], figures["unreadable"]
    characters = " ".join(list(unknown["characters"])[:20])
    first = unreadable[0]["reason"] if unreadable else ""
    others = (
        (len(figures["equal_audio"]), "recording", "there more than once"),
        (figures["repeated_texts"]["texts"], "text", "said more than once"),
        (unknown["utterances"], "text", f"left out by training, with characters like {characters}"),
        (len(unreadable), "recording", f"not readable; of the first: {first}"),
        (len(figures["strange"]), "recording", "strange"),
    )
    for count, name, what in others:
        if count:
            lines.append(f"{_counted(count, name)} {'is' if count == 1 else 'are'} {what}")
    return lines


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' * (count != 1)}"
