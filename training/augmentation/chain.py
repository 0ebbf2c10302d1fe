"""What is done to a recording: drawn first, then done, in the order in which it happens to speech.

speed -> vocal tract -> room -> noise -> band -> codec -> gain
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ds2edge.audio import FloatArray
from ds2edge.training.augmentation.band import Band, draw_band, limit_band
from ds2edge.training.augmentation.codecs import Codec, draw_codec, through_codec
from ds2edge.training.augmentation.noise import (
    NoiseBank,
    Piece,
    add_noise,
    draw_pieces,
    noise_bank,
    noise_of,
    read_noise,
)
from ds2edge.training.augmentation.rooms import RoomBank, in_room, room_bank
from ds2edge.training.augmentation.vocal_tract import move_formants
from ds2edge.training.config import AugmentConfig
from ds2edge.training.data.feature_cache import Change, at_speed


@dataclass(frozen=True)
class Banks:
    """What is drawn from."""

    noise: NoiseBank | None = None
    rooms: RoomBank | None = None


@dataclass(frozen=True)
class Noise:
    """Pieces of noise, and how loud they are together."""

    pieces: tuple[Piece, ...]
    snr: float  # dB


@dataclass(frozen=True)
class Effects:
    """What was drawn for a recording; as it stands, nothing is done."""

    speed: float = 1.0
    vocal_tract: float = 1.0  # factor of the formants
    room: int | None = None  # number in the bank
    noise: Noise | None = None
    band: Band | None = None
    codec: Codec | None = None
    gain: float = 0.0  # dB


def load_banks(settings: AugmentConfig, root: Path, rate: int, seed: int) -> Banks:
    """What these settings draw from, from the cache or made.

    Args:
        root: the folder that the corpora of noise are named from.

    Raises:
        ConfigError: a split of noise is for testing.
        DataError: noise is missing or cannot be used.
    """
    noise = rooms = None
    if settings.noise and settings.noise_share:
        noise = noise_bank(read_noise(root, settings.noise), rate)
    if settings.room_share:
        rooms = room_bank(seed, rate)
    return Banks(noise, rooms)


def augment(
    samples: FloatArray,
    rate: int,
    settings: AugmentConfig,
    banks: Banks,
    change: Change,
    rng: np.random.Generator,
) -> FloatArray:
    """Draw and apply effects.

    Args:
        change: the speed, and what the gain is drawn from.

    Returns: as many samples, but for the speed; they may go beyond full scale.
    """
    return apply(samples, rate, draw(settings, banks, change, rng), banks)


def draw(
    settings: AugmentConfig, banks: Banks, change: Change, rng: np.random.Generator
) -> Effects:
    """All that is done to a recording.

    Each effect is drawn whether it is wanted or not, so that what is drawn of one does not depend
    on the share of another.
    """
    roomy, noisy, banded, coded = rng.random(4)
    vocal_tract, snr = _between(settings.vocal_tract, rng), _between(settings.snr, rng)
    gain = _between(change.levels or (0.0, 0.0), rng)
    band, codec = draw_band(rng), draw_codec(settings.codecs, rng)
    room = int(rng.integers(len(banks.rooms))) if banks.rooms else None
    noise = Noise(draw_pieces(banks.noise, rng), snr) if banks.noise else None
    return Effects(
        change.speed,
        vocal_tract,
        room if roomy < settings.room_share else None,
        noise if noisy < settings.noise_share else None,
        band if banded < settings.band_share else None,
        codec if coded < settings.codec_share else None,
        gain,
    )


def apply(samples: FloatArray, rate: int, effects: Effects, banks: Banks) -> FloatArray:
    """Do what was drawn, of banks at that rate."""
    samples = at_speed(samples, effects.speed, rate)
    samples = move_formants(samples, effects.vocal_tract, rate)
    if effects.room is not None and banks.rooms:
        samples = in_room(samples, banks.rooms.response(effects.room), rate)
    if effects.noise and banks.noise:
        noise = noise_of(banks.noise, effects.noise.pieces, len(samples), rate)
        samples = add_noise(samples, noise, effects.noise.snr, rate)
    if effects.band:
        samples = limit_band(samples, effects.band, rate)
    if effects.codec:
        samples = through_codec(samples, effects.codec, rate)
    return samples * np.float32(10 ** (effects.gain / 20))


def _between(bounds: tuple[float, ...], rng: np.random.Generator) -> float:
    least, most = bounds
    return float(rng.uniform(least, most))
