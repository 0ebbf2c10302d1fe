"""A loop over time, as fast as each backend has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any


def scan(
    step: Callable[..., tuple[Tensor, tuple[Tensor, ...]]],
    initial: Tensor,
    inputs: tuple[Tensor, ...],
    widths: Sequence[int | None],
    reverse: bool,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run `step` over time: from a carry and what each input has at a step, to a carry and outputs.

    Args:
        initial: first carry, shape = (batch, units).
        inputs: each of shape = (time, batch, any).
        widths: of the outputs of a step, each of shape = (batch, width); None: not known.
        reverse: begin at the last step.

    Returns: the last carry, and the outputs, each at its own step.
    """
    if keras.backend.backend() != "tensorflow":
        carry, outputs = ops.scan(
            lambda carry, at: step(carry, *at), initial, inputs, reverse=reverse
        )
        return carry, outputs
    import tensorflow as tf

    # Not Keras's loop: it copies every input step by step into a list of tensors first.
    count = tf.shape(inputs[0])[0]
    arrays = [
        tf.TensorArray(tf.float32, size=count, element_shape=(initial.shape[0], width))
        for width in widths
    ]

    def body(number: Tensor, carry: Tensor, *arrays: Any) -> tuple[Any, ...]:
        place = count - 1 - number if reverse else number
        carry, outputs = step(carry, *(x[place] for x in inputs))
        written = [a.write(place, y) for a, y in zip(arrays, outputs, strict=True)]
        return (number + 1, carry, *written)

    _, carry, *arrays = tf.while_loop(
        lambda number, *_: number < count, body, (0, initial, *arrays), parallel_iterations=1
    )
    outputs = [array.stack() for array in arrays]
    for output, width in zip(outputs, widths, strict=True):
        output.set_shape((inputs[0].shape[0], initial.shape[0], width))
    return carry, outputs
