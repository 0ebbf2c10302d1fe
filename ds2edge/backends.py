"""Which runtime runs a bundle's acoustic model: chosen, loaded, and tested before it is used."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ds2edge.acoustic import Backend, StepModel, run_chunks
from ds2edge.bundle import RUNNABLE, Artefact, Bundle, StepGrid, shares_weights
from ds2edge.errors import BackendError, BundleError
from ds2edge.options import BackendOptions
from ds2edge.runtimes.runtime import Runtime
from ds2edge.runtimes.stderr import captured_stderr
from ds2edge.whole import WholeRecording

log = logging.getLogger(__name__)

MODULES = {  # what each backend needs, in the order of preference
    "litert": "ai_edge_litert",
    "litert-interpreter": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
}
FLOAT16_TOLERANCE = 0.3  # nats; GPUs compute in float16 unless float32 is asked for


@dataclass(frozen=True)
class Loaded:
    """A backend that gave the right answer to the test chunk."""

    backend: Backend  # what runs
    artefact: Artefact  # which file
    error: float  # its largest difference from the stored answer, in nats
    device: Literal["cpu", "gpu", "delegate"] = "cpu"  # where it runs
    adapter: str = ""  # name of the GPU, or of the delegate's library
    fully_accelerated: bool | None = None  # whether it does all of the work; a delegate cannot tell
    refused: str = ""  # why it is not on the GPU, if there is one or it was asked for

    def report(self) -> dict[str, Any]:
        """For people and JSON to read."""
        facts: dict[str, Any] = {
            "device": self.device,
            "artefact": self.artefact.file,
            "weights": self.artefact.weights,
            "self_test_error": float(f"{self.error:.3g}"),
        }
        if self.adapter:
            facts["adapter"] = self.adapter
        if self.fully_accelerated is not None:
            facts["fully_accelerated"] = self.fully_accelerated
        return {**facts, "gpu_refused": self.refused} if self.refused else facts


def load_backend(bundle: Bundle, options: BackendOptions | None = None) -> Loaded:
    """Load the bundle's model and run its test chunk.

    Raises:
        BackendError: no runtime that is installed can load and run the model; or the GPU cannot
            be used, and `options.strict`.
        BundleError: the model does not give the answer stored with it.
    """
    options = options or BackendOptions()
    if options.delegate is None and options.device == "cpu":
        return _on_cpu(bundle, options)
    if options.delegate is None and options.device == "auto":
        return _on_the_faster(bundle, options)
    try:
        if options.delegate is None:
            return _on_gpu(bundle, options.precision)
        return _with_delegate(bundle, Path(options.delegate), options.precision)
    except (BackendError, BundleError) as error:
        asked = "the GPU" if options.delegate is None else "the delegate"
        why = f"{asked} cannot be used: {error}"
        if options.strict:
            raise BackendError(why) from None
        if options.precision == "fp16" and not bundle.artefact("cpu", "fp16"):
            options = replace(options, precision="auto")  # a GPU computes in it with any weights
        loaded = replace(_on_cpu(bundle, options), refused=str(error))
        log.warning("%s; the CPU is used", why)
        return loaded


def _on_the_faster(bundle: Bundle, options: BackendOptions) -> Loaded:
    """The CPU, unless there is a GPU that is faster on the test chunk."""
    cpu = _on_cpu(bundle, options)
    if options.backend != "auto" or not bundle.artefact("gpu", _on_gpus(options.precision)):
        return cpu
    from ds2edge.runtimes.gpu import hardware_adapters  # late: few have such a bundle

    if not hardware_adapters():
        return cpu
    try:
        gpu = _on_gpu(bundle, options.precision)
    except (BackendError, BundleError) as error:
        refused = str(error)
    else:
        fast, slow = (_milliseconds(bundle, loaded.backend) for loaded in (cpu, gpu))
        if slow < fast:
            return gpu
        refused = f"it takes {slow:.1f} ms for the test chunk, the CPU {fast:.1f}"
    log.info("the CPU is used, not the GPU: %s", refused)
    return replace(cpu, refused=refused)


def usable_backends() -> list[str]:
    """Those whose runtime is installed and works here, the best first."""
    from ds2edge.runtimes.interpreter import tflite_module
    from ds2edge.runtimes.litert import litert_name

    imports = {"ai_edge_litert": litert_name, "tflite_runtime": tflite_module}
    usable = []
    for name, module in MODULES.items():
        with suppress(BackendError):
            imports[module]()
            usable.append(name)
    return usable


def _on_cpu(bundle: Bundle, options: BackendOptions) -> Loaded:
    """The first backend that works, or the one that was named."""
    names = [name for name, module in MODULES.items() if find_spec(module)]
    if options.backend != "auto":
        names = [options.backend]
    failures: list[BackendError | BundleError] = []
    for name in names:
        try:
            return _load(bundle, name, options.precision)
        except (BackendError, BundleError) as error:
            failures.append(error)
    if not failures:
        raise BackendError("no TFLite runtime is installed; pip install ai-edge-litert")
    raise failures[0]


def _load(bundle: Bundle, name: str, precision: str) -> Loaded:
    artefact = needed_artefact(bundle, "cpu", precision)
    path = bundle.path(artefact)
    # Late: what is not used need not be imported.
    from ds2edge.runtimes.interpreter import load_litert, load_tflite_runtime

    if name == "tflite-runtime":
        return checked(bundle, artefact, load_tflite_runtime(path))
    from ds2edge.runtimes.compiled_model import load_compiled_model
    from ds2edge.runtimes.litert import litert_name
    from ds2edge.runtimes.weight_cache import weight_cache

    with captured_stderr():  # LiteRT speaks when it loads a model and when it first runs it
        if name == "litert-interpreter":
            return checked(bundle, artefact, load_litert(path))
        if not shares_weights(artefact.weights):
            return checked(bundle, artefact, load_compiled_model(path, cache=""))
        with weight_cache(path, litert_name()) as cache:
            return checked(bundle, artefact, load_compiled_model(path, cache))


def _on_gpu(bundle: Bundle, precision: str) -> Loaded:
    """LiteRT's GPU accelerator."""
    from ds2edge.runtimes.gpu import adapter, explained, load_gpu  # late: few ask for it

    artefact = needed_artefact(bundle, "gpu", _on_gpus(precision))
    exact = precision == "fp32"
    with explained():
        runtime = load_gpu(bundle.path(artefact), exact)
        loaded = checked(bundle, artefact, runtime, None if exact else FLOAT16_TOLERANCE)
    return replace(loaded, device="gpu", adapter=adapter(), fully_accelerated=True)


