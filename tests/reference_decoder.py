"""What the native decoder has to compute, in plain Python: no pruning, no streaming, float64."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BLANK = 0
UNKNOWN = "<unk>"
Words = tuple[str, ...]
Prefix = tuple[int, ...]  # tokens
Scored = list[tuple[float, Words]]


class Arpa:
    """A back-off n-gram model in ARPA format; natural logarithms."""

    def __init__(self, path: Path) -> None:
        self.grams: dict[Words, tuple[float, float]] = {}
        order = 0
        for line in path.read_text().splitlines():
            if line.endswith("-grams:"):
                order = int(line[1:-7])
            elif order and line and not line.startswith("\\"):
                fields = line.split("\t")
                backoff = float(fields[2]) if len(fields) > 2 else 0.0
                self.grams[tuple(fields[1].split())] = (float(fields[0]), backoff)

    def word(self, context: Words, word: str) -> float:
        """log p(word | context)."""
        if (word,) not in self.grams:
            word = "<unk>"
        if (*context, word) in self.grams:
            return self.grams[*context, word][0] * np.log(10)
        _, backoff = self.grams.get(context, (0.0, 0.0))
        return backoff * np.log(10) + self.word(context[1:], word)

    def sentence(self, words: Iterable[str]) -> float:
        """log p(words) from <s> to </s>, for a bigram model."""
        words = ["<s>", *words, "</s>"]
        return sum(self.word((a,), b) for a, b in itertools.pairwise(words))


@dataclass(frozen=True)
class Rules:
    """What is a hypothesis, and what it is worth besides log p_ctc."""

    tokens: list[str]  # tokens[0] is the blank
    words: set[str] | None = None  # the lexicon; None: any sequence of tokens
    language: Arpa | None = None  # of words, without a lexicon of tokens
    alpha: float = 0.0
    beta: float = 0.0
    phrases: dict[str, float] = field(default_factory=dict)  # boosts
    unknown: float = np.inf  # cost of an unknown word
    closed: set[str] | None = None  # the only phrases

    @property
    def spaced(self) -> bool:
        return " " in self.tokens

    @property
    def boosts(self) -> dict[Words, float]:
        boosts: dict[Words, float] = defaultdict(float)
        for phrase, boost in self.phrases.items():
            boosts[self.split(phrase)] += boost
        return boosts

    def split(self, text: str) -> Words:
        return tuple(text.split()) if self.spaced else tuple(text.replace(" ", ""))

    def read(self, prefix: Prefix) -> Words:
        """The words that tokens spell."""
        texts = [self.tokens[v] for v in prefix]
        return tuple("".join(texts).split()) if self.spaced else tuple(texts)

    def may_become_words(self, prefix: Prefix) -> bool:
        """Only to keep the beam small: does a lexicon without exceptions have such words?"""
        if self.words is None or self.phrases or self.unknown < np.inf:
            return True
        *complete, begun = "".join(self.tokens[v] for v in prefix).split(" ")
        return set(complete) <= self.words and any(w.startswith(begun) for w in self.words)

    def gain(self, prefix: Prefix, words: Words) -> float | None:
        """Score of a hypothesis besides log p_ctc; None: it is not allowed."""
        unknown = [
            i
            for i, word in enumerate(words)
            if self.words is not None and word not in self.words and not self.is_wanted(words, i)
        ]
        if unknown and self.unknown == np.inf:
            return None
        gain = self.beta * len(words) - (self.unknown * len(unknown) if unknown else 0.0)
        if self.language is not None:
            units = words if self.words is not None else self.letters(prefix)
            gain += self.alpha * self.language.sentence(units)
        for i in range(len(words)):
            for phrase, boost in self.boosts.items():
                gain += boost * (words[max(0, i + 1 - len(phrase)) : i + 1] == phrase)
        return gain

    def letters(self, prefix: Prefix) -> Words:
        """Tokens as a model of tokens knows them."""
        if prefix and self.tokens[prefix[-1]] == " ":
            prefix = prefix[:-1]
        return tuple("|" if self.tokens[v] == " " else self.tokens[v] for v in prefix)

    def is_wanted(self, words: Words, i: int) -> bool:
        """Is words[i] in its place in a phrase, as far as that goes?"""
        return any(
            i >= j and words[i - j : i + 1] == phrase[: j + 1]
            for phrase in self.boosts
            for j in range(len(phrase))
        )

    def read_closed(self, words: Words) -> tuple[Words, int]:
        """Output of a closed vocabulary and how often something unknown is in it."""
        phrases = {self.split(phrase) for phrase in self.closed or ()}
        output: list[str] = []
        waiting: list[str] = []  # words of phrases that are not over
        begun: set[Words] = {()}
        unknown = 0
        for word in words:
            longer = {(*places, word) for places in begun}
            begun = {p for p in longer if any(q[: len(p)] == p for q in phrases)}
            waiting.append(word)
            if not begun:
                output.append(UNKNOWN)
                unknown += 1
            elif begun & phrases:
                output += waiting
            else:
                continue
            waiting = []
            begun = begun | {()}
        if waiting:
            output.append(UNKNOWN)
            unknown += 1
        return tuple(output), unknown


def ctc_prefixes(log_probs: np.ndarray, rules: Rules) -> dict[Prefix, float]:
    """log p_ctc of every token sequence; a space after a space, or before all else, is none."""
    tokens = rules.tokens
    space = tokens.index(" ") if rules.spaced else None
    beam: dict[Prefix, tuple[float, float]] = {(): (0.0, -np.inf)}  # ending with blank, with token
    for frame in log_probs.astype(np.float64):
        new: dict[Prefix, list[float]] = defaultdict(lambda: [-np.inf, -np.inf])
        for prefix, (blank, token) in beam.items():
            total = np.logaddexp(blank, token)
            new[prefix][0] = np.logaddexp(new[prefix][0], total + frame[BLANK])
            for v in range(1, len(tokens)):
                longer, mass = (*prefix, v), total
                if v == space and prefix[-1:] in ((), (space,)):
                    longer = prefix  # spaces are merged, even with blanks between
                elif prefix[-1:] == (v,):
                    new[prefix][1] = np.logaddexp(new[prefix][1], token + frame[v])
                    mass = blank  # a repeat needs a blank between
                if rules.may_become_words(longer):
                    new[longer][1] = np.logaddexp(new[longer][1], mass + frame[v])
        beam = {prefix: (b, t) for prefix, (b, t) in new.items() if max(b, t) > -np.inf}
    return {prefix: np.logaddexp(*masses) for prefix, masses in beam.items()}


def score(ctc: dict[Prefix, float], rules: Rules) -> Scored:
    """Q of every complete sequence of words, the best first."""
    scores: dict[Words, float] = defaultdict(lambda: -np.inf)
    for prefix, log_prob in ctc.items():
        words = rules.read(prefix)
        gain = rules.gain(prefix, words)
        if rules.closed is not None:
            words, unknown = rules.read_closed(words)
            if unknown:
                gain = gain - rules.unknown * unknown if rules.unknown < np.inf else None
        if gain is not None and log_prob > -np.inf:
            scores[words] = np.logaddexp(scores[words], log_prob + gain)
    return sorted(((score, words) for words, score in scores.items()), reverse=True)


def decode(log_probs: np.ndarray, rules: Rules) -> Scored:
    """All hypotheses by prefix search."""
    return score(ctc_prefixes(log_probs, rules), rules)


def divide_by_prior(log_probs: np.ndarray, prior: np.ndarray, weight: float) -> np.ndarray:
    """p(token) / prior(token)^weight, normalised."""
    divided = log_probs.astype(np.float64) - weight * prior
    return divided - np.logaddexp.reduce(divided, axis=1, keepdims=True)


def read_alignment(alignment: Iterable[int], tokens: list[str]) -> Prefix:
    """Merge repeats, drop blanks, merge spaces."""
    read: list[int] = []
    for v, _ in itertools.groupby(alignment):
        is_space_again = tokens[v] == " " and (not read or tokens[read[-1]] == " ")
        if v != BLANK and not is_space_again:
            read.append(v)
    return tuple(read)


def alignments(frames: int, tokens: int) -> Iterator[tuple[int, ...]]:
    return itertools.product(range(tokens), repeat=frames)


def brute_force(log_probs: np.ndarray, rules: Rules) -> Scored:
    """All hypotheses by summing over every alignment there is."""
    ctc: dict[Prefix, float] = defaultdict(lambda: -np.inf)
    for alignment in alignments(*log_probs.shape):
        log_prob = sum(float(log_probs[t, v]) for t, v in enumerate(alignment))
        prefix = read_alignment(alignment, rules.tokens)
        ctc[prefix] = np.logaddexp(ctc[prefix], log_prob)
    return score(ctc, rules)
