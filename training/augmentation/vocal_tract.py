"""Another vocal tract: formants move by a factor, the pitch stays (cf. Jaitly and Hinton, 2013).

Each short spectrum is divided by its smooth envelope, of the first cepstral coefficients, and
multiplied by that envelope moved along the frequencies; phases stay. It is done to the sound rather
than to the mel filters, so that what is written to a file is what training hears.
"""

from __future__ import annotations

import numpy as np

from ds2edge.audio import FloatArray

WINDOW = 0.032  # seconds
OVERLAP = 2  # windows over each sample
PITCH_PERIOD = 0.003  # seconds; what repeats more slowly than that is voice, not envelope
ROUNDS = 3  # of smoothing; all but the first lift the envelope from the valleys between harmonics
MOST = 8.0  # factor by which a frequency may become stronger or weaker: 18 dB


def move_formants(samples: FloatArray, factor: float, rate: int) -> FloatArray:
    """All formants so many times as high; as many samples as before."""
    from scipy import fft

    if factor == 1.0 or not len(samples):
        return samples
    size = 2 ** round(np.log2(WINDOW * rate))
    hop = size // OVERLAP
    window = np.sqrt(np.hanning(size + 1)[:-1]).astype(np.float32)
    count = -(-len(samples) // hop) + OVERLAP - 1
    padded = np.zeros((count + OVERLAP - 1) * hop, np.float32)
    padded[size - hop : size - hop + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    spectra = fft.rfft(frames, axis=1)
    spectra *= _gains(spectra, factor, round(PITCH_PERIOD * rate), size)
    frames = fft.irfft(spectra, size, axis=1) * window
    total = np.zeros_like(padded)
    for part in range(OVERLAP):  # windows that lie beside each other, at once
        some = frames[part::OVERLAP]
        total[part * hop :][: some.size] += some.reshape(-1)
    total *= 2 / OVERLAP
    return total[size - hop : size - hop + len(samples)]


def _gains(spectra: FloatArray, factor: float, lifter: int, size: int) -> FloatArray:
    """By how much each frequency of each spectrum is multiplied."""
    cepstra = _envelopes(spectra, lifter, size)
    bins = np.arange(size // 2 + 1, dtype=np.float32)
    moved = np.minimum(bins / np.float32(factor), bins[-1])
    # The envelope elsewhere less the one here, for all spectra in one product.
    angles = 2 * np.pi / size * np.outer(np.arange(lifter, dtype=np.float32), [*moved, *bins])
    cosines = np.cos(angles).astype(np.float32)
    change = 2 * cepstra[:, :lifter] @ (cosines[:, : len(bins)] - cosines[:, len(bins) :])
    most = np.float32(2 * np.log(MOST))
    return np.asarray(np.exp(np.clip(change, -most, most) / 2), np.float32)


def _envelopes(spectra: FloatArray, lifter: int, size: int) -> FloatArray:
    """Cepstra of smooth curves over the harmonics, of log power; shape = (spectra, size)."""
    from scipy import fft

    powers = spectra.real**2 + spectra.imag**2
    floor = np.float32(1e-6) * powers.max(axis=1, keepdims=True) + np.float32(1e-20)
    logs = np.log(powers + floor)
    curves = logs
    for _ in range(ROUNDS):
        cepstra = fft.irfft(curves, size, axis=1)
        cepstra[:, lifter : size - lifter + 1] = 0
        curves = np.maximum(logs, fft.rfft(cepstra, axis=1).real)
    return np.asarray(cepstra, np.float32)
