"""Parts of a recording, each written to a file of its own while the recording is read once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from ds2edge.audio import FloatArray
from ds2edge.training.data.manifest import SLACK
from ds2edge.training.files import partial_file


@dataclass(frozen=True)
class Cut:
    """A part of a recording that becomes a file."""

    start: float  # seconds
    end: float | None  # None: up to the end
    target: str  # the FLAC file to write


class CutWriter:
    """Writes each cut as soon as its last sample is there."""

    def __init__(self, cuts: Sequence[Cut]) -> None:
        self.samples = 0
        self.written = [0.0] * len(cuts)
        self._waiting = dict(enumerate(cuts))
        self._pieces: dict[int, list[npt.NDArray[np.int16]]] = {i: [] for i in self._waiting}
        self._rate = 0

    def add(self, block: FloatArray, rate: int) -> None:
        """Samples that follow, shape = (n, channels)."""
        begin, self._rate = self.samples, rate
        self.samples += len(block)
        if not self._waiting:
            return
        # Not by the library, which takes 32767 for full scale: 16-bit samples stay as they are.
        mono = np.clip(np.rint(block.mean(axis=1) * 32768), -32768, 32767).astype(np.int16)
        for i, cut in list(self._waiting.items()):
            first = round(cut.start * rate) - begin
            last = len(mono) if cut.end is None else round(cut.end * rate) - begin
            if first < len(mono) and last > 0:
                self._pieces[i].append(mono[max(0, first) : last])
            if cut.end is not None and last <= len(mono):
                self._write(i)

    def finish(self) -> None:
        """The end of the recording."""
        for i in list(self._waiting):
            self._write(i)

    def _write(self, i: int) -> None:
        cut, pieces = self._waiting.pop(i), self._pieces.pop(i)
        seconds = sum(map(len, pieces)) / self._rate
        if not seconds or (cut.end is not None and seconds < cut.end - cut.start - SLACK):
            return
        samples, encoded = np.concatenate(pieces), io.BytesIO()
        soundfile.write(encoded, samples, self._rate, format="FLAC", subtype="PCM_16")
        with partial_file(Path(cut.target), sync=False) as file:
            file.write(encoded.getbuffer())
        self.written[i] = seconds
