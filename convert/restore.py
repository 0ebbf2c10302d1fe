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
from ds2edge.convert.fold import SHRINK, clips, shrinking
from ds2edge.errors import DataError
from ds2edge.plain_values import from_dict
from ds2edge.training.checkpoint import Checkpoint, save_checkpoint, variables
from ds2edge.training.config import TrainConfig
from ds2edge.training.network.layers import Bias, InputTerm
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
    path = _readable(bundle)
    try:
        _assign(model, step_weights(path.read_bytes(), len(model.convolutions)))
    except (ValueError, IndexError, StopIteration) as error:
        raise DataError(f"{path} is not a step graph of its configuration: {error}") from None
    return Checkpoint(config, variables(model), progress={"epoch": 0, "history": []})


def _readable(bundle: Bundle) -> Path:
    """The file whose weights can be read, the most exact one."""
    files = {a.weights: a.file for a in bundle.manifest.artefacts if a.form == "stream"}
    for weights in ("fp32", "int8"):
        if weights in files:
            return bundle.folder / files[weights]
    found = ", ".join(f"{a.weights} ({a.form})" for a in bundle.manifest.artefacts)
    raise DataError(
        f"{bundle.folder} has {found}; needed fp32 or int8 of a model that runs on a stream: "
        "start from the checkpoint"
    )


def step_weights(content: bytes, before: int) -> list[list[FloatArray]]:
    """Weights of a TFLite step graph: for each layer in the order of the flow, its constants.

    A convolution has kernel (channels, time, frequency, inputs) and bias; a recurrence kernel
    (3 * units, inputs), bias and recurrent matrix (3 * units, units); the row convolution a row
    (units,) for each step, the present one first, and its bias; a connected layer and the head
    kernel and bias.

    Args:
        before: convolutions before the recurrences.
    """
    step = _Step(content)
    convolutions = [step.constants(o) for o in step.operators if step.is_a(o, "CONV_2D")]
    products: dict[int, list[Any]] = {}  # by matrix, in the order of their first use
    row: list[FloatArray] = []
    for operator in step.operators:
        if step.is_a(operator, "FULLY_CONNECTED"):
            products.setdefault(operator.inputs[1], []).append(operator)
        elif step.is_a(operator, "MUL", "ADD") and not step.after_a_product(operator):
            row += step.constants(operator)
    # A recurrent matrix is first used on the state alone, wherever that stands among the
    # operators; what comes of it meets the features in its layer.
    kernels = [uses[0] for uses in products.values() if all(map(step.hears, uses))]
    recurrent = [uses[0] for uses in products.values() if not all(map(step.hears, uses))]
    recurrent.sort(key=step.meeting)
    recurrences = [
        [*step.product(kernel), step.product(product)[0]]
        for kernel, product in zip(kernels, recurrent, strict=True)
    ]
    return [*convolutions[:before], *recurrences, row, *convolutions[before:]]


