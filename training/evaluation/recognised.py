"""What was recognised, utterance by utterance: its figures, and the file that holds both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ds2edge.errors import DataError
from ds2edge.training.evaluation.bootstrap import Bootstrap, Interval, rate_interval
from ds2edge.training.evaluation.metrics import (
    Counts,
    ErrorRate,
    character_counts,
    character_errors,
    word_counts,
    word_errors,
)
from ds2edge.training.files import read_json

FORMAT = 1  # of the file

# Ways of decoding, in the order in which they are shown.
GREEDY, LETTERS, LANGUAGE_MODEL = "greedy", "letters", "language_model"
WAY_NAMES = {
    GREEDY: "greedy",
    LETTERS: "letters, by search",
    LANGUAGE_MODEL: "with language model",
}


@dataclass(frozen=True)
class Recognised:
    """One utterance and what each way of decoding made of it."""

    set: str  # of recordings, as "librispeech dev"
    path: str  # relative to the manifest
    speaker: str
    split: str
    seconds: float
    wanted: str  # what was said, normalised
    said: dict[str, str]  # what was recognised, by way of decoding


@dataclass(frozen=True)
class ModelFacts:
    """Which model it was."""

    name: str
    digest: str  # of the bundle or checkpoint
    decoder: dict[str, float] = field(default_factory=dict)  # weights and pruning of the search


@dataclass(frozen=True)
class Evaluation:
    """What `ds2edge evaluate` found."""

    model: ModelFacts
    utterances: tuple[Recognised, ...]


@dataclass(frozen=True)
class Scores:
    """Errors of each of n utterances; all arrays have shape = (n,)."""

    words: Counts
    characters: Counts
    word_errors: dict[str, Counts]  # by way of decoding
    character_errors: dict[str, Counts]
    speakers: npt.NDArray[np.str_]  # see `speaker_name`
    sets: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.words)

    @property
    def ways(self) -> list[str]:
        """In which it was decoded."""
        return [way for way in WAY_NAMES if way in self.word_errors]

    @property
    def best_way(self) -> str:
        """The one that a user meets: the last of them."""
        return self.ways[-1]

    def rates(self, way: str) -> npt.NDArray[np.float64]:
        """Word error rate of each utterance, shape = (n,)."""
        rates: npt.NDArray[np.float64] = self.word_errors[way] / np.maximum(self.words, 1)
        return rates

    def some(self, which: npt.NDArray[np.bool_]) -> Scores:
        """Those of a part of the utterances, shape = (n,)."""
        return Scores(
            self.words[which],
            self.characters[which],
            {way: errors[which] for way, errors in self.word_errors.items()},
            {way: errors[which] for way, errors in self.character_errors.items()},
            self.speakers[which],
            self.sets[which],
        )


def score(found: Sequence[Recognised]) -> Scores:
    """Count the errors.

    Raises:
        DataError: there are no utterances, or not all were decoded in the same ways.
    """
    if not found or any(set(one.said) != set(found[0].said) for one in found):
        raise DataError("needed utterances, one at least, all decoded in the same ways")
    wanted = [one.wanted for one in found]
    said = {way: [one.said[way] for one in found] for way in found[0].said}
    return Scores(
        word_counts(wanted),
        character_counts(wanted),
        {way: word_errors(wanted, texts) for way, texts in said.items()},
        {way: character_errors(wanted, texts) for way, texts in said.items()},
        np.array([speaker_name(one) for one in found]),
        np.array([one.set for one in found]),
    )


def speaker_name(one: Recognised) -> str:
    """Two sets may have a speaker of one name each."""
    return f"{one.set}: {one.speaker or 'unknown'}"


def summary(scores: Scores, bootstrap: Bootstrap | None = None) -> dict[str, Any]:
    """WER and CER in percent with their intervals, each way: what cards and tables show."""
    bootstrap = bootstrap or Bootstrap()
    figures: dict[str, Any] = {"utterances": len(scores), "words": int(scores.words.sum())}
    for way in scores.ways:
        figures[way] = {}
        for name, errors, lengths in (
            ("wer", scores.word_errors[way], scores.words),
            ("cer", scores.character_errors[way], scores.characters),
        ):
            interval = rate_interval(errors, lengths, scores.speakers.tolist(), bootstrap)
            figures[way][name] = ErrorRate(int(errors.sum()), int(lengths.sum())).percent
            figures[way][f"{name}_interval"] = _percent(interval)
    return figures


def all_figures(scores: Scores, bootstrap: Bootstrap | None = None) -> dict[str, Any]:
    """`summary` of everything, of each set and of each speaker."""
    bootstrap = bootstrap or Bootstrap()
    alone = Bootstrap("utterance", bootstrap.samples, bootstrap.level, bootstrap.seed)
    return {
        "bootstrap": asdict(bootstrap),
        "all": summary(scores, bootstrap),
        "sets": {
            name: summary(scores.some(scores.sets == name), bootstrap)
            for name in dict.fromkeys(scores.sets.tolist())
        },
        # One speaker's interval can only come from the speaker's utterances.
        "speakers": {
            name: summary(scores.some(scores.speakers == name), alone)
            for name in dict.fromkeys(scores.speakers.tolist())
        },
    }


def with_interval(figures: dict[str, Any], name: str) -> str:
    """A rate in percent and its interval, if it has one: "12.30 (11.0-13.7)"."""
    interval = figures.get(f"{name}_interval")
    shown = f"{figures[name]:.2f}"
    return f"{shown} ({interval[0]:.1f}-{interval[1]:.1f})" if interval else shown


def to_json(evaluation: Evaluation, figures: dict[str, Any]) -> str:
    """The file of `ds2edge evaluate --json`."""
    whole = {"format": FORMAT, "figures": figures, **asdict(evaluation)}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def read_evaluation(path: Path) -> Evaluation:
    """What `to_json` wrote.

    Raises:
        DataError: the file is missing, damaged or something else.
    """
    return read_json(path, Evaluation, FORMAT, "ds2edge evaluate --json", others=("figures",))


def _percent(interval: Interval | None) -> list[float] | None:
    return [round(100 * value, 2) for value in interval] if interval else None
