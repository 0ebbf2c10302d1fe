"""What was found so far, a line each: what a kill interrupts goes on from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self


class Journal:
    """Keys and JSON values in a file, written as soon as they are known; a context manager.

    Whoever writes has to be alone: see `files.locked` and `taking_turns`.
    """

    def __init__(self, path: Path) -> None:
        """Raises: OSError: it cannot be read or written."""
        self._known: dict[str, bytes] = {}  # lines, which are smaller than what they stand for
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
        for line in lines:
            try:
                self._known[json.loads(line)[0]] = line
            except (ValueError, TypeError, IndexError, KeyError):  # torn by a kill
                continue
        self._file = path.open("ab")
        if lines[-1]:
            self._file.write(b"\n")

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Any:
        """Raises: KeyError."""
        return json.loads(self._known[key])[1]

    def add(self, key: str, value: Any) -> None:
        """Raises: OSError: it cannot be written."""
        line = json.dumps([key, value]).encode()
        self._file.write(line + b"\n")
        self._file.flush()
        self._known[key] = line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
