"""TFLite's interpreter: in LiteRT, or in tflite-runtime for boards where LiteRT has no wheel."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ds2edge.errors import BackendError
from ds2edge.runtimes.litert import litert_module, litert_name
from ds2edge.runtimes.runtime import Tensors, check_shapes
from ds2edge.runtimes.tflite_file import check_tflite_file

DELEGATE_FUNCTIONS = ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate")


class InterpreterRuntime:
    """A TFLite file in an interpreter, one thread."""

    def __init__(self, interpreter: Any, description: str) -> None:
        """Use `load_litert` or `load_tflite_runtime`."""
        self.description = description
        self.signatures = tuple(interpreter.get_signature_list())
        self._interpreter = interpreter
        self._lock = threading.Lock()  # an interpreter runs one call at a time
        self._calls: dict[str, _Call] = {}  # made when used first: each takes memory

    def shapes(self, signature: str) -> dict[str, tuple[int, ...]]:
        """See `Runtime.shapes`."""
        return dict(self._call(signature).shapes)

    def output_shapes(self, signature: str) -> dict[str, tuple[int, ...]]:
        """See `Runtime.output_shapes`."""
        return _shapes(self._call(signature).run.get_output_details())

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """See `Runtime.run`."""
        call = self._call(signature)
        check_shapes(call.shapes, inputs)  # after a wrong one the interpreter is of no more use
        try:
            with self._lock:
                outputs: Tensors = call.run(**inputs)
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"{self.description} failed while it ran: {error}") from None
        return outputs

    def _call(self, signature: str) -> _Call:
        with self._lock:
            if signature not in self._calls:
                try:
                    run = self._interpreter.get_signature_runner(signature)
                except (ValueError, RuntimeError) as error:
                    raise BackendError(
                        f"{self.description} cannot load the model: {error}"
                    ) from None
                self._calls[signature] = _Call(run, _shapes(run.get_input_details()))
            return self._calls[signature]


class _Call(NamedTuple):
    """A signature."""

    run: Any
    shapes: dict[str, tuple[int, ...]]  # of its inputs


def load_litert(model: Path) -> InterpreterRuntime:
    """The file in LiteRT's interpreter.

    Raises:
        BackendError: LiteRT is not installed, or cannot load the file.
    """
    name = f"{litert_name()} Interpreter, CPU"
    return _load(litert_module("interpreter").Interpreter, model, name)


def check_file(model: Path) -> None:
    """That a file is a whole TFLite model, whose operators LiteRT knows.

    Raises:
        BackendError: it is not.
    """
    interpreter = litert_module("interpreter")
    plain = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # nothing is packed
    _load(interpreter.Interpreter, model, litert_name(), experimental_op_resolver_type=plain)


def load_tflite_runtime(model: Path, delegate: Path | None = None) -> InterpreterRuntime:
    """The file in tflite-runtime's interpreter.

    Args:
        delegate: a library that is to run what it can, on a GPU say; without a folder in its
            name, the system looks for it where there is no such file.

    Raises:
        BackendError: tflite-runtime is not installed or cannot run here, cannot load the file, or
            `delegate` is no delegate.
    """
    library = _delegate_library(delegate) if delegate else ""
    tflite, name = tflite_module()
    check_tflite_file(model)
    if delegate is None:
        return _load(tflite.Interpreter, model, f"{name}, CPU")
    try:
        loaded = tflite.load_delegate(library)
    except (ValueError, OSError, RuntimeError) as error:
        raise BackendError(f"{delegate} makes no delegate: {_one_line(error)}") from None
    description = f"{name} with {delegate.name}"
    return _load(tflite.Interpreter, model, description, experimental_delegates=[loaded])


def tflite_module() -> tuple[Any, str]:
    """tflite-runtime's interpreter module, and its name and version.

    Raises:
        BackendError: it is not installed, or cannot run here.
    """
    try:
        import tflite_runtime
        from tflite_runtime import interpreter as tflite
    except ImportError as error:
        raise BackendError(
            f"tflite-runtime is not installed ({error}); pip install 'ds2edge[tflite]'"
        ) from None
    if int(np.__version__.split(".")[0]) > 1:
        raise BackendError(
            f"tflite-runtime needs NumPy 1, got {np.__version__}: pip install 'numpy<2'"
        )
    return tflite, f"tflite-runtime {tflite_runtime.__version__}"


def _delegate_library(delegate: Path) -> str:
    """What to load. tflite-runtime would print an exception on finding out that it is none.

    Raises:
        BackendError: it is missing, no library, or not a delegate's.
    """
    name = str(delegate.resolve() if delegate.exists() else delegate)
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise BackendError(f"its library cannot be loaded: {error}") from None
    if missing := [function for function in DELEGATE_FUNCTIONS if not hasattr(library, function)]:
        raise BackendError(f"{delegate} is no TFLite delegate: it has no {missing[0]}")
    return name


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _shapes(details: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(map(int, detail["shape"])) for name, detail in details.items()}


def _load(interpreter: Any, model: Path, description: str, **options: Any) -> InterpreterRuntime:
    try:
        loaded = interpreter(model_path=str(model), num_threads=1, **options)
    except (ValueError, RuntimeError) as error:
        raise BackendError(f"{description} cannot load the model: {error}") from None
    return InterpreterRuntime(loaded, description)
