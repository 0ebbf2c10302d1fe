"""The step graph in ONNX, written by hand from the same folded weights; and its int8 forms."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ds2edge.bundle import StepGrid
from ds2edge.convert.fold import FoldedConvolution, FoldedModel, FoldedRecurrence, clips
from ds2edge.training.network.layers import frequency_padding

OPSET = 21
HEAD = "head"  # the product that stays float32, as it does in TFLite
BLOCKS = (32, 128)  # weights with a scale of their own, in MatMulNBits


@dataclass(frozen=True)
class Int8:
    """What quantize_dynamic can be told; each way is tried."""

    weights: str
    channels: bool  # a scale for each output
    reduced: bool  # to 7 bits, which cannot overflow where products are added in 16
    convolutions: bool  # these, too

    @property
    def name(self) -> str:
        told = {
            "per channel": self.channels,
            "reduced": self.reduced,
            "convolutions": self.convolutions,
        }
        return ", ".join([self.weights, *(name for name, is_so in told.items() if is_so)])


def gru_as_one_operator(model: FoldedModel) -> bool:
    """Whether ONNX's GRU computes the model's recurrences."""
    return all(r.cell == "gru" and not clips(r.cell, r.candidate) for r in model.recurrences)


def onnx_graphs(model: FoldedModel, grid: StepGrid, bins: int) -> dict[str, Any]:
    """The forms of the float32 graph for one stream, by name.

    Inputs are `features` and `valid` as in TFLite, and the states; outputs `logits` and the states.
    """
    forms = {"unrolled": False} | ({"GRU operators": True} if gru_as_one_operator(model) else {})
    rows = {"": False, ", row convolution as one": True}
    return {
        f"{form}{row}": _Writer(model, grid, bins, fused, depthwise).model()
        for form, fused in forms.items()
        for row, depthwise in rows.items()
        if grid.look_ahead or not depthwise
    }


def int8_forms(source: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """All int8 forms of a float32 file whose steps are unrolled, by name."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    ways = itertools.product(("QInt8", "QUInt8"), *[(False, True)] * 3)
    for number, way in enumerate(Int8(*one) for one in ways):
        target = folder / f"{source.stem}-int8-{number}.onnx"
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", *["Conv"] * way.convolutions],
            per_channel=way.channels,
            reduce_range=way.reduced,
            weight_type=QuantType[way.weights],
            nodes_to_exclude=[HEAD],
            extra_options={"MatMulConstBOnly": True},
        )
        yield way.name, target
    for block in BLOCKS:
        target = folder / f"{source.stem}-nbits-{block}.onnx"
        quantiser = MatMulNBitsQuantizer(
            onnx.load(source),
            bits=8,
            block_size=block,
            is_symmetric=True,
            accuracy_level=4,  # products of int8
            nodes_to_exclude=[HEAD],
        )
        quantiser.process()
        quantiser.model.save_model_to_file(str(target))
        yield f"MatMulNBits, blocks of {block}", target


