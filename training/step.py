"""One update of the weights, compiled: loss, gradient, clipping, optimiser.

An update is made of one batch or of several whose gradients are summed as if they were one. Batch
norm is the exception: each batch is normalised by its own statistics. Where several workers train,
each has a part of every batch, and batch norm that of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from ds2edge.training.data.batches import Batch
from ds2edge.training.workers import ALONE, Workers

Tensor = Any


@dataclass(frozen=True)
class Update:
    """What an update did."""

    loss: float  # per token, before it
    gradient_norm: float  # before clipping
    learning_rate: float


Stepper = Callable[[Sequence[Batch]], Update]


def inputs(batch: Batch) -> dict[str, Any]:
    """What `AcousticModel` takes."""
    return {"features": _lengthened(batch.features, batch), "frames": batch.frames}


def targets(batch: Batch) -> dict[str, Any]:
    """What `compute_loss` of `AcousticModel` takes, or with a teacher that of `Distillation`."""
    found: dict[str, Any] = {"tokens": _lengthened(batch.tokens, batch), "lengths": batch.lengths}
    if batch.teacher is not None:
        found |= {"teacher": batch.teacher, "labelled": batch.labelled}
    return found


def few(size: int) -> int:
    """The next of eight sizes from a power of two to its double."""
    step = 1 << max(0, size.bit_length() - 4)
    return -(-size // step) * step


def _lengthened(array: Any, batch: Batch) -> Any:
    """Padded to one of few lengths where each length is compiled for itself.

    Not with a teacher, whose steps go with the frames.
    """
    if keras.backend.backend() == "tensorflow" or batch.teacher is not None:
        return array
    more = few(array.shape[1]) - array.shape[1]
    return np.pad(array, ((0, 0), (0, more), *((0, 0) for _ in array.shape[2:])))


def build_stepper(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    clip_norm: float,
    workers: Workers = ALONE,
) -> Stepper:
    """A function that makes one update of `model` from one or more batches.

    Args:
        model: `compute_loss` is the mean over `Batch.weight`.
        optimizer: built.
        clip_norm: longest gradient.
        workers: that each make the same update, of their parts of the batches; `join` was called.
    """
    build = _tensorflow if keras.backend.backend() == "tensorflow" else _jax
    gradient, apply, whole = build(model, optimizer, clip_norm, workers)

    def step(batches: Sequence[Batch]) -> Update:
        total = sum(batch.weight + batch.others for batch in batches)
        shares = [np.float32(batch.weight / total) for batch in batches]
        if len(batches) == 1:
            return _numbers(whole(inputs(batches[0]), targets(batches[0]), shares[0]))
        loss, gradients = 0.0, None
        for batch, share in zip(batches, shares, strict=True):
            batch_loss, more = gradient(inputs(batch), targets(batch), share)
            loss += batch_loss
            gradients = [a + b for a, b in zip(gradients, more, strict=True)] if gradients else more
        return _numbers(apply(loss, gradients))

    return step


def clip(gradients: Sequence[Tensor], longest: float) -> tuple[list[Tensor], Tensor]:
    """Gradients whose common norm is at most `longest`, and the norm that it was."""
    norm = ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients))
    scale = longest / ops.maximum(norm, longest)
    return [g * scale for g in gradients], norm


def _numbers(found: tuple[Tensor, Tensor, Tensor]) -> Update:
    return Update(*(float(ops.convert_to_numpy(value)) for value in found))


def _tensorflow(
    model: Any, optimizer: Any, clip_norm: float, workers: Workers
) -> tuple[Any, Any, Any]:
    import tensorflow as tf

    def gradient(x: Any, y: Any, share: Any) -> tuple[Tensor, list[Tensor]]:
        with tf.GradientTape() as tape:
            loss = share * model.compute_loss(x, y, model(x, training=True))
        return loss, tape.gradient(loss, model.trainable_variables)

    def apply(loss: Tensor, gradients: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        loss, *gradients = workers.total([loss, *gradients])
        with keras.name_scope("optimiser"):  # what `ds2edge.training.trace` knows it by
            clipped, norm = clip(gradients, clip_norm)
            rate = tf.identity(optimizer.learning_rate)
            optimizer.apply(clipped, model.trainable_variables)
        return loss, norm, rate

    def whole(x: Any, y: Any, share: Any) -> tuple[Tensor, Tensor, Tensor]:
        return apply(*gradient(x, y, share))

    def for_any_length(function: Any) -> Any:
        """Compiled at the first batch, for all: only their first two axes differ."""
        graph: list[Any] = []

        def call(x: dict[str, Any], y: dict[str, Any], share: Any) -> Any:
            if not graph:
                signature = [
                    {name: _spec(value) for name, value in part.items()} for part in (x, y)
                ]
                signature.append(tf.TensorSpec([], tf.float32))
                graph.append(tf.function(function, signature, autograph=False))
            return graph[0](x, y, share)

        return call

    def _spec(array: Any) -> Any:
        return tf.TensorSpec([None, None][: array.ndim] + list(array.shape[2:]), array.dtype)

    return for_any_length(gradient), tf.function(apply, autograph=False), for_any_length(whole)


def _jax(model: Any, optimizer: Any, clip_norm: float, _: Workers) -> tuple[Any, Any, Any]:
    import jax

    def loss(trainable: Any, other: Any, x: Any, y: Any, share: Any) -> tuple[Tensor, Any]:
        logits, other = model.stateless_call(trainable, other, x, training=True)
        return share * model.compute_loss(x, y, logits), other

    @jax.jit
    def compute(trainable: Any, other: Any, x: Any, y: Any, share: Any) -> Any:
        return jax.value_and_grad(loss, has_aux=True)(trainable, other, x, y, share)

    @jax.jit
    def update(gradients: Any, trainable: Any, state: Any) -> Any:
        clipped, norm = clip(gradients, clip_norm)
        return norm, optimizer.stateless_apply(state, clipped, trainable)

    def gradient(x: Any, y: Any, share: Any) -> tuple[Tensor, list[Tensor]]:
        (found, other), gradients = compute(
            _values(model.trainable_variables), _values(model.non_trainable_variables), x, y, share
        )
        _assign(model.non_trainable_variables, other)
        return found, gradients

    def apply(loss: Tensor, gradients: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        rate = optimizer.learning_rate
        norm, (trainable, state) = update(
            gradients, _values(model.trainable_variables), _values(optimizer.variables)
        )
        _assign(model.trainable_variables, trainable)
        _assign(optimizer.variables, state)
        return loss, norm, rate

    def whole(x: Any, y: Any, share: Any) -> tuple[Tensor, Tensor, Tensor]:
        return apply(*gradient(x, y, share))

    return gradient, apply, whole


def _values(variables: Sequence[Any]) -> list[Tensor]:
    return [variable.value for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
