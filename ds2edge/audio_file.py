"""Recordings in files: decoded block by block, to mono float32 at the model's rate."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ds2edge.audio import FloatArray, SampleInput, check_range
from ds2edge.errors import AudioError

FORMATS = "WAV, FLAC, MP3, Ogg Opus, Ogg Vorbis, AIFF, AU, CAF, W64"
FLAC = b"fLaC"  # how one begins


def read_audio(path: str | os.PathLike[str], sample_rate: int) -> FloatArray:
    """A whole file as mono samples in -1..1 at `sample_rate` Hz; shape = (n,).

    Raises:
        AudioError: the file is missing, unreadable, damaged, cut short or without samples.
    """
    with open_audio(path) as file:
        converter = SampleInput(file.sample_rate, sample_rate)
        pieces = [converter.convert(block) for block in file.blocks(seconds=10.0)]
        pieces.append(converter.finish())
    return np.concatenate(pieces)


def open_audio(path: str | os.PathLike[str]) -> AudioFile:
    """Open a file that libsndfile can decode; use it as a context manager.

    Raises:
        AudioError: the file is missing, unreadable, empty or in no known format.
    """
    return AudioFile(path)


def is_whole(path: str | os.PathLike[str]) -> bool:
    """Whether a file can be decoded to its end."""
    try:
        with open_audio(path) as file:
            for _ in file.blocks(seconds=10.0):
                pass
    except AudioError:
        return False
    return True


class AudioFile:
    """A recording that is decoded block by block, once from its start to its end."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """See `open_audio`."""
        self.path = Path(path)
        self._raw = _open_file(self.path)
        try:
            # By descriptor: the name's ending has no say in what the format is.
            self._sound = _ForwardSoundFile(self._raw.fileno(), closefd=False)
        except (soundfile.SoundFileError, TypeError) as error:
            self._raw.close()
            raise AudioError(
                f"{self.path} is not a readable recording ({_reason(error)}); needed: {FORMATS}"
            ) from None

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return int(self._sound.samplerate)

    @property
    def channels(self) -> int:
        """In the file, before their mean is taken."""
        return int(self._sound.channels)

    @property
    def seconds(self) -> float:
        """Length by the header: an estimate for MP3, 0 where the header does not tell."""
        return self._promised_frames / self.sample_rate

    def blocks(self, seconds: float = 1.0) -> Iterator[FloatArray]:
        """The samples in -1..1 in blocks of at most `seconds`; shape = (frames, channels).

        Raises:
            AudioError: the data are damaged, fewer than the header promises, or none at all; or
                a sample is NaN or infinite.
        """
        length, done = max(1, round(seconds * self.sample_rate)), 0
        while len(block := self._read(length)):
            done += len(block)
            yield block
        if self._header_is_exact and done < self._promised_frames:
            raise self._incomplete()
        if done == 0:
            raise AudioError(f"{self.path} has 0 samples")

    def close(self) -> None:
        """Close the file; leaving the `with` does so, too."""
        self._sound.close()
        self._raw.close()

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _promised_frames(self) -> int:
        frames = int(self._sound.frames)
        # A FLAC that was written to a pipe does not know its length; libsndfile says 2**63 - 1.
        return 0 if frames > 2**62 else frames

    @property
    def _header_is_exact(self) -> bool:
        """FLAC writes down the number of samples; elsewhere libsndfile counts or estimates."""
        return bool(self._sound.format == "FLAC")

    def _read(self, frames: int) -> FloatArray:
        try:
            block: FloatArray = self._sound.read(frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            if self._header_is_exact:
                raise self._incomplete() from None
            raise AudioError(f"{self.path} is damaged ({_reason(error)})") from None
        try:
            for column in block.T:
                check_range(column)
        except AudioError as error:
            raise AudioError(f"{self.path}: {error}") from None
        return block

    def _incomplete(self) -> AudioError:
        promised = f"the {self.seconds:.2f} s that its header promises" if self.seconds else "all"
        return AudioError(f"{self.path} is damaged or cut short: {promised} cannot be read")


class _ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc] # it has no types
    """Never seeks.

    soundfile seeks after each block to where it is already; an MP3 decoder then loses the bits
    that it keeps from earlier frames, and every block begins with damage.
    """

    def seekable(self) -> bool:
        return False


def _open_file(path: Path) -> Any:
    """The file, opened for reading and known not to be empty."""
    try:
        raw = path.open("rb", buffering=0)
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise AudioError(f"cannot read {str(path)!r}: {error}") from None
    status = os.fstat(raw.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raw.close()
        raise AudioError(f"{path} is empty (0 bytes)")
    if stat.S_ISFIFO(status.st_mode) and _has_flac(raw.fileno()):
        return _copy(raw, path)
    return raw


def _has_flac(pipe: int) -> bool:
    """Whether what comes from a pipe is a FLAC; all of it stays in the pipe."""
    if sys.platform != "linux":  # no other system has tee()
        return False
    reading, writing = os.pipe()
    try:
        ctypes.CDLL(None).tee(pipe, writing, ctypes.c_size_t(len(FLAC)), 0)
    finally:
        os.close(writing)
    with open(reading, "rb") as seen:
        return seen.read() == FLAC


def _copy(pipe: Any, path: Path) -> Any:
    """All that comes from a pipe, in a file: libsndfile goes back to where a FLAC begins."""
    with pipe, ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(pipe, file)
            file.seek(0)
        except OSError as error:
            raise AudioError(
                f"cannot keep {path} in a temporary file: {error.strerror}; TMPDIR names the "
                "folder for it"
            ) from None
        stack.pop_all()
        return file


def _reason(error: Exception) -> str:
    """libsndfile's own words, without soundfile's prefix and the full stop."""
    text = getattr(error, "error_string", str(error))
    return str(text).strip().rstrip(".")
