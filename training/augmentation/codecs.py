"""Codecs: speech as MP3, Opus or a telephone leaves it, at the times where it was.

They work at their own level and rate, and at the drawn bit rate; what comes back is as long as what
went in. libsndfile encodes in memory.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from ds2edge.audio import FloatArray
from ds2edge.training.augmentation.band import limit_band

RATE = 16_000  # Hz, of MP3 and Opus
TELEPHONE_RATE = 8_000
TELEPHONE_BAND = (300.0, 3_400.0)
PEAK = 0.5  # what the loudest sample becomes on the way: codecs clip, and lose what is faint
MP3_DELAY = 1105  # samples, of encoder and decoder, where the stream does not tell
KBIT_MP3 = (16, 24, 32, 40, 48, 56, 64)  # of MPEG-2 at 16 kHz
KBIT_OPUS = (10.0, 48.0)


@dataclass(frozen=True)
class Codec:
    """One of them, as drawn."""

    name: str  # mp3, opus or telephone
    kbit: float  # a second

    def __str__(self) -> str:
        return f"{self.name} {self.kbit:g} kbit/s"


def draw_codec(names: tuple[str, ...], rng: np.random.Generator) -> Codec:
    """One of those, and a bit rate."""
    name = names[int(rng.integers(len(names)))]
    mp3, opus = int(rng.choice(KBIT_MP3)), round(float(np.exp(rng.uniform(*np.log(KBIT_OPUS)))))
    return Codec(name, {"mp3": mp3, "opus": opus, "telephone": 64}[name])


def through_codec(samples: FloatArray, codec: Codec, rate: int) -> FloatArray:
    """What comes out again: as many samples, at the same times and level."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0:
        return samples
    level = np.float32(PEAK / peak)
    at = TELEPHONE_RATE if codec.name == "telephone" else RATE
    sent = samples * level
    if codec.name == "telephone":
        sent = limit_band(sent, TELEPHONE_BAND, rate)
    if at != rate:
        sent = soxr.resample(sent, rate, at)
    came = {"mp3": _mp3, "opus": _opus, "telephone": _mu_law}[codec.name](sent, codec.kbit)
    if at != rate:
        came = soxr.resample(came, at, rate)
    return _fitted(np.asarray(came, np.float32), len(samples)) / level


def _mp3(samples: FloatArray, kbit: float) -> FloatArray:
    level = (160 - kbit) / 152  # libsndfile's scale: 0 is 160 kbit/s, 1 is 8
    back = _round_trip(
        samples,
        RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=level,
    )
    # The frame that tells how long a stream is has no room for it at a low bit rate.
    return back if len(back) == len(samples) else back[MP3_DELAY:]


def _opus(samples: FloatArray, kbit: float) -> FloatArray:
    level = (256 - kbit) / 250  # 0 is 256 kbit/s, 1 is 6
    return _round_trip(samples, RATE, format="OGG", subtype="OPUS", compression_level=level)


def _mu_law(samples: FloatArray, _: float) -> FloatArray:
    return _round_trip(samples, TELEPHONE_RATE, format="AU", subtype="ULAW")


def _round_trip(samples: FloatArray, rate: int, **how: object) -> FloatArray:
    with io.BytesIO() as file:
        soundfile.write(file, samples, rate, **how)
        file.seek(0)
        back, _ = soundfile.read(file, dtype="float32")
    return np.asarray(back, np.float32)


def _fitted(samples: FloatArray, count: int) -> FloatArray:
    if len(samples) >= count:
        return samples[:count]
    return np.concatenate([samples, np.zeros(count - len(samples), np.float32)])
