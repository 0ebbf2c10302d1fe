"""GPUs and delegates that cannot be used: the CPU is, with one warning that tells why.

No test here needs a GPU; those with a real adapter and a real delegate are in test_gpu_system.py.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS
from gpu_bundle import with_check, write_gpu_bundle

from ds2edge import Bundle, Transcriber
from ds2edge.backends import load_backend
from ds2edge.errors import BackendError
from ds2edge.options import BackendOptions
from ds2edge.runtimes import gpu
from ds2edge.runtimes.interpreter import load_litert
from ds2edge.runtimes.stderr import captured_output
from ds2edge.training.checkpoint import Checkpoint

DS2EDGE = str(Path(sys.executable).with_name("ds2edge"))

# A fresh process each: LiteRT looks for adapters once, and TensorFlow must not be there.
PROGRAM = """
import json, logging, sys
logging.basicConfig(format="%(message)s")
from ds2edge import Transcriber
from ds2edge.errors import BackendError
bundle, recording, how = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
transcriber = Transcriber(bundle, **how)
again = Transcriber(bundle, **how).info()["backend"]
try:
    strict = str(Transcriber(bundle, **how, strict=True))
except BackendError as error:
    strict = str(error)
from ds2edge.runtimes.gpu import hardware_adapters
print(json.dumps([
    transcriber.info()["backend"], again, strict, transcriber.transcribe(recording).text,
    hardware_adapters(),
]))
"""


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With int8, fp16 and fp32 weights."""
    frames = np.random.default_rng(3).normal(size=(40, checkpoint.config.features.size))
    folder = tmp_path_factory.mktemp("gpu") / "letters"
    return write_gpu_bundle(checkpoint, folder, frames.astype("f4"))


def load(bundle: Bundle, **how: Any) -> Any:
    return load_backend(bundle, BackendOptions(**how))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Those of ds2edge, from now on empty."""
    found = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    caplog.clear()
    return found


# ---- Machines without a GPU


@pytest.fixture(params=["loader", "driver"])
def without(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, str], str]:
    """An environment where Vulkan's loader or all drivers are missing, and the reason."""
    if request.param == "loader":
        (tmp_path / "libvulkan.so.1").write_text("no library")
        return {"LD_LIBRARY_PATH": str(tmp_path)}, "there is no Vulkan loader (libvulkan.so.1)"
    nothing = dict.fromkeys(("VK_DRIVER_FILES", "VK_ICD_FILENAMES"), "/nonexistent")
    return nothing, "there is no Vulkan "  # without a loader, that is what is missing


def test_without_vulkan_the_cpu_transcribes_and_says_why(
    bundle: Bundle, without: tuple[dict[str, str], str]
) -> None:
    environment, reason = without
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, bundle.folder, RECORDINGS[0], '{"device": "gpu"}'],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, again, strict, text, adapters = json.loads(done.stdout)
    assert first["device"] == "cpu"
    assert first["gpu_refused"].startswith(reason)
    assert again["gpu_refused"] == first["gpu_refused"]  # which LiteRT says only once
    assert strict == f"the GPU cannot be used: {first['gpu_refused']}"
    warning = f"the GPU cannot be used: {first['gpu_refused']}; the CPU is used\n"
    assert done.stderr == 2 * warning  # one for each Transcriber, and nothing of LiteRT's own
    assert text == Transcriber(bundle).transcribe(RECORDINGS[0]).text
    assert adapters == []


def test_the_command_warns_once_however_many_processes(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "libvulkan.so.1").write_text("no library")
    arguments = ["--bundle", bundle.folder, "--device", "gpu", "--jobs", "2", *RECORDINGS[:3]]
    done = subprocess.run(
        [DS2EDGE, "transcribe", *map(str, arguments)],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.count("\n")) == (0, 3)
    assert done.stderr.startswith("ds2edge: the GPU cannot be used: there is no Vulkan")
    assert done.stderr.count("\n") == 1


