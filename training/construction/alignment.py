"""What forced alignment finds: when each word of a text was spoken. To JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ds2edge.results import Seconds
from ds2edge.training.files import read_json

FORMAT = 1  # of the file


@dataclass(frozen=True)
class Stretch:
    """A part of a recording."""

    start: Seconds
    end: Seconds

    @property
    def seconds(self) -> Seconds:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True)
class AlignedWord:
    """A word of the text."""

    text: str  # normalised
    line: int  # of the text, from 0 on
    start: Seconds = -1.0  # from the start of the recording; -1: it was not found
    end: Seconds = -1.0
    score: float = 0.0  # 0..1: how its tokens compare with the likeliest ones, each on average

    @property
    def found(self) -> bool:
        """Whether it was spoken, as far as one can tell."""
        return self.start >= 0


@dataclass(frozen=True)
class Alignment:
    """A recording and its text."""

    recording: str  # path, relative to the file's folder
    seconds: Seconds
    model: str
    speaker: str
    split: str
    words: tuple[AlignedWord, ...]  # all of the text, in its order
    pauses: tuple[Stretch, ...]  # in which nothing is spoken, between two words
    foreign: tuple[Stretch, ...]  # in which something is spoken that the text lacks
    key: str = ""  # of recording, text, model and costs

    @property
    def found(self) -> list[AlignedWord]:
        """The words that were spoken."""
        return [word for word in self.words if word.found]

    def share_found(self) -> float:
        """Of the words of the text."""
        return len(self.found) / max(1, len(self.words))

    def share_explained(self) -> float:
        """Of the time in which something is spoken: that of the words found."""
        spoken = sum(word.end - word.start for word in self.found)
        others = sum(stretch.seconds for stretch in self.foreign)
        return spoken / (spoken + others) if spoken else 0.0


def to_json(alignment: Alignment) -> str:
    """The file of `ds2edge data align`."""
    return json.dumps({"format": FORMAT, **asdict(alignment)}, ensure_ascii=False) + "\n"


def read_alignment(path: Path) -> Alignment:
    """What `to_json` wrote.

    Raises:
        DataError: the file is missing, damaged or something else.
    """
    return read_json(path, Alignment, FORMAT, "ds2edge data align")