def _on_gpus(precision: str) -> str:
    """Of the weights: a GPU computes in float16 with float32 weights, too."""
    return "auto" if precision == "fp16" else precision


def _with_delegate(bundle: Bundle, library: Path, precision: str) -> Loaded:
    """The library that the user names, in tflite-runtime."""
    from ds2edge.runtimes.interpreter import load_tflite_runtime  # late: few name one

    artefact = needed_artefact(bundle, "delegate", precision)
    is_exact = precision == "fp32" or artefact.weights not in RUNNABLE["gpu"]
    with captured_stderr():
        runtime = load_tflite_runtime(bundle.path(artefact), library)
        loaded = checked(bundle, artefact, runtime, None if is_exact else FLOAT16_TOLERANCE)
    return replace(loaded, device="delegate", adapter=library.name)


def _milliseconds(bundle: Bundle, backend: Backend) -> float:
    """For the test chunk; of the fastest of three runs."""
    frames, _ = _stored_check(bundle)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        run_chunks(backend, frames, bundle.manifest.grid.chunk_frames)
        took.append(1000 * (time.perf_counter() - began))
    return min(took)


def needed_artefact(bundle: Bundle, device: str, precision: str) -> Artefact:
    """As `Bundle.artefact`.

    Raises:
        BackendError: there is none.
    """
    if artefact := bundle.artefact(device, precision):
        return artefact
    found = ", ".join(artefact.weights for artefact in bundle.manifest.artefacts)
    wanted = "" if precision == "auto" else f" of precision {precision}"
    runs = {"cpu": "the CPU", "gpu": "a GPU", "delegate": "a delegate"}[device]
    raise BackendError(
        f"bundle {bundle.manifest.name!r} has no model{wanted} that {runs} can run, only "
        f"{found}; convert the checkpoint with other --formats"
    )


def checked(
    bundle: Bundle, artefact: Artefact, runtime: Runtime, tolerance: float | None = None
) -> Loaded:
    """Compare with the stored answer: catches a wrong kernel or the artefact of another model.

    Args:
        tolerance: nats; None: the artefact's own.

    Raises:
        BackendError: the runtime failed.
        BundleError: another answer.
    """
    frames, expected = _stored_check(bundle)
    grid, path = bundle.manifest.grid, bundle.path(artefact)
    backend = as_backend(artefact.form, runtime, grid)
    allowed = artefact.tolerance if tolerance is None else tolerance
    found = run_chunks(backend, frames, grid.chunk_frames)
    if found.shape != expected.shape:
        raise BundleError(
            f"{path} answers with shape {found.shape}, {bundle.check.name} expects "
            f"{expected.shape}: they are not of one conversion"
        )
    difference = float(np.abs(found - expected).max())
    if not difference <= allowed:
        raise BundleError(
            f"{path} does not reproduce {bundle.check.name} in {runtime.description}: "
            f"log-probabilities differ by {difference:.3g}, allowed {allowed:.3g}; the model is of "
            "another conversion, or this processor's kernels are wrong"
        )
    return Loaded(backend, artefact, difference)


def as_backend(form: str, runtime: Runtime, grid: StepGrid) -> Backend:
    """A loaded file, by the form of its artefact.

    Raises:
        BundleError: it has another one.
    """
    return WholeRecording(runtime) if form == "whole" else StepModel(runtime, grid)


def _stored_check(bundle: Bundle) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Frames, and the log-probabilities that belong to them."""
    from zipfile import BadZipFile  # late: np.load imports it, ds2edge need not

    try:
        # NumPy leaves a file open that it opened itself and could not read.
        with bundle.check.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            frames, expected = stored["features"], stored["log_probs"]
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise BundleError(f"{bundle.check} cannot be read: {error}") from None
    for name, values in (("features", frames), ("log_probs", expected)):
        if values.ndim != 2 or not len(values) or values.dtype.kind != "f":
            raise BundleError(
                f"{bundle.check}: {name} has shape {values.shape} and type {values.dtype}; needed "
                "rows of floats"
            )
    frames = frames.astype(np.float32)
    needed = (bundle.manifest.features.size, len(bundle.manifest.tokens))
    if (frames.shape[1], expected.shape[1]) != needed:
        raise BundleError(
            f"{bundle.check} has {frames.shape[1]} feature bins and {expected.shape[1]} tokens, "
            f"the manifest has {needed[0]} and {needed[1]}: they are not of one conversion"
        )
    return frames, expected
