"""When the words of a known text were spoken, by pocketsphinx's forced alignment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np

from ds2edge.audio_file import read_audio
from ds2edge.progress import track
from ds2edge.training.data.manifest import Utterance

RATE = 16_000  # Hz, of pocketsphinx's English model
FRAMES_PER_SECOND = 100  # pocketsphinx's
WIDE = 1e-80  # a beam that loses no alignment
# How letters sound that are not called as pocketsphinx calls their sound: enough of a pronunciation
# for a word that its dictionary lacks, to find the words around it.
SOUNDS = {"a": "AE", "c": "K", "e": "EH", "h": "HH", "i": "IH", "j": "JH", "o": "AA", "q": "K"}
SOUNDS |= {"u": "AH", "x": "Z"}


def align(utterances: Sequence[Utterance]) -> list[list[Span]]:
    """pocketsphinx's alignment of each recording."""
    aligner = Aligner()
    bar = track(utterances, "aligning", len(utterances))
    return [aligner.align(utterance.path, utterance.text.split()) for utterance in bar]


@dataclass(frozen=True)
class Span:
    """When a word of the reference was spoken, in seconds."""

    text: str
    start: float
    end: float
    guessed: bool  # its pronunciation


class Aligner:
    """pocketsphinx: when the words of a known text were spoken."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self._decoder: Any = Decoder(
            lm=None,
            samprate=RATE,
            beam=WIDE,
            wbeam=WIDE,
            pbeam=WIDE,
            bestpath=False,  # with it, most alignments fail
            loglevel="FATAL",
        )
        self._guessed: set[str] = set()

    def align(self, path: Path, words: Sequence[str]) -> list[Span]:
        """The words with their times; none if there is no alignment."""
        pcm = np.clip(np.rint(read_audio(path, RATE) * 32767), -32768, 32767).astype("<i2")
        for word in words:
            self._learn(word)
        try:
            self._decoder.set_align_text(" ".join(words))
            self._process(pcm.tobytes())  # the words
            self._decoder.set_alignment()
            self._process(pcm.tobytes())  # their sounds, which correct the words' times
        except RuntimeError:
            return []
        # An entry is only good until the next one is asked for.
        found = [(e.name, e.start, e.start + e.duration) for e in self._decoder.get_alignment()]
        spoken = [entry for entry in found if entry[0][0] not in "<["]  # no silence, no noise
        if [re.sub(r"\(\d+\)$", "", name) for name, _, _ in spoken] != list(words):
            return []
        return [
            Span(word, start / FRAMES_PER_SECOND, end / FRAMES_PER_SECOND, word in self._guessed)
            for word, (_, start, end) in zip(words, spoken, strict=True)
        ]

    def _learn(self, word: str) -> None:
        if self._decoder.lookup_word(word) is None:
            self._decoder.add_word(word, guessed_sounds(word), True)
            self._guessed.add(word)

    def _process(self, pcm: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, no_search=False, full_utt=True)
        self._decoder.end_utt()


def guessed_sounds(word: str) -> str:
    """A pronunciation for pocketsphinx, letter by letter."""
    letters = [letter for letter in word if letter in ascii_lowercase]
    return " ".join(SOUNDS.get(letter, letter.upper()) for letter in letters) or "AH"
