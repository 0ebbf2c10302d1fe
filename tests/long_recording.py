"""A long recording made of the samples, with what is said in it, for tests of its construction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from conftest import SPEECH

from ds2edge.audio_file import read_audio
from ds2edge.training.data.manifest import read_manifest

RATE = 16_000
SILENCE = 0.5  # s between two samples


@dataclass(frozen=True)
class LongRecording:
    """The samples one after the other, and again."""

    path: Path
    lines: list[str]  # what is said in each
    cuts: list[float]  # s, where one ends and the next begins

    @property
    def words(self) -> list[str]:
        return " ".join(self.lines).split()


def make_long(folder: Path, times: int = 1) -> LongRecording:
    utterances = read_manifest(SPEECH / "manifest.tsv") * times
    pause = np.random.default_rng(1).normal(size=int(SILENCE * RATE)).astype(np.float32) * 1e-4
    pieces = [np.concatenate([read_audio(u.path, RATE), pause]) for u in utterances]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "long.flac"
    soundfile.write(path, np.concatenate(pieces), RATE)
    lines = [utterance.text for utterance in utterances]
    path.with_suffix(".txt").write_text("\n".join(lines))
    ends = np.cumsum([len(piece) for piece in pieces])[:-1] / RATE
    return LongRecording(path, lines, [float(end) - SILENCE / 2 for end in ends])
