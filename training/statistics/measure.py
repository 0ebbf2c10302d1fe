"""Figures of one recording: how long, how loud, how clipped, how wide its band is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ds2edge.audio import FloatArray
from ds2edge.audio_check import CLIPPED_LEVEL, NARROW_SHARE
from ds2edge.audio_file import open_audio
from ds2edge.results import Seconds

VERSION = 1  # of these figures: others are not taken from the cache
FRAMES_PER_SECOND = 50  # whose levels tell speech from silence
FRAMES_AT_A_TIME = 500
SPECTRUM: Seconds = 0.064  # that one spectrum looks at
LOUD = 0.95  # so many of the frames are fainter than what counts as loud
SILENT = 1e-4  # of the power of the loud frames: 40 dB below them
NOTHING = 1e-12  # power that counts as none: -120 dB of full scale


@dataclass(frozen=True)
class Figures:
    """Of one recording."""

    seconds: Seconds
    sample_rate: int  # Hz, in the file
    channels: int  # in the file
    level: float  # dB of full scale, the mean power of what is not silent
    peak: float  # dB of full scale
    clipped: float  # share of the samples
    silence: float  # share of the time
    bandwidth: float  # Hz; what is above has less than a 100,000th of the power
    digest: str  # of the samples, as 16 bits, mono: the same in every lossless format


def measure(path: Path) -> Figures:
    """Read a recording once, block by block.

    Raises:
        AudioError: it cannot be read.
    """
    with open_audio(path) as file:
        rate, channels = file.sample_rate, file.channels
        frame, window = max(1, rate // FRAMES_PER_SECOND), max(2, round(rate * SPECTRUM))
        taper = np.hanning(window).astype(np.float32)
        spectrum = np.zeros(window // 2 + 1)
        powers: list[FloatArray] = []
        digest = hashlib.blake2b(f"{rate} ".encode(), digest_size=12)
        samples, clipped, peak = 0, 0, 0.0
        for block in file.blocks(seconds=frame * FRAMES_AT_A_TIME / rate):
            sizes = np.abs(block)
            samples += len(block)
            clipped += int(np.count_nonzero(sizes.max(axis=1) >= CLIPPED_LEVEL))
            peak = max(peak, float(sizes.max()))
            mono = block.mean(axis=1)
            digest.update(np.round(mono * 32_767).astype("<i2").tobytes())
            powers.append(_frames(mono, frame).mean(axis=1) if len(mono) else mono)
            spectra = np.fft.rfft(_windows(mono, window) * taper, axis=1)
            spectrum += (np.abs(spectra) ** 2).sum(axis=0)
    power = np.concatenate(powers)
    loud = float(np.quantile(power, LOUD))
    active = power[power > max(SILENT * loud, NOTHING)]
    return Figures(
        seconds=samples / rate,
        sample_rate=rate,
        channels=channels,
        level=decibels(float(active.mean()) if len(active) else 0.0),
        peak=decibels(peak**2),
        clipped=clipped / samples,
        silence=1 - len(active) / len(power),
        bandwidth=_bandwidth(spectrum) * rate / 2,
        digest=digest.hexdigest(),
    )


def decibels(power: float) -> float:
    """Of full scale; -120 for nothing."""
    return round(float(10 * np.log10(max(power, NOTHING))), 2)


def _frames(mono: FloatArray, length: int) -> FloatArray:
    """Squares of the samples, shape = (frames, length); a rest counts only if it is all."""
    count = max(1, len(mono) // length)
    squares: FloatArray = np.square(mono[: count * length]).reshape(count, -1)
    return squares


def _windows(mono: FloatArray, length: int) -> FloatArray:
    """Shape = (windows, length); what is too short is filled up with zeros."""
    count = -(-len(mono) // length)
    filled: FloatArray = np.pad(mono, (0, count * length - len(mono)))
    return filled.reshape(count, length)


def _bandwidth(spectrum: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """As a share of what the sample rate allows; 0 of silence."""
    above = np.cumsum(spectrum[::-1])[::-1]  # power from each frequency on
    if above[0] <= 0:
        return 0.0
    return int(np.count_nonzero(above > NARROW_SHARE * above[0])) / len(spectrum)
