"""Manifests: which recordings a corpus has and what is said in them."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds2edge.errors import DataError
from ds2edge.training.files import partial_file

COLUMNS = ("path", "seconds", "text", "speaker", "split")
APART = 1.25  # a rate that is taken for another one makes twice the length, or 16/11 of it
SLACK = 0.5  # seconds that a manifest and a recording may be apart, however short it is


@dataclass(frozen=True)
class Utterance:
    """One recording with its transcript."""

    path: Path
    seconds: float
    text: str
    speaker: str
    split: str
    manifest: Path | None = None  # that names it
    line: int = 0  # of the manifest
    shard: Path | None = None  # the file that has it, if `path` is only its name
    record: int = 0  # number in the shard

    @property
    def file(self) -> Path:
        """What has the recording."""
        return self.shard or self.path

    @property
    def where(self) -> str:
        """What to call it in a message."""
        if self.shard:
            return f"{self.shard}, record {self.record}"
        return f"{self.manifest}, line {self.line}" if self.manifest else str(self.path)


def read_manifest(path: str | Path, split: str | None = None) -> list[Utterance]:
    """Read a tab-separated manifest with the columns path, seconds, text, speaker, split.

    Paths are relative to the manifest's folder; a manifest of shards has two columns more. With
    `split`, only that split is returned.

    Raises:
        DataError: no such file, a missing column, a row of other columns or with a bad value, or no
            row of that split.
    """
    path = Path(path)
    rows = _rows(path)
    utterances = [
        _utterance(path, line, row) for line, row in rows if split in (None, row["split"])
    ]
    if not rows:
        raise DataError(f"{path} has no recordings, only a header")
    if not utterances:
        splits = sorted({row["split"] for _, row in rows})
        raise DataError(f"{path} has no recording of split {split!r}; it has {splits}")
    return utterances


def refuse_shards(utterances: Iterable[Utterance]) -> None:
    """For what reads recordings one by one, each from its own file.

    Raises:
        DataError: one is in a shard.
    """
    for utterance in utterances:
        if utterance.shard:
            raise DataError(
                f"{utterance.manifest} is one of shards; give the manifest of the recordings "
                "themselves"
            )


def read_column(path: Path, name: str, split: str | None = None) -> list[str] | None:
    """A further column of a manifest, in the order of `read_manifest`; None if it has not got it.

    Raises:
        DataError: as `read_manifest`.
    """
    rows = [row for _, row in _rows(path) if split in (None, row["split"])]
    return [str(row[name]) for row in rows] if rows and name in rows[0] else None


def refuse_others(path: Path, column: str) -> None:
    """Keep a manifest from being replaced that some other command has made.

    Args:
        column: that those of this command have.

    Raises:
        DataError: there is one without.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            columns = file.readline().rstrip("\n").split("\t")
    except OSError:
        return
    except UnicodeDecodeError:
        columns = []
    if column not in columns:
        raise DataError(
            f"{path} was not made by this command, which would replace it; give another folder"
        )


def check_name(name: str) -> None:
    """Refuse what a manifest cannot hold.

    Raises:
        DataError: a path or a speaker has a tab or a new line, or is no UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{name!r} is no UTF-8 text; rename it") from None
    if set(name) & set("\t\n\r\0"):
        raise DataError(f"{name!r} has a tab or a new line in it; rename it")


def write_manifest(
    path: Path,
    utterances: Iterable[Utterance],
    more: Sequence[Mapping[str, object]] | None = None,
) -> None:
    """Write a table that `read_manifest` reads; the one that was there is replaced as a whole.

    Args:
        more: further columns, for each utterance the same ones.

    Raises:
        DataError: a path or a speaker cannot be told in it, see `check_name`.
        OSError: it cannot be written.
    """
    rows = [manifest_row(utterance, path.parent) for utterance in utterances]
    if more is not None:
        rows = [{**row, **others} for row, others in zip(rows, more, strict=True)]
    text = io.StringIO(newline="")
    names = list(rows[0]) if rows else list(COLUMNS)
    writer = csv.writer(
        text, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n"
    )
    for row in rows:
        check_name(str(row["path"]))
        check_name(str(row["speaker"]))
    writer.writerows([names, *([row[name] for name in names] for row in rows)])
    with partial_file(path) as file:
        file.write(text.getvalue().encode())


def manifest_row(utterance: Utterance, folder: Path) -> dict[str, object]:
    """An utterance as the columns of a manifest in `folder`."""
    values = (
        os.path.relpath(utterance.path, folder),
        str(utterance.seconds),
        " ".join(utterance.text.split()),  # a tab would begin another column
        utterance.speaker,
        utterance.split,
    )
    return dict(zip(COLUMNS, values, strict=True))


def corpus_names(manifests: Sequence[Path]) -> list[str]:
    """What to call corpora: their folders, or the manifests of another name, or the whole paths."""
    names = [(p.resolve().parent.name if p.name == "manifest.tsv" else p.stem) for p in manifests]
    return [str(path) for path in manifests] if len(set(names)) < len(names) else names


def manifest_path(folder: Path) -> Path:
    """Of a corpus, which is a folder, or a manifest of another name."""
    return folder if folder.is_file() else folder / "manifest.tsv"


def lengths_agree(promised: float, found: float) -> bool:
    """Whether two lengths in seconds, a manifest's and a recording's, can be of one recording."""
    return promised / APART - SLACK <= found <= promised * APART + SLACK


def _rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Each row with its line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write the mark
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} lacks the column(s) {', '.join(missing)}")
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"cannot read manifest {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table of UTF-8 text: {error}") from None
    for line, row in rows:
        if None in row or None in row.values():
            raise DataError(f"{path}, line {line}: more or fewer columns than the header")
    return rows


def _utterance(manifest: Path, line: int, row: dict[str, Any]) -> Utterance:
    try:
        seconds = float(row["seconds"])
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DataError(
            f"{manifest}, line {line}: seconds is {row['seconds']!r}, needed a number, 0 or more"
        )
    if not row["path"] or "\0" in row["path"]:
        raise DataError(f"{manifest}, line {line}: no path")
    path = manifest.parent / row["path"]
    values = (path, seconds, row["text"], row["speaker"], row["split"], manifest, line)
    if "shard" not in row:
        return Utterance(*values)
    number = row.get("record") or ""
    if not row["shard"] or not number.isdecimal():
        raise DataError(
            f"{manifest}, line {line}: shard {row['shard']!r} and record {number!r}, needed a file "
            "and a number; run `ds2edge data shard` again"
        )
    return Utterance(*values, manifest.parent / row["shard"], int(number))
