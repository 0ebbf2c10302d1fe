"""Samples to feature frames, chunk by chunk: the one implementation for training and runtime.

Frame k covers `window` samples from sample k * hop on; the last windows of a recording are
filled up with zeros, so n samples make ceil(n / hop) frames. Frames are computed in chunks of
a fixed number, whatever pieces the samples come in: the same samples give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ds2edge.errors import ConfigError
from ds2edge.plain_values import from_dict

FloatArray = npt.NDArray[np.float32]

SILENCE = 10.0  # dB above the floor: a frame with no bin above that is digital silence


@dataclass(frozen=True)
class FeatureSettings:
    """What a frame is. Stored in checkpoints and bundles."""

    kind: Literal["log_mel", "log_spectrogram"] = "log_mel"  # mel bands, or Fourier bins
    sample_rate: int = 16_000  # Hz
    window: int = 400  # samples in a frame (25 ms)
    hop: int = 160  # samples between frames (10 ms)
    fft: int = 512  # points of the Fourier transform
    bins: int = 64  # mel bands; ignored by log_spectrogram
    low: float = 60.0  # Hz, lower edge
    high: float = 6_000.0  # Hz, upper edge; MP3 and telephones have little above
    floor: float = -90.0  # dB of full scale, added to every bin
    prior_frames: float = 100.0  # how many frames the training mean counts for at the start
    prior_level_frames: float = 100.0  # the same for the mean of all bins, that is for the gain
    horizon_frames: float = 500.0  # how many frames the running mean remembers
    mean: tuple[float, ...] = ()  # of the training set, per bin; empty: zero
    deviation: tuple[float, ...] = ()  # around the running mean, per bin; empty: one

    def __post_init__(self) -> None:
        if self.kind not in ("log_mel", "log_spectrogram"):
            raise ConfigError(f"features.kind is {self.kind!r}, needed: log_mel or log_spectrogram")
        if not 0 < self.hop <= self.window <= self.fft:
            raise ConfigError(
                f"need 0 < hop <= window <= fft, got {self.hop}, {self.window}, {self.fft}"
            )
        if not 0 <= self.low < self.high <= self.sample_rate / 2:
            raise ConfigError(
                f"need 0 <= low < high <= {self.sample_rate / 2} Hz, got {self.low}, {self.high}"
            )
        if self.size < 1:
            raise ConfigError(f"features need a bin or more, got {self.size}; see features.bins")
        if not self.horizon_frames >= 2:
            raise ConfigError(
                f"features.horizon_frames must be 2 or more, got {self.horizon_frames}"
            )
        for name in ("prior_frames", "prior_level_frames"):
            if not 1 <= getattr(self, name) <= self.horizon_frames:
                raise ConfigError(
                    f"need 1 <= {name} <= horizon_frames, "
                    f"got {getattr(self, name)}, {self.horizon_frames}"
                )
        if not -200 <= self.floor <= 0:
            raise ConfigError(f"features.floor must be from -200 to 0 dB, got {self.floor}")
        for name, values in (("mean", self.mean), ("deviation", self.deviation)):
            if len(values) not in (0, self.size):
                raise ConfigError(f"features.{name} has {len(values)} values, needed {self.size}")

        if not all(0 < value < float("inf") for value in self.deviation):
            raise ConfigError("features.deviation needs positive numbers")

    @property
    def size(self) -> int:
        """Values in a frame."""
        if self.kind == "log_mel":
            return self.bins
        first, last = self.fft_range
        return last - first

    @property
    def fft_range(self) -> tuple[int, int]:
        """First and one past the last Fourier bin between `low` and `high`."""
        per_bin = self.sample_rate / self.fft
        return int(np.ceil(self.low / per_bin)), int(np.floor(self.high / per_bin)) + 1

    @property
    def frame_rate(self) -> float:
        """Frames in a second."""
        return self.sample_rate / self.hop

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `FeatureSettings.from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FeatureSettings:
        """Settings from plain values.

        Raises:
            ConfigError: an unknown key or an impossible value.
        """
        return from_dict(cls, values, "features.")


@dataclass
class FeatureState:
    """What a recording leaves behind between two pieces."""

    mean: FloatArray  # running mean, shape = (size,)
    pending: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))  # samples
    frames: int = 0  # that the mean has seen
    powers: FloatArray = field(
        default_factory=lambda: np.zeros(0, np.float32)
    )  # of parts of a chunk

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.mean.nbytes + self.pending.nbytes


class FeatureExtractor:
    """Turns samples into normalised frames, `chunk_frames` at a time. Constant and shareable."""

    def __init__(self, settings: FeatureSettings, chunk_frames: int) -> None:
        self.settings = settings
        self.chunk_frames = chunk_frames
        zeros = np.zeros(settings.size, np.float32)
        self._mean: FloatArray = np.array(settings.mean, np.float32) if settings.mean else zeros
        deviation = np.array(settings.deviation, np.float32) if settings.deviation else zeros + 1
        self._scale = (1 / deviation).astype(np.float32)
        # Of the bins against each other, and of their level.
        self._priors = np.array([settings.prior_frames, settings.prior_level_frames])
        self._floor = np.float32(10 ** (settings.floor / 10))
        self._silence = np.float32((settings.floor + SILENCE) * np.log(10) / 10)
        self._chunk_samples = settings.hop * (chunk_frames - 1) + settings.window
        frames = next(n for n in (4, 5, 3, 2, 1) if chunk_frames % n == 0)
        self._part = frames * settings.hop  # samples: some 40 ms, shorter than most pauses

    @cached_property
    def _window(self) -> FloatArray:
        window = np.hanning(self.settings.window + 1)[:-1]
        return np.asarray(window / np.sqrt(np.sum(window**2)), np.float32)

    @cached_property
    def _bank(self) -> FloatArray:
        return mel_bank(self.settings)

    def start(self) -> FeatureState:
        """The state before the first sample."""
        return FeatureState(self._mean.copy())

    def samples_needed(self, state: FeatureState) -> int:
        """Samples that complete the next chunk."""
        return self._chunk_samples - len(state.pending)

    def push(self, state: FeatureState, samples: FloatArray) -> list[FloatArray]:
        """Take samples in -1..1; return the chunks that they complete.

        Each chunk has shape = (chunk_frames, size). `state.powers` is then the mean square of the
        last chunk's samples in equal parts; shape = (parts,).
        """
        return [self.frames([state], [piece])[0] for piece in self.cut(state, samples)]

    def finish(self, state: FeatureState) -> list[FloatArray]:
        """The frames of what is left; the last chunk is shorter, or there is none."""
        return [self.frames([state], [piece])[0] for piece in self.cut_rest(state)]

    def cut(self, state: FeatureState, samples: FloatArray) -> list[FloatArray]:
        """Take samples; return the stretches that `frames` makes the chunks of, in order."""
        state.pending = np.concatenate([state.pending, samples])
        advance = self.chunk_frames * self.settings.hop
        begins = range(0, len(state.pending) - self._chunk_samples + 1, advance)
        pieces = [state.pending[begin : begin + self._chunk_samples] for begin in begins]
        if pieces:
            state.pending = state.pending[len(pieces) * advance :].copy()
        return pieces

    def cut_rest(self, state: FeatureState) -> list[FloatArray]:
        """As `cut`, of what is left at the end, filled up with zeros."""
        hop, remaining, pieces = self.settings.hop, -(-len(state.pending) // self.settings.hop), []
        while remaining:
            count = min(remaining, self.chunk_frames)
            piece = np.zeros(hop * (count - 1) + self.settings.window, np.float32)
            available = state.pending[: len(piece)]
            piece[: len(available)] = available
            pieces.append(piece)
            state.pending = state.pending[count * hop :]
            remaining -= count
        return pieces

    def frames(
        self, states: Sequence[FeatureState], pieces: Sequence[FloatArray]
    ) -> list[FloatArray]:
        """The next chunk of each of several recordings, computed together: the same bits as alone.

        Args:
            states: of different recordings.
            pieces: what `cut` or `cut_rest` returned for them.
        """
        found: dict[int, FloatArray] = {}
        by_length: dict[int, list[int]] = {}
        for i, piece in enumerate(pieces):
            by_length.setdefault(len(piece), []).append(i)
        for length, members in by_length.items():
            samples = np.stack([pieces[i] for i in members])
            group = [states[i] for i in members]
            if length == self._chunk_samples:
                self._note_powers(group, samples)
            count = (length - self.settings.window) // self.settings.hop + 1
            found.update(
                zip(members, self._normalise(group, self.log_power(samples, count)), strict=True)
            )
        return [found[i] for i in range(len(pieces))]

    def extract(self, samples: FloatArray) -> FloatArray:
        """All frames of a whole recording; shape = (ceil(n / hop), size)."""
        state = self.start()
        chunks = [*self.push(state, samples), *self.finish(state)]
        return np.concatenate([np.zeros((0, self.settings.size), np.float32), *chunks])

    def log_power(self, samples: FloatArray, count: int) -> FloatArray:
        """`count` frames before normalisation, or as many as there are; shape = (..., count, size).

        Args:
            samples: shape = (..., n).
        """
        count = min(count, (samples.shape[-1] - self.settings.window) // self.settings.hop + 1)
        shape = (*samples.shape[:-1], count, self.settings.window)
        *others, step = samples.strides
        strides = (*others, self.settings.hop * step, step)
        windows = np.lib.stride_tricks.as_strided(samples, shape, strides, writeable=False)
        spectrum = np.fft.rfft(windows * self._window, self.settings.fft)
        first, last = self.settings.fft_range
        spectrum = spectrum[..., first:last]
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32, copy=False)
        if self.settings.kind == "log_mel":
            power = power @ self._bank  # a product for each recording: rounding knows no others
        return np.asarray(np.log(power + self._floor), np.float32)

    def _note_powers(self, states: Sequence[FeatureState], samples: FloatArray) -> None:
        advance = self.chunk_frames * self.settings.hop
        parts = samples[:, :advance].reshape(len(samples), -1, self._part)
        for state, powers in zip(states, np.square(parts).mean(axis=2), strict=True):
            state.powers = powers

    def _normalise(self, states: Sequence[FeatureState], frames: FloatArray) -> FloatArray:
        """Subtract from each frame the running mean up to it: nothing later is looked at.

        Digital silence tells nothing of voice or microphone. If the mean followed it, silence
        would end up at zero, where the model sees a masked word rather than a pause.

        Args:
            frames: of each recording, shape = (recordings, count, size); they are changed.
        """
        heard = frames.max(axis=2) > self._silence
        before = np.array([state.frames for state in states])
        counts = before[:, None] + np.cumsum(heard, axis=1)
        level = frames.mean(axis=2, keepdims=True)  # over the bins; has a mean of its own
        mean = np.stack([state.mean for state in states])[:, None]
        level_mean = mean.mean(axis=2, keepdims=True)
        shares, left = self._shares(heard, self._priors[:, None, None] + counts)
        means = shares[0] @ (frames - level) + left[0] * (mean - level_mean)
        means += shares[1] @ level + left[1] * level_mean
        for state, seen, last in zip(states, counts[:, -1].tolist(), means[:, -1], strict=True):
            state.frames, state.mean = seen, last.copy()
        frames -= means
        frames *= self._scale
        return frames

    def _shares(
        self, heard: npt.NDArray[np.bool_], counts: npt.NDArray[np.floating[Any]]
    ) -> tuple[FloatArray, FloatArray]:
        """What each of the values is of the running mean after each of them.

        The mean is m_k = m_(k-1) + w_k * (value_k - m_(k-1)): a value's share is what is left of
        it after those that follow.

        Args:
            heard: which of the values count at all; shape = (..., count).
            counts: values that the mean has seen, each and those before it; shape = (..., count).
                The latest weighs one part of so many, at least one of `horizon_frames`.

        Returns: the shares, shape = (..., count, count), and what is left of the mean before the
            first value, shape = (..., count, 1).
        """
        weights = heard / np.minimum(counts, self.settings.horizon_frames)
        left = np.cumsum(np.log1p(-weights), axis=-1)
        shares = np.exp(np.minimum(left[..., :, None] - left[..., None, :], 0))
        shares = np.tril(shares) * weights[..., None, :]
        return shares.astype(np.float32), np.exp(left).astype(np.float32)[..., None]


def mel_bank(settings: FeatureSettings) -> FloatArray:
    """Triangular mel filters (HTK scale) of unit area over the Fourier bins in `fft_range`.

    Returns: shape = (last - first, bins).
    """
    edges = np.linspace(_to_mel(settings.low), _to_mel(settings.high), settings.bins + 2)
    first, last = settings.fft_range
    frequencies = _to_mel(np.arange(first, last) * settings.sample_rate / settings.fft)
    rising = (frequencies[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    # A low band can be narrower than a Fourier bin: it then takes the nearest one.
    for band in np.flatnonzero(weights.sum(axis=0) == 0):
        weights[np.argmin(np.abs(frequencies - edges[band + 1])), band] = 1
    return np.asarray(weights / weights.sum(axis=0), np.float32)


def _to_mel(hertz: Any) -> Any:
    return 2595 * np.log10(1 + np.asarray(hertz, np.float64) / 700)
