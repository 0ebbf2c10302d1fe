"""The streaming step graph: the checkpoint's model, one chunk at a time, states in and out.

Every step of the recurrence is unrolled, batch norm is folded into the weights, and the clip at
20 becomes TFLite's fused RELU6 by scaling: clip(x, 0, 20) = 20/6 * relu6(6/20 * x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from ds2edge.acoustic import captured_stderr
from ds2edge.bundle import StepGrid
from ds2edge.training.convertible import check_convertible
from ds2edge.training.network.layers import SequenceConvolution, frequency_padding
from ds2edge.training.network.model import AcousticModel
from ds2edge.training.network.recurrent import CLIP

FloatArray = npt.NDArray[np.float32]
SHRINK = 6.0 / CLIP  # what activations are multiplied with so that they clip at 6


@dataclass(frozen=True)
class FoldedConvolution:
    """Convolution with its batch norm inside, to be followed by RELU6."""

    kernel: FloatArray  # shape = (time, frequency, inputs, channels)
    bias: FloatArray
    strides: tuple[int, int]  # time, frequency
    bins: int  # of its input
    context: int  # frames of the past that a chunk needs


@dataclass(frozen=True)
class FoldedGRU:
    """Recurrence with the batch norm of its input term inside."""

    kernel: FloatArray  # shape = (inputs, 3 * units)
    bias: FloatArray  # shape = (3 * units,)
    recurrent: FloatArray  # shape = (units, 3 * units)


@dataclass(frozen=True)
class FoldedModel:
    """All weights of the deployed model; activations between layers are shrunk by `SHRINK`."""

    convolutions: list[FoldedConvolution]
    recurrences: list[FoldedGRU]
    row: FloatArray  # shape = (look_ahead + 1, units)
    row_bias: FloatArray
    head: FloatArray  # shape = (units, tokens)
    head_bias: FloatArray


def fold(model: AcousticModel) -> FoldedModel:
    """Fold batch norms and the scaling of the clip into the weights."""
    convolutions, bins, incoming = [], model.feature_size, 1.0
    for layer in model.convolutions:
        convolutions.append(_fold_convolution(layer, bins, incoming))
        bins, incoming = -(-bins // layer.frequency_stride), SHRINK
    recurrences = []
    for layer in model.recurrences:
        scale, shift = _affine(layer.norm)
        kernel = _numpy(layer.kernel) * scale / incoming
        recurrences.append(FoldedGRU(kernel, shift, _numpy(layer.recurrent)))
        incoming = 1.0
    scale, shift = _affine(model.row_norm)
    return FoldedModel(
        convolutions,
        recurrences,
        _numpy(model.row.kernel) * scale * SHRINK,
        shift * SHRINK,
        _numpy(model.head) / SHRINK,
        _numpy(model.head_bias),
    )


class StepGraph(tf.Module):
    """`step` and `flush` as TensorFlow functions of one stream (batch 1)."""

    def __init__(self, model: FoldedModel, grid: StepGrid, bins: int) -> None:
        super().__init__()
        self.model, self.grid, self.bins = model, grid, bins

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the states by name; all begin as zeros."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, layer in enumerate(self.model.convolutions):
            shapes[f"convolution{i}"] = (1, layer.context, layer.bins, layer.kernel.shape[2])
        units = self.model.head.shape[0]
        for i in range(len(self.model.recurrences)):
            shapes[f"recurrence{i}"] = (1, units)
        shapes["row"] = (1, self.grid.look_ahead, units)
        return shapes

    def step(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """One chunk.

        Args:
            inputs: `features`, shape = (1, chunk_frames, bins); `valid`, shape = (1,
                chunk_outputs, 1), 0 for outputs beyond the end of the audio; and the states.

        Returns: `logits`, shape = (1, chunk_outputs, tokens), look_ahead steps late; the states.
        """
        outputs: dict[str, Any] = {}
        x = inputs["features"][..., None]
        for i, layer in enumerate(self.model.convolutions):
            x = tf.concat([inputs[f"convolution{i}"], x], axis=1)
            outputs[f"convolution{i}"] = x[:, x.shape[1] - layer.context :]
            x = _convolve(layer, x)
        steps = self.grid.chunk_outputs
        x = tf.reshape(x, (steps, x.shape[2] * x.shape[3]))
        for i, recurrence in enumerate(self.model.recurrences):
            x, outputs[f"recurrence{i}"] = _recur(recurrence, x, inputs[f"recurrence{i}"])
        # Beyond the end the row convolution sees zero hidden steps, as in training.
        hidden = x[None] * inputs["valid"]
        window = tf.concat([inputs["row"], hidden], axis=1)
        outputs["row"] = window[:, steps:]
        outputs["logits"] = self._logits(window, steps)
        return outputs

    def flush(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The look_ahead outputs that are still held back; `inputs` has the state `row`."""
        window = tf.concat([inputs["row"], tf.zeros_like(inputs["row"])], axis=1)
        return {"logits": self._logits(window, self.grid.look_ahead)}

    def _logits(self, window: Any, steps: int) -> Any:
        """Row convolution, clipped rectifier and head; window: look_ahead steps longer."""
        y = self.model.row_bias + sum(
            window[:, j : j + steps] * weights for j, weights in enumerate(self.model.row)
        )
        y = tf.nn.relu6(y)
        # A 1x1 convolution: quantised FULLY_CONNECTED on more than two axes fails on some GPUs.
        y = tf.nn.conv2d(y[:, :, None], self.model.head[None, None], 1, "VALID")
        return (y + self.model.head_bias)[:, :, 0]


