"""Warns, once for each stream, of audio that cannot be heard well: clipped, faint, narrow-band."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
import numpy.typing as npt

from ds2edge._native import Features, peak, stack
from ds2edge.results import Seconds

LOOKED_AT: Seconds = 10.0  # of audio, again and again
CLIPPED_LEVEL = 0.99  # of full scale
CLIPPED_SHARE = 1e-3  # of the samples
FAINT_LEVEL = 10 ** (-45 / 20)  # peak, of full scale
NARROW = 4_000.0  # Hz, all that a telephone transmits
NARROW_SHARE = 1e-5  # of the power above that, -50 dB
WINDOW = 1024  # samples of a spectrum
LOOKS = 4  # spectra in a second

FloatArray = npt.NDArray[np.float32]

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # without `logging` set up nothing is printed


class AudioCheck:
    """Looks at the samples of one stream."""

    def __init__(self, sample_rate: float) -> None:
        """`sample_rate` in Hz, of the samples that are looked at."""
        self._rate = sample_rate
        self._warned: set[str] = set()
        self._block = np.zeros(round(sample_rate / LOOKS), np.float32)  # is filled, then looked at
        self._window = min(WINDOW, len(self._block)) // 2 * 2
        self._bands = _two_bands(sample_rate, self._window)
        self._filled = self._blocks = self._clipped = 0
        self._peak = self._power = self._power_above = 0.0

    def hear(self, samples: FloatArray) -> None:
        """Take mono samples, in any pieces."""
        while len(samples):
            piece = samples[: len(self._block) - self._filled]
            samples = samples[len(piece) :]
            stack([piece], self._block[None, self._filled : self._filled + len(piece)])
            self._filled += len(piece)
            if self._filled == len(self._block):
                self._look()
                self._filled = 0
            if self._blocks == LOOKED_AT * LOOKS:
                self._judge()
                self._forget()

    def _look(self) -> None:
        self._blocks += 1
        loudest = peak(self._block)
        self._peak = max(self._peak, loudest)
        if loudest >= CLIPPED_LEVEL:
            self._clipped += int(np.count_nonzero(np.abs(self._block) >= CLIPPED_LEVEL))
        (powers,) = np.exp(self._bands.log_power(self._block[-self._window :], 1))
        self._power += float(powers[0])
        self._power_above += float(powers[1])

    def _judge(self) -> None:
        count = self._blocks * len(self._block)
        if self._clipped > CLIPPED_SHARE * count:
            share = 100 * self._clipped / count
            self._warn("clipped", f"{share:.1f} % of the audio is clipped: record it less loudly")
        if self._peak == 0.0:
            self._warn("faint", f"{LOOKED_AT:g} s of digital silence: is the microphone muted?")
        elif self._peak < FAINT_LEVEL:
            level = 20 * np.log10(self._peak)
            self._warn("faint", f"the audio is nearly silent (peak {level:.0f} dB of full scale)")
        elif self._rate > 3 * NARROW and self._power_above < NARROW_SHARE * self._power:
            self._warn(
                "narrow",
                f"the audio has nothing above {NARROW:g} Hz, as from a telephone or Bluetooth "
                "headset: words are recognised less well",
            )

    def _warn(self, what: str, message: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            log.warning("%s", message)

    def _forget(self) -> None:
        self._blocks = self._clipped = 0
        self._peak = self._power = self._power_above = 0.0


@cache
def _two_bands(rate: float, window: int) -> Features:
    """The power of all there is, and of what is above `NARROW`."""
    bank = np.ones((window // 2 + 1, 2), np.float32)
    bank[: round(1.05 * NARROW / rate * window), 1] = 0
    return Features(
        window=np.hanning(window).astype(np.float32),
        hop=window,
        fft=window,
        first=0,
        bank=bank,
        floor=1e-30,  # of digital silence there is a logarithm, too
        silence=0.0,
        scale=np.ones(2, np.float32),
        prior_frames=1.0,
        prior_level_frames=1.0,
        horizon_frames=1.0,
    )