@dataclass
class _Writer:
    """One graph on its way."""

    folded: FoldedModel
    grid: StepGrid
    bins: int
    fused: bool  # a GRU operator for each layer
    depthwise: bool  # the row convolution as a convolution, not as products and sums
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    states: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def model(self) -> Any:
        f32, steps = TensorProto.FLOAT, self.grid.chunk_outputs
        given = {
            "features": (1, self.grid.chunk_frames, self.bins),
            "valid": (1, steps, 1),
        }
        self._logits(self._window(self._recurrences(self._convolutions("features"))))
        tokens = self.folded.head.kernel.shape[1]
        after = {f"{name}_after": shape for name, shape in self.states.items()}
        graph = helper.make_graph(
            self.nodes,
            "step",
            [helper.make_tensor_value_info(n, f32, s) for n, s in (given | self.states).items()],
            [
                helper.make_tensor_value_info(n, f32, s)
                for n, s in ({"logits": (1, steps, tokens)} | after).items()
            ],
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        onnx.checker.check_model(model)
        return model

    def _convolutions(self, x: str) -> str:
        """Features to the first recurrence's inputs, shape = (steps, inputs)."""
        x = self._reshaped(x, (1, 1, self.grid.chunk_frames, self.bins))  # channels first
        for i, layer in enumerate(self.folded.convolutions):
            x = self._convolve(i, layer, x)
        x = self._add("Transpose", [x], perm=(0, 2, 3, 1))
        return self._reshaped(x, (self.grid.chunk_outputs, -1))

    def _convolve(self, i: int, layer: FoldedConvolution, x: str) -> str:
        name, height = f"convolution{i}", layer.kernel.shape[1]
        if layer.context:
            shape = (1, layer.kernel.shape[2], layer.context, layer.bins)
            x = self._with_state(name, shape, x, axis=2)
        below, above = frequency_padding(layer.bins, height, layer.strides[1])
        kernel = self._constant(layer.kernel.transpose(3, 2, 0, 1), f"{name}_kernel")
        bias = self._constant(layer.bias)
        return self._relu6(
            self._add("Conv", [x, kernel, bias], strides=layer.strides, pads=(0, below, 0, above))
        )

    def _recurrences(self, x: str) -> str:
        """Shape = (steps, units)."""
        for i, layer in enumerate(self.folded.recurrences):
            self.states[f"recurrence{i}"] = (1, layer.recurrent.shape[0])
            x = (self._operator if self.fused else self._unrolled)(i, layer, x)
        return x

    def _unrolled(self, i: int, layer: FoldedRecurrence, x: str) -> str:
        steps = self.grid.chunk_outputs
        kernel = self._constant(layer.kernel, f"kernel{i}")
        recurrent = self._constant(layer.recurrent, f"recurrent{i}")
        x = self._add("Add", [self._add("MatMul", [x, kernel]), self._constant(layer.bias)])
        rows = self._split(x, steps, axis=0) if steps > 1 else [x]
        hidden, states = f"recurrence{i}", []
        cell = self._simple if layer.cell == "simple" else self._gru
        for row in rows:
            hidden = cell(layer, recurrent, row, hidden)
            states.append(hidden)
        self._add("Identity", [hidden], outputs=[f"recurrence{i}_after"])
        return self._add("Concat", states, axis=0)

    def _simple(self, layer: FoldedRecurrence, recurrent: str, x: str, hidden: str) -> str:
        return self._relu6(self._add("Add", [x, self._add("MatMul", [hidden, recurrent])]))

    def _gru(self, layer: FoldedRecurrence, recurrent: str, x: str, hidden: str) -> str:
        units = layer.recurrent.shape[0]
        product = self._add("MatMul", [hidden, recurrent])
        (gates, new), (from_gates, from_new) = (
            self._split(value, (2 * units, units), axis=1) for value in (x, product)
        )
        gates = self._add("Sigmoid", [self._add("Add", [gates, from_gates])])
        update, reset = self._split(gates, 2, axis=1)
        new = self._add("Add", [new, self._add("Mul", [reset, from_new])])
        new = self._relu6(new) if clips(layer.cell, layer.candidate) else self._add("Tanh", [new])
        kept = self._add("Mul", [update, self._add("Sub", [hidden, new])])
        return self._add("Add", [kept, new])

    def _operator(self, i: int, layer: FoldedRecurrence, x: str) -> str:
        units, steps = layer.recurrent.shape[0], self.grid.chunk_outputs
        inputs = [
            self._reshaped(x, (steps, 1, layer.kernel.shape[0])),
            self._constant(layer.kernel.T[None]),
            self._constant(layer.recurrent.T[None]),
            self._constant(np.concatenate([layer.bias, np.zeros_like(layer.bias)])[None]),
            "",
            self._reshaped(f"recurrence{i}", (1, 1, units)),
        ]
        states, last = f"states{i}", f"last{i}"
        settings = {"hidden_size": units, "linear_before_reset": 1}
        self._add("GRU", inputs, outputs=[states, last], **settings)
        self._reshaped(last, (1, units), f"recurrence{i}_after")
        return self._reshaped(states, (steps, units))

    def _window(self, x: str) -> str:
        """With the look-ahead's steps before it, shape = (1, steps, units)."""
        units = self.folded.row.shape[1]
        x = self._reshaped(x, (1, self.grid.chunk_outputs, units))
        x = self._add("Mul", [x, "valid"])
        if not self.grid.look_ahead:
            return x
        return self._with_state("row", (1, self.grid.look_ahead, units), x, axis=1)

    def _logits(self, window: str) -> None:
        folded, steps = self.folded, self.grid.chunk_outputs
        y = (self._row_as_one if self.depthwise else self._row)(window)
        y = self._reshaped(self._relu6(y), (steps, folded.row.shape[1]))
        if dense := folded.connected:
            y = self._add("MatMul", [y, self._constant(dense.kernel, "connected")])
            y = self._relu6(self._add("Add", [y, self._constant(dense.bias)]))
        y = self._add("MatMul", [y, self._constant(folded.head.kernel)], name=HEAD)
        y = self._add("Add", [y, self._constant(folded.head.bias)])
        self._reshaped(y, (1, steps, folded.head.kernel.shape[1]), "logits")

    def _row(self, window: str) -> str:
        total = self._constant(self.folded.row_bias)
        for j, weights in enumerate(self.folded.row):
            part = self._slice(window, j, j + self.grid.chunk_outputs, axis=1)
            total = self._add("Add", [total, self._add("Mul", [part, self._constant(weights)])])
        return total

    def _row_as_one(self, window: str) -> str:
        length, units = self.folded.row.shape
        x = self._add("Transpose", [window], perm=(0, 2, 1))
        x = self._reshaped(x, (1, units, self.grid.chunk_outputs + length - 1, 1))
        kernel = self._constant(self.folded.row.T[:, None, :, None])
        bias = self._constant(self.folded.row_bias)
        x = self._add("Conv", [x, kernel, bias], group=units)
        return self._add("Transpose", [x], perm=(0, 2, 1, 3))

    def _with_state(self, name: str, shape: tuple[int, ...], x: str, axis: int) -> str:
        """The state before x; its last part is the state after."""
        self.states[name] = shape
        joined = self._add("Concat", [name, x], axis=axis)
        self._slice(joined, -shape[axis], 2**31, axis, f"{name}_after")
        return joined

    # ---- single operators; each gives the name of its output

    def _relu6(self, x: str) -> str:
        return self._add("Clip", [x, self._scalar(0.0), self._scalar(6.0)])

    def _slice(self, x: str, begin: int, end: int, axis: int, output: str = "") -> str:
        bounds = [self._integers([value]) for value in (begin, end, axis)]
        return self._add("Slice", [x, *bounds], outputs=[output] if output else None)

    def _split(self, x: str, parts: int | tuple[int, ...], axis: int) -> list[str]:
        count = parts if isinstance(parts, int) else len(parts)
        outputs = [f"{x}_part{len(self.nodes)}_{i}" for i in range(count)]
        if isinstance(parts, int):
            self._add("Split", [x], outputs=outputs, axis=axis, num_outputs=parts)
        else:
            self._add("Split", [x, self._integers(parts)], outputs=outputs, axis=axis)
        return outputs

    def _reshaped(self, x: str, shape: tuple[int, ...], output: str = "") -> str:
        return self._add(
            "Reshape", [x, self._integers(shape)], outputs=[output] if output else None
        )

    def _integers(self, values: Any) -> str:
        return self._constant(np.array(values, np.int64))

    def _scalar(self, value: float) -> str:
        name = f"scalar_{value:g}"
        if name not in self.constants:
            self._constant(np.array(value, np.float32), name)
        return name

    def _constant(self, values: Any, name: str = "") -> str:
        name = name or f"constant{len(self.constants)}"
        if values.dtype != np.int64:
            values = values.astype(np.float32)
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _add(
        self,
        kind: str,
        inputs: list[str],
        outputs: list[str] | None = None,
        name: str = "",
        **how: Any,
    ) -> str:
        outputs = outputs or [f"{kind.lower()}{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name or outputs[0], **how))
        return outputs[0]
