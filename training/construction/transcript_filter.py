"""Which transcripts are right: the paper's linear classifier (section 5.1).

It is trained on examples that are known to be good or bad. A trained one is a small JSON file that
belongs to an acoustic model; one for the embedded model comes with ds2edge.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ds2edge.decoder import LogProbs
from ds2edge.errors import ConfigError, DataError
from ds2edge.training.construction.ctc_cost import ctc_cost
from ds2edge.training.files import read_json

FORMAT = 1  # of the file
SHIPPED = Path(__file__).with_name("transcript_filter.json")
WORST = 10.0  # nats for each output or token, whichever are more: what cannot be aligned costs

FEATURES = (
    "cost",  # of CTC, nats
    "cost_per_output",  # nats
    "cost_per_token",  # nats, of the text
    "outputs_per_token",
    "words",
    "characters",
)

Features = npt.NDArray[np.float64]  # shape = (examples, FEATURES)
Chances = npt.NDArray[np.float64]  # that each transcript is right, shape = (examples,)


@dataclass(frozen=True)
class TranscriptFilter:
    """Logistic regression: a chance in 0..1 that a transcript is right."""

    model: str  # SHA-256 of the one whose log-probabilities it knows
    mean: tuple[float, ...]  # of each feature
    deviation: tuple[float, ...]
    weights: tuple[float, ...]  # of the features in deviations from their mean
    bias: float
    threshold: float  # chance from which on a transcript is kept, unless said otherwise
    examples: int  # that it was trained on

    def __post_init__(self) -> None:
        if not {len(self.mean), len(self.deviation), len(self.weights)} == {len(FEATURES)}:
            raise ConfigError(f"needed {len(FEATURES)} features: {', '.join(FEATURES)}")

    def chances(self, features: Features) -> Chances:
        """That each transcript is right."""
        scaled = (features - np.array(self.mean)) / np.array(self.deviation)
        odds = scaled @ np.array(self.weights) + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -50, 50))))


def features_of(log_probs: LogProbs, tokens: Sequence[int], text: str) -> list[float]:
    """What the classifier sees of a recording and its transcript.

    Args:
        log_probs: shape = (outputs, tokens of the model).
        tokens: of the text.
        text: normalised.
    """
    outputs, length = max(1, len(log_probs)), max(1, len(tokens))
    worst = WORST * max(outputs, length)
    cost = min(ctc_cost(log_probs, tokens), worst) if len(log_probs) else worst
    return [
        cost,
        cost / outputs,
        cost / length,
        outputs / length,
        float(len(text.split())),
        float(len(text)),
    ]


def train_filter(
    features: Features, good: npt.NDArray[np.bool_], model: str, keep: float
) -> TranscriptFilter:
    """Fit the classifier.

    Args:
        good: which examples are right, shape = (examples,).
        model: SHA-256 of the acoustic model.
        keep: share of the good ones that the threshold is to keep.

    Raises:
        DataError: there are too few good or bad examples.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    if min(good.sum(), (~good).sum()) < 10:
        raise DataError(
            f"needed 10 good and 10 bad examples or more, got {good.sum()} and {(~good).sum()}"
        )
    scaler = StandardScaler().fit(features)
    fitted = LogisticRegression(class_weight="balanced", max_iter=1000).fit(
        scaler.transform(features), good
    )
    found = TranscriptFilter(
        model,
        _plain(scaler.mean_),
        _plain(scaler.scale_),
        _plain(fitted.coef_[0]),
        round(float(fitted.intercept_[0]), 6),
        0.5,
        len(features),
    )
    threshold = float(np.quantile(found.chances(features)[good], 1 - keep))
    return TranscriptFilter(**{**asdict(found), "threshold": round(threshold, 6)})


def to_json(found: TranscriptFilter) -> str:
    """The file of a trained filter."""
    return json.dumps({"format": FORMAT, **asdict(found)}, indent=1) + "\n"


def read_filter(path: Path) -> TranscriptFilter:
    """What `to_json` wrote.

    Raises:
        DataError: the file is missing, damaged or something else.
    """
    return read_json(path, TranscriptFilter, FORMAT, "ds2edge data train-filter")


def _plain(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)
