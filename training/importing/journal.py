"""What was found of each recording, kept so that it is not decoded twice."""

from __future__ import annotations

import os
from dataclasses import astuple
from pathlib import Path
from typing import Any

from ds2edge.training.files import file_state
from ds2edge.training.importing.recordings import Found, Recording
from ds2edge.training.journal import Journal


class ImportJournal(Journal):
    """What was found of recordings and archives, while they are as they were then."""

    def found(self, recording: Recording) -> Found | None:
        """What was found of a recording, if it and its cuts are as they were then."""
        known = self._get(f"decoded {recording.path}", recording.path, _wanted(recording))
        if known is None:
            return None
        error, sha256, seconds, lengths = known
        found = Found(error, sha256, seconds, tuple(lengths))
        cuts = zip(recording.cuts, found.cuts, strict=False)
        return found if all(os.path.isfile(c.target) for c, seconds in cuts if seconds) else None

    def add_found(self, recording: Recording, found: Found) -> None:
        """Raises: OSError: it cannot be written."""
        key, wanted = f"decoded {recording.path}", _wanted(recording)
        self._write(key, recording.path, wanted, list(astuple(found)))

    def checked(self, path: Path, promised: str) -> bool:
        """Whether a file as it is was found to have a check sum."""
        return self._get(f"checked {path}", str(path), [promised]) is not None

    def add_check(self, path: Path, promised: str) -> None:
        """Raises: OSError: it cannot be written."""
        self._write(f"checked {path}", str(path), [promised], [])

    def _get(self, key: str, path: str, wanted: list[Any]) -> list[Any] | None:
        if key not in self:
            return None
        state, asked, found = self[key]
        return list(found) if [state, asked] == [list(file_state(path)), wanted] else None

    def _write(self, key: str, path: str, wanted: list[Any], found: list[Any]) -> None:
        super().add(key, [list(file_state(path)), wanted, found])


def _wanted(recording: Recording) -> list[Any]:
    """What was to be done with it, as it is read back from JSON."""
    return [recording.raw_rate, [list(astuple(cut)) for cut in recording.cuts]]
