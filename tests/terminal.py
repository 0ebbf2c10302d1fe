"""A program in a terminal, and what it writes there."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from conftest import interruptible


class Terminal:
    """A program in a terminal, and what it writes there."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self._end, other = pty.openpty()
        environment = {**environment, "TERM": "xterm", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            command,
            stdin=other,
            stdout=other,
            stderr=other,
            env=environment,
            preexec_fn=interruptible,
        )
        os.close(other)
        self.written = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)

    def read(self, seconds: float, awaited: str | None = None) -> str:
        """All that is written in so many seconds, or until the program ends or `awaited` comes."""
        deadline = time.monotonic() + seconds
        while awaited is None or awaited not in self.written:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._end], [], [], left)[0]:
                break
            try:
                self.written += os.read(self._end, 65536).decode(errors="replace")
            except OSError:  # how Linux says that the program has ended
                break
        return self.written

    def lines(self) -> list[str]:
        """All that was written, without what controls the terminal; a redrawn line is several."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.written).replace("\r", "\n")
        return [line.strip() for line in text.split("\n")]
