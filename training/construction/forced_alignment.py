"""When the words of a known text were spoken: Viterbi alignment (section 5.1 of the paper).

The text need not be what is said word by word. What the recording has and the text lacks is heard
in the gaps between words; words that the recording lacks are left out. `native/alignment.h` has the
lattice, this file its text, and what its best path means in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ds2edge import _native
from ds2edge.errors import ConfigError, DataError
from ds2edge.results import Seconds
from ds2edge.text import BLANK, TokenSet
from ds2edge.training.construction.alignment import AlignedWord, Stretch
from ds2edge.training.construction.hearing import Heard, Mask

UNTOLD = 0.3  # s of sound between two words that must be speech; less is the end of a word
PAUSE = 0.1  # s, the shortest that is worth to be told
TAIL = 0.05  # s that a token goes on after it is heard, in the median
DOUBTFUL = 0.05  # score below which a word was not said: of those that were, one in 160
AROUND = 3  # words before and after one that tell whether it lies where text and recording agree
STRETCH = 50  # words of the text in a row
MOST = 0.75  # of them that are found where text and recording agree
LOST = 4.0  # s of other speech among them, where fewer are found: a lost track
WIDER = 4.0  # times the beam, then
OVERLAP = 0.2  # of the text or of the speech: with less, it is not the recording's text

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AlignOptions:
    """What disagreement of text and recording costs, in nats."""

    foreign: float = 3.0  # for each output in which something is heard that the text lacks
    leave_out: float = 10.0  # for words in a row that were not spoken
    left_token: float = 0.1  # more for each token of them
    beam: float = 400.0  # to begin with, below the best path, within which others are followed

    def __post_init__(self) -> None:
        for name, cost in vars(self).items():
            if not 0 <= cost <= 1e6 or (name == "beam" and not cost):
                more = "a number above 0" if name == "beam" else "0 or more"
                raise ConfigError(f"{name} needs {more}, at most a million; got {cost:g}")


@dataclass(frozen=True)
class Text:
    """A text as an alignment sees it."""

    words: tuple[str, ...]  # normalised
    lines: tuple[int, ...]  # that each is in
    columns: tuple[int, ...]  # tokens that are asked for: blank, space if there is one, all others
    tokens: tuple[tuple[int, ...], ...]  # of each word, as indices of `columns`
    spaced: bool  # the script writes spaces, as column 1

    @property
    def starts(self) -> Indices:
        """Of each word among all tokens, and the end of the last."""
        return np.cumsum([0, *map(len, self.tokens)])


@dataclass(frozen=True)
class Found:
    """What a path through the lattice says."""

    words: tuple[AlignedWord, ...]
    pauses: tuple[Stretch, ...]
    foreign: tuple[Stretch, ...]


def spell(lines: Sequence[Sequence[str]], tokens: TokenSet) -> Text:
    """The words of each line, normalised, with the tokens of a model.

    Raises:
        DataError: there is no word.
    """
    words = [(word, number) for number, line in enumerate(lines) for word in line]
    if not words:
        raise DataError("the text has no word that the model can spell")
    spelled = [tokens.encode(word) for word, _ in words]
    first = [BLANK] if tokens.space is None else [BLANK, tokens.space]
    columns = [*first, *sorted({token for word in spelled for token in word} - set(first))]
    place = {token: column for column, token in enumerate(columns)}
    return Text(
        tuple(word for word, _ in words),
        tuple(number for _, number in words),
        tuple(columns),
        tuple(tuple(place[token] for token in word) for word in spelled),
        tokens.space is not None,
    )


def align(
    heard: Heard,
    text: Text,
    step: Seconds,
    delay: Seconds = 0.0,
    options: AlignOptions | None = None,
) -> Found:
    """The most likely way in which the text was spoken.

    Args:
        heard: with the columns of the text.
        step: from one output to the next.
        delay: from what is spoken to the output that says so.

    Raises:
        DataError: text and recording have hardly anything in common.
    """
    options = options or AlignOptions()
    # What leaves out the whole text is within this beam, so nothing more can be found in another.
    most = options.leave_out + options.left_token * float(text.starts[-1])
    path = _Path(heard, text, options, step, delay)
    while path.lost_track() and options.beam < most:
        options = replace(options, beam=options.beam * WIDER)
        path = _Path(heard, text, options, step, delay)
    left_out = path.left_out
    if left_out == 1 or min(left_out, 1 - path.explained) > 1 - OVERLAP:
        raise DataError(
            f"text and recording do not belong together: {100 * (1 - left_out):.0f} % of the words "
            f"are heard, and they are {100 * path.explained:.0f} % of what is said; needed is "
            f"{100 * OVERLAP:.0f} % of either. Is it the right text, in the model's language?"
        )
    return Found(path.words(), path.pauses(), path.foreign())


class _Path:
    """The best path, output by output."""

    def __init__(
        self, heard: Heard, text: Text, options: AlignOptions, step: Seconds, delay: Seconds
    ) -> None:
        scores = heard.scores
        states = _native.align(
            scores,
            [list(word) for word in text.tokens],
            blank=0,
            inner=len(text.columns),
            space=1 if text.spaced else None,
            foreign=options.foreign,
            leave_out=options.leave_out,
            left_token=options.left_token,
            beam=options.beam,
        )
        self.text, self.step, self.delay = text, step, delay
        self.seconds = len(scores) * step
        starts = text.starts
        position, self.speaks = states // 2, states % 2 == 1
        self.word = np.searchsorted(starts, position, side="right") - 1  # that it is in or before
        self.first, self.last = self._ends(len(text.words))
        inside = self.speaks | (position != starts[self.word])  # of a word
        quiet = scores[:, : 1 + text.spaced].max(axis=1) >= -options.foreign
        said = ~inside & (heard.loud | ~quiet)
        self.quiet = ~inside & ~said
        self.other = _runs(said, round(UNTOLD / step))
        tokens = np.array([token for word in text.tokens for token in word])
        column = np.where(self.speaks, tokens[np.minimum(position, len(tokens) - 1)], 0)
        score = np.where(inside, scores[np.arange(len(scores)), column], 0.0)
        total = np.concatenate([[0.0], np.cumsum(score)])
        each = (total[self.last + 1] - total[self.first]) / np.diff(starts)
        self.scores = np.exp(np.where(self.first >= 0, each, 0.0))
        self._drop_strays()

    @property
    def left_out(self) -> float:
        """Share of the words."""
        return float((self.first < 0).mean())

    @property
    def explained(self) -> float:
        """Share of what is spoken."""
        spoken = sum((self.last - self.first)[self.first >= 0] + 1)
        return float(spoken / max(1, spoken + self.other.sum()))

    def lost_track(self) -> bool:
        """Whether somewhere most words were not found, though much else was said."""
        words, outputs = len(self.first), len(self.other)
        found = np.flatnonzero(self.first >= 0)
        others = np.concatenate([[0], np.cumsum(self.other)])
        for begin in range(0, max(1, words - STRETCH // 2), STRETCH // 2):
            end = min(begin + STRETCH, words)
            left, right = np.searchsorted(found, [begin, end])
            start = self.last[found[left - 1]] + 1 if left else 0
            stop = self.first[found[right]] if right < len(found) else outputs
            said = (others[stop] - others[start]) * self.step
            if right - left < MOST * (end - begin) and said > LOST:
                return True
        return False

    def words(self) -> tuple[AlignedWord, ...]:
        """All words; those that are left out without times."""
        words, limit = [], self.seconds
        for i in reversed(range(len(self.text.words))):
            text, line = self.text.words[i], self.text.lines[i]
            if self.first[i] < 0:
                words.append(AlignedWord(text, line))
                continue
            start = min(self._time(self.first[i]), limit)
            end = min(_rounded(self._time(self.last[i] + 1) + TAIL), limit)
            words.append(AlignedWord(text, line, start, end, round(float(self.scores[i]), 3)))
            limit = start  # a word ends before the next
        return tuple(reversed(words))

    def pauses(self) -> tuple[Stretch, ...]:
        """Runs of blanks in which it is quiet, too; between two words of the text, so in none.

        That the model hears a space as well, as the paper asks for, tells nothing more: next to a
        long silence it often hears none.
        """
        least = PAUSE / self.step
        return self._stretches([run for run in _edges(self.quiet) if run[1] - run[0] >= least])

    def foreign(self) -> tuple[Stretch, ...]:
        """Where something is said that the text lacks."""
        return self._stretches(_edges(self.other))

    def _ends(self, words: int) -> tuple[Indices, Indices]:
        """First and last output of each word; -1 where it is left out."""
        first, last = np.full(words, -1), np.full(words, -1)
        outputs = np.flatnonzero(self.speaks)
        spoken = self.word[outputs]
        last[spoken] = outputs  # of several the last is kept
        first[spoken[::-1]] = outputs[::-1]
        return first, last

    def _drop_strays(self) -> None:
        """Leave out words that were put where something else was said."""
        for doubtful in np.flatnonzero((self.first >= 0) & (self.scores < DOUBTFUL)).tolist():
            self._drop(doubtful)
        found = np.flatnonzero(self.first >= 0)
        others = np.concatenate([[0], np.cumsum(self.other)])
        for place, word in enumerate(found.tolist()):
            near = found[max(0, place - AROUND) : place + AROUND + 1]
            begin, end = self.first[near[0]], self.last[near[-1]] + 1
            spoken = int((self.last[near] - self.first[near] + 1).sum())
            if others[end] - others[begin] > spoken:
                self._drop(word)

    def _drop(self, word: int) -> None:
        self.other[self.first[word] : self.last[word] + 1] = True
        self.first[word] = self.last[word] = -1

    def _time(self, output: int) -> Seconds:
        return _rounded(min(max(output * self.step - self.delay, 0.0), self.seconds))

    def _stretches(self, runs: Sequence[Sequence[int]]) -> tuple[Stretch, ...]:
        return tuple(Stretch(self._time(start), self._time(end)) for start, end in runs)


def _edges(inside: Mask) -> list[list[int]]:
    """First and one past the last of each run."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(np.int8), [0]])))
    runs: list[list[int]] = changes.reshape(-1, 2).tolist()
    return runs


def _runs(inside: Mask, least: int) -> Mask:
    """Without the runs that are shorter."""
    kept = np.zeros_like(inside)
    for start, end in _edges(inside):
        kept[start:end] = end - start >= least
    return kept


def _rounded(seconds: float) -> Seconds:
    return round(float(seconds), 3)  # ms, for people to read
