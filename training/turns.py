"""A corpus of longer recordings, in which people take turns; joined from those of other corpora.

    python -P -m ds2edge.training.turns speech/librispeech/manifest.tsv -o speech/turns --hours 2

A model that never heard more than a sentence does not learn to go on: with another voice, at
another level, after what it remembers of the one before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile

from ds2edge.arguments import SUCCESS, CommandParser, fail
from ds2edge.audio_file import read_audio
from ds2edge.errors import AudioError, DataError, Ds2edgeError
from ds2edge.progress import track
from ds2edge.training.data.manifest import Utterance, read_manifest, write_manifest
from ds2edge.training.files import partial_file

RATE = 16_000
SHORTEST, LONGEST = 15.0, 30.0  # s of a recording, about
SAME_VOICE = 0.5  # share of the turns after which the same one goes on
GAIN = 6.0  # dB up or down, of each turn
PAUSE = 0.6  # s between two turns, at most; each has pauses of its own at its ends
HISS = -75.0  # dB of full scale, in the pauses: no microphone gives zeros

Samples: TypeAlias = npt.NDArray[np.float32]
Random: TypeAlias = np.random.Generator


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the recordings and their manifest.tsv."""
    parser = CommandParser("python -m ds2edge.training.turns", description=__doc__)
    parser.add_argument("manifests", metavar="MANIFEST", nargs="+", type=Path, help="to draw from")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--hours", type=float, default=2.0, help="in all [%(default)s]")
    parser.add_argument("--seed", type=int, default=1, help="[%(default)s]")
    given = parser.parse_args(arguments)
    if not 0 < given.hours <= 10_000:
        parser.error(f"--hours needs a number above 0, 10,000 at most, got {given.hours}")
    try:
        write_turns(given.manifests, given.out, given.hours, given.seed)
    except (Ds2edgeError, OSError) as error:
        return fail(str(error))
    return SUCCESS


def write_turns(manifests: Sequence[Path], out: Path, hours: float, seed: int) -> None:
    """Recordings of so many hours in all, drawn from manifests, and their manifest.tsv in `out`.

    Raises:
        DataError: as `voices_of` and `turns_of`.
        OSError: they cannot be written, as on a full disk.
    """
    voices = voices_of(manifests)
    audio = out / "audio"
    audio.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    count = max(1, round(hours * 3600 / ((SHORTEST + LONGEST) / 2)))
    made = []
    for number in track(range(count), "recordings", count):
        turns = list(turns_of(voices, rng))
        samples = joined([turn for turn, _ in turns], rng)
        path = audio / f"{number}.flac"
        with partial_file(path, sync=False) as file:
            soundfile.write(file, samples, RATE, format="FLAC", subtype="PCM_16")
        text = " ".join(utterance.text for _, utterance in turns)
        speakers = "+".join(dict.fromkeys(utterance.speaker for _, utterance in turns))
        made.append(Utterance(path, len(samples) / RATE, text, speakers, "train"))
    write_manifest(out / "manifest.tsv", made)


def voices_of(manifests: Sequence[Path]) -> list[list[Utterance]]:
    """What each speaker says in the train splits. A manifest that is named twice counts twice.

    Raises:
        DataError: a manifest cannot be used, or there is nothing with a text that is short enough.
    """
    found: dict[tuple[Path, str], list[Utterance]] = {}
    for manifest in manifests:
        for utterance in read_manifest(manifest, "train"):
            if utterance.text and utterance.seconds <= SHORTEST:
                found.setdefault((manifest, utterance.speaker), []).append(utterance)
    if not found:
        raise DataError(f"{manifests[0]}: no utterance of split train with a text was found")
    return list(found.values())


def turns_of(
    voices: Sequence[Sequence[Utterance]], rng: Random
) -> Iterator[tuple[Samples, Utterance]]:
    """Utterances one after the other, until they are long enough.

    Each is drawn from all utterances, so that voices are heard as often as they speak.

    Returns: samples at `RATE`, each turn with a gain of its own, and what was drawn.

    Raises:
        DataError: a recording cannot be read.
    """
    wanted, seconds = rng.uniform(SHORTEST, LONGEST), 0.0
    shares = np.array([len(voice) for voice in voices]) / sum(map(len, voices))
    voice = voices[int(rng.choice(len(voices), p=shares))]
    while seconds < wanted:
        utterance = voice[int(rng.integers(len(voice)))]
        if seconds + utterance.seconds > LONGEST:
            return
        try:
            samples = read_audio(utterance.path, RATE)
        except AudioError as error:
            raise DataError(f"{utterance.where}: {error}") from None
        gain = 10 ** (rng.uniform(-GAIN, GAIN) / 20)
        yield samples * np.float32(gain), utterance
        seconds += len(samples) / RATE + PAUSE
        if rng.random() > SAME_VOICE:
            voice = voices[int(rng.choice(len(voices), p=shares))]


def joined(turns: Sequence[Samples], rng: Random) -> Samples:
    """One recording at `RATE`, with a faint hiss in pauses of up to `PAUSE` between the turns."""
    parts: list[Samples] = []
    for turn in turns:
        pause = rng.normal(0, 10 ** (HISS / 20), int(rng.uniform(0, PAUSE) * RATE))
        parts += [pause.astype(np.float32), turn]
    return np.clip(np.concatenate(parts[1:]), -1, 1)


if __name__ == "__main__":
    raise SystemExit(main())
