"""Connectionist temporal classification (Graves et al. 2006)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import keras
from keras import ops

from ds2edge.text import BLANK
from ds2edge.training.network.scan import scan

Tensor = Any
NEVER = -1e30  # log of a probability of zero: finite, so that nothing becomes NaN


def ctc_loss(
    logits: Tensor, steps: Tensor, tokens: Tensor, lengths: Tensor, silent: int = 0
) -> Tensor:
    """-log p(tokens | logits) of each recording; 0, without a gradient, if none can be aligned.

    Summed over all alignments by the forward recursion, whose own gradient it is: every step keeps
    which share of each state came from where, and the way back only has to multiply with it.

    Args:
        logits: shape = (batch, longest steps, token set).
        steps: valid steps, shape = (batch,), int32.
        tokens: padded with the blank, shape = (batch, longest text), int32.
        lengths: valid tokens, shape = (batch,), int32.
        silent: first steps of each recording in which no alignment has a token.

    Returns: shape = (batch,).
    """
    with keras.name_scope("ctc"):
        steps, tokens, lengths = (
            ops.cast(ops.convert_to_tensor(x), "int32") for x in (steps, tokens, lengths)
        )
        room = lengths + _repeats(tokens, lengths) <= steps - silent
        fits = ops.logical_and(ops.logical_or(room, lengths == 0), steps > 0)
        lengths = ops.where(fits, lengths, 0)

        @ops.custom_gradient
        def losses(logits: Tensor) -> Any:
            log_probs = ops.log_softmax(logits)
            found, shares, places, ends = _forward(log_probs, steps, tokens, lengths, silent)

            def gradient(*args: Any, **_: Any) -> Tensor:
                with keras.name_scope("ctc"):
                    upstream = ops.where(fits, args[-1], 0.0)
                    return _backward(log_probs, steps, shares, places, ends, upstream)

            return ops.where(fits, found, 0.0), gradient

        return losses(ops.cast(logits, "float32"))


def alignable(tokens: list[int], steps: int) -> bool:
    """Whether CTC can align the text: each token takes a step, each repeat one blank more."""
    repeats = sum(a == b for a, b in pairwise(tokens))
    return len(tokens) + repeats <= steps


def _repeats(tokens: Tensor, lengths: Tensor) -> Tensor:
    """How often a token follows itself; shape = (batch,)."""
    inside = ops.arange(1, ops.shape(tokens)[1])[None, :] < lengths[:, None]
    same = ops.logical_and(tokens[:, 1:] == tokens[:, :-1], inside)
    return ops.sum(ops.cast(same, "int32"), axis=1)


def _forward(
    log_probs: Tensor, steps: Tensor, tokens: Tensor, lengths: Tensor, silent: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Losses and what the gradient needs.

    The states of a text are its tokens and a blank before, between and behind them.

    Returns:
        losses: shape = (batch,).
        shares: of a state at a step, how much came from itself and from the ones before it; three
            arrays side by side, shape = (steps, batch, 3 * states).
        places: where the token of each state is in the flat log_probs, shape = (steps, batch,
            states).
        ends: shares of the last two states in the probability of the text, shape = (batch, states).
    """
    batch, count, size = ops.shape(log_probs)
    blanks = ops.zeros_like(tokens) + BLANK
    states = ops.reshape(ops.stack([blanks, tokens], axis=2), (batch, -1))
    states = ops.concatenate([states, ops.zeros_like(lengths[:, None]) + BLANK], axis=1)
    begins = ops.arange(batch)[None, :] * count + ops.arange(count)[:, None]
    places = begins[:, :, None] * size + states[None]
    emitted = ops.take(ops.reshape(log_probs, (-1,)), places)
    numbers = ops.arange(ops.shape(states)[1])[None, :]
    if silent:
        early = ops.logical_and(ops.arange(count)[:, None] < silent, numbers % 2 == 1)
        emitted = ops.where(early[:, None], NEVER, emitted)
    none = ops.full((batch, 2), NEVER)
    # A blank may be left out between two tokens that differ.
    other = states[:, 2:] != states[:, :-2]
    skips = ops.concatenate([none, ops.where(other, 0.0, NEVER)], axis=1)

    def step(before: Tensor, emitted: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        one = ops.concatenate([none[:, :1], before[:, :-1]], axis=1)
        two = ops.concatenate([none, before[:, :-2]], axis=1) + skips
        most = ops.maximum(ops.maximum(before, one), two)
        stay, one, two = ops.exp(before - most), ops.exp(one - most), ops.exp(two - most)
        total = stay + one + two
        share = 1 / total
        now = ops.maximum(most + ops.log(total) + emitted, NEVER)
        return now, (now, ops.concatenate([stay * share, one * share, two * share], axis=1))

    # Before the first step as if a blank had been: the first state is that blank or the one after.
    first = ops.where(numbers == 0, 0.0, NEVER) + ops.zeros((batch, 1))
    _, (reached, shares) = scan(step, first, (emitted,), (None, None), reverse=False)
    last = ops.logical_or(numbers == 2 * lengths[:, None], numbers == 2 * lengths[:, None] - 1)
    at_end = _at(reached, ops.maximum(steps, 1) - 1)
    at_end = ops.where(last, at_end, NEVER)
    losses = -ops.logsumexp(at_end, axis=1)
    return losses, shares, places, ops.softmax(at_end)


def _backward(
    log_probs: Tensor, steps: Tensor, shares: Tensor, places: Tensor, ends: Tensor, upstream: Tensor
) -> Tensor:
    """Gradient of the logits: softmax less how probable it is to be in a state at a step."""
    batch, count, size = ops.shape(log_probs)
    states = ops.shape(ends)[1]
    none = ops.zeros((batch, 2))
    is_last = ops.cast(ops.arange(count)[:, None] == steps[None] - 1, "float32")[:, :, None]

    def step(later: Tensor, shares: Tensor, is_last: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        here = later + is_last * ends
        from_here = ops.concatenate([here, here, here], axis=1) * shares
        stay, one, two = (from_here[:, i * states : (i + 1) * states] for i in range(3))
        one = ops.concatenate([one[:, 1:], none[:, :1]], axis=1)
        two = ops.concatenate([two[:, 2:], none], axis=1)
        return stay + one + two, (here,)

    _, (here,) = scan(step, ops.zeros_like(ends), (shares, is_last), (None,), reverse=True)
    occupied = ops.segment_sum(
        ops.reshape(here, (-1,)), ops.reshape(places, (-1,)), batch * count * size
    )
    valid = ops.cast(ops.arange(count)[None, :] < steps[:, None], "float32")
    gradient = ops.exp(log_probs) * valid[:, :, None] - ops.reshape(occupied, (batch, count, size))
    return gradient * upstream[:, None, None]


def _at(x: Tensor, step: Tensor) -> Tensor:
    """Of x, shape = (steps, batch, any), each recording's own step."""
    steps, batch = ops.shape(x)[:2]
    flat = ops.reshape(x, (steps * batch, ops.shape(x)[2]))
    return ops.take(flat, step * batch + ops.arange(batch), axis=0)
