"""The label prior: how often the model says each token, whatever it hears.

A CTC model's outputs are mostly blank. Dividing a part of that out, as hybrid systems do with
their states, makes short words less likely to be lost. Since log_softmax(logits - weight * log
prior) is the same model with another bias of its output layer, nothing in the runtime changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ds2edge.acoustic import log_softmax
from ds2edge.decoder import LogProbs

LogPrior: TypeAlias = npt.NDArray[np.float32]  # natural logarithms, shape = (tokens,)

LEAST = 1e-6  # a token that is never heard must not become the likeliest


def label_prior(blocks: Sequence[LogProbs]) -> LogPrior:
    """The mean probability of each token over all frames of recordings, as a logarithm."""
    total = sum(np.exp(block.astype(np.float64)).sum(axis=0) for block in blocks)
    mean = total / sum(map(len, blocks))
    prior: LogPrior = np.log(np.maximum(mean, LEAST)).astype(np.float32)
    return prior


def subtract_prior(log_probs: LogProbs, log_prior: LogPrior, weight: float) -> LogProbs:
    """The log-probabilities, shape = (frames, tokens), of the model with `shifted_bias`."""
    return log_softmax(log_probs - np.float32(weight) * log_prior) if weight else log_probs


def shifted_bias(
    bias: npt.NDArray[np.float32], log_prior: LogPrior, weight: float
) -> npt.NDArray[np.float32]:
    """The output layer's bias, shape = (tokens,), that divides a part of the prior out."""
    return bias - np.float32(weight) * log_prior
