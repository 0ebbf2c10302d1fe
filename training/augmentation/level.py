"""How loud speech is, and how loud a noise."""

from __future__ import annotations

import numpy as np

from ds2edge.audio import FloatArray

FRAME = 0.02  # seconds
RANGE = 1e-3  # frames that have less than this part of the loudest one's power are pauses: 30 dB


def active_power(samples: FloatArray, rate: int) -> float:
    """Mean square of what is spoken, pauses left out; 0 of silence."""
    size = max(1, round(FRAME * rate))
    count = len(samples) // size
    if not count:
        return power(samples)
    frames = samples[: count * size].reshape(count, size)
    powers = np.einsum("ij,ij->i", frames, frames) / size
    return float(powers[powers >= RANGE * powers.max()].mean())


def power(samples: FloatArray) -> float:
    """Mean square."""
    return float(np.dot(samples, samples)) / max(1, len(samples))
