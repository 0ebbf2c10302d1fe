"""The face of every runtime: a loaded TFLite file whose signatures can be called by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ds2edge.errors import BackendError

FloatArray = npt.NDArray[np.float32]
Tensors: TypeAlias = dict[str, FloatArray]  # by name


class Runtime(Protocol):
    """A loaded TFLite file. Threads may share it: it runs one call at a time."""

    @property
    def description(self) -> str:
        """Runtime, version and device, for people to read."""
        ...

    @property
    def signatures(self) -> tuple[str, ...]:
        """Names that `run` takes."""
        ...

    def shapes(self, signature: str) -> dict[str, tuple[int, ...]]:
        """Of the inputs, by name."""
        ...

    def output_shapes(self, signature: str) -> dict[str, tuple[int, ...]]:
        """Of the outputs, by name."""
        ...

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """The outputs, by name; arrays that are the caller's own.

        Raises:
            BackendError: the runtime failed.
        """
        ...


def check_shapes(needed: Mapping[str, tuple[int, ...]], inputs: Tensors) -> None:
    """Refuse what a runtime would not notice, or would break by.

    Raises:
        BackendError: an input is missing or of another shape.
    """
    for name, shape in needed.items():
        found = inputs[name].shape if name in inputs else "nothing"
        if found != shape:
            raise BackendError(f"the model's input {name} needs shape {shape}, got {found}")
