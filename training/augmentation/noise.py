"""Recorded noise under speech: a bank of recordings, and their sum at a signal-to-noise ratio.

The ratio is of the active speech (`level.active_power`: pauses do not count) to the mean power of
the noise over the whole recording. Silence stays silence, and a silent piece of noise adds nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ds2edge.audio import FloatArray
from ds2edge.cache import cache_folder
from ds2edge.errors import AudioError, DataError
from ds2edge.features import FeatureSettings
from ds2edge.progress import track
from ds2edge.training.augmentation.level import active_power, power
from ds2edge.training.config import NoiseCorpus
from ds2edge.training.data.feature_cache import (
    Change,
    FeatureCache,
    Frames,
    Item,
    cache_name,
    cached_rows,
    open_rows,
    read_samples,
)
from ds2edge.training.data.manifest import Utterance, manifest_path, read_manifest
from ds2edge.training.data.shards import with_sounds
from ds2edge.training.evaluation.split import refuse_test_split
from ds2edge.training.processes import in_order, worker_processes

SILENT = 1e-10  # mean square: -100 dB of full scale
FADE = 0.05  # seconds in which the end of a recording becomes its beginning, where it is too short

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NoiseBank:
    """Recordings of noise at one rate, on disk: little to hand to another process."""

    folder: Path
    name: str

    @property
    def usable(self) -> tuple[int, ...]:
        """The numbers of those that can be heard."""
        return _usable(self)

    @property
    def digest(self) -> str:
        """Tells it from others by what it holds, wherever that lies."""
        return hashlib.sha256(_open(self).lengths.tobytes()).hexdigest()[:20]

    def clip(self, number: int) -> FloatArray:
        """The samples of one."""
        return _open(self)[number][:, 0]


@dataclass(frozen=True)
class Piece:
    """Of a recording of noise."""

    clip: int  # its number in the bank
    offset: float  # where it begins, of what there is to choose from: 0 to 1


def read_noise(root: Path, corpora: Sequence[NoiseCorpus]) -> list[Utterance]:
    """What is listed of noise.

    Raises:
        ConfigError: a split is for testing.
        DataError: a manifest is missing or malformed, or has nothing of that split.
    """
    found: list[Utterance] = []
    for corpus in corpora:
        refuse_test_split(corpus.split, "augmentation")
        found += read_manifest(manifest_path(root / corpus.folder), corpus.split)
    return found


def noise_bank(recordings: Sequence[Utterance], rate: int) -> NoiseBank:
    """Decode them into the cache, or find them there; what cannot be heard is left out.

    Raises:
        DataError: nothing is left.
        OSError: the cache cannot be written.
    """

    def samples() -> Generator[Frames]:
        with worker_processes() as pool:
            work = in_order(pool, partial(_decoded, rate), with_sounds(recordings), "reads noise")
            yield from track(work, "noise", len(recordings))

    settings = replace(FeatureSettings(), sample_rate=rate, high=rate / 2)
    bank = NoiseBank(cache_folder() / "noise", cache_name(recordings, settings, Change()))
    cached_rows(bank.folder, bank.name, 1, samples)
    lost = sorted({*range(len(recordings))} - {*bank.usable})
    for number in lost:
        log.debug("noise %s: unreadable or silent, left out", recordings[number].where)
    if lost:
        where = recordings[lost[0]].where
        few = f"{len(lost)} of {len(recordings)} recordings of noise (first: {where})"
        if not bank.usable:
            raise DataError(f"{few} are unreadable or silent; needed: one that can be heard")
        log.warning("%s left out: unreadable or silent", few)
    return bank


def draw_pieces(bank: NoiseBank, rng: np.random.Generator) -> tuple[Piece, ...]:
    """One or two pieces."""
    clips = rng.choice(bank.usable, size=int(rng.integers(1, 3)))
    return tuple(Piece(int(clip), float(rng.random())) for clip in clips)


def noise_of(bank: NoiseBank, pieces: Sequence[Piece], count: int, rate: int) -> FloatArray:
    """So many samples of all pieces together, each as loud as the others."""
    total = np.zeros(count, np.float32)
    for piece in pieces:
        some = stretch(bank.clip(piece.clip), count, piece.offset, round(FADE * rate))
        if (strength := power(some)) > SILENT:
            total += some / np.float32(np.sqrt(strength))
    return total


def stretch(clip: FloatArray, count: int, offset: float, fade: int) -> FloatArray:
    """So many samples of a clip, from anywhere; a shorter one goes round, its end fading."""
    if len(clip) >= count:
        begin = round(offset * (len(clip) - count))
        return clip[begin : begin + count]
    fade = min(fade, len(clip) // 2)
    angle = np.linspace(0, np.pi / 2, fade, endpoint=False, dtype=np.float32)
    ring = clip[: len(clip) - fade].copy()
    ring[:fade] = ring[:fade] * np.sin(angle) + clip[len(clip) - fade :] * np.cos(angle)
    begin = int(offset * len(ring)) % len(ring)
    return np.resize(np.roll(ring, -begin), count)


def add_noise(samples: FloatArray, noise: FloatArray, snr: float, rate: int) -> FloatArray:
    """The sum at a signal-to-noise ratio in dB."""
    strength = power(noise)
    if strength <= SILENT:
        return samples
    gain = np.sqrt(active_power(samples, rate) / strength * 10 ** (-snr / 10))
    return samples + noise * np.float32(gain)


def _decoded(rate: int, item: Item) -> Frames:
    try:
        samples = read_samples(item, rate)
    except AudioError:
        samples = np.zeros(0, np.float32)
    # As loud as float16 is exact at, whatever they were; the ratio is set when they are mixed.
    if not len(samples) or (strength := power(samples)) <= SILENT:
        return np.zeros((0, 1), np.float32)
    return (samples / np.float32(10 * np.sqrt(strength)))[:, None]


@lru_cache(maxsize=4)
def _open(bank: NoiseBank) -> FeatureCache:
    return open_rows(bank.folder, bank.name)


@lru_cache(maxsize=4)
def _usable(bank: NoiseBank) -> tuple[int, ...]:
    return tuple(np.flatnonzero(_open(bank).lengths).tolist())
