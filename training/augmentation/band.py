"""Band limits: what a cheap microphone or a loudspeaker leaves of speech."""

from __future__ import annotations

import numpy as np

from ds2edge.audio import FloatArray

LOW = (60.0, 400.0)  # Hz, where a band may begin
HIGH = (2_000.0, 6_000.0)  # Hz, where it may end
ROLL_OFF = 200.0  # Hz beyond the upper edge where nothing is left; a third below the lower one

Band = tuple[float, float]  # Hz, lower and upper edge; 0: no lower one, infinity: no upper one


def draw_band(rng: np.random.Generator) -> Band:
    """A lower edge, an upper one, or both; edges are as likely in every octave."""
    kind = int(rng.integers(3))
    low, high = (float(np.exp(rng.uniform(*np.log(edges)))) for edges in (LOW, HIGH))
    return (0.0 if kind == 1 else low, float("inf") if kind == 0 else high)


def limit_band(samples: FloatArray, band: Band, rate: int) -> FloatArray:
    """What lies in the band; times stay."""
    from scipy import fft

    low, high = band
    if not len(samples) or (low == 0 and high >= rate / 2):
        return samples
    size = fft.next_fast_len(len(samples) + rate // 20, real=True)  # what rings, rings beyond it
    hertz = np.fft.rfftfreq(size, 1 / rate).astype(np.float32)
    kept = np.clip((high + ROLL_OFF - hertz) / ROLL_OFF, 0, 1)
    if low:
        kept *= np.clip(3 * hertz / low - 2, 0, 1)
    spectrum = fft.rfft(samples, size) * np.sin(np.pi / 2 * kept).astype(np.float32) ** 2
    return np.asarray(fft.irfft(spectrum, size)[: len(samples)], np.float32)
