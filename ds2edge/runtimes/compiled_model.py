"""LiteRT's CompiledModel on the CPU: the fastest way, since all steps share packed weights."""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ds2edge import _native
from ds2edge.errors import BackendError
from ds2edge.runtimes.interpreter import check_file
from ds2edge.runtimes.litert import litert_module, litert_name
from ds2edge.runtimes.runtime import Tensors, check_shapes

WITHOUT_LIBRARIES = str(Path(__file__).parent)  # a folder in which LiteRT finds none to load


class CompiledModelRuntime:
    """A TFLite file as a CompiledModel."""

    def __init__(self, model: Any, description: str) -> None:
        """Use `load_compiled_model`."""
        self.description = description
        self._model = model
        self._lock = threading.Lock()  # the buffers are shared
        self._calls = {name: _Call(model, name) for name in model.get_signature_list()}

    @property
    def signatures(self) -> tuple[str, ...]:
        """See `Runtime.signatures`."""
        return tuple(self._calls)

    def shapes(self, signature: str) -> dict[str, tuple[int, ...]]:
        """See `Runtime.shapes`."""
        return dict(self._calls[signature].shapes)

    def output_shapes(self, signature: str) -> dict[str, tuple[int, ...]]:
        """See `Runtime.output_shapes`."""
        return dict(self._calls[signature].output_shapes)

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """See `Runtime.run`."""
        try:
            with self._lock:
                return self._calls[signature].run(inputs)
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"{self.description} failed while it ran: {error}") from None


class _Call:
    """One signature with buffers for its inputs and outputs."""

    def __init__(self, model: Any, name: str) -> None:
        self._model, self._index = model, model.get_signature_index(name)
        names = model.get_signature_list()[name]
        inputs = model.get_input_tensor_details(name)
        outputs = model.get_output_tensor_details(name)
        self.shapes = {n: tuple(map(int, inputs[n]["shape"])) for n in names["inputs"]}
        self._inputs = {n: model.create_input_buffer_by_name(name, n) for n in names["inputs"]}
        self._outputs = {n: model.create_output_buffer_by_name(name, n) for n in names["outputs"]}
        self.output_shapes = {n: tuple(map(int, outputs[n]["shape"])) for n in names["outputs"]}

    def run(self, inputs: Tensors) -> Tensors:
        check_shapes(self.shapes, inputs)  # LiteRT would read beyond the end
        for name, buffer in self._inputs.items():
            buffer.write(inputs[name])
        self._model.run_by_index(
            self._index, list(self._inputs.values()), list(self._outputs.values())
        )
        return {
            name: buffer.read(prod(shape), np.float32).reshape(shape)
            for (name, buffer), shape in zip(
                self._outputs.items(), self.output_shapes.values(), strict=True
            )
        }


def load_compiled_model(model: Path, cache: str) -> CompiledModelRuntime:
    """The file on the CPU, one thread.

    Args:
        cache: what `weight_cache` gives; empty: each step packs the weights for itself.

    Raises:
        BackendError: LiteRT is not installed, or cannot load the file.
    """
    litert = litert_module("compiled_model")
    options = litert.Options(
        hardware_accelerators=litert.HardwareAccelerator.CPU,
        cpu_options=litert.CpuOptions(num_threads=1, xnnpack_weight_cache_path=cache),
    )
    # On the CPU accelerators would only take memory.
    compiled = compile_model(model, options, environment(WITHOUT_LIBRARIES))
    return CompiledModelRuntime(compiled, f"{litert_name()} CompiledModel, CPU")


def compile_model(model: Path, options: Any, environment: Any) -> Any:
    """LiteRT's CompiledModel with its `options`.

    Raises:
        BackendError: LiteRT cannot.
    """
    check_file(model)  # CompiledModel would read beyond the end of a damaged one
    compiled = litert_module("compiled_model").CompiledModel
    try:
        return compiled.from_file(str(model), environment=environment, options=options)
    except (ValueError, RuntimeError) as error:
        raise BackendError(f"{litert_name()} cannot load {model}: {error}") from None


@cache
def environment(accelerators: str) -> Any:
    """LiteRT's environment, one for all models that look for accelerators in the same folder.

    It lives as long as the process: where one ends, LiteRT prints on standard error. Another one,
    which LiteRT makes when a buffer is first used, cannot be kept from ending.
    """
    made = litert_module("environment").Environment.create(
        runtime_path=accelerators,
        compiler_plugin_path=WITHOUT_LIBRARIES,  # of NPUs, which LiteRT would look for and load
        dispatch_library_path=WITHOUT_LIBRARIES,
    )
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made.capsule))
    _native.speak_at_exit()
    buffer = litert_module("tensor_buffer").TensorBuffer
    buffer.create_from_host_memory(np.zeros(16, np.float32)).get_tensor_details()
    _native.silent_at_exit()
    return made
