"""Proof of equality: the checkpoint's own model against an artefact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ds2edge.bundle import Weights
from ds2edge.decoder import LogProbs
from ds2edge.errors import BundleError
from ds2edge.training.evaluation.bootstrap import paired
from ds2edge.training.evaluation.recognised import Scores


@dataclass(frozen=True)
class Difference:
    """How far two models' log-probabilities are apart over the same frames."""

    largest: float  # |difference of log p|
    mean: float  # |difference of log p|
    largest_probability: float  # |difference of p|
    same_best: float  # share of outputs with the same likeliest token, or one within TIE of it


@dataclass(frozen=True)
class Limit:
    """What a conversion may be off by."""

    largest: float  # of a log-probability, nats
    mean: float  # of log-probabilities, nats
    same_best: float  # of outputs, at least
    why: str  # what is wrong beyond it


# float32 is the same arithmetic; of thousands of tokens some are so unlikely that its rounding
# shows, by 1e-3 nats. Of the others the largest difference says little: it stands where a token is
# all but impossible.
LIMITS: dict[Weights, Limit] = {
    "fp32": Limit(3e-3, 1e-4, 0.999, "the conversion is wrong"),
    "fp16": Limit(np.inf, 0.03, 0.99, "some weights do not fit into float16"),
    "int8": Limit(np.inf, 0.3, 0.95, "quantisation broke the model"),
    "int8-static": Limit(np.inf, 0.3, 0.95, "quantisation broke the model"),
}

TIE = 0.1  # nats by which the model may find the likeliest token likelier than an artefact's
MOST_MORE_ERRORS = 1.0  # points of the word error rate


def difference(found: Sequence[LogProbs], expected: Sequence[LogProbs]) -> Difference:
    """Compare recording by recording.

    Raises:
        BundleError: a recording has another number of outputs.
    """
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            raise BundleError(f"the graph gives {one.shape} outputs, the model {other.shape}")
    a, b = np.concatenate(found), np.concatenate(expected)
    apart = np.abs(a - b)
    chosen = np.take_along_axis(b, a.argmax(-1)[:, None], axis=-1)[:, 0]
    return Difference(
        float(apart.max()),
        float(apart.mean()),
        float(np.abs(np.exp(a) - np.exp(b)).max()),
        float(np.mean(b.max(-1) - chosen <= TIE)),
    )


def check_gate(weights: Weights, found: Difference) -> None:
    """Refuse a conversion that is not the same model.

    Raises:
        BundleError: a difference is over its limit.
    """
    limit = LIMITS[weights]
    for name, value, allowed, within in (
        ("largest", found.largest, limit.largest, found.largest <= limit.largest),
        ("mean", found.mean, limit.mean, found.mean <= limit.mean),
    ):
        if not within:
            raise BundleError(
                f"{weights} differs from the checkpoint's model by {value:.3g} in log-probability "
                f"({name}), allowed {allowed:g}: {limit.why}"
            )
    if not found.same_best >= limit.same_best:
        raise BundleError(
            f"{weights} has the same likeliest token as the checkpoint's model in "
            f"{100 * found.same_best:.2f} % of the outputs, needed {100 * limit.same_best:g} %: "
            f"{limit.why}"
        )


def more_errors(model: Scores, artefact: Scores) -> dict[str, Any]:
    """By how many points an artefact's word error rate is higher than the model's, each way.

    With the interval of a paired bootstrap, which is None for few utterances.
    """
    found = {}
    for way in model.ways:
        apart = paired(model.word_errors[way], artefact.word_errors[way], model.words)
        interval = apart.interval and [round(100 * bound, 2) for bound in apart.interval]
        found[way] = {"points": round(100 * apart.rate, 2), "interval": interval}
    return found


def check_error_rates(weights: Weights, more: dict[str, Any]) -> None:
    """Refuse an artefact that hears worse than the checkpoint's model.

    Raises:
        BundleError: the way that a user meets has more errors than are allowed, beyond chance.
    """
    found = list(more.values())[-1]
    if found["interval"] and found["points"] > MOST_MORE_ERRORS and found["interval"][0] > 0:
        raise BundleError(
            f"{weights} has a word error rate {found['points']:.2f} points above that of the "
            f"checkpoint's model, allowed {MOST_MORE_ERRORS:g}"
        )
