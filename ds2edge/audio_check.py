"""Warns, once for each stream, of audio that cannot be heard well: clipped, faint, narrow-band."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

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
        self._every = round(sample_rate / LOOKS)  # samples between two spectra
        self._warned: set[str] = set()
        self._recent = np.zeros(0, np.float32)
        self._count = self._clipped = 0
        self._peak = self._power = self._power_above = 0.0

    def hear(self, samples: FloatArray) -> None:
        """Take mono samples, in any pieces."""
        while len(samples):
            piece = samples[: self._every - self._count % self._every]
            samples = samples[len(piece) :]
            sizes = np.abs(piece)
            self._count += len(piece)
            self._clipped += int(np.count_nonzero(sizes >= CLIPPED_LEVEL))
            self._peak = max(self._peak, float(sizes.max()))
            self._recent = np.concatenate([self._recent, piece])[-WINDOW:]
            if self._count % self._every == 0:
                self._look()
            if self._count >= LOOKED_AT * LOOKS * self._every:
                self._judge()
                self._forget()

    def _look(self) -> None:
        spectrum = np.abs(np.fft.rfft(self._recent * np.hanning(len(self._recent)))) ** 2
        above = round(1.05 * NARROW / self._rate * len(self._recent))
        self._power += float(spectrum.sum())
        self._power_above += float(spectrum[above:].sum())

    def _judge(self) -> None:
        if self._clipped > CLIPPED_SHARE * self._count:
            share = 100 * self._clipped / self._count
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
        self._count = self._clipped = 0
        self._peak = self._power = self._power_above = 0.0