class _Step:
    """The operators of a file's signature `step`."""

    def __init__(self, content: bytes) -> None:
        from tensorflow.lite.python.schema_py_generated import BuiltinOperator
        from tensorflow.lite.tools import flatbuffer_utils

        self._model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
        self._graph = next(g for g in self._model.subgraphs if g.name == b"step")
        self._numbers = vars(BuiltinOperator)
        self.operators = list(self._graph.operators)
        self._users: dict[int, list[Any]] = {}
        for operator in self.operators:
            for tensor in operator.inputs:
                self._users.setdefault(int(tensor), []).append(operator)
        self._products = {
            int(o.outputs[0]) for o in self.operators if self.is_a(o, "FULLY_CONNECTED")
        }
        for operator in self.operators:  # what comes of a product by its scales and its bias
            if self.is_a(operator, "MUL", "ADD") and self.after_a_product(operator):
                self._products.add(int(operator.outputs[0]))

        signature = next(s for s in self._model.signatureDefs if s.signatureKey == b"step")
        self._heard = {t.tensorIndex for t in signature.inputs if t.name == b"features"}
        for operator in self.operators:
            if self.hears(operator):
                self._heard.update(map(int, operator.outputs))

    def hears(self, operator: Any) -> bool:
        """Whether the features, or what comes of them, are among its inputs."""
        return not self._heard.isdisjoint(map(int, operator.inputs))

    def meeting(self, product: Any) -> int:
        """Of a product on the state: where what comes of it meets the features first."""
        reached = set(map(int, product.outputs))
        for index, operator in enumerate(self.operators):
            if not reached.isdisjoint(map(int, operator.inputs)):
                if self.hears(operator):
                    return index
                reached.update(map(int, operator.outputs))
        return len(self.operators)

    def is_a(self, operator: Any, *names: str) -> bool:
        """Whether it is of one of these kinds."""
        code = self._model.operatorCodes[operator.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return number in [self._numbers[name] for name in names]

    def constants(self, operator: Any) -> list[FloatArray]:
        """Those of its inputs that are constant and floats or int8."""
        from tensorflow.lite.python.schema_py_generated import TensorType

        tensors = [self._graph.tensors[i] for i in operator.inputs if i >= 0]
        return [
            _floats(tensor, self._model.buffers[tensor.buffer].data)
            for tensor in tensors
            if tensor.type in (TensorType.FLOAT32, TensorType.INT8)
            and self._model.buffers[tensor.buffer].data is not None
        ]

    def after_a_product(self, operator: Any) -> bool:
        """Whether it only scales a product's outputs, or adds their bias."""
        mine = [int(i) for i in operator.inputs]
        return bool(self.constants(operator)) and not self._products.isdisjoint(mine)

    def product(self, operator: Any) -> tuple[FloatArray, FloatArray]:
        """Its matrix and bias, with the scales that follow it."""
        matrix, *bias = self.constants(operator)
        result = int(operator.outputs[0])
        while users := [o for o in self._users.get(result, []) if self.after_a_product(o)]:
            (constant,) = self.constants(users[0])
            if self.is_a(users[0], "MUL"):
                matrix = matrix * constant[:, None]
            else:
                bias = [constant]
            result = int(users[0].outputs[0])
        return matrix, bias[0] if bias else np.zeros(len(matrix), np.float32)


def _floats(tensor: Any, data: Any) -> FloatArray:
    """A constant's values, of int8 ones with the scale of their first axis."""
    shape = tuple(tensor.shape)
    if tensor.quantization is None or tensor.quantization.scale is None:
        return np.frombuffer(bytes(data), np.float32).reshape(shape)
    scale = np.asarray(tensor.quantization.scale, np.float32)
    values = np.frombuffer(bytes(data), np.int8).reshape(shape).astype(np.float32)
    return values * scale.reshape(-1, *[1] * (len(shape) - 1))


def _assign(model: AcousticModel, weights: Sequence[Sequence[FloatArray]]) -> None:
    """The inverse of `ds2edge.convert.fold.fold`."""
    layers = iter(weights)
    incoming = 1.0
    for convolution in model.convolutions:
        kernel, bias = next(layers)
        convolution.kernel.assign(kernel.transpose(1, 2, 3, 0) * (incoming / SHRINK))
        _shift(convolution.norm, bias / SHRINK)
        incoming = SHRINK
    for recurrence in model.recurrences:
        kernel, bias, recurrent = next(layers)
        term, product = shrinking(recurrence.cell, recurrence.candidate, recurrence.units)
        _assign_term(recurrence, kernel.T * incoming / term, bias / term)
        recurrence.recurrent.assign(recurrent.T / product)
        incoming = SHRINK if clips(recurrence.cell, recurrence.candidate) else 1.0
    *row, bias = next(layers)
    model.row.kernel.assign(np.stack(row) * (incoming / SHRINK))
    _shift(model.row_norm, bias / SHRINK)
    if model.connected:
        kernel, bias = next(layers)
        _assign_term(model.connected, kernel[:, 0, 0].T, bias / SHRINK)
    kernel, bias = next(layers)
    model.head.assign(kernel[:, 0, 0].T * SHRINK)
    model.head_bias.assign(bias)


def _assign_term(layer: InputTerm, kernel: FloatArray, bias: FloatArray) -> None:
    layer.kernel.assign(kernel)
    if layer.normalises_input:
        layer.bias.assign(bias)
        bias = np.zeros(len(kernel), np.float32)
    _shift(layer.norm, bias)


def _shift(norm: Any, shift: FloatArray) -> None:
    """Make a batch norm, or what stands in its place, add `shift` and nothing else."""
    if isinstance(norm, Bias):
        norm.bias.assign(shift)
        return
    norm.mean.assign(np.zeros_like(shift))
    norm.variance.assign(np.ones_like(shift))
    norm.gamma.assign(np.full_like(shift, np.sqrt(1 + norm.epsilon)))
    norm.beta.assign(shift)
