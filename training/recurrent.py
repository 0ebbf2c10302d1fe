"""Gated recurrence over whole sequences, with the weight gradient taken out of the loop.

The input term of every step is computed before the loop (one large product), and the gradient
of the recurrent matrix after it (another one), so a step of the loop is a single product with
the recurrent matrix plus elementwise work.
"""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any


def gru(inputs: Tensor, initial: Tensor, kernel: Tensor) -> Tensor:
    """Run a GRU over time, the reset gate after the recurrent product (one product a step).

        z = sigmoid(x_z + h U_z),  r = sigmoid(x_r + h U_r)
        c = tanh(x_c + r * h U_c),  h' = z * h + (1 - z) * c

    Args:
        inputs: input terms x of the three gates z, r, c; shape = (batch, time, 3 * units).
        initial: first hidden state; shape = (batch, units).
        kernel: recurrent matrix U; shape = (units, 3 * units).

    Returns: hidden states, shape = (batch, time, units).
    """
    by_time = ops.transpose(inputs, (1, 0, 2))
    return ops.transpose(_gru_by_time(by_time, initial, kernel), (1, 0, 2))


def gru_gates(x: Tensor, recurrent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gates of one step: update z, reset r, candidate c, each of shape = (batch, units).

    Args:
        x: input terms, shape = (batch, 3 * units).
        recurrent: h U, shape = (batch, 3 * units).
    """
    units = x.shape[-1] // 3
    gates = ops.sigmoid(x[:, : 2 * units] + recurrent[:, : 2 * units])
    update, reset = gates[:, :units], gates[:, units:]
    return update, reset, ops.tanh(x[:, 2 * units :] + reset * recurrent[:, 2 * units :])


@ops.custom_gradient
def _gru_by_time(x: Tensor, initial: Tensor, kernel: Tensor) -> Any:
    """The loop of `gru`, time first, with its own gradient."""

    def step(hidden: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
        update, _, candidate = gru_gates(x_t, _matmul(hidden, kernel))
        new = update * (hidden - candidate) + candidate
        return new, new

    _, states = ops.scan(step, initial, x)

    def gradient(*args: Any, **_: Any) -> tuple[Tensor, ...]:
        upstream = args[-1]  # Keras's backends disagree on what comes before it
        units = kernel.shape[0]
        # The gates of all steps at once: cheaper to compute again than to keep.
        previous = ops.concatenate([initial[None], states[:-1]], axis=0)
        flat = ops.reshape(previous, (-1, units))
        recurrent = _matmul(flat, kernel)
        update, reset, candidate = gru_gates(ops.reshape(x, (-1, 3 * units)), recurrent)
        to_candidate = (1 - update) * (1 - candidate * candidate)
        factors = ops.concatenate(  # d(h U) = factors * d(h'), for the three gates
            [
                (flat - candidate) * update * (1 - update),
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
        d_initial, totals = ops.scan(back, ops.zeros_like(initial), at, reverse=True)
        totals = ops.reshape(totals, (-1, units))
        d_recurrent = ops.concatenate([totals, totals, totals], axis=-1) * factors
        d_inputs = ops.concatenate([d_recurrent[:, : 2 * units], totals * to_candidate], axis=-1)
        return (
            ops.reshape(d_inputs, (*by_step, 3 * units)),
            d_initial,
            _matmul(ops.transpose(flat), ops.cast(d_recurrent, kernel.dtype)),
        )

    return states, gradient


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product a b computed in b's dtype and returned in float32: gates and states need the
    range, and elementwise bfloat16 is slower than float32 on every processor tried."""
    return ops.cast(ops.matmul(ops.cast(a, b.dtype), b), "float32")
