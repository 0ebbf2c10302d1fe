"""Recurrence over whole sequences, with the weight gradient taken out of the loop.

The input term of every step is computed before the loop (one large product), and the gradient
of the recurrent matrix after it (another one), so a step of the loop is a single product with
the recurrent matrix plus elementwise work.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
from keras import ops

from ds2edge.training.network.scan import scan

Tensor = Any
CLIP = 20.0  # of the clipped rectifier, section 3.1 of the paper


def clipped_relu(x: Tensor) -> Tensor:
    """min(max(x, 0), 20)."""
    return ops.clip(x, 0.0, CLIP)


def gru(
    inputs: Tensor, initial: Tensor, kernel: Tensor, candidate: str = "tanh", reverse: bool = False
) -> Tensor:
    """Run a GRU over time, the reset gate after the recurrent product (one product a step).

        z = sigmoid(x_z + h U_z),  r = sigmoid(x_r + h U_r)
        c = f(x_c + r * h U_c),  h' = z * h + (1 - z) * c

    Args:
        inputs: input terms x of the three gates z, r, c; shape = (time, batch, 3 * units).
        initial: first hidden state; shape = (batch, units).
        kernel: recurrent matrix U; shape = (units, 3 * units).
        candidate: the function f, "tanh" or "clipped_relu".
        reverse: begin at the last step.

    Returns: hidden states, each at its own step, shape = (time, batch, units).
    """
    return _gru_loop(candidate, reverse)(inputs, initial, kernel)


def simple(inputs: Tensor, initial: Tensor, kernel: Tensor, reverse: bool = False) -> Tensor:
    """Run the paper's simple recurrence over time: h' = min(max(x + h U, 0), 20).

    Args:
        inputs: input terms x; shape = (time, batch, units).
        initial: first hidden state; shape = (batch, units).
        kernel: recurrent matrix U; shape = (units, units).
        reverse: begin at the last step.

    Returns: hidden states, each at its own step, shape = (time, batch, units).
    """
    return _simple_loop(reverse)(inputs, initial, kernel)


@cache
def _gru_loop(candidate: str, reverse: bool) -> Any:
    """The loop of `gru`, with its own gradient."""

    @ops.custom_gradient
    def loop(x: Tensor, initial: Tensor, kernel: Tensor) -> Any:
        units = kernel.shape[0]
        activation = ops.tanh if candidate == "tanh" else clipped_relu

        def step(hidden: Tensor, x_t: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            recurrent = _matmul(hidden, kernel)
            gates = ops.sigmoid(x_t[:, : 2 * units] + recurrent[:, : 2 * units])
            to_new = gates[:, units:] * recurrent[:, 2 * units :]
            new = activation(x_t[:, 2 * units :] + to_new)
            hidden = gates[:, :units] * (hidden - new) + new
            return hidden, (hidden, gates, new, recurrent[:, 2 * units :])

        widths = (units, 2 * units, units, units)
        _, (states, *kept) = scan(step, initial, (x,), widths, reverse)

        def gradient(*args: Any, **_: Any) -> tuple[Tensor, ...]:
            upstream = args[-1]  # Keras's backends disagree on what comes before it
            with keras.name_scope("recurrence"):
                before = _previous(initial, states, reverse)
                return _gru_gradient(before, kernel, (*kept, upstream), candidate, reverse)

        return states, gradient

    return loop


def _gru_gradient(
    before: Tensor, kernel: Tensor, at: tuple[Tensor, ...], candidate: str, reverse: bool
) -> tuple[Tensor, ...]:
    """Gradients of inputs, first state and recurrent matrix.

    Args:
        before: the states that the steps began with.
        at: of every step the gates z and r, the candidate, h U_c and the gradient from above.
    """
    units = kernel.shape[0]
    transposed = ops.transpose(kernel)

    def back(carry: Tensor, *at: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        hidden, gates, new, recurrent, upstream = at
        total = carry + upstream
        update, reset = gates[:, :units], gates[:, units:]
        kept = total * update
        slope = 1 - new * new if candidate == "tanh" else _unclipped(new)
        d_new = (total - kept) * slope
        d_update = kept * (1 - update) * (hidden - new)
        through = d_new * reset
        d_reset = through * (1 - reset) * recurrent
        d_recurrent = ops.concatenate([d_update, d_reset, through], axis=-1)
        d_input = ops.concatenate([d_update, d_reset, d_new], axis=-1)
        return kept + _matmul(d_recurrent, transposed), (d_input, d_recurrent)

    widths = (3 * units, 3 * units)
    d_initial, (d_inputs, d_recurrent) = scan(
        back, ops.zeros_like(before[0]), (before, *at), widths, not reverse
    )
    return d_inputs, d_initial, _weight_gradient(before, d_recurrent, kernel)


@cache
def _simple_loop(reverse: bool) -> Any:
    """The loop of `simple`, with its own gradient."""

    @ops.custom_gradient
    def loop(x: Tensor, initial: Tensor, kernel: Tensor) -> Any:
        def step(hidden: Tensor, x_t: Tensor) -> tuple[Tensor, tuple[Tensor]]:
            new = clipped_relu(x_t + _matmul(hidden, kernel))
            return new, (new,)

        _, (states,) = scan(step, initial, (x,), (kernel.shape[0],), reverse)

        def gradient(*args: Any, **_: Any) -> tuple[Tensor, ...]:
            with keras.name_scope("recurrence"):
                return _simple_gradient(initial, kernel, states, args[-1], reverse)

        return states, gradient

    return loop


def _simple_gradient(
    initial: Tensor, kernel: Tensor, states: Tensor, upstream: Tensor, reverse: bool
) -> tuple[Tensor, ...]:
    """Gradients of inputs, first state and recurrent matrix."""
    transposed = ops.transpose(kernel)

    def back(carry: Tensor, state: Tensor, above: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        total = (carry + above) * _unclipped(state)
        return _matmul(total, transposed), (total,)

    d_initial, (d_inputs,) = scan(
        back, ops.zeros_like(initial), (states, upstream), (kernel.shape[0],), not reverse
    )
    before = _previous(initial, states, reverse)
    return d_inputs, d_initial, _weight_gradient(before, d_inputs, kernel)


def _weight_gradient(before: Tensor, d_recurrent: Tensor, kernel: Tensor) -> Tensor:
    """Of the recurrent matrix, all steps in one product."""
    flat = ops.reshape(before, (-1, kernel.shape[0]))
    d_recurrent = ops.cast(ops.reshape(d_recurrent, (-1, kernel.shape[1])), kernel.dtype)
    return _matmul(ops.transpose(flat), d_recurrent)


def _previous(initial: Tensor, states: Tensor, reverse: bool) -> Tensor:
    """The state that each step began with."""
    if reverse:
        return ops.concatenate([states[1:], initial[None]], axis=0)
    return ops.concatenate([initial[None], states[:-1]], axis=0)


def _unclipped(y: Tensor) -> Tensor:
    """The slope of the clipped rectifier where it gave y."""
    return ops.cast(ops.logical_and(y > 0, y < CLIP), "float32")


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product a b computed in b's dtype and returned in float32: gates and states need the
    range, and elementwise bfloat16 is slower than float32 on every processor tried."""
    return ops.cast(ops.matmul(ops.cast(a, b.dtype), b), "float32")
