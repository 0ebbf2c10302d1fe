"""Tables: CSV, TSV, lines of JSON as NeMo's manifests, `metadata.csv` of Hugging Face."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds2edge.errors import DataError
from ds2edge.training.importing.entries import Entry, Files, read_lines, split_of

TABLES = ("*.csv", "*.tsv", "*.jsonl", "*manifest*.json")
COMMON = {  # what such columns are called
    "path": ("audio_filepath", "file_name", "path", "wav_filename", "audio", "file", "filename"),
    "text": ("text", "sentence", "transcript", "transcription", "normalized_text"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "split": ("split",),
}


@dataclass(frozen=True)
class Columns:
    """The names of the columns; None: one of those that are common."""

    path: str | None = None
    text: str | None = None
    speaker: str | None = None
    split: str | None = None


def read(files: Files, columns: Columns = Columns()) -> Iterator[Entry]:
    """Paths are relative to the table; `offset` and `duration`, in seconds, cut a part out.

    Where no column tells the split, the name of the table or of its folder may: `train.csv`,
    `test/metadata.csv`.
    """
    for table in files.find(*TABLES):
        read_rows = _separated if table.suffix in (".csv", ".tsv") else _json_lines
        yield from _entries(table, read_rows(table), columns)


def _entries(
    table: Path, rows: Iterator[tuple[int, dict[str, Any]]], columns: Columns
) -> Iterator[Entry]:
    known = split_of(table.stem) or split_of(table.parent.name)
    names: dict[str, str | None] = {}
    for line, row in rows:
        where = f"{table}, line {line}"
        if not row:
            yield Entry("", table, "", "", known, problem=f"{where}: no JSON object")
            continue
        names = names or _names(table, list(row), columns)
        path, text, speaker, split = (
            str(row.get(name) or "") if name else "" for name in names.values()
        )
        start, end, problem = _times(row)
        if not path:
            problem = f"no {names['path']}"
        name = path if start is None else f"{path}@{start:.3f}"
        yield Entry(
            name,
            table.parent / path,
            text,
            speaker,
            split_of(split) or known,
            start,
            end,
            problem=f"{where}: {problem}" if problem else "",
        )


def _names(table: Path, found: Sequence[str], columns: Columns) -> dict[str, str | None]:
    """Which columns a table has for what.

    Raises:
        DataError: it lacks one that was asked for, or that of paths or texts.
    """
    names: dict[str, str | None] = {}
    for what, common in COMMON.items():
        asked = getattr(columns, what)
        names[what] = next((name for name in (asked and [asked]) or common if name in found), None)
        if names[what] is None and (asked or what in ("path", "text")):
            needed = asked or f"of {what}s ({', '.join(common)}; or give --{what}-column)"
            raise DataError(f"{table} has no column {needed}; it has {', '.join(map(str, found))}")
    return names


def _times(row: dict[str, Any]) -> tuple[float | None, float | None, str]:
    """Start and end in seconds, and what is wrong with them."""
    if row.get("offset") in (None, ""):
        return None, None, ""
    try:
        start = float(row["offset"])
        length = row.get("duration")
        return start, None if length in (None, "") else start + float(length), ""
    except (TypeError, ValueError):
        return None, None, "offset and duration must be seconds"


def _separated(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their line; of a CSV file the header tells what stands between columns."""
    lines = read_lines(table)
    between = "\t" if table.suffix == ".tsv" else max(",;|\t", key=lines[0].count)
    reader = csv.DictReader((f"{line}\n" for line in lines), delimiter=between)
    try:
        for row in reader:
            yield reader.line_num, {key: value for key, value in row.items() if key is not None}
    except csv.Error as error:
        raise DataError(f"{table}, line {reader.line_num}: {error}") from None


def _json_lines(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects with their line; empty where a line is none."""
    for number, line in enumerate(read_lines(table), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            yield number, row if isinstance(row, dict) else {}
