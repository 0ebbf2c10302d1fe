"""A model's weights as its graphs need them.

Batch norm is folded into the weights before it, and the clip at 20 becomes TFLite's fused RELU6 by
scaling: clip(x, 0, 20) = 20/6 * relu6(6/20 * x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from ds2edge.training.network.layers import InputTerm, Recurrence, SequenceConvolution
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
class FoldedRecurrence:
    """Recurrence with the batch norm of its input term inside."""

    cell: str  # gru or simple
    candidate: str  # of a GRU: tanh or clipped_relu
    kernel: FloatArray  # shape = (inputs, gates * units)
    bias: FloatArray  # shape = (gates * units,)
    recurrent: FloatArray  # shape = (units, gates * units)
    back: FloatArray | None = None  # the same, of the way back


@dataclass(frozen=True)
class FoldedDense:
    """A product and a bias."""

    kernel: FloatArray  # shape = (inputs, outputs)
    bias: FloatArray


@dataclass(frozen=True)
class FoldedModel:
    """All weights of a forward model; what a rectifier clips is shrunk by `SHRINK`."""

    convolutions: list[FoldedConvolution]
    recurrences: list[FoldedRecurrence]
    row: FloatArray  # shape = (look_ahead + 1, units)
    row_bias: FloatArray
    connected: FoldedDense | None  # to be followed by RELU6
    head: FoldedDense


def fold(model: AcousticModel) -> FoldedModel:
    """Fold batch norms and the scaling of the clip into the weights of a forward model."""
    convolutions, recurrences, incoming = fold_layers(model)
    scale, shift = affine(model.row_norm)
    return FoldedModel(
        convolutions,
        recurrences,
        numpy_of(model.row.kernel) * scale * (SHRINK / incoming),
        shift * SHRINK,
        *fold_output(model, SHRINK),
    )


def fold_layers(
    model: AcousticModel,
) -> tuple[list[FoldedConvolution], list[FoldedRecurrence], float]:
    """All up to the last recurrence, and how many times too large that one's states are."""
    convolutions, bins, incoming = [], model.feature_size, 1.0
    for layer in model.convolutions:
        convolutions.append(_fold_convolution(layer, bins, incoming))
        bins, incoming = -(-bins // layer.frequency_stride), SHRINK
    recurrences = []
    for recurrence in model.recurrences:
        recurrences.append(_fold_recurrence(recurrence, incoming))
        incoming = SHRINK if clips(recurrence.cell, recurrence.candidate) else 1.0
    return convolutions, recurrences, incoming


def fold_output(model: AcousticModel, incoming: float) -> tuple[FoldedDense | None, FoldedDense]:
    """The connected layer, if there is one, and the head, for an `incoming` as of `fold_term`."""
    connected = None
    if model.connected:
        kernel, bias = fold_term(model.connected, incoming)
        connected, incoming = FoldedDense(kernel * SHRINK, bias * SHRINK), SHRINK
    return connected, FoldedDense(numpy_of(model.head) / incoming, numpy_of(model.head_bias))


def clips(cell: str, candidate: str) -> bool:
    """Whether a recurrence's states are those of a clipped rectifier, and so shrunk."""
    return cell == "simple" or candidate == "clipped_relu"


def _fold_convolution(layer: SequenceConvolution, bins: int, incoming: float) -> FoldedConvolution:
    scale, shift = affine(layer.norm)
    return FoldedConvolution(
        numpy_of(layer.kernel) * scale * (SHRINK / incoming),
        shift * SHRINK,
        (layer.time_stride, layer.frequency_stride),
        bins,
        layer.time - layer.time_stride,
    )


def _fold_recurrence(layer: Recurrence, incoming: float) -> FoldedRecurrence:
    kernel, bias = fold_term(layer, incoming)
    names = ("recurrent", "recurrent_back") if layer.both else ("recurrent",)
    recurrent = [numpy_of(getattr(layer, name)) for name in names]
    term, product = shrinking(layer.cell, layer.candidate, layer.units)
    kernel, bias = kernel * term, bias * term
    recurrent = [x * product for x in recurrent]
    weights = (x.astype(np.float32) for x in (kernel, bias, *recurrent))
    return FoldedRecurrence(layer.cell, layer.candidate, *weights)


def shrinking(cell: str, candidate: str, units: int) -> tuple[FloatArray, FloatArray]:
    """What a recurrence's input term and its recurrent product are multiplied with, unit by unit.

    A shrunk state comes back shrunk. The gates of a GRU see what the state is; its candidate is
    shrunk as the state is.
    """
    if cell == "simple":
        return np.full(units, SHRINK, np.float32), np.ones(units, np.float32)
    term, product = np.ones(3 * units, np.float32), np.ones(3 * units, np.float32)
    if clips(cell, candidate):
        term[2 * units :], product[: 2 * units] = SHRINK, 1 / SHRINK
    return term, product


def fold_term(layer: InputTerm, incoming: float) -> tuple[FloatArray, FloatArray]:
    """Kernel and bias of a layer's input term, for an input that is `incoming` times too large."""
    scale, shift = affine(layer.norm)
    kernel = numpy_of(layer.kernel)
    if layer.normalises_input:
        return kernel * scale[:, None] / incoming, shift @ kernel + numpy_of(layer.bias)
    return kernel * scale / incoming, shift


def affine(norm: Any) -> tuple[FloatArray, FloatArray]:
    """Scale and shift of a norm in evaluation."""
    scale, shift = norm.affine()
    return numpy_of(scale), numpy_of(shift)


def numpy_of(value: Any) -> FloatArray:
    """A variable's or a tensor's values."""
    return np.asarray(ops.convert_to_numpy(value), np.float32)
