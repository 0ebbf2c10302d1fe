"""A cell of `conversion.py`: one file in one runtime, one thread, in a process of its own.

Says what loading it took and gave, then takes rounds; see `worker.py`. Imports nothing but its
runtime: it also runs where only tflite-runtime and NumPy are installed.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from worker import serve

ROUND = 0.05  # s of processor time, about
COMPARED = 24  # chunks whose logits are told

Step = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]


def main(spec: dict[str, Any]) -> None:
    chunks = np.load(spec["chunks"])  # shape = (n, 1, chunk_frames, bins)
    load = RUNTIMES[spec["runtime"]]()
    before, began = private_megabytes(), time.perf_counter()
    step = load(spec)
    logits = [step(chunks[0])]
    first = time.perf_counter() - began
    logits += [step(chunk) for chunk in chunks[1:COMPARED]]
    logits = np.stack(logits).tolist()
    state = {"i": COMPARED}

    def run(count: int) -> float:
        total = 0.0
        for _ in range(count):
            total += float(step(chunks[state["i"] % len(chunks)]).flat[0])
            state["i"] += 1
        return total

    run(2)
    memory = private_megabytes() - before
    began = time.process_time()
    run(4)
    count = max(1, round(4 * ROUND / (time.process_time() - began)))
    serve(lambda: run(count), first=first, memory=memory, logits=logits, chunks=count)


def private_megabytes() -> float:
    """Memory that is this process's alone: what it wrote, and files that only it has mapped."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


# Each imports its runtime, and then gives what loads a file and gives its step.


def compiled_model() -> Callable[[dict[str, Any]], Step]:
    """LiteRT's CompiledModel, as ds2edge runs it."""
    import ai_edge_litert.compiled_model  # noqa: F401

    from ds2edge.runtimes.compiled_model import load_compiled_model
    from ds2edge.runtimes.litert import litert_name
    from ds2edge.runtimes.stderr import captured_stderr
    from ds2edge.runtimes.weight_cache import weight_cache

    def load(spec: dict[str, Any]) -> Step:
        path = Path(spec["file"])
        with captured_stderr():
            if not spec["cache"]:
                return stepped(load_compiled_model(path, ""))
            with weight_cache(path, litert_name()) as cache:
                runtime = load_compiled_model(path, cache)
                if cache.startswith("/proc/"):  # the first start of all fills it, by running
                    runtime.run("step", zeros(runtime.shapes("step")))
                return stepped(runtime)

    def stepped(runtime: Any) -> Step:
        return with_states(
            lambda inputs: runtime.run("step", inputs), zeros(runtime.shapes("step"))
        )

    return load


def litert_interpreter() -> Callable[[dict[str, Any]], Step]:
    from ai_edge_litert.interpreter import Interpreter

    return lambda spec: interpreted(Interpreter, spec["file"])


def tflite_runtime() -> Callable[[dict[str, Any]], Step]:
    from tflite_runtime.interpreter import Interpreter

    return lambda spec: interpreted(Interpreter, spec["file"])


def interpreted(interpreter: Any, file: str) -> Step:
    loaded = interpreter(model_path=file, num_threads=1)
    runner = loaded.get_signature_runner("step")
    shapes = {name: one["shape"] for name, one in runner.get_input_details().items()}
    return with_states(lambda inputs: runner(**inputs), zeros(shapes))


def zeros(shapes: dict[str, Any]) -> dict[str, Any]:
    """Inputs of the first step."""
    inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    if "valid" in inputs:
        inputs["valid"][:] = 1
    return inputs


def with_states(call: Callable[..., dict[str, Any]], inputs: dict[str, Any]) -> Step:
    """The step of a function of inputs by name, of which the states come out again."""

    def step(features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        inputs["features"] = features
        outputs = call(inputs)
        logits = outputs.pop("logits")
        inputs.update(outputs)
        return np.array(logits)

    return step


def onnxruntime() -> Callable[[dict[str, Any]], Step]:
    """With all optimisations, and states that stay where they are: two sets, in turn."""
    import onnxruntime as ort

    def load(spec: dict[str, Any]) -> Step:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        session = ort.InferenceSession(spec["file"], options, providers=["CPUExecutionProvider"])
        inputs = {one.name: one.shape for one in session.get_inputs()}
        values = {name: ort.OrtValue.ortvalue_from_numpy(x) for name, x in zeros(inputs).items()}
        states = [name for name in inputs if name not in ("features", "valid")]
        other = {
            name: ort.OrtValue.ortvalue_from_numpy(np.zeros(inputs[name], np.float32))
            for name in states
        }
        (shape,) = (one.shape for one in session.get_outputs() if one.name == "logits")
        logits = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
        bindings = []
        for source, target in ((values, other), ({**values, **other}, values)):
            binding = session.io_binding()
            for name in inputs:
                binding.bind_ortvalue_input(name, source[name])
            for name in states:
                binding.bind_ortvalue_output(f"{name}_after", target[name])
            binding.bind_ortvalue_output("logits", logits)
            bindings.append(binding)

        def step(features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            values["features"].update_inplace(features)
            session.run_with_iobinding(bindings[0])
            bindings.reverse()
            return np.array(logits.numpy())

        return step

    return load


def memory() -> Callable[[dict[str, Any]], Step]:
    """Reads so many bytes for each chunk; see `conversion_floor.py`."""

    def load(spec: dict[str, Any]) -> Step:
        library = ctypes.CDLL(spec["file"])
        library.read_all.restype = ctypes.c_double
        library.make.restype = ctypes.c_void_p
        size = ctypes.c_size_t(spec["bytes"])
        buffer = ctypes.c_void_p(library.make(size))
        return lambda _: np.array([library.read_all(buffer, size)])

    return load


RUNTIMES: dict[str, Callable[[], Callable[[dict[str, Any]], Step]]] = {
    "CompiledModel": compiled_model,
    "Interpreter": litert_interpreter,
    "tflite-runtime": tflite_runtime,
    "onnxruntime": onnxruntime,
    "memory": memory,
}

if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
