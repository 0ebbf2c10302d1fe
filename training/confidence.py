"""Word confidence: which words are correct, how to fit the formula, how good it is.

The confidence of a word is 1 / (1 + exp(-(bias + weights @ features))); native/ computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ds2edge.decoder import Confidence, Decoder, LogProbs
from ds2edge.errors import DataError

Floats: TypeAlias = npt.NDArray[np.float64]

BINS = 10
LEAST_WORDS = 50  # correct ones, and wrong ones, for a fit
# Of the evidence (letters, pace, language, deficit, clarity, usual clarity), as in confidence.h.
LIMITS = ((0, 0, -15, -25, -10, -10), (12, 12, 0, np.inf, 0, 0))
PENALTY = 3.0  # of the squared weights of standardised features: few words must not overfit
STEPS = 50


def fit_decoder(
    decoder: Decoder, wanted: Sequence[str], blocks: Sequence[LogProbs]
) -> Confidence | None:
    """The confidence of a decoder's words, fitted on recordings of which the text is known.

    Args:
        wanted: what is said in each recording, normalised.
        blocks: log-probabilities of each.

    Returns: None where too few words are right, or wrong, for a fit.
    """
    evidence: list[tuple[float, ...]] = []
    correct: list[bool] = []
    for text, (best, *_) in zip(wanted, decoder.decode(blocks), strict=True):
        evidence += [word.evidence for word in best.words]
        correct += correct_words(decoder.tokens.words(text), [word.text for word in best.words])
    if min(sum(correct), len(correct) - sum(correct)) < LEAST_WORDS:
        return None
    features = np.clip(np.array(evidence, np.float64), *LIMITS)
    return Confidence(*map(float, fit(features, correct)))


def correct_words(wanted: Sequence[str], said: Sequence[str]) -> list[bool]:
    """Which of the words that were recognised an alignment of fewest edits keeps.

    Args:
        wanted: the words of the reference.
        said: the words that were recognised.
    """
    cost = np.zeros((len(wanted) + 1, len(said) + 1), int)
    cost[:, 0], cost[0] = range(len(wanted) + 1), range(len(said) + 1)
    for i, word in enumerate(wanted, start=1):
        for j, other in enumerate(said, start=1):
            replaced = cost[i - 1, j - 1] + (word != other)
            cost[i, j] = min(replaced, cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    correct = [False] * len(said)
    i, j = len(wanted), len(said)
    while i and j:
        same = wanted[i - 1] == said[j - 1]
        if cost[i, j] == cost[i - 1, j - 1] + (not same):
            i, j = i - 1, j - 1
            correct[j] = same
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return correct


def fit(features: npt.ArrayLike, correct: npt.ArrayLike, penalty: float = PENALTY) -> Floats:
    """The logistic regression of `correct` on `features`, by Newton's method.

    Args:
        features: shape = (words, k).
        correct: shape = (words,), true where the word was said.
        penalty: half of it times the sum of the squared weights, those of standardised features,
            is added to the negative log-likelihood.

    Returns: the bias, then the k weights, for features as they were given.

    Raises:
        DataError: the shapes do not fit, a value is not finite, or all words are correct or wrong.
    """
    x, y = _checked(features, correct)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale <= 1e-9 * np.abs(mean)] = np.inf  # constant: says nothing, weighs nothing
    design = np.column_stack([np.ones(len(x)), (x - mean) / scale])
    ridge = np.full(design.shape[1], penalty)
    ridge[0] = 1e-9  # the bias is free
    weights = np.zeros(design.shape[1])
    for _ in range(STEPS):
        probability = confidence(design[:, 1:], weights)
        gradient = design.T @ (y - probability) - ridge * weights
        curvature = (design.T * (probability * (1 - probability))) @ design + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    slopes = weights[1:] / scale
    return np.concatenate([[weights[0] - slopes @ mean], slopes])


def confidence(features: npt.ArrayLike, coefficients: Floats) -> Floats:
    """Confidence of each word, 0..1; `coefficients` as `fit` returns them."""
    score: Floats = np.asarray(features, np.float64) @ coefficients[1:] + coefficients[0]
    return 0.5 * (1 + np.tanh(0.5 * score))  # the logistic function, without overflow


def calibration_error(
    confidences: npt.ArrayLike, correct: npt.ArrayLike, equal_mass: bool = False
) -> float:
    """Expected calibration error: how far confidence and share of correct words are apart.

    A mean over ten bins, weighted with their words. The bins are equally wide, or, with
    `equal_mass`, hold equally many words.
    """
    rows = reliability(confidences, correct, equal_mass)
    words = sum(count for count, _, _ in rows)
    return sum(count * abs(claimed - right) for count, claimed, right in rows) / words


def reliability(
    confidences: npt.ArrayLike, correct: npt.ArrayLike, equal_mass: bool = False
) -> list[tuple[int, float, float]]:
    """Words, mean confidence and share of correct words of each of ten bins; empty ones: 0."""
    x, y = _checked(np.reshape(confidences, (-1, 1)), correct, both_needed=False)
    claimed = x[:, 0]
    if equal_mass:
        bins = np.empty(len(y), int)
        bins[np.argsort(claimed, kind="stable")] = np.arange(len(y)) * BINS // len(y)
    else:
        bins = np.clip((claimed * BINS).astype(int), 0, BINS - 1)
    members = [bins == one for one in range(BINS)]
    return [
        (int(m.sum()), float(claimed[m].mean()), float(y[m].mean())) if m.any() else (0, 0.0, 0.0)
        for m in members
    ]


def auroc(confidences: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Probability that a correct word has more confidence than a wrong one; ties count half."""
    x, y = _checked(np.reshape(confidences, (-1, 1)), correct)
    _, place, count = np.unique(x[:, 0], return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place.ravel()]
    right, wrong = y.sum(), (1 - y).sum()
    return float((rank[y == 1].sum() - right * (right + 1) / 2) / (right * wrong))


def _checked(
    features: npt.ArrayLike, correct: npt.ArrayLike, both_needed: bool = True
) -> tuple[Floats, Floats]:
    x: Floats = np.asarray(features, np.float64)
    y: npt.NDArray[Any] = np.asarray(correct)
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
        raise DataError(
            "needed features of shape (words, k) and as many flags, one word at least; "
            f"got shapes {x.shape} and {y.shape}"
        )
    if not np.isfinite(x).all():
        raise DataError(f"features of {(~np.isfinite(x).all(axis=1)).sum()} words are not finite")
    y = y.astype(bool)
    if both_needed and y.all() == y.any():
        raise DataError(
            f"needed correct and wrong words, got {len(y)} that are all "
            f"{'correct' if y[0] else 'wrong'}"
        )
    return x, y.astype(np.float64)
