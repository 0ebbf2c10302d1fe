"""What was kept and what was dropped, and why: for the terminal, for programs, for tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ds2edge.training.data.manifest import Utterance
from ds2edge.training.files import partial_file
from ds2edge.training.importing.entries import Entry

MADE_BY = "ds2edge data import"


@dataclass(frozen=True)
class Drop:
    """An entry that is not in the manifest."""

    entry: Entry
    reason: str  # the same words for all of a kind: "without text"
    detail: str


@dataclass(frozen=True)
class Report:
    """What became of a corpus."""

    folder: Path
    layout: str
    sources: tuple[str, ...]
    kept: Sequence[Utterance]
    dropped: Sequence[Drop]
    decoded: int  # recordings that were decoded now, not before

    @property
    def lines(self) -> list[str]:
        """For the terminal."""
        parts = [f"{split} {_amount(of)}" for split, of in _by_split(self.kept).items()]
        speakers = len({utterance.speaker for utterance in self.kept} - {""})
        lines = [f"{self.folder}: {_amount(self.kept)}, {speakers} speakers ({', '.join(parts)})"]
        if self.dropped:
            lines.append(f"left out {len(self.dropped)}, see {self.folder / 'dropped.tsv'}:")
            lines += [f"  {line}" for line in reasons(self.dropped)]
        if not self.decoded:
            lines.append("nothing was new: all recordings had been verified before")
        # A file's name may have bytes that are no characters.
        return [line.encode(errors="backslashreplace").decode() for line in lines]

    def write(self) -> None:
        """`dropped.tsv` and `report.json`.

        Raises:
            OSError: they cannot be written.
        """
        write_dropped(self.folder, self.dropped)
        by_reason = _by_reason(self.dropped)
        values = {
            "made_by": MADE_BY,
            "layout": self.layout,
            "sources": self.sources,
            "kept": _figures(self.kept),
            "splits": {split: _figures(of) for split, of in _by_split(self.kept).items()},
            "dropped": {
                reason: {"recordings": len(of), "first": of[0].entry.name, "detail": of[0].detail}
                for reason, of in by_reason.items()
            },
        }
        with partial_file(self.folder / "report.json") as file:
            file.write(json.dumps(values, indent=2, ensure_ascii=False).encode(errors="replace"))


def reasons(dropped: Iterable[Drop]) -> list[str]:
    """How many were left out for which reason, and the first of each."""
    return [
        f"{len(of)} {reason} (first: {of[0].entry.name or of[0].entry.audio}: {of[0].detail})"
        for reason, of in _by_reason(dropped).items()
    ]


def write_dropped(folder: Path, dropped: Iterable[Drop]) -> None:
    """Raises: OSError: it cannot be written."""
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n"
    )
    writer.writerow(("id", "reason", "detail", "path", "text"))
    for drop in dropped:
        entry = drop.entry
        row = (entry.name, drop.reason, drop.detail, str(entry.audio), entry.text)
        writer.writerow([" ".join(value.split()) for value in row])
    with partial_file(folder / "dropped.tsv") as file:
        file.write(text.getvalue().encode(errors="replace"))


def is_ours(folder: Path) -> bool:
    """Whether the manifest in a folder, if there is one, was made by an import."""
    if not (folder / "manifest.tsv").exists():
        return True
    try:
        report = json.loads((folder / "report.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and report.get("made_by") == MADE_BY


def _by_reason(dropped: Iterable[Drop]) -> dict[str, list[Drop]]:
    """Most frequent first."""
    groups: dict[str, list[Drop]] = {}
    for drop in dropped:
        groups.setdefault(drop.reason, []).append(drop)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _by_split(kept: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    groups: dict[str, list[Utterance]] = {}
    for utterance in kept:
        groups.setdefault(utterance.split, []).append(utterance)
    return groups


def _figures(kept: Sequence[Utterance]) -> dict[str, float]:
    speakers = len({utterance.speaker for utterance in kept} - {""})
    hours = sum(utterance.seconds for utterance in kept) / 3600
    return {"recordings": len(kept), "hours": round(hours, 4), "speakers": speakers}


def _amount(kept: Sequence[Utterance]) -> str:
    hours = sum(utterance.seconds for utterance in kept) / 3600
    return f"{len(kept)} recordings of {hours:.2f} h"
