"""One n-gram model of two: p(w | h) = (1 - weight) p_a(w | h) + weight p_b(w | h).

The mixture has the n-grams of both, with exact probabilities; its back-offs follow from their sums.
Both models need one closed vocabulary: to a word that it never saw a model gives the probability of
its <unk>.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ds2edge.errors import DataError

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

UNKNOWN = "<unk>"
LEAST = 1e-9  # probability that a context leaves for what it has not seen, at least


@dataclass(frozen=True)
class NGrams:
    """The n-grams of one length, sorted by their words' numbers."""

    words: Ids  # shape = (n-grams, length)
    log_probs: Floats  # base 10, shape = (n-grams,)
    back_offs: Floats  # base 10, shape = (n-grams,); 0 where there is none


Model = list[NGrams]  # for the lengths 1, 2, ...


def mix_arpa(first: Path, second: Path, weight: float, out: Path) -> None:
    """Write the mixture of two ARPA files of the same order; `weight` is the second one's.

    Raises:
        DataError: a file is no ARPA model, or they are of different orders.
    """
    numbers: dict[str, int] = {UNKNOWN: 0}
    one, other = (read_arpa(path, numbers) for path in (first, second))
    if len(one) != len(other):
        raise DataError(f"{first} has order {len(one)}, {second} {len(other)}")
    write_arpa(out, mixture(one, other, weight), list(numbers))


def mixture(first: Model, second: Model, weight: float) -> Model:
    """The interpolated model. The words of both have the same numbers, <unk> has 0."""
    union = _union(first, second)
    mixed: Model = []
    log_probs: list[Floats] = [np.zeros(0), np.zeros(0)]  # of the union's n-grams one word shorter
    for words in union:
        rest = _find(mixed[-1].words, words[:, 1:]) if mixed else np.zeros(0, np.int64)
        log_probs = [
            _conditional(model, words, lower[rest] if mixed else lower)
            for model, lower in zip((first, second), log_probs, strict=True)
        ]
        both = (1 - weight) * 10 ** log_probs[0] + weight * 10 ** log_probs[1]
        if mixed:
            mixed[-1] = _with_back_offs(mixed[-1], words, both, rest)
        mixed.append(NGrams(words, np.log10(both), np.zeros(len(words))))
    return mixed


def read_arpa(path: Path, numbers: dict[str, int]) -> Model:
    """An ARPA file; its words get the next free numbers.

    Raises:
        DataError: it is no ARPA file.
    """
    sections: list[list[list[str]]] = []
    rows: list[list[str]] = []  # of what comes before the first section
    with path.open(encoding="utf-8") as file:
        for line in file:
            fields = line.split()
            if line.startswith("\\"):
                rows = []
                if line[1:2].isdigit():
                    sections.append(rows)
            elif fields:
                rows.append(fields)
    if not sections:
        raise DataError(f"{path} is no ARPA model")
    return [_ngrams(rows, length, numbers) for length, rows in enumerate(sections, 1)]


def write_arpa(path: Path, model: Model, names: Sequence[str]) -> None:
    """An ARPA file; `names` has the word of each number."""
    with path.open("w", encoding="utf-8") as file:
        file.write("\\data\\\n")
        file.writelines(f"ngram {i}={len(n.words)}\n" for i, n in enumerate(model, 1))
        for i, ngrams in enumerate(model, 1):
            file.write(f"\n\\{i}-grams:\n")
            rows = zip(
                ngrams.words.tolist(),
                ngrams.log_probs.tolist(),
                ngrams.back_offs.tolist(),
                strict=True,
            )
            for words, log_prob, back_off in rows:
                text = " ".join([names[word] for word in words])
                last = f"\t{back_off:.6g}" if i < len(model) else ""
                file.write(f"{min(log_prob, 0.0):.6g}\t{text}{last}\n")
        file.write("\n\\end\\\n")


def _ngrams(rows: Sequence[Sequence[str]], length: int, numbers: dict[str, int]) -> NGrams:
    words = np.array(
        [[numbers.setdefault(w, len(numbers)) for w in row[1 : 1 + length]] for row in rows],
        np.int64,
    ).reshape(-1, length)  # of no rows, too
    log_probs = np.array([float(row[0]) for row in rows])
    back_offs = np.array([float(row[1 + length]) if len(row) > 1 + length else 0.0 for row in rows])
    order = np.lexsort(words.T[::-1])
    return NGrams(words[order], log_probs[order], back_offs[order])


def _union(first: Model, second: Model) -> list[Ids]:
    """The n-grams of both, by length, with all their beginnings and ends."""
    union: list[Ids] = []
    longer = np.zeros((0, len(first) + 1), np.int64)
    for a, b in zip(reversed(first), reversed(second), strict=True):
        longer = _unique(np.concatenate([a.words, b.words, longer[:, :-1], longer[:, 1:]]))
        union.insert(0, longer)
    return union


def _unique(rows: Ids) -> Ids:
    rows = rows[np.lexsort(rows.T[::-1])]
    new = np.ones(len(rows), bool)
    new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    different: Ids = rows[new]
    return different


def _find(rows: Ids, wanted: Ids) -> Ids:
    """Where each wanted row is among sorted ones; -1: it is not there."""
    if not len(rows):
        return np.full(len(wanted), -1)
    all_rows = np.concatenate([rows, wanted])
    order = np.lexsort(all_rows.T[::-1])  # stable: a wanted row comes after its equal
    is_row = order < len(rows)
    latest = np.maximum.accumulate(np.where(is_row, order, -1))
    place = np.empty(len(all_rows), np.int64)
    place[order] = latest
    found = place[len(rows) :]
    equal = (rows[np.maximum(found, 0)] == wanted).all(axis=1) & (found >= 0)
    return np.where(equal, found, -1)


def _conditional(model: Model, words: Ids, backed_off: Floats) -> Floats:
    """log p of the last word after the others.

    Args:
        backed_off: the same after all but the first; nothing for single words.
    """
    length = words.shape[1]
    own = model[length - 1]
    at = _find(own.words, words)
    if length == 1:
        at = np.where(at < 0, 0, at)  # <unk>, the first
        found: Floats = own.log_probs[at]
        return found
    context = model[length - 2]
    before = _find(context.words, words[:, :-1])
    back_off = np.zeros(len(words))  # of a context that it does not have
    back_off[before >= 0] = context.back_offs[before[before >= 0]]
    log_probs = back_off + backed_off
    log_probs[at >= 0] = own.log_probs[at[at >= 0]]
    return log_probs


def _with_back_offs(contexts: NGrams, words: Ids, probs: Floats, rest: Ids) -> NGrams:
    """Back-offs by which what follows each context sums up to one.

    Args:
        words: n-grams one word longer, with their mixed `probs`.
        rest: place of each without its first word among the contexts.
    """
    of = _find(contexts.words, words[:, :-1])
    seen = np.bincount(of, probs, len(contexts.words))
    shorter = np.bincount(of, 10 ** contexts.log_probs[rest], len(contexts.words))
    left = np.maximum(1 - seen, LEAST) / np.maximum(1 - shorter, LEAST)
    back_offs = np.where(np.bincount(of, minlength=len(contexts.words)) > 0, np.log10(left), 0.0)
    return NGrams(contexts.words, contexts.log_probs, back_offs)
