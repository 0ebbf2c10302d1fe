"""What a corpus holds, as its own lists tell it: the form that every layout is read into."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ds2edge.errors import DataError

SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "test": "test", "eval": "test"}


@dataclass(frozen=True)
class Entry:
    """A recording, or a part of one, and what is said in it."""

    name: str  # tells it from all others of the corpus
    audio: Path
    text: str  # as the corpus has it, without the marks of its format
    speaker: str
    split: str = ""  # empty: the corpus does not tell
    start: float | None = None  # seconds; None: the whole file
    end: float | None = None  # seconds; None: up to its end
    raw_rate: int = 0  # Hz of 16-bit samples without a header; 0: a file that has one
    problem: str = ""  # with the line that it comes from


class Files:
    """All files below some folders."""

    def __init__(self, roots: Sequence[Path], without: Collection[Path] = ()) -> None:
        """A root may be a file, too; `without` are files and folders not to look at."""
        self.roots = tuple(roots)
        hidden = frozenset(map(str, without))
        self.paths = sorted({path for root in roots for path in _below(root, hidden)})

    def find(self, *patterns: str) -> list[Path]:
        """Those that match a pattern, whose `*` stands for any part of a path."""
        match = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match
        return [Path(path) for path in self.paths if match(path)]


def split_of(name: str) -> str:
    """The manifest's split by what a corpus calls it, `train-clean-100`; empty: it is none."""
    return next((ours for theirs, ours in SPLITS.items() if name.lower().startswith(theirs)), "")


def read_lines(path: Path) -> list[str]:
    """A text file's lines, without what ends them; what is not UTF-8 is taken for Latin-1.

    Raises:
        DataError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").split("\n")


def keyed(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Lines `KEY rest of the line`; empty ones are left out."""
    for line in lines:
        if parts := line.split(maxsplit=1):
            yield parts[0], parts[1].strip() if len(parts) > 1 else ""


def _refuse(error: OSError) -> None:
    """A folder that cannot be read must not look like one without recordings."""
    raise error


def _below(root: Path, without: Collection[str]) -> Iterator[str]:
    if root.is_file():
        yield str(root)
        return
    for folder, folders, names in os.walk(root, onerror=_refuse):
        # Hidden are the copies of names that some systems put into archives: `._a.wav`.
        folders[:] = [n for n in folders if n[0] != "." and os.path.join(folder, n) not in without]
        for name in names:
            path = os.path.join(folder, name)
            if name[0] != "." and path not in without:
                yield path
