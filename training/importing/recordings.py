"""Recordings, each verified in a process of its own: decoded to the end, cut where it is long."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ds2edge.audio import FloatArray
from ds2edge.audio_file import open_audio
from ds2edge.errors import AudioError
from ds2edge.training.cuts import Cut, CutWriter

BLOCK = 10.0  # seconds that are decoded at a time


@dataclass(frozen=True)
class Recording:
    """What is to be verified."""

    path: str
    raw_rate: int  # Hz of 16-bit samples without a header; 0: it has one
    cuts: tuple[Cut, ...]  # that are to be written; none: it is used as it is


@dataclass(frozen=True)
class Found:
    """What came out."""

    error: str  # why it cannot be used; empty: it can
    sha256: str  # of the file
    seconds: float  # that were decoded
    cuts: tuple[float, ...] = ()  # seconds that were written of each; 0: beyond the end


def examine(recording: Recording) -> Found:
    """Decode all of it, and write what is to be cut out.

    Raises:
        OSError: a cut cannot be written.
    """
    digest, seconds = "", 0.0
    writer = CutWriter(recording.cuts)
    try:
        digest = _sha256(recording.path)
        for rate, block in _blocks(recording):
            writer.add(block, rate)
            seconds = writer.samples / rate
    except AudioError as error:
        return Found(str(error), digest, seconds)
    writer.finish()
    return Found("", digest, seconds, tuple(writer.written))


def _sha256(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror}") from None


def _blocks(recording: Recording) -> Iterator[tuple[int, FloatArray]]:
    """Rate and samples in -1..1, shape = (n, channels)."""
    if recording.raw_rate:
        samples = _raw(recording.path)
        length = round(BLOCK * recording.raw_rate)
        for begin in range(0, len(samples), length):
            raw: FloatArray = samples[begin : begin + length, None].astype(np.float32)
            yield recording.raw_rate, raw * np.float32(1 / 32768)
        return
    with open_audio(recording.path) as file:
        for block in file.blocks(BLOCK):
            yield file.sample_rate, block


def _raw(path: str) -> npt.NDArray[np.int16]:
    """Samples of 16 bits in the order of bytes in which they are a sound: the other is noise."""
    size = Path(path).stat().st_size
    if not size or size % 2:
        raise AudioError(f"{path} has {size} bytes, needed two for each sample")
    orders = [np.fromfile(path, kind).astype(np.int16) for kind in ("<i2", ">i2")]
    return min(orders, key=lambda samples: np.abs(np.diff(samples.astype(np.float32))).sum())