def test_a_bundle_without_weights_for_gpus(
    transcriber: Transcriber, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    (int8, *_) = bundle.manifest.artefacts
    alone = replace(bundle, manifest=replace(bundle.manifest, artefacts=(int8,)))
    assert load(alone, device="gpu").device == "cpu"
    (warning,) = warnings(caplog)
    assert "has no model that a GPU can run, only int8; convert" in warning
    with pytest.raises(BackendError, match=r"^the GPU cannot be used: bundle 'letters' has no mod"):
        load(alone, device="gpu", strict=True)
    load(alone)
    assert warnings(caplog) == []


def test_the_embedded_bundle_does_not_look_for_a_gpu() -> None:
    program = (
        "import sys, ds2edge; ds2edge.Transcriber(); print('ds2edge.runtimes.gpu' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"


def test_tensorflow_in_the_process_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_adapter", "")
    monkeypatch.setattr(gpu, "_no_adapter", "")
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    monkeypatch.setattr(gpu, "load_gpu", lambda *_: pytest.fail("it would crash"))
    with pytest.raises(BackendError, match="load the model before TensorFlow"):
        load(bundle, device="gpu", strict=True)
    monkeypatch.setattr("ctypes.CDLL", None)
    assert gpu.hardware_adapters() == []


# ---- A stand-in for the GPU


class Gpu:
    """Runs the file on the CPU, and does to the answer what it is told."""

    def __init__(self, path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self._runtime, self._change = load_litert(path), change
        self.description = "stand-in GPU"
        self.signatures = self._runtime.signatures
        self.shapes, self.output_shapes = self._runtime.shapes, self._runtime.output_shapes

    def run(self, signature: str, inputs: Any) -> Any:
        outputs = self._runtime.run(signature, inputs)
        return {**outputs, "logits": self._change(outputs["logits"])}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Puts one in place. Returns what is asked of it: file and exactness."""

    def put(change: Callable[[np.ndarray], np.ndarray] = lambda x: x) -> list[Any]:
        asked = []

        def load_gpu(path: Path, exact: bool) -> Gpu:
            asked.append((path.name, exact))
            return Gpu(path, change)

        monkeypatch.setattr(gpu, "load_gpu", load_gpu)
        monkeypatch.setattr(gpu, "hardware_adapters", lambda: ["stand-in"])
        monkeypatch.setattr(gpu, "_adapter", "stand-in, Vulkan, discrete GPU")
        monkeypatch.setattr(gpu, "_no_adapter", "")
        return asked

    return put


def raising(logits: np.ndarray) -> np.ndarray:
    raise BackendError("device lost")


def test_which_weights_a_gpu_gets(
    bundle: Bundle, stand_in: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    asked = stand_in()
    for precision in ("auto", "fp16", "fp32"):
        loaded = load(bundle, device="gpu", precision=precision, strict=True)
        assert loaded.report()["adapter"] == "stand-in, Vulkan, discrete GPU"
        assert (loaded.device, loaded.report()["fully_accelerated"]) == ("gpu", True)
    assert asked == [("fp16.tflite", False), ("fp16.tflite", False), ("fp32.tflite", True)]
    asked.clear()
    int8, fp16, fp32 = bundle.manifest.artefacts
    only = {
        artefact.weights: replace(bundle, manifest=replace(bundle.manifest, artefacts=(artefact,)))
        for artefact in (int8, fp16, fp32)
    }
    load(only["fp32"], device="gpu", precision="fp16", strict=True)
    load(only["fp16"], device="gpu", strict=True)
    assert asked == [("fp32.tflite", False), ("fp16.tflite", False)]
    # float16 weights with exact arithmetic would be silently wrong.
    with pytest.raises(BackendError, match="of precision fp32 that a GPU can run, only fp16"):
        load(only["fp16"], device="gpu", precision="fp32", strict=True)
    assert warnings(caplog) == []
    assert load(bundle, device="gpu", precision="int8").artefact == int8
    assert "of precision int8 that a GPU can run" in warnings(caplog)[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda logits: np.zeros_like(logits), r"differ by \d"),
        (lambda logits: logits * np.float32(np.nan), "differ by nan"),
        (raising, "device lost"),
    ],
)
def test_a_gpu_that_computes_garbage_or_fails_is_not_used(
    bundle: Bundle,
    stand_in: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    change: Any,
    reason: str,
) -> None:
    stand_in(change)
    loaded = load(bundle, device="gpu")
    (warning,) = warnings(caplog)
    assert warning == f"the GPU cannot be used: {loaded.refused}; the CPU is used"
    with pytest.raises(BackendError, match=f"the GPU cannot be used: .*{reason}"):
        load(bundle, device="gpu", strict=True)
    assert (loaded.device, loaded.artefact.weights) == ("cpu", "int8")
    fp16 = load(bundle, device="gpu", precision="fp16")
    assert (fp16.device, fp16.artefact.weights) == ("cpu", "fp16")


def test_a_gpu_that_does_not_give_the_stored_answer_is_not_used(
    bundle: Bundle, stand_in: Callable[..., Any], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    stand_in()
    for shift, device in ((0.2, "gpu"), (0.4, "cpu")):  # int8 may be off by 2
        wrong = with_check(bundle, tmp_path / str(shift), shift)
        assert load(wrong, device="gpu").device == device
    assert "differ by 0.4" in warnings(caplog)[0]
    exact = with_check(bundle, tmp_path / "exact", 0.01)
    with pytest.raises(BackendError, match=r"differ by 0.01, allowed 0.001"):
        load(exact, device="gpu", precision="fp32", strict=True)


def test_the_faster_of_gpu_and_cpu_is_taken_and_nobody_is_warned(
    bundle: Bundle,
    stand_in: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    took = {"gpu": 1.0, "cpu": 2.0}
    monkeypatch.setattr(
        "ds2edge.backends._milliseconds",
        lambda _, backend: took["gpu" if "GPU" in backend.description else "cpu"],
    )
    stand_in()
    assert load(bundle).device == "gpu"
    assert load(bundle, backend="litert-interpreter").device == "cpu"
    assert load(bundle, precision="int8").device == "cpu"
    assert load(bundle, device="cpu").refused == ""
    took["gpu"] = 3.0
    loaded = load(bundle)
    assert (loaded.device, loaded.artefact.weights) == ("cpu", "int8")
    assert loaded.refused == "it takes 3.0 ms for the test chunk, the CPU 2.0"
    stand_in(raising)
    assert load(bundle).refused == "device lost"
    monkeypatch.setattr(gpu, "hardware_adapters", list)
    assert load(bundle).refused == ""
    assert warnings(caplog) == []


def test_another_process_knows_that_there_is_no_gpu(
    bundle: Bundle, stand_in: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    stand_in(raising)
    transcriber = Transcriber(bundle, device="gpu", precision="fp32")
    assert len(warnings(caplog)) == 1
    other = pickle.loads(pickle.dumps(transcriber)).info()["backend"]
    assert {**other, "gpu_refused": "device lost"} == transcriber.info()["backend"]
    assert warnings(caplog) == []
    stand_in()
    transcriber = Transcriber(bundle, device="gpu")
    assert pickle.loads(pickle.dumps(transcriber)).info()["backend"]["device"] == "gpu"


# ---- What LiteRT prints


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (
            "Warning: Couldn't load Vulkan: libvulkan.so.1: cannot open shared object file\n"
            "    at operator() (third_party/dawn/src/dawn/native/vulkan/BackendVk.cpp:368)\n\n",
            "there is no Vulkan loader",
        ),
        ("Warning: vkCreateInstance: Found no drivers!\n", "there is no Vulkan driver"),
        (
            "error: XDG_RUNTIME_DIR is invalid or not set in the environment.\n"
            "Warning: Vulkan shaderUniform*ArrayDynamicIndexing required.\n"
            " - While initializing adapter (backend=BackendType::Vulkan)\n",
            "driver is too old: Vulkan shaderUniform*ArrayDynamicIndexing required; install a",
        ),
        (
            "ERROR: [delegate_webgpu.cc:359] Failed: INTERNAL: No adapters found\n"
            "E0000 00:00:1.2   13 delegate_webgpu.cc:736] Failed to get or create\n"
            "=== Source Location Trace: ===\nthird_party/odml/delegate_webgpu.cc:432\n",
            "Vulkan has no adapter that LiteRT can use",
        ),
        (
            "ERROR: Following operations are not supported by GPU delegate:\n"
            "STRIDED_SLICE: Slice does not support shrink_axis_mask parameter. \n"
            "31 operations will run on the GPU, and the remaining 1 operations will run on ...\n",
            "cannot run all of the model: STRIDED_SLICE: Slice does not support shrink_axis_mask",
        ),
        ("INFO: nothing of use\n", "LiteRT cannot: a b"),
    ],
)
def test_the_reason_is_in_what_litert_prints(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], printed: str, reason: str
) -> None:
    monkeypatch.setattr(gpu, "_adapter", "known")
    monkeypatch.setattr(gpu, "_no_adapter", "")

    def load() -> None:
        with gpu.explained():
            os.write(2, printed.encode())
            raise BackendError("LiteRT cannot: a\n└ b")

    with pytest.raises(BackendError) as raised:
        load()
    assert reason in str(raised.value)
    assert capfd.readouterr() == ("", "")
    if "adapter" in reason or "Vulkan" in reason:  # it is not asked again, since it is not told
        printed = "INFO: nothing\n"
        with pytest.raises(BackendError, match=re.escape(str(raised.value))):
            load()


def test_what_others_print_meanwhile_is_theirs(capfd: pytest.CaptureFixture[str]) -> None:
    said = b"error: not theirs\n  indented\nINFO: theirs\n  theirs\n\nmine\n  mine, too\n"
    with captured_output() as lines:
        os.write(2, said)
        os.write(1, b"INFO: mine\nINFO: Failed to load OpenCL library with dlopen: x\nmine")
    out, err = capfd.readouterr()
    assert err == "error: not theirs\n  indented\nmine\n  mine, too\n"
    assert out == "INFO: mine\nmine"
    assert lines == ["INFO: theirs", "  theirs"]


def test_the_adapter_is_in_what_litert_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_adapter", "")
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    with gpu.explained():
        os.write(
            2,
            b"I0000 00:00:1.03   130 environment.cc:532] Selected adapter: llvmpipe (LLVM 15.0.6, "
            b"256 bits), arch=software, vendor=mesa, backend=Vulkan, adapterType=CPU / Software\n",
        )
    assert gpu.adapter() == "llvmpipe (LLVM 15.0.6, 256 bits), Vulkan, CPU / Software"
