"""Recurrence over whole sequences, with the weight gradient taken out of the loop.

The input term of every step is computed before the loop (one large product), and the gradient
of the recurrent matrix after it (another one), so a step of the loop is a single product with
the recurrent matrix plus elementwise work.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from keras import ops

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
        inputs: input terms x of the three gates z, r, c; shape = (batch, time, 3 * units).
        initial: first hidden state; shape = (batch, units).
        kernel: recurrent matrix U; shape = (units, 3 * units).
        candidate: the function f, "tanh" or "clipped_relu".
        reverse: begin at the last step.

    Returns: hidden states, each at its own step, shape = (batch, time, units).
    """
    return _by_time(_gru_loop(candidate, reverse), inputs, initial, kernel)


def simple(inputs: Tensor, initial: Tensor, kernel: Tensor, reverse: bool = False) -> Tensor:
    """Run the paper's simple recurrence over time: h' = min(max(x + h U, 0), 20).

    Args:
        inputs: input terms x; shape = (batch, time, units).
        initial: first hidden state; shape = (batch, units).
        kernel: recurrent matrix U; shape = (units, units).
        reverse: begin at the last step.

    Returns: hidden states, each at its own step, shape = (batch, time, units).
    """
    return _by_time(_simple_loop(reverse), inputs, initial, kernel)


def gru_gates(
    x: Tensor, recurrent: Tensor, candidate: str = "tanh"
) -> tuple[Tensor, Tensor, Tensor]:
    """Gates of one step: update z, reset r, candidate c, each of shape = (batch, units).

    Args:
        x: input terms, shape = (batch, 3 * units).
        recurrent: h U, shape = (batch, 3 * units).
        candidate: what makes c, as for `gru`.
    """
    units = x.shape[-1] // 3
    gates = ops.sigmoid(x[:, : 2 * units] + recurrent[:, : 2 * units])
    update, reset = gates[:, :units], gates[:, units:]
    activation = ops.tanh if candidate == "tanh" else clipped_relu
    return update, reset, activation(x[:, 2 * units :] + reset * recurrent[:, 2 * units :])


def _by_time(loop: Any, inputs: Tensor, initial: Tensor, kernel: Tensor) -> Tensor:
    by_time = ops.transpose(inputs, (1, 0, 2))
    return ops.transpose(loop(by_time, initial, kernel), (1, 0, 2))


@cache
def _gru_loop(candidate: str, reverse: bool) -> Any:
    """The loop of `gru`, time first, with its own gradient."""

    @ops.custom_gradient
    def loop(x: Tensor, initial: Tensor, kernel: Tensor) -> Any:
        def step(hidden: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
            update, _, new = gru_gates(x_t, _matmul(hidden, kernel), candidate)
            new = update * (hidden - new) + new
            return new, new

        _, states = ops.scan(step, initial, x, reverse=reverse)

        def gradient(*args: Any, **_: Any) -> tuple[Tensor, ...]:
            upstream = args[-1]  # Keras's backends disagree on what comes before it
            return _gru_gradient(x, initial, kernel, states, upstream, candidate, reverse)

        return states, gradient

    return loop


def _gru_gradient(
    x: Tensor,
    initial: Tensor,
    kernel: Tensor,
    states: Tensor,
    upstream: Tensor,
    candidate: str,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """Gradients of inputs, first state and recurrent matrix."""
    units = kernel.shape[0]
    # The gates of all steps at once: cheaper to compute again than to keep.
    flat = ops.reshape(_previous(initial, states, reverse), (-1, units))
    recurrent = _matmul(flat, kernel)
    update, reset, new = gru_gates(ops.reshape(x, (-1, 3 * units)), recurrent, candidate)
    to_candidate = (1 - update) * (1 - new * new if candidate == "tanh" else _unclipped(new))
    factors = ops.concatenate(  # d(h U) = factors * d(h'), for the three gates
        [
            (flat - new) * update * (1 - update),
            to_candidate * recurrent[:, 2 * units :] * reset * (1 - reset),
            to_candidate * reset,
        ],
        axis=-1,
    )
    transposed = ops.transpose(kernel)

    def back(carry: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        total = carry + at[:, 4 * units :]
        d_recurrent = ops.concatenate([total, total, total], axis=-1) * at[:, : 3 * units]
        kept = total * at[:, 3 * units : 4 * units]
        return kept + _matmul(d_recurrent, transposed), total

    by_step = (ops.shape(x)[0], ops.shape(x)[1])
    # One array, since Keras's TensorFlow scan takes no second one of unknown length.
    at = ops.concatenate([factors, update, ops.reshape(upstream, (-1, units))], axis=-1)
    at = ops.reshape(at, (*by_step, 5 * units))
    d_initial, totals = ops.scan(back, ops.zeros_like(initial), at, reverse=not reverse)
    totals = ops.reshape(totals, (-1, units))
    d_recurrent = ops.concatenate([totals, totals, totals], axis=-1) * factors
    d_inputs = ops.concatenate([d_recurrent[:, : 2 * units], totals * to_candidate], axis=-1)
    return (
        ops.reshape(d_inputs, (*by_step, 3 * units)),
        d_initial,
        _matmul(ops.transpose(flat), ops.cast(d_recurrent, kernel.dtype)),
    )


@cache
def _simple_loop(reverse: bool) -> Any:
    """The loop of `simple`, time first, with its own gradient."""

    @ops.custom_gradient
    def loop(x: Tensor, initial: Tensor, kernel: Tensor) -> Any:
        def step(hidden: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
            new = clipped_relu(x_t + _matmul(hidden, kernel))
            return new, new

        _, states = ops.scan(step, initial, x, reverse=reverse)

        def gradient(*args: Any, **_: Any) -> tuple[Tensor, ...]:
            return _simple_gradient(initial, kernel, states, args[-1], reverse)

        return states, gradient

    return loop


def _simple_gradient(
    initial: Tensor, kernel: Tensor, states: Tensor, upstream: Tensor, reverse: bool
) -> tuple[Tensor, ...]:
    """Gradients of inputs, first state and recurrent matrix."""
    units = kernel.shape[0]
    transposed = ops.transpose(kernel)

    def back(carry: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        total = (carry + at[:, units:]) * at[:, :units]
        return _matmul(total, transposed), total

    at = ops.concatenate([_unclipped(states), upstream], axis=-1)
    d_initial, d_inputs = ops.scan(back, ops.zeros_like(initial), at, reverse=not reverse)
    flat = ops.reshape(_previous(initial, states, reverse), (-1, units))
    d_recurrent = ops.cast(ops.reshape(d_inputs, (-1, units)), kernel.dtype)
    return d_inputs, d_initial, _matmul(ops.transpose(flat), d_recurrent)


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
