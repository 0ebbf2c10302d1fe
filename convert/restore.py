"""A bundle back to a checkpoint, so that training can go on from what is deployed.

The weights come back as far as int8 kept them. Batch norm was folded into them: each comes back as
the identity with a shift, which computes the same; `ds2edge.training.network.warm_start` makes it a
norm of the training data again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ds2edge.arguments import CommandParser
from ds2edge.bundle import Bundle, load_bundle
from ds2edge.convert.step_graph import SHRINK
from ds2edge.errors import DataError
from ds2edge.plain_values import from_dict
from ds2edge.training.checkpoint import Checkpoint, save_checkpoint, variables
from ds2edge.training.config import TrainConfig
from ds2edge.training.network.layers import Bias
from ds2edge.training.network.model import AcousticModel, build_model

FloatArray = npt.NDArray[np.float32]

EPILOG = """examples:
  ds2edge restore my-bundle.ds2 -o start.npz
  ds2edge train more.toml --data speech --start start.npz
      go on training from a bundle's weights
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The `ds2edge restore` command."""
    parser = CommandParser(
        "ds2edge restore",
        description="Write a bundle's acoustic model as a checkpoint to train on from.",
        epilog=EPILOG,
    )
    parser.add_argument("bundle", help="folder or .ds2 file; en: the embedded one")
    parser.add_argument("-o", "--out", type=Path, required=True, help="checkpoint to write, .npz")
    given = parser.parse_args(arguments)
    save_checkpoint(given.out, restore(load_bundle(given.bundle)))
    print(f"{given.out} written")
    return 0


def restore(bundle: Bundle) -> Checkpoint:
    """The checkpoint whose conversion the bundle is, up to the rounding of int8.

    Raises:
        DataError: the bundle does not say how its model was configured, or has another graph.
    """
    values = bundle.manifest.training.get("config")
    if not isinstance(values, dict):
        raise DataError(f"{bundle.folder} does not hold the configuration of its model")
    features = bundle.manifest.features
    config = from_dict(TrainConfig, {**values, "features": features.as_dict()})
    model = build_model(config.model, features)
    try:
        _assign(model, step_weights(bundle.model.read_bytes()))
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{bundle.model} is not a step graph of its configuration: {error}"
        ) from None
    return Checkpoint(config, variables(model), progress={"epoch": 0, "history": []})


def step_weights(content: bytes) -> list[list[FloatArray]]:
    """Weights of a TFLite step graph: for each layer in the order of the flow, its constants.

    A convolution has kernel (channels, time, frequency, inputs) and bias; a recurrence kernel
    (3 * units, inputs), bias and recurrent matrix (3 * units, units); the row convolution a row
    (units,) for each step, the present one first, and its bias; the head kernel and bias.
    """
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator, TensorType
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    graph = next(g for g in model.subgraphs if g.name == b"step")

    def kind(operator: Any) -> int:
        code = model.operatorCodes[operator.opcodeIndex]
        return int(max(code.builtinCode, code.deprecatedBuiltinCode))

    def constants(operator: Any) -> list[FloatArray]:
        tensors = [graph.tensors[i] for i in operator.inputs if i >= 0]
        filled = [
            t
            for t in tensors
            if t.type in (TensorType.FLOAT32, TensorType.INT8)
            and model.buffers[t.buffer].data is not None
        ]
        return [_floats(t, model.buffers[t.buffer].data) for t in filled]

    convolutions: list[list[FloatArray]] = []
    recurrences: list[list[FloatArray]] = []
    row: list[FloatArray] = []
    for operator in graph.operators:
        found = constants(operator)
        if kind(operator) == BuiltinOperator.CONV_2D:
            convolutions.append(found)
        elif kind(operator) == BuiltinOperator.FULLY_CONNECTED and len(found) == 2:
            recurrences.append(found)
        elif kind(operator) == BuiltinOperator.FULLY_CONNECTED:
            if recurrences and len(recurrences[-1]) == 2:  # of the unrolled steps only the first
                recurrences[-1] += found
        elif kind(operator) in (BuiltinOperator.MUL, BuiltinOperator.ADD):
            row += found
    *convolutions, head = convolutions
    return [*convolutions, *recurrences, row, head]


def _floats(tensor: Any, data: Any) -> FloatArray:
    """A constant's values, of int8 ones with the scale of their first axis."""
    shape = tuple(tensor.shape)
    if tensor.quantization is None or tensor.quantization.scale is None:
        return np.frombuffer(bytes(data), np.float32).reshape(shape)
    scale = np.asarray(tensor.quantization.scale, np.float32)
    values = np.frombuffer(bytes(data), np.int8).reshape(shape).astype(np.float32)
    return values * scale.reshape(-1, *[1] * (len(shape) - 1))


def _assign(model: AcousticModel, weights: Sequence[Sequence[FloatArray]]) -> None:
    """The inverse of `ds2edge.convert.step_graph.fold`."""
    layers = iter(weights)
    incoming = 1.0
    for convolution in model.convolutions:
        kernel, bias = next(layers)
        convolution.kernel.assign(kernel.transpose(1, 2, 3, 0) * (incoming / SHRINK))
        _shift(convolution.norm, bias / SHRINK)
        incoming = SHRINK
    for recurrence in model.recurrences:
        kernel, bias, recurrent = next(layers)
        recurrence.kernel.assign(kernel.T * incoming)
        recurrence.recurrent.assign(recurrent.T)
        _shift(recurrence.norm, bias)
        incoming = 1.0
    *row, bias = next(layers)
    model.row.kernel.assign(np.stack(row) / SHRINK)
    _shift(model.row_norm, bias / SHRINK)
    kernel, bias = next(layers)
    model.head.assign(kernel[:, 0, 0].T * SHRINK)
    model.head_bias.assign(bias)


def _shift(norm: Any, shift: FloatArray) -> None:
    """Make a batch norm, or what stands in its place, add `shift` and nothing else."""
    if isinstance(norm, Bias):
        norm.bias.assign(shift)
        return
    norm.mean.assign(np.zeros_like(shift))
    norm.variance.assign(np.ones_like(shift))
    norm.gamma.assign(np.full_like(shift, np.sqrt(1 + norm.epsilon)))
    norm.beta.assign(shift)
