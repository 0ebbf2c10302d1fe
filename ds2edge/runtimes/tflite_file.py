"""Whether a file is a whole TFLite model: tflite-runtime reads beyond the end of one that is not.

A TFLite file is a FlatBuffer: tables that point at each other by offsets. Here all that an
interpreter follows is followed within bounds. LiteRT has a check of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from ds2edge.errors import BackendError

IDENTIFIER = b"TFL3"  # bytes 4 to 7

# Places of the fields in their tables, from TFLite's schema.
MODEL_CODES, MODEL_GRAPHS, MODEL_BUFFERS, MODEL_SIGNATURES = 1, 2, 4, 7
GRAPH_TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_OPERATORS = 0, 1, 2, 3
TENSOR_SHAPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANTIZATION = 0, 2, 3, 4
QUANTIZATION_SCALES, QUANTIZATION_ZEROS = 2, 3
OPERATOR_CODE, OPERATOR_INPUTS, OPERATOR_OUTPUTS, OPERATOR_OPTIONS = 0, 1, 2, 4
SIGNATURE_INPUTS, SIGNATURE_OUTPUTS, SIGNATURE_KEY = 0, 1, 2
MAP_NAME = 0


def check_tflite_file(path: Path) -> None:
    """Raise BackendError if the file is truncated, or points where nothing is."""
    content = path.read_bytes()
    try:
        if content[4:8] != IDENTIFIER:
            raise ValueError(f"it begins with {content[:8]!r}")
        _check_model(_Table(content, *struct.unpack_from("<I", content)))
    except (struct.error, ValueError) as error:
        raise BackendError(f"{path} is not a whole TFLite model: {error}") from None


def _check_model(model: _Table) -> None:
    codes = len(list(model.tables(MODEL_CODES)))
    buffers = 0
    for buffer in model.tables(MODEL_BUFFERS):
        buffer.vector(0, 1)
        buffers += 1
    for graph in model.tables(MODEL_GRAPHS):
        _check_graph(graph, codes, buffers)
    for signature in model.tables(MODEL_SIGNATURES):
        signature.vector(SIGNATURE_KEY, 1)
        for part in (SIGNATURE_INPUTS, SIGNATURE_OUTPUTS):
            for entry in signature.tables(part):
                entry.vector(MAP_NAME, 1)


def _check_graph(graph: _Table, codes: int, buffers: int) -> None:
    tensors = 0
    for tensor in graph.tables(GRAPH_TENSORS):
        tensors += 1
        tensor.vector(TENSOR_SHAPE, 4)
        tensor.vector(TENSOR_NAME, 1)
        if not tensor.number(TENSOR_BUFFER) < buffers:
            raise ValueError("a tensor has a buffer that is not there")
        if quantization := tensor.table(TENSOR_QUANTIZATION):
            quantization.vector(QUANTIZATION_SCALES, 4)
            quantization.vector(QUANTIZATION_ZEROS, 8)
    lists = [graph.numbers(GRAPH_INPUTS), graph.numbers(GRAPH_OUTPUTS)]
    for operator in graph.tables(GRAPH_OPERATORS):
        if not operator.number(OPERATOR_CODE) < codes:
            raise ValueError("an operator has a code that is not there")
        operator.table(OPERATOR_OPTIONS)
        lists += [operator.numbers(OPERATOR_INPUTS), operator.numbers(OPERATOR_OUTPUTS)]
    if not all(-1 <= tensor < tensors for numbers in lists for tensor in numbers):
        raise ValueError("an operator has a tensor that is not there")


class _Table:
    """A table of a FlatBuffer; what is beyond the end raises struct.error or ValueError."""

    def __init__(self, content: bytes, position: int) -> None:
        self._content, self._position = content, position
        self._fields = position - self._read("<i", position)
        self._size = self._read("<H", self._fields)
        self._read("<H", self._fields + self._size - 2)

    def number(self, field: int) -> int:
        """An unsigned one of four bytes; 0 where it is left out."""
        at = self._at(field)
        return self._read("<I", at) if at else 0

    def table(self, field: int) -> _Table | None:
        at = self._at(field)
        return _Table(self._content, at + self._read("<I", at)) if at else None

    def tables(self, field: int) -> Iterator[_Table]:
        begin, length = self.vector(field, 4)
        for at in range(begin, begin + 4 * length, 4):
            yield _Table(self._content, at + self._read("<I", at))

    def numbers(self, field: int) -> tuple[int, ...]:
        """A vector of signed ones of four bytes."""
        begin, length = self.vector(field, 4)
        return struct.unpack_from(f"<{length}i", self._content, begin)

    def vector(self, field: int, size: int) -> tuple[int, int]:
        """Where the entries of `size` bytes begin, and how many there are."""
        at = self._at(field)
        if not at:
            return 0, 0
        at += self._read("<I", at)
        length = self._read("<I", at)
        if at + 4 + size * length > len(self._content):
            raise ValueError(f"it has {len(self._content)} bytes, needed {at + 4 + size * length}")
        return at + 4, length

    def _at(self, field: int) -> int:
        """Where a field is; 0 where it is left out."""
        place = 4 + 2 * field
        offset = self._read("<H", self._fields + place) if place < self._size else 0
        return self._position + offset if offset else 0

    def _read(self, form: str, at: int) -> int:
        if at < 0:
            raise ValueError("it points before its begin")
        value: int = struct.unpack_from(form, self._content, at)[0]
        return value
