"""A screen of the tests' own, that nobody sees: Xvfb."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def screen() -> Iterator[Screen]:
    """One that runs, 1000 x 300 pixels of 24 bits."""
    with tempfile.TemporaryDirectory(prefix="ds2edge-") as folder:
        read, write = os.pipe()
        with subprocess.Popen(
            [
                *("Xvfb", "-displayfd", str(write), "-nolisten", "tcp", "-noreset", "-nocursor"),
                *("-fbdir", folder, "-screen", "0", "1000x300x24"),
            ],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        ) as server:
            os.close(write)
            try:
                with os.fdopen(read) as number:
                    yield Screen(f":{number.readline().strip()}", Path(folder) / "Xvfb_screen0")
            finally:
                server.terminate()


class Screen:
    """What is drawn on it."""

    def __init__(self, display: str, file: Path) -> None:
        self.environment = {"DISPLAY": display}
        self._file = file  # in the format of xwd

    def colours(self) -> dict[str, int]:
        """How many pixels have each colour, #rrggbb."""
        pixels, counts = np.unique(self.pixels(), return_counts=True)
        return {f"#{p:06x}": int(count) for p, count in zip(pixels, counts, strict=True)}

    def pixels(self) -> np.ndarray[Any, Any]:
        """0xrrggbb, shape = (height, width)."""
        data = self._file.read_bytes()
        header = np.frombuffer(data, ">u4", 25)
        size, width, height, line, colours = (int(header[i]) for i in (0, 4, 5, 12, 19))
        order = "<" if header[7] == 0 else ">"
        start = size + 12 * colours
        rows = np.frombuffer(data, f"{order}u4", line // 4 * height, start)
        return rows.reshape(height, -1)[:, :width] & 0xFFFFFF
