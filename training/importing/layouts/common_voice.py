"""Common Voice: tables of MP3 files in `clips/`, one table for each split."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from ds2edge.training.importing.entries import Entry, Files, read_lines, split_of


def read(files: Files) -> Iterator[Entry]:
    """The official splits; where there is none of them, all that listeners agreed upon."""
    tables = files.find("*/train.tsv", "*/dev.tsv", "*/test.tsv") or files.find("*/validated.tsv")
    for table in tables:
        yield from _rows(table)


def _rows(table: Path) -> Iterator[Entry]:
    split = split_of(table.stem) if table.stem != "validated" else ""
    # A sentence may have quotes of its own.
    rows = csv.DictReader(read_lines(table), delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in rows:
        name, text, speaker = (row.get(key) or "" for key in ("path", "sentence", "client_id"))
        if not name:
            problem = f"{table}, line {rows.line_num}: no path"
            yield Entry("", table, text, speaker, split, problem=problem)
            continue
        if not Path(name).suffix:  # the first releases
            name += ".mp3"
        yield Entry(name, table.parent / "clips" / name, text, speaker, split)