def build_step_graph(model: AcousticModel, chunk_outputs: int) -> StepGraph:
    """The step graph of a model for chunks of so many outputs.

    Raises:
        ConfigError: there is none for models of this kind.
    """
    config = model.config
    check_convertible(config)
    grid = StepGrid(chunk_outputs * config.time_stride, config.time_stride, config.look_ahead)
    return StepGraph(fold(model), grid, model.feature_size)


def to_tflite(graph: StepGraph, folder: str, quantise: bool) -> bytes:
    """The graph as a TFLite model with the signatures `step` and `flush`.

    With `quantise`, weights become int8 with one scale per channel and activations are
    quantised while running (dynamic range).
    """
    grid = graph.grid
    specs = {
        "features": tf.TensorSpec((1, grid.chunk_frames, graph.bins), name="features"),
        "valid": tf.TensorSpec((1, grid.chunk_outputs, 1), name="valid"),
        **{n: tf.TensorSpec(s, name=n) for n, s in graph.state_shapes().items()},
    }
    step = tf.function(lambda **inputs: graph.step(inputs)).get_concrete_function(**specs)
    flush = tf.function(lambda **inputs: graph.flush(inputs)).get_concrete_function(
        row=specs["row"]
    )
    tf.saved_model.save(graph, folder, signatures={"step": step, "flush": flush})
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["step", "flush"])
    if quantise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    with captured_stderr():
        content: bytes = converter.convert()
    return content


def _fold_convolution(layer: SequenceConvolution, bins: int, incoming: float) -> FoldedConvolution:
    scale, shift = _affine(layer.norm)
    return FoldedConvolution(
        _numpy(layer.kernel) * scale * (SHRINK / incoming),
        shift * SHRINK,
        (layer.time_stride, layer.frequency_stride),
        bins,
        layer.time - layer.time_stride,
    )


def _convolve(layer: FoldedConvolution, x: Any) -> Any:
    below, above = frequency_padding(layer.bins, layer.kernel.shape[1], layer.strides[1])
    x = tf.pad(x, ((0, 0), (0, 0), (below, above), (0, 0)))
    x = tf.nn.conv2d(x, layer.kernel, (1, *layer.strides, 1), "VALID")
    return tf.nn.relu6(x + layer.bias)


def _recur(layer: FoldedGRU, x: Any, hidden: Any) -> tuple[Any, Any]:
    """GRU over the steps of a chunk; see `ds2edge.training.network.recurrent.gru`."""
    units = layer.recurrent.shape[0]
    inputs = tf.matmul(x, layer.kernel) + layer.bias
    states = []
    for t in range(x.shape[0]):
        x_t, recurrent = inputs[t : t + 1], tf.matmul(hidden, layer.recurrent)
        gates = tf.sigmoid(x_t[:, : 2 * units] + recurrent[:, : 2 * units])
        update, reset = gates[:, :units], gates[:, units:]
        candidate = tf.tanh(x_t[:, 2 * units :] + reset * recurrent[:, 2 * units :])
        hidden = update * (hidden - candidate) + candidate
        states.append(hidden)
    return tf.concat(states, axis=0), hidden


def _affine(norm: Any) -> tuple[FloatArray, FloatArray]:
    scale, shift = norm.affine()
    return _numpy(scale), _numpy(shift)


def _numpy(value: Any) -> FloatArray:
    return np.asarray(ops.convert_to_numpy(value), np.float32)
