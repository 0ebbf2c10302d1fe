"""Begin a training run from the weights of another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from ds2edge.errors import DataError
from ds2edge.training.checkpoint import Checkpoint, assign
from ds2edge.training.data.batches import Batch
from ds2edge.training.network.layers import SequenceBatchNorm
from ds2edge.training.network.model import AcousticModel, build_model

Tensor = Any


def warm_start(model: AcousticModel, checkpoint: Checkpoint, batches: Iterable[Batch]) -> None:
    """Give `model` a checkpoint's weights, and its batch norms the statistics of `batches`.

    Raises:
        DataError: the checkpoint's model has other layers.
    """
    take_weights(model, checkpoint)
    measure_norms(model, batches)


def take_weights(model: AcousticModel, checkpoint: Checkpoint) -> None:
    """Give `model` a checkpoint's weights.

    A shorter look-ahead takes the first steps of the row convolution.

    Raises:
        DataError: the checkpoint's model has other layers.
    """
    source = build_model(checkpoint.config.model, checkpoint.config.features)
    assign(source, checkpoint.weights)
    row: Any = model.row.kernel if model.row else None
    if len(model.variables) != len(source.variables):
        raise DataError(
            f"the model to start from has other layers: {len(source.variables)} variables, "
            f"needed {len(model.variables)}"
        )
    for variable, given in zip(model.variables, source.variables, strict=True):
        value = ops.convert_to_numpy(given)
        if variable is row:
            value = value[: variable.shape[0]]
        if value.shape != tuple(variable.shape):
            raise DataError(
                f"the model to start from has {given.path} of shape {value.shape}, "
                f"needed {tuple(variable.shape)}"
            )
        variable.assign(value)


def measure_norms(model: AcousticModel, batches: Iterable[Batch]) -> None:
    """Make mean and variance of every batch norm those of `batches`; what it computes stays.

    Training norms with the statistics of its batches: where the stored ones are others, as in a
    model that was converted, its first step would compute something else than the model did.
    """
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, SequenceBatchNorm)]
    heard: dict[int, Tensor] = {}

    def listening(norm: SequenceBatchNorm) -> Any:
        def call(x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
            mean, variance = norm._moments(x, mask)
            one = ops.ones_like(mean)
            heard[id(norm)] = ops.sum(mask) * ops.stack([mean, variance + mean**2, one])
            scale, shift = norm.affine()
            return x * scale + shift

        return call

    def sums_of(features: Tensor, frames: Tensor) -> list[Tensor]:
        model({"features": features, "frames": frames}, training=False)
        return [heard[id(norm)] for norm in norms]

    for norm in norms:
        norm.__dict__["call"] = listening(norm)
    try:
        measured = _compiled(sums_of, model.feature_size)
        found = [measured(batch.features, batch.frames) for batch in batches]
    finally:
        for norm in norms:
            del norm.__dict__["call"]
    totals = [sum(ops.convert_to_numpy(one[i]) for one in found) for i in range(len(norms))]
    sums = {id(norm): total for norm, total in zip(norms, totals, strict=True)}
    for norm in norms:
        mean, square, weight = sums[id(norm)]
        mean, square = mean / weight, square / weight
        variance = np.maximum(square - mean**2, 0)
        scale, shift = (ops.convert_to_numpy(v) for v in norm.affine())
        norm.mean.assign(mean)
        norm.variance.assign(variance)
        norm.gamma.assign(scale * np.sqrt(variance + norm.epsilon))
        norm.beta.assign(shift + mean * scale)


def _compiled(function: Callable[..., list[Tensor]], bins: int) -> Callable[..., list[Tensor]]:
    """On TensorFlow as a graph for any length: step by step, it would take minutes."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    def spec(*shape: int | None, of: str) -> Any:
        return tf.TensorSpec(shape, of)

    batch = spec(None, None, bins, of="float32"), spec(None, of="int32")
    compiled: Callable[..., list[Tensor]] = tf.function(function, input_signature=batch)
    return compiled
