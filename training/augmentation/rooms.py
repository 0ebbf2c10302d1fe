"""Simulated rooms: impulse responses of shoebox rooms by the image method (pyroomacoustics).

A response takes about half a second to compute, so a bank of them is made once and drawn from. The
direct sound is what comes first and stays where it is in time; what the room would add after the
end of a recording is cut off, and the level is that of the dry speech.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ds2edge.audio import FloatArray
from ds2edge.cache import cache_folder
from ds2edge.progress import track
from ds2edge.training.augmentation.level import active_power
from ds2edge.training.data.feature_cache import FeatureCache, Frames, cached_rows, open_rows
from ds2edge.training.processes import in_order, worker_processes

ROOMS = 100  # in a bank
SMALLEST, LARGEST = (2.5, 2.5, 2.2), (8.0, 7.0, 3.5)  # metres
WALL = 0.4  # metres that speaker and microphone are from the next wall, at least
NEAR = 0.3  # metres that they are apart, at least
REVERBERATION = (0.1, 0.7)  # seconds in which it decays by 60 dB
MOST_REFLECTIONS = 70  # of a path; beyond, a room takes seconds
VERSION = 1  # of what a seed makes


@dataclass(frozen=True)
class RoomBank:
    """Impulse responses at one rate, on disk: little to hand to another process."""

    folder: Path
    name: str

    def __len__(self) -> int:
        return len(_open(self))

    def seconds(self, number: int) -> float:
        """The reverberation time of one."""
        return float(_open(self)[number][0, 0])

    def response(self, number: int) -> FloatArray:
        """From the direct sound on, which is 1; shape = (n,)."""
        return _open(self)[number][1:, 0]


def room_bank(seed: int, rate: int, rooms: int = ROOMS) -> RoomBank:
    """Simulate rooms, or find them in the cache.

    Raises:
        OSError: the cache cannot be written.
    """

    def responses() -> Generator[Frames]:
        with worker_processes() as pool:
            work = in_order(pool, partial(_row, seed, rate), range(rooms), "simulates rooms")
            yield from track(work, "rooms", rooms)

    bank = RoomBank(cache_folder() / "rooms", f"{VERSION}-{seed}-{rate}-{rooms}")
    cached_rows(bank.folder, bank.name, 1, responses)
    return bank


def in_room(samples: FloatArray, response: FloatArray, rate: int) -> FloatArray:
    """The samples as heard in a room, as many and as loud as before."""
    from scipy.signal import oaconvolve

    if not len(samples):
        return samples
    heard = oaconvolve(samples, response)[: len(samples)].astype(np.float32)
    before, after = active_power(samples, rate), active_power(heard, rate)
    return heard * np.float32(np.sqrt(before / after)) if after > 0 else samples


def simulate(rng: np.random.Generator, rate: int) -> tuple[float, FloatArray]:
    """A room that is drawn until it is one that can be computed.

    Returns: its reverberation time in seconds, and its impulse response, the direct sound first.
    """
    import pyroomacoustics

    pyroomacoustics.constants.set("num_threads", 1)  # the same sums in the same order
    while True:
        size = rng.uniform(SMALLEST, LARGEST)
        speaker, microphone = rng.uniform(WALL, size - WALL, size=(2, 3))
        wanted = rng.uniform(*REVERBERATION)
        try:
            absorption, order = pyroomacoustics.inverse_sabine(wanted, size)
        except ValueError:  # no wall absorbs as much
            continue
        if order > MOST_REFLECTIONS or np.linalg.norm(speaker - microphone) < NEAR:
            continue
        room = pyroomacoustics.ShoeBox(
            size,
            fs=rate,
            materials=pyroomacoustics.Material(absorption),
            max_order=order,
        )
        room.add_source(speaker)
        room.add_microphone(microphone)
        room.compute_rir()
        response = np.asarray(room.rir[0][0])
        # Measured, for a shoebox is not as Sabine's formula has it.
        seconds = pyroomacoustics.experimental.measure_rt60(response, fs=rate, decay_db=30)
        distance = float(np.linalg.norm(speaker - microphone))
        if REVERBERATION[0] <= seconds <= REVERBERATION[1]:
            return seconds, _from_direct(response, distance, rate)


def _from_direct(response: FloatArray, distance: float, rate: int) -> FloatArray:
    """The response from the direct sound on, which becomes 1."""
    import pyroomacoustics

    late = distance / pyroomacoustics.constants.get("c") * rate
    begin = round(late) + pyroomacoustics.constants.get("frac_delay_length") // 2
    return np.asarray(response[begin:] / response[begin], np.float32)


def _row(seed: int, rate: int, number: int) -> Frames:
    seconds, response = simulate(np.random.default_rng([seed, number]), rate)
    return np.concatenate([[np.float32(seconds)], response])[:, None]


@lru_cache(maxsize=4)
def _open(bank: RoomBank) -> FeatureCache:
    return open_rows(bank.folder, bank.name)
