"""Smaller weights: int8 or float16, written straight into a float32 TFLite model.

Only the matrices of products and convolutions change. With int8 they have a scale for each output
channel, and activations are quantised row by row while the model runs ("dynamic range"). Small
matrices stay float32: they cost little, are more exact, and no slower.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tensorflow.lite.python.schema_py_generated import (
    ActivationFunctionType,
    AddOptionsT,
    BufferT,
    BuiltinOperator,
    BuiltinOptions,
    MulOptionsT,
    OperatorCodeT,
    OperatorT,
    QuantizationParametersT,
    TensorT,
    TensorType,
)
from tensorflow.lite.tools import flatbuffer_utils

FloatArray = npt.NDArray[np.float32]

SMALL = 2**15  # weights; a matrix with fewer stays float32,
SMALL_SHARE = 0.02  # while such are no more of all weights
PRODUCT, CONVOLUTION = BuiltinOperator.FULLY_CONNECTED, BuiltinOperator.CONV_2D
# Versions of operators with int8 weights and float activations; of DEQUANTIZE of float16.
VERSIONS = {CONVOLUTION: 5, PRODUCT: 9}
DEQUANTIZE_VERSION = 3


def to_int8(content: bytes) -> bytes:
    """With int8 matrices, but for the small ones.

    tflite-runtime 2.14 knows one scale for a whole matrix of a product, and computes garbage with
    more. That scale is 1 here, and those of the channels are multiplied with after the product:
    the same numbers in every runtime.
    """
    model = _read(content)
    scales = {buffer: _quantise(model, buffer) for buffer in _large(_matrices(model))}
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators:
            operators.append(operator)
            if (kind := _kind(model, operator)) not in (PRODUCT, CONVOLUTION):
                continue
            weights = graph.tensors[operator.inputs[1]]
            if weights.buffer not in scales:
                continue
            operator.opcodeIndex = _code(model, kind, VERSIONS[kind])
            if kind == CONVOLUTION:
                _set_scales(weights, scales[weights.buffer])
            else:
                operator.builtinOptions.asymmetricQuantizeInputs = True
                _set_scales(weights, np.ones(1, np.float32))
                operators += _scaled(model, graph, operator, scales[weights.buffer])
        graph.operators = operators
    return _write(model)


def to_float16(content: bytes) -> bytes:
    """With float16 matrices, which become float32 when the model is loaded."""
    model = _read(content)
    changed = _matrices(model)
    for buffer in changed:
        values = _values(model, buffer)
        model.buffers[buffer].data = values.astype(np.float16).view(np.uint8)
    code = _code(model, BuiltinOperator.DEQUANTIZE, DEQUANTIZE_VERSION)
    for graph in model.subgraphs:
        dequantised: dict[int, int] = {}  # tensor of float16 weights to its float32 form
        for index, tensor in enumerate(list(graph.tensors)):
            if tensor.buffer in changed:
                dequantised[index] = _add_tensor(graph, tensor.name + b"/float32", tensor.shape)
                tensor.type = TensorType.FLOAT16
        for operator in graph.operators:
            operator.inputs = np.array([dequantised.get(i, i) for i in operator.inputs], np.int32)
        graph.operators = [
            *(_operator(code, [source], target) for source, target in dequantised.items()),
            *graph.operators,
        ]
    return _write(model)


def _large(sizes: dict[int, int]) -> list[int]:
    """The buffers that are not small: see `SMALL`."""
    large, seen, most = [], 0, SMALL_SHARE * sum(sizes.values())
    for buffer, size in sorted(sizes.items(), key=lambda item: item[1]):
        seen += size
        if size >= SMALL or seen > most:
            large.append(buffer)
    return large


def _matrices(model: Any) -> dict[int, int]:
    """Buffers of the constants that products and convolutions have as weights, and their sizes."""
    found = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            if _kind(model, operator) in (PRODUCT, CONVOLUTION):
                buffer = graph.tensors[operator.inputs[1]].buffer
                if model.buffers[buffer].data is not None:
                    found[buffer] = _values(model, buffer).size
    return found


def _quantise(model: Any, buffer: int) -> FloatArray:
    """Write a buffer as int8 with a scale for each entry of its first axis; returns the scales."""
    values = _values(model, buffer)
    owners = (t for graph in model.subgraphs for t in graph.tensors if t.buffer == buffer)
    rows = values.reshape(next(owners).shape[0], -1)
    scales = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny * 127) / 127
    integers = np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int8)
    model.buffers[buffer].data = integers.reshape(-1).view(np.uint8)
    return np.asarray(scales, np.float32)


def _set_scales(weights: Any, scales: FloatArray) -> None:
    weights.type = TensorType.INT8
    weights.quantization = QuantizationParametersT()
    weights.quantization.scale = scales
    weights.quantization.zeroPoint = np.zeros(len(scales), np.int64)


def _scaled(model: Any, graph: Any, product: Any, scales: FloatArray) -> list[Any]:
    """Operators after a product: times the scales, plus its bias, and its activation."""
    result = product.outputs[0]
    shape, name = graph.tensors[result].shape, graph.tensors[result].name
    raw = _add_tensor(graph, name + b"/product", shape)
    factor = _add_tensor(graph, name + b"/scales", scales.shape, _add_buffer(model, scales))
    bias = product.inputs[2] if len(product.inputs) > 2 else -1
    activation = product.builtinOptions.fusedActivationFunction
    product.builtinOptions.fusedActivationFunction = ActivationFunctionType.NONE
    product.outputs = np.array([raw], np.int32)
    times = _operator(_code(model, BuiltinOperator.MUL, 1), [raw, factor], result)
    times.builtinOptionsType, times.builtinOptions = BuiltinOptions.MulOptions, MulOptionsT()
    if bias < 0:
        times.builtinOptions.fusedActivationFunction = activation
        return [times]
    product.inputs = np.array([*product.inputs[:2], -1], np.int32)
    times.outputs = np.array([_add_tensor(graph, name + b"/scaled", shape)], np.int32)
    plus = _operator(_code(model, BuiltinOperator.ADD, 1), [times.outputs[0], bias], result)
    plus.builtinOptionsType, plus.builtinOptions = BuiltinOptions.AddOptions, AddOptionsT()
    plus.builtinOptions.fusedActivationFunction = activation
    return [times, plus]


def _operator(code: int, inputs: list[int], output: int) -> Any:
    operator = OperatorT()
    operator.opcodeIndex = code
    operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
    return operator


def _add_tensor(graph: Any, name: bytes, shape: Any, buffer: int = 0) -> int:
    """A float32 tensor; returns its index. Buffer 0 is TFLite's empty one."""
    tensor = TensorT()
    tensor.name, tensor.type, tensor.buffer = name, TensorType.FLOAT32, buffer
    tensor.shape = np.array(shape, np.int32)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _add_buffer(model: Any, values: FloatArray) -> int:
    buffer = BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _kind(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _code(model: Any, kind: int, version: int) -> int:
    """Index of an operator's code, added where there is none."""
    for index, code in enumerate(model.operatorCodes):
        if (max(code.builtinCode, code.deprecatedBuiltinCode), code.version) == (kind, version):
            return index
    code = OperatorCodeT()
    code.builtinCode, code.version = kind, version
    code.deprecatedBuiltinCode = min(kind, 127)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _values(model: Any, buffer: int) -> FloatArray:
    return np.frombuffer(bytes(model.buffers[buffer].data), np.float32)


def _read(content: bytes) -> Any:
    return flatbuffer_utils.convert_bytearray_to_object(bytearray(content))


def _write(model: Any) -> bytes:
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
