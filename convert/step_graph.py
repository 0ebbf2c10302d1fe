"""The streaming step graph: the checkpoint's model, one chunk at a time, states in and out.

Every step of the recurrence is unrolled; shapes are fixed; the output is logits.
"""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from ds2edge.bundle import StepGrid
from ds2edge.convert.fold import FoldedConvolution, FoldedModel, FoldedRecurrence, clips, fold
from ds2edge.runtimes.stderr import captured_stderr
from ds2edge.training.network.layers import frequency_padding
from ds2edge.training.network.model import AcousticModel


class StepGraph(tf.Module):
    """`step` and `flush` as TensorFlow functions of one stream, or of several at once."""

    def __init__(self, model: FoldedModel, grid: StepGrid, bins: int) -> None:
        super().__init__()
        self.model, self.grid, self.bins = shared(model), grid, bins

    def inputs(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs of `step`; the state begins as zeros."""
        size = sum(math.prod(shape) for shape in self._state_shapes().values())
        return {
            "features": (batch, self.grid.chunk_frames, self.bins),
            "valid": (batch, self.grid.chunk_outputs, 1),
            "state": (batch, size),
        }

    def step(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """One chunk of each stream.

        Args:
            inputs: `features`, shape = (batch, chunk_frames, bins); `valid`, shape = (batch,
                chunk_outputs, 1), 0 for outputs beyond the end of the audio; and `state`.

        Returns: `logits`, shape = (batch, chunk_outputs, tokens), look_ahead steps late; `state`.
        """
        state, after = self._unpacked(inputs["state"]), {}
        x = inputs["features"][..., None]
        for i, layer in enumerate(self.model.convolutions):
            if layer.context:
                x = tf.concat([state[f"convolution{i}"], x], axis=1)
                after[f"convolution{i}"] = x[:, x.shape[1] - layer.context :]
            x = convolve(layer, x)
        batch, steps = x.shape[0], self.grid.chunk_outputs
        x = _by_step(tf.reshape(x, (batch, steps, x.shape[2] * x.shape[3])))
        for i, recurrence in enumerate(self.model.recurrences):
            x, after[f"recurrence{i}"] = _recur(recurrence, x, state[f"recurrence{i}"])
        # Beyond the end the row convolution sees zero hidden steps, as in training.
        window = _by_stream(x, batch) * inputs["valid"]
        if self.grid.look_ahead:
            window = tf.concat([state["row"], window], axis=1)
            after["row"] = window[:, steps:]
        return {"logits": self._logits(window, steps), "state": _packed(after, batch)}

    def flush(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The look_ahead outputs that are still held back."""
        row = self._unpacked(inputs["state"])["row"]
        window = tf.concat([row, tf.zeros_like(row)], axis=1)
        return {"logits": self._logits(window, self.grid.look_ahead)}

    def _state_shapes(self) -> dict[str, tuple[int, ...]]:
        """What a stream carries from chunk to chunk, by name, in the order of the flow."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, layer in enumerate(self.model.convolutions):
            if layer.context:
                shapes[f"convolution{i}"] = (layer.context, layer.bins, layer.kernel.shape[2])
        units = self.model.row.shape[1]
        for i in range(len(self.model.recurrences)):
            shapes[f"recurrence{i}"] = (units,)
        if self.grid.look_ahead:
            shapes["row"] = (self.grid.look_ahead, units)
        return shapes

    def _unpacked(self, state: Any) -> dict[str, Any]:
        """The parts of `state`: one tensor, since each that goes in or out costs time."""
        parts, begin = {}, 0
        for name, shape in self._state_shapes().items():
            end = begin + math.prod(shape)
            parts[name] = tf.reshape(state[:, begin:end], (state.shape[0], *shape))
            begin = end
        return parts

    def _logits(self, window: Any, steps: int) -> Any:
        """All after the recurrences; window: look_ahead steps longer."""
        y = self.model.row_bias + sum(
            window[:, j : j + steps] * self.model.row[j] for j in range(self.grid.look_ahead + 1)
        )
        y = tf.nn.relu6(y)[:, :, None]
        # 1x1 convolutions: quantised FULLY_CONNECTED on more than two axes fails on some GPUs.
        if connected := self.model.connected:
            y = tf.nn.conv2d(y, connected.kernel[None, None], 1, "VALID")
            y = tf.nn.relu6(y + connected.bias)
        y = tf.nn.conv2d(y, self.model.head.kernel[None, None], 1, "VALID")
        # Reshaped, not y[:, :, 0]: GPUs refuse slices that drop an axis.
        return tf.reshape(y + self.model.head.bias, (y.shape[0], steps, y.shape[3]))


def build_step_graph(model: AcousticModel, chunk_outputs: int) -> StepGraph:
    """The step graph of a forward model for chunks of so many outputs."""
    config = model.config
    grid = StepGrid(chunk_outputs * config.time_stride, config.time_stride, config.look_ahead)
    return StepGraph(fold(model), grid, model.feature_size)


def to_tflite(graph: StepGraph, batches: Sequence[int] = (1,)) -> bytes:
    """The graph as a float32 TFLite model.

    Its signatures are `step` and `flush`, and `step_4` for a batch of four streams, say. All of
    them share the weights.
    """
    return tflite_of(graph, signatures_of(graph, batches))


def signatures_of(graph: StepGraph, batches: Sequence[int]) -> dict[str, Any]:
    """The traced functions of a graph, by name."""
    signatures = {step_name(batch): traced(graph.step, graph.inputs(batch)) for batch in batches}
    if graph.grid.look_ahead:
        signatures["flush"] = traced(graph.flush, {"state": graph.inputs(1)["state"]})
    return signatures


def tflite_of(
    module: tf.Module, signatures: dict[str, Any], calls: Sequence[tuple[str, Any]] = ()
) -> bytes:
    """A TFLite model of traced functions, float32.

    With `calls`, of signatures with their inputs, all of it is int8, with ranges as seen there.
    """
    module.held = [v for function in signatures.values() for v in function.graph.variables]
    with tempfile.TemporaryDirectory() as folder, captured_stderr():
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(signatures)
        )
        if calls:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: iter(calls)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TensorFlow about an interpreter of its own
            content: bytes = converter.convert()
    return content


def shared(weights: Any) -> Any:
    """The same dataclasses and lists of them with a variable for each array.

    As constants they would be written down for each step and each batch size anew: that takes
    gigabytes, and more than a file of TensorFlow's may have.
    """
    if isinstance(weights, np.ndarray):
        return tf.Variable(weights)
    if isinstance(weights, list):
        return [shared(one) for one in weights]
    if is_dataclass(weights) and not isinstance(weights, type):
        arrays = {f.name: shared(getattr(weights, f.name)) for f in fields(weights)}
        return replace(weights, **arrays)
    return weights


def step_name(batch: int) -> str:
    """The signature for so many streams at once."""
    return "step" if batch == 1 else f"step_{batch}"


def traced(function: Any, shapes: dict[str, tuple[int, ...]]) -> Any:
    """A function of a dict of tensors, for inputs of these shapes."""
    specs = {name: tf.TensorSpec(shape, name=name) for name, shape in shapes.items()}
    return tf.function(lambda **inputs: function(inputs)).get_concrete_function(**specs)


def _packed(parts: dict[str, Any], batch: int) -> Any:
    """The inverse of `StepGraph._unpacked`."""
    return joined([tf.reshape(part, (batch, -1)) for part in parts.values()], axis=1)


def joined(tensors: Sequence[Any], axis: int) -> Any:
    """Concatenated, four at a time: XNNPACK takes no more."""
    while len(tensors) > 1:
        tensors = [tf.concat(tensors[i : i + 4], axis) for i in range(0, len(tensors), 4)]
    return tensors[0]


def _by_step(x: Any) -> Any:
    """(batch, steps, units) to (steps * batch, units): the streams of a step side by side."""
    batch, steps, units = x.shape
    if batch > 1:
        x = tf.transpose(x, (1, 0, 2))
    return tf.reshape(x, (steps * batch, units))


def _by_stream(x: Any, batch: int) -> Any:
    """The inverse of `_by_step`."""
    steps, units = x.shape[0] // batch, x.shape[1]
    if batch == 1:
        return x[None]
    return tf.transpose(tf.reshape(x, (steps, batch, units)), (1, 0, 2))


def convolve(layer: FoldedConvolution, x: Any) -> Any:
    below, above = frequency_padding(layer.bins, layer.kernel.shape[1], layer.strides[1])
    x = tf.pad(x, ((0, 0), (0, 0), (below, above), (0, 0)))
    x = tf.nn.conv2d(x, layer.kernel, (1, *layer.strides, 1), "VALID")
    return tf.nn.relu6(x + layer.bias)


def _recur(layer: FoldedRecurrence, x: Any, hidden: Any) -> tuple[Any, Any]:
    """A recurrence over the steps of a chunk; see `ds2edge.training.network.recurrent`.

    Args:
        x: shape = (steps * batch, inputs), see `_by_step`.
        hidden: shape = (batch, units).

    Returns: the states, shape = (steps * batch, units), and the last one.
    """
    return unrolled(layer, tf.matmul(x, layer.kernel) + layer.bias, hidden)


def unrolled(layer: FoldedRecurrence, x: Any, hidden: Any, back: bool = False) -> tuple[Any, Any]:
    """As `_recur`, but x are input terms; on the way back, the last state is the first step's."""
    batch = hidden.shape[0]
    cell = _simple if layer.cell == "simple" else _gru
    weights, states = layer.back if back else layer.recurrent, []
    begins = range(0, x.shape[0], batch)
    for begin in reversed(begins) if back else begins:
        hidden = cell(layer, weights, x[begin : begin + batch], hidden)
        states.append(hidden)
    return joined(states[::-1] if back else states, axis=0), hidden


def _simple(layer: FoldedRecurrence, weights: Any, x: Any, hidden: Any) -> Any:
    return tf.nn.relu6(x + tf.matmul(hidden, weights))


def _gru(layer: FoldedRecurrence, weights: Any, x: Any, hidden: Any) -> Any:
    units = hidden.shape[1]
    recurrent = tf.matmul(hidden, weights)
    gates = tf.sigmoid(x[:, : 2 * units] + recurrent[:, : 2 * units])
    update, reset = gates[:, :units], gates[:, units:]
    candidate = x[:, 2 * units :] + reset * recurrent[:, 2 * units :]
    candidate = tf.nn.relu6(candidate) if clips(layer.cell, layer.candidate) else tf.tanh(candidate)
    return update * (hidden - candidate) + candidate
