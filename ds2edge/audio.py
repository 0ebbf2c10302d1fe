"""Buffers of samples to mono float32 at the model's rate.

Everything passes through `SampleInput`, block by block, so that a file read whole and the same
file fed to a stream in any pieces give the same bits.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from ds2edge import _native
from ds2edge.errors import AudioError, StreamError

FloatArray: TypeAlias = npt.NDArray[np.float32]  # samples; full scale is 1
Samples: TypeAlias = npt.NDArray[Any] | bytes | bytearray | memoryview  # bytes with a dtype

# Accepted dtypes and what their full scale is multiplied with to become 1.
SCALES = {"int16": 2.0**-15, "int32": 2.0**-31, "float32": 1.0, "float64": 1.0}
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # Hz
MOST_CHANNELS = 64  # more is a (channels, n) array that should have been transposed
LARGEST_SAMPLE = 2.0**31  # unscaled int32 as floats passes; more would overflow in the features
QUALITY = "HQ"  # of soxr; flat to 0.91 of the band, stop band at -120 dB


class SampleInput:
    """Samples of one stream, in any pieces, to mono float32 at the model's rate.

    The result does not depend on the pieces. Whatever raises leaves the stream as it was.
    """

    def __init__(self, sample_rate: float, model_rate: float) -> None:
        """Rates in Hz.

        Raises:
            AudioError: a rate is not a number from 1,000 to 768,000.
        """
        self.sample_rate = checked_rate(sample_rate)
        self.model_rate = checked_rate(model_rate)
        self._channels: int | None = None  # known with the first samples
        self._start = 0.0  # seconds of the inputs before this one
        self._frames = 0
        self._finished = False
        self._resampler: soxr.ResampleStream | None = None
        if self.sample_rate != self.model_rate:
            self._resampler = soxr.ResampleStream(
                self.sample_rate, self.model_rate, 1, dtype="float32", quality=QUALITY
            )

    @property
    def seconds(self) -> float:
        """How much audio the stream has taken so far."""
        return self._start + self._frames / self.sample_rate

    def convert(
        self, samples: Samples, dtype: npt.DTypeLike | None = None, channels: int = 1
    ) -> FloatArray:
        """Take samples; return what the resampler yields for them so far, shape = (m,).

        Args:
            samples: int16, int32, float32 or float64, shape = (n,) or (n, channels), integers of
                full scale and floats in -1..1; or bytes of one of these.
            dtype: of `samples` where they are bytes.
            channels: interleaved in `samples` where they are bytes.

        Raises:
            AudioError: wrong dtype or shape, NaN, infinity, a changed number of channels.
            StreamError: `finish` has been called.
        """
        if self._finished:
            raise StreamError("no samples can be added to a finished stream")
        array = _as_array(samples, dtype, channels)
        found = 1 if array.ndim == 1 else array.shape[1]
        if len(array) and found != (self._channels or found):
            raise AudioError(
                f"the stream has {_count(self._channels or 0, 'channel')}, got {found}; "
                "a stream keeps its number of channels"
            )
        mono = _mono(array)
        if len(array):
            self._channels = found
            self._frames += len(array)
        return self._resample(mono, last=False)

    def finish(self) -> FloatArray:
        """The samples that the resampler still holds; shape = (m,).

        Raises:
            StreamError: `finish` has been called before.
        """
        if self._finished:
            raise StreamError("the stream is already finished")
        self._finished = True
        return self._resample(np.zeros(0, np.float32), last=True)

    def restart(self) -> SampleInput:
        """The input of what follows `finish` in the same stream: same rates, same channels."""
        following = SampleInput(self.sample_rate, self.model_rate)
        following._channels = self._channels
        following._start = self.seconds
        return following

    def _resample(self, mono: FloatArray, last: bool) -> FloatArray:
        if self._resampler is None:
            return mono
        return np.asarray(self._resampler.resample_chunk(mono, last=last), np.float32)


def checked_rate(rate: Any) -> float:
    """A sample rate in Hz.

    Raises:
        AudioError: it is none that audio can have.
    """
    if rate is None:
        raise AudioError("sample_rate is needed where there is no file header, got None")
    number = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not number or not LOWEST_RATE <= float(min(rate, 2 * HIGHEST_RATE)) <= HIGHEST_RATE:
        raise AudioError(
            f"sample_rate must be a number from {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {rate!r}"
        )
    return float(rate)


def _as_array(samples: Any, dtype: npt.DTypeLike | None, channels: int) -> npt.NDArray[Any]:
    """A view of `samples` as an array of an accepted dtype and shape."""
    if isinstance(samples, bytes | bytearray | memoryview):
        return _from_bytes(samples, dtype, channels)
    if not isinstance(samples, np.ndarray):
        raise AudioError(
            f"samples must be a NumPy array, or bytes with dtype=, got {type(samples).__name__}"
        )
    name = _name(samples.dtype)
    if name not in SCALES:
        raise AudioError(f"samples must be {_accepted()}, got {name}")
    if dtype is not None and _dtype_name(dtype) != name:
        raise AudioError(f"dtype={_dtype_name(dtype)} was said of samples of {name}")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] == 0):
        raise AudioError(f"samples must have shape (n,) or (n, channels), got {samples.shape}")
    if samples.ndim == 2 and samples.shape[1] > MOST_CHANNELS:
        raise AudioError(
            f"samples must have shape (n,) or (n, channels) with up to {MOST_CHANNELS} channels, "
            f"got {samples.shape}; transpose an array of (channels, n)"
        )
    return samples


def _from_bytes(samples: Any, dtype: npt.DTypeLike | None, channels: int) -> npt.NDArray[Any]:
    if dtype is None:
        raise AudioError(f"samples given as bytes need dtype=: {_accepted()}")
    name = _dtype_name(dtype)
    if name not in SCALES:
        raise AudioError(f"samples must be {_accepted()}, got dtype={name}")
    if (
        isinstance(channels, bool)
        or not isinstance(channels, int)
        or channels not in range(1, MOST_CHANNELS + 1)
    ):
        raise AudioError(f"channels must be from 1 to {MOST_CHANNELS}, got {channels!r}")
    try:
        flat = np.frombuffer(samples, np.uint8)
    except (ValueError, BufferError) as error:
        raise AudioError(f"samples cannot be read as bytes: {error}") from None
    frame = np.dtype(dtype).itemsize * channels
    if len(flat) % frame:
        raise AudioError(
            f"{_count(channels, 'channel')} of {name} need a multiple of {frame} bytes, "
            f"got {len(flat)}"
        )
    array = flat.view(dtype)
    return array if channels == 1 else array.reshape(-1, channels)


@lru_cache
def _name(dtype: np.dtype[Any]) -> str:
    return dtype.name  # which NumPy makes anew each time


def _dtype_name(dtype: npt.DTypeLike) -> str:
    try:
        return _name(np.dtype(dtype))
    except (TypeError, ValueError, SyntaxError):  # NumPy parses what is a string
        raise AudioError(f"samples must be {_accepted()}, got dtype={dtype!r}") from None


def _accepted() -> str:
    return "int16, int32, float32 or float64"


def _mono(array: npt.NDArray[Any]) -> FloatArray:
    """The channels' mean as float32 of full scale 1; shape = (n,). Always a copy.

    Channels are added in their order: NumPy's sum would depend on the length and memory order.

    Raises:
        AudioError: NaN, infinity or a value far beyond full scale.
    """
    columns = [array] if array.ndim == 1 else list(array.T)
    if array.dtype.kind == "f":
        for column in columns:
            check_range(column)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return _native.mono(array, SCALES[_name(array.dtype)] / len(columns))


def check_range(column: npt.NDArray[Any]) -> None:
    """Refuse what no recording holds; shape = (n,).

    Raises:
        AudioError: NaN, infinity, or values far beyond full scale.
    """
    if not len(column):
        return
    peak = max(float(column.max()), -float(column.min()))  # NaN if there is any
    if math.isnan(peak) or math.isinf(peak):
        at = int(np.flatnonzero(~np.isfinite(column))[0])
        raise AudioError(f"samples must be finite numbers, got {column[at]} at sample {at}")
    if peak > LARGEST_SAMPLE:
        raise AudioError(f"floating-point samples must be within -1..1, got {peak:.3g}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
