"""Begin a training run from the weights of another one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
    sums = {id(norm): np.zeros((3, *norm.mean.shape)) for norm in norms}

    def listening(norm: SequenceBatchNorm) -> Any:
        def call(x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
            mean, variance = (ops.convert_to_numpy(v) for v in norm._moments(x, mask))
            weight = float(ops.convert_to_numpy(ops.sum(mask)))
            sums[id(norm)] += weight * np.stack([mean, variance + mean**2, np.ones_like(mean)])
            scale, shift = norm.affine()
            return x * scale + shift

        return call

    for norm in norms:
        norm.__dict__["call"] = listening(norm)
    try:
        for batch in batches:
            model({"features": batch.features, "frames": batch.frames}, training=False)
    finally:
        for norm in norms:
            del norm.__dict__["call"]
    for norm in norms:
        mean, square, weight = sums[id(norm)]
        mean, square = mean / weight, square / weight
        variance = np.maximum(square - mean**2, 0)
        scale, shift = (ops.convert_to_numpy(v) for v in norm.affine())
        norm.mean.assign(mean)
        norm.variance.assign(variance)
        norm.gamma.assign(scale * np.sqrt(variance + norm.epsilon))
        norm.beta.assign(shift + mean * scale)
