"""What the native decoder has to compute, in plain Python: no pruning, no streaming, float64."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

BLANK = 0
Scored = list[tuple[float, tuple[str, ...]]]


class Arpa:
    """A back-off n-gram model in ARPA format; natural logarithms."""

    def __init__(self, path: Path) -> None:
        self.grams: dict[tuple[str, ...], tuple[float, float]] = {}
        order = 0
        for line in path.read_text().splitlines():
            if line.endswith("-grams:"):
                order = int(line[1:-7])
            elif order and line and not line.startswith("\\"):
                fields = line.split("\t")
                backoff = float(fields[2]) if len(fields) > 2 else 0.0
                self.grams[tuple(fields[1].split())] = (float(fields[0]), backoff)

    def word(self, context: tuple[str, ...], word: str) -> float:
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


def is_allowed(text: str, lexicon: set[str] | None) -> bool:
    """Can `text`, whose last word may be unfinished, become words of the lexicon?"""
    if lexicon is None:
        return True
    *complete, begun = text.split(" ")
    return all(word in lexicon for word in complete) and any(
        word.startswith(begun) for word in lexicon
    )


def ctc_prefixes(log_probs: np.ndarray, tokens: list[str], lexicon: set[str] | None) -> dict:
    """log p_ctc of every text; a space after a space, or before all else, is none."""
    beam = {"": (0.0, -np.inf)}  # text -> log probability ending with a blank, with a token
    for frame in log_probs.astype(np.float64):
        new: dict[str, list[float]] = defaultdict(lambda: [-np.inf, -np.inf])
        for text, (blank, token) in beam.items():
            total = np.logaddexp(blank, token)
            new[text][0] = np.logaddexp(new[text][0], total + frame[BLANK])
            for v in range(1, len(tokens)):
                if tokens[v] == " " and text[-1:] in ("", " "):
                    longer, mass = text, total  # spaces are merged, even with blanks between
                elif tokens[v] == text[-1:]:
                    new[text][1] = np.logaddexp(new[text][1], token + frame[v])
                    longer, mass = text + tokens[v], blank  # a repeat needs a blank between
                else:
                    longer, mass = text + tokens[v], total
                if is_allowed(longer, lexicon):
                    new[longer][1] = np.logaddexp(new[longer][1], mass + frame[v])
        beam = {text: (b, t) for text, (b, t) in new.items() if max(b, t) > -np.inf}
    return {text: np.logaddexp(*masses) for text, masses in beam.items()}


def score(
    ctc: dict[str, float],
    lexicon: set[str] | None,
    language: Arpa | None,
    alpha: float,
    beta: float,
) -> Scored:
    """Q of every complete sequence of words, the best first."""
    by_words: dict[tuple[str, ...], float] = defaultdict(lambda: -np.inf)
    for text, log_prob in ctc.items():
        words = tuple(text.split())
        if lexicon is None or all(word in lexicon for word in words):
            by_words[words] = np.logaddexp(by_words[words], log_prob)
    scored = [
        (
            log_prob + alpha * (language.sentence(words) if language else 0.0) + beta * len(words),
            words,
        )
        for words, log_prob in by_words.items()
        if log_prob > -np.inf
    ]
    return sorted(scored, reverse=True)


def decode(
    log_probs: np.ndarray,
    tokens: list[str],
    lexicon: set[str] | None = None,
    language: Arpa | None = None,
    alpha: float = 0.0,
    beta: float = 0.0,
) -> Scored:
    """All hypotheses by prefix search."""
    return score(ctc_prefixes(log_probs, tokens, lexicon), lexicon, language, alpha, beta)


def read_alignment(alignment: Iterable[int], tokens: list[str]) -> str:
    """Merge repeats, drop blanks, merge spaces."""
    kept = [tokens[v] for v, _ in itertools.groupby(alignment) if v != BLANK]
    return " ".join("".join(kept).split())


def alignments(frames: int, tokens: int) -> Iterator[tuple[int, ...]]:
    return itertools.product(range(tokens), repeat=frames)


def brute_force(
    log_probs: np.ndarray,
    tokens: list[str],
    lexicon: set[str] | None = None,
    language: Arpa | None = None,
    alpha: float = 0.0,
    beta: float = 0.0,
) -> Scored:
    """All hypotheses by summing over every alignment there is."""
    ctc: dict[str, float] = defaultdict(lambda: -np.inf)
    for alignment in alignments(*log_probs.shape):
        log_prob = sum(float(log_probs[t, v]) for t, v in enumerate(alignment))
        text = read_alignment(alignment, tokens)
        ctc[text] = np.logaddexp(ctc[text], log_prob)
    return score(ctc, lexicon, language, alpha, beta)
