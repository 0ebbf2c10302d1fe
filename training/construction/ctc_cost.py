"""What CTC costs: how unlikely a text is, whatever its alignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ds2edge.decoder import LogProbs
from ds2edge.text import BLANK


def ctc_cost(log_probs: LogProbs, tokens: Sequence[int]) -> float:
    """Minus the log-probability of a text, summed over all alignments (Graves et al. 2006).

    In NumPy, one output after the other: for some thousands of recordings, not for training.

    Args:
        log_probs: shape = (outputs, tokens of the model).
        tokens: of the text.

    Returns: nats; infinite if the text needs more outputs than there are.
    """
    states = np.full(2 * len(tokens) + 1, BLANK)
    states[1::2] = tokens
    skips = np.zeros(len(states), bool)  # whether the blank before a token may be left out
    skips[3::2] = states[3::2] != states[1:-2:2]
    before = np.full(len(states) + 2, -np.inf)  # two places that nothing comes from
    before[2] = 0.0
    first = True
    with np.errstate(invalid="ignore"):
        for output in np.asarray(log_probs, np.float64)[:, states]:
            total = np.logaddexp(before[2:], before[1:-1])
            total = np.where(skips, np.logaddexp(total, before[:-2]), total)
            if first:  # a path begins with a blank or the first token
                total = np.full(len(states), -np.inf)
                total[:2] = 0.0
                first = False
            before[2:] = total + output
    ends = before[2:][-2:] if len(tokens) else before[2:]
    return float(-np.logaddexp.reduce(ends))
