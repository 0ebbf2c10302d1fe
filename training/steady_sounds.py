"""A corpus without words: silence, hum, noise, clocks, sneezes and more; made, not recorded.

    python -P -m ds2edge.training.steady_sounds speech/steady

A model that never heard a steady tone takes it for a vowel: normalisation takes the tone away and
leaves what the model knows from speech only. A tick is taken for a plosive, a sneeze for a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile

from ds2edge.arguments import CommandParser
from ds2edge.progress import track
from ds2edge.training.data.manifest import Utterance, write_manifest

RATE = 16_000
SHORTEST, LONGEST = 4.0, 12.0  # s

Samples: TypeAlias = npt.NDArray[np.float64]
Random: TypeAlias = np.random.Generator


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the recordings and their manifest.tsv."""
    parser = CommandParser("python -m ds2edge.training.steady_sounds", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument(
        "--each", type=int, default=60, metavar="N", help="recordings of each kind [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=1, help="[%(default)s]")
    given = parser.parse_args(arguments)
    if given.each < 1:
        parser.error(f"--each needs 1 or more, got {given.each}")
    audio = given.out / "audio"
    audio.mkdir(parents=True, exist_ok=True)
    made = []
    count = given.each * len(KINDS)
    for number in track(range(count), "sounds", count):
        kind = list(KINDS)[number % len(KINDS)]
        samples = sound(kind, np.random.default_rng([given.seed, number]))
        path = audio / f"{kind}-{number // len(KINDS)}.flac"
        soundfile.write(path, samples, RATE, subtype="PCM_16")
        made.append(Utterance(path, len(samples) / RATE, "", kind, "train"))
    write_manifest(given.out / "manifest.tsv", made)
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


def _ticking(seconds: Samples, rng: Random) -> Samples:
    """A clock or a metronome: the same one, two or four strokes again and again."""
    samples = np.zeros_like(seconds)
    strokes = [_stroke(rng) for _ in range(rng.choice([1, 2, 2, 4]))]
    period, echo = rng.uniform(0.12, 1.3), rng.choice([0.0, rng.uniform(0.1, 0.5)])
    for number, at in enumerate(np.arange(rng.uniform(0, 1), seconds[-1] - 0.4, period)):
        stroke = strokes[number % len(strokes)]
        first = int(RATE * (at + rng.normal() * 0.002)) + 100
        samples[first : first + len(stroke)] += stroke * rng.uniform(0.8, 1)
        later = first + int(RATE * 0.05)
        samples[later : later + len(stroke)] += stroke * echo
    return samples


def _stroke(rng: Random) -> Samples:
    """Wood or metal that was hit: a click, and some resonances that die away."""
    seconds = np.arange(int(RATE * rng.uniform(0.02, 0.25))) / RATE
    total = rng.normal(size=len(seconds)) * np.exp(-seconds / rng.uniform(5e-4, 8e-3))
    for _ in range(rng.integers(1, 6)):
        pitch = np.exp(rng.uniform(np.log(250), np.log(7000)))
        decay = np.exp(-seconds / np.exp(rng.uniform(np.log(3e-3), np.log(6e-2))))
        total += rng.uniform(0.2, 1.5) * decay * np.sin(2 * np.pi * pitch * seconds)
    return np.asarray(total * np.linspace(1, 0, len(seconds)))


def _sneeze(seconds: Samples, rng: Random) -> Samples:
    """Sneezes and coughs: breath drawn in, maybe a voice that breaks, a burst of air."""
    samples = np.zeros_like(seconds)
    at = rng.uniform(0.1, 1)
    while at < seconds[-1] - 2.5:
        breath = _breath(rng.uniform(0.1, 0.8), rng) * rng.choice([0, rng.uniform(0.05, 0.4)])
        voice = _cry(rng.uniform(0.05, 0.35), rng) * rng.choice([0, rng.uniform(0.1, 1)])
        burst = _breath(rng.uniform(0.08, 0.6), rng)[::-1] * rng.uniform(0.5, 1)
        for part in (breath, voice, burst):
            first = int(RATE * at)
            samples[first : first + len(part)] += part
            at += len(part) / RATE * rng.uniform(0.7, 1.1)
        at += rng.exponential(1.5)
    return samples


def _breath(length: float, rng: Random) -> Samples:
    """Air through a mouth of some shape, ever stronger."""
    count = int(RATE * length)
    spectrum = np.fft.rfft(rng.normal(size=count))
    pitch = np.linspace(0, RATE / 2, len(spectrum))
    for _ in range(rng.integers(1, 4)):
        middle = np.exp(rng.uniform(np.log(400), np.log(7000)))
        spectrum *= 0.1 + np.exp(-(((pitch - middle) / (middle * rng.uniform(0.2, 1))) ** 2))
    air = np.fft.irfft(spectrum, count)
    rise = np.linspace(0, 1, count) ** rng.uniform(0.3, 4)
    return np.asarray(air / np.abs(air).max() * rise)


def _cry(length: float, rng: Random) -> Samples:
    """A voice whose pitch runs up and down faster than in speech, rough, of one vowel."""
    count = int(RATE * length)
    start, end = np.exp(rng.uniform(np.log(120), np.log(900), size=2))
    phase = np.cumsum(np.geomspace(start, end, count) * (1 + 0.02 * rng.normal(size=count)))
    formants = rng.uniform([350, 900, 2300], [1000, 2300, 3500])
    total = np.zeros(count)
    for k in range(1, int(RATE / 2 / max(start, end)) + 1):
        pitch = k * (start + end) / 2
        weight = 0.02 + np.exp(-(((pitch - formants) / 150) ** 2)).sum() / k**0.5
        total += weight * np.sin(2 * np.pi * k * phase / RATE)
    return np.asarray(total / np.abs(total).max() * np.hanning(count))


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
    "ticking": _ticking,
    "sneeze": _sneeze,
    "melody": _melody,
}


if __name__ == "__main__":
    raise SystemExit(main())
