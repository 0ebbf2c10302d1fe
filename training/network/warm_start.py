"""Begin a training run from the weights of another one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from ds2edge.errors import DataError
from ds2edge.training.checkpoint import Checkpoint, assign, variable_name
from ds2edge.training.data.batches import Batch
from ds2edge.training.network.layers import SequenceBatchNorm
from ds2edge.training.network.model import AcousticModel, build_model, token_set

Tensor = Any

TAKES_STATES = re.compile(r"recurrence[1-9]/kernel|connected/kernel|head")
SPELLS = re.compile(r"connected/.*|head|head_bias")


def warm_start(model: AcousticModel, checkpoint: Checkpoint, batches: Iterable[Batch]) -> None:
    """Give `model` a checkpoint's weights, and its batch norms the statistics of `batches`.

    Raises:
        DataError: the checkpoint's model has other layers.
    """
    take_weights(model, checkpoint)
    measure_norms(model, batches)


def take_weights(model: AcousticModel, checkpoint: Checkpoint) -> None:
    """Give `model` a checkpoint's weights.

    A shorter look-ahead takes the first steps of the row convolution. A model of both directions
    grows out of a forward one: both begin as its only one, without row convolution. A model of
    other tokens takes what hears, and keeps what spells: the output, and a connected layer.

    Raises:
        DataError: the checkpoint's model has other layers, or normalises what is to be a sum.
    """
    source = build_model(checkpoint.config.model, checkpoint.config.features)
    assign(source, checkpoint.weights)
    given = {name: ops.convert_to_numpy(v) for name, v in _by_name(source).items()}
    if model.both and not source.both:
        if source.config.norm == "input":
            raise DataError('a model with model.norm = "input" cannot grow a way back')
        given = _both_ways(given)
    wanted = _by_name(model)
    if token_set(model.config) != token_set(source.config):
        given, wanted = _that_hear(given), _that_hear(wanted)
    if given.keys() != wanted.keys():
        first = min(given.keys() ^ wanted.keys())
        raise DataError(
            f"the model to start from has other layers: {len(given)} variables, needed "
            f"{len(wanted)}; the first that only {'it' if first in given else 'the new model'} "
            f"has is {first}"
        )
    for name, variable in wanted.items():
        value = given[name]
        if name == "row/kernel":
            value = value[: variable.shape[0]]
        if value.shape != tuple(variable.shape):
            raise DataError(
                f"the model to start from has {name} of shape {value.shape}, "
                f"needed {tuple(variable.shape)}"
            )
        variable.assign(value)


def _by_name(model: AcousticModel) -> dict[str, Any]:
    """All but what dropout draws from."""
    named = {variable_name(variable): variable for variable in model.variables}
    return {name: variable for name, variable in named.items() if "seed_generator" not in name}


def _that_hear(variables: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if not SPELLS.fullmatch(name)}


def _both_ways(given: dict[str, Any]) -> dict[str, Any]:
    """The weights of a forward model for one whose two directions are summed."""
    both: dict[str, Any] = {}
    for name, value in given.items():
        if name.startswith(("row/", "row_norm/")):
            continue
        # What takes the sum of both directions took one of them before.
        both[name] = value / 2 if TAKES_STATES.fullmatch(name) else value
        if name.endswith("/recurrent"):
            both[f"{name}_back"] = value
    return both


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
