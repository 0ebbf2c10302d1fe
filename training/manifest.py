"""Manifests: which recordings a corpus has and what is said in them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ds2edge.errors import DataError

COLUMNS = ("path", "seconds", "text", "speaker", "split")


@dataclass(frozen=True)
class Utterance:
    """One recording with its transcript."""

    path: Path
    seconds: float
    text: str
    speaker: str
    split: str


def read_manifest(path: str | Path, split: str | None = None) -> list[Utterance]:
    """Read a tab-separated manifest with the columns path, seconds, text, speaker, split.

    Paths are relative to the manifest's folder. With `split`, only that split is returned.

    Raises:
        DataError: no such file, a missing column, a bad duration, or no row of that split.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} lacks the column(s) {', '.join(missing)}")
            rows = list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read manifest {path}: {error}") from None
    utterances = [
        _utterance(path, line, row)
        for line, row in enumerate(rows, start=2)
        if split in (None, row["split"])
    ]
    if not utterances:
        splits = sorted({row["split"] for row in rows})
        raise DataError(f"{path} has no recording of split {split!r}; it has {splits}")
    return utterances


def _utterance(manifest: Path, line: int, row: dict[str, str]) -> Utterance:
    try:
        seconds = float(row["seconds"])
    except (TypeError, ValueError):
        raise DataError(
            f"{manifest}, line {line}: seconds is {row['seconds']!r}, needed a number"
        ) from None
    return Utterance(
        manifest.parent / row["path"],
        seconds,
        row["text"] or "",
        row["speaker"] or "",
        row["split"] or "",
    )
