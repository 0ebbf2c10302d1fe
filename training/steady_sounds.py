"""A corpus without words: silence, hum, tones, noise, typing, melodies; made, not recorded.

    python -m ds2edge.training.steady_sounds speech/steady

A model that never heard a steady tone takes it for a vowel: normalisation takes the tone away and
leaves what the model knows from speech only.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile

from ds2edge.arguments import CommandParser
from ds2edge.progress import track
from ds2edge.training.manifest import COLUMNS

RATE = 16_000
EACH = 60  # recordings of each kind
SHORTEST, LONGEST = 4.0, 12.0  # s

Samples: TypeAlias = npt.NDArray[np.float64]
Random: TypeAlias = np.random.Generator


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the recordings and their manifest.tsv."""
    parser = CommandParser("python -m ds2edge.training.steady_sounds", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--seed", type=int, default=1, help="[%(default)s]")
    given = parser.parse_args(arguments)
    audio = given.out / "audio"
    audio.mkdir(parents=True, exist_ok=True)
    with (given.out / "manifest.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for number in track(range(EACH * len(KINDS)), "sounds", EACH * len(KINDS)):
            kind = list(KINDS)[number % len(KINDS)]
            samples = sound(kind, np.random.default_rng([given.seed, number]))
            name = f"audio/{kind}-{number // len(KINDS)}.flac"
            soundfile.write(given.out / name, samples, RATE, subtype="PCM_16")
            writer.writerow([name, f"{len(samples) / RATE:.2f}", "", kind, "train"])
    return 0


def sound(kind: str, rng: Random) -> npt.NDArray[np.float32]:
    """One recording of a kind, at a drawn level, with the faint noise of a real input."""
    count = int(RATE * rng.uniform(SHORTEST, LONGEST))
    samples = KINDS[kind](np.arange(count) / RATE, rng)
    samples *= 10 ** (rng.uniform(-45, -6) / 20) / max(np.abs(samples).max(), 1e-9)
    if rng.random() < 0.7:
        samples += rng.normal(size=count) * 10 ** (rng.uniform(-95, -55) / 20)
    return np.clip(samples, -1, 1).astype(np.float32)


def _silence(seconds: Samples, rng: Random) -> Samples:
    return np.zeros_like(seconds)


def _hum(seconds: Samples, rng: Random) -> Samples:
    """Harmonics of a mains frequency or of a fan."""
    base = rng.choice([50.0, 60.0, 100.0, 120.0, rng.uniform(40, 450)])
    return _tones(seconds, base, int(rng.integers(1, 16)), rng)


def _tone(seconds: Samples, rng: Random) -> Samples:
    return _tones(seconds, float(np.exp(rng.uniform(np.log(50), np.log(4000)))), 1, rng)


def _noise(seconds: Samples, rng: Random) -> Samples:
    """White, pink, brown and what lies between, steady or swelling."""
    spectrum = np.fft.rfft(rng.normal(size=len(seconds)))
    spectrum *= np.arange(1, len(spectrum) + 1) ** -rng.uniform(0, 1)
    swell = 1 + rng.uniform(0, 0.8) * np.sin(2 * np.pi * rng.uniform(0.05, 3) * seconds)
    return np.asarray(np.fft.irfft(spectrum, len(seconds)) * swell)


def _typing(seconds: Samples, rng: Random) -> Samples:
    """Clicks of some milliseconds, a few in a second."""
    samples = np.zeros_like(seconds)
    at = np.cumsum(rng.exponential(1 / rng.uniform(1, 9), size=200)) + 0.1
    for start in at[at < seconds[-1] - 0.1]:
        length = int(RATE * rng.uniform(0.002, 0.04))
        click = rng.normal(size=length) * np.exp(-np.linspace(0, 6, length))
        first = int(start * RATE)
        samples[first : first + length] += click * rng.uniform(0.3, 1)
    return samples


def _melody(seconds: Samples, rng: Random) -> Samples:
    """Notes of the tempered scale, one to three at a time."""
    samples = np.zeros_like(seconds)
    length = rng.uniform(0.12, 0.7)
    for _ in range(int(rng.integers(1, 4))):
        for start in np.arange(0, seconds[-1] - length, length):
            if rng.random() < 0.2:
                continue
            inside = (seconds >= start) & (seconds < start + length)
            since = seconds[inside] - start
            note = 110 * 2 ** (int(rng.integers(0, 40)) / 12)
            decay = np.minimum(since / 0.01, 1) * np.exp(-since * rng.uniform(0.5, 8))
            samples[inside] += _tones(since, note, int(rng.integers(1, 8)), rng) * decay
    return samples


def _tones(seconds: Samples, base: float, harmonics: int, rng: Random) -> Samples:
    fall = rng.uniform(0.3, 2)
    total = np.zeros_like(seconds)
    for k in range(1, harmonics + 1):
        if base * k < RATE / 2:
            phase = rng.uniform(0, 2 * np.pi)
            total += np.sin(2 * np.pi * base * k * seconds + phase) * k**-fall
    return total


KINDS: dict[str, Callable[[Samples, Random], Samples]] = {
    "silence": _silence,
    "hum": _hum,
    "tone": _tone,
    "noise": _noise,
    "typing": _typing,
    "melody": _melody,
}


if __name__ == "__main__":
    raise SystemExit(main())
