"""Samples to feature frames, chunk by chunk: the one implementation for training and runtime.

Frame k covers `window` samples from sample k * hop on; the last windows of a recording are
filled up with zeros, so n samples make ceil(n / hop) frames. Frames are computed in chunks of
a fixed number, whatever pieces the samples come in: the same samples give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ds2edge._native import Features, join
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
        if self.fft % 2:
            raise ConfigError(f"features.fft must be even, got {self.fft}")
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
        self._native = _native_features(settings)
        self._chunk_samples = settings.hop * (chunk_frames - 1) + settings.window
        frames = next(n for n in (4, 5, 3, 2, 1) if chunk_frames % n == 0)
        self._parts = chunk_frames // frames
        self._part = frames * settings.hop  # samples: some 40 ms, shorter than most pauses

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
        state.pending = join([state.pending, samples])
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
        means, seen = [state.mean for state in states], [state.frames for state in states]
        made = self._native.frames(pieces, means, seen, self._parts, self._part)
        for state, piece, (_, mean, count, powers) in zip(states, pieces, made, strict=True):
            state.mean, state.frames = mean, count
            if len(piece) == self._chunk_samples:
                state.powers = powers
        return [frames for frames, *_ in made]

    def extract(self, samples: FloatArray) -> FloatArray:
        """All frames of a whole recording; shape = (ceil(n / hop), size)."""
        state = self.start()
        chunks = [*self.push(state, samples), *self.finish(state)]
        return np.concatenate([np.zeros((0, self.settings.size), np.float32), *chunks])

    def log_power(self, samples: FloatArray, count: int) -> FloatArray:
        """`count` frames before normalisation, or as many as there are; shape = (count, size)."""
        return self._native.log_power(samples, count)


def _native_features(settings: FeatureSettings) -> Features:
    """Windows of unit power, a Fourier transform, and what a frame has of its bins.

    Normalisation subtracts from each frame the running mean up to it: nothing later is looked at.
    Digital silence tells nothing of voice or microphone. If the mean followed it, silence would end
    up at zero, where the model sees a masked word rather than a pause.
    """
    window = np.hanning(settings.window + 1)[:-1]
    first, last = settings.fft_range
    is_mel = settings.kind == "log_mel"
    deviation = np.array(settings.deviation or np.ones(settings.size))
    return Features(
        window=np.asarray(window / np.sqrt(np.sum(window**2)), np.float32),
        hop=settings.hop,
        fft=settings.fft,
        first=first,
        bank=mel_bank(settings) if is_mel else np.eye(last - first, dtype=np.float32),
        floor=10 ** (settings.floor / 10),
        silence=(settings.floor + SILENCE) * np.log(10) / 10,
        scale=np.asarray(1 / deviation, np.float32),
        prior_frames=settings.prior_frames,
        prior_level_frames=settings.prior_level_frames,
        horizon_frames=settings.horizon_frames,
    )


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
