"""The GPU path on a software Vulkan adapter, Mesa's lavapipe, and a delegate in tflite-runtime.

`make system-check` tells how to install the former; `make test-system` makes an environment with
tflite-runtime, which DS2EDGE_TFLITE_PYTHON may name.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS
from gpu_bundle import with_check, write_gpu_bundle

from ds2edge import Bundle, Transcriber, load_bundle
from ds2edge.audio_file import read_audio
from ds2edge.features import FeatureExtractor

pytestmark = pytest.mark.system

ROOT = Path(__file__).parent.parent
DS2EDGE = str(Path(sys.executable).with_name("ds2edge"))
TFLITE_PYTHON = os.environ.get("DS2EDGE_TFLITE_PYTHON", str(ROOT / ".venv/tflite/bin/python"))
SPOKEN = RECORDINGS[:2]

# In processes of their own, without TensorFlow.
TRANSCRIBE = """
import json, logging, sys, threading
logging.basicConfig(format="%(message)s")
import numpy as np
from ds2edge import Transcriber
from ds2edge.audio_file import read_audio
bundle, how, out, *paths = sys.argv[1:]
transcriber = Transcriber(bundle, **json.loads(how))
texts = [None] * len(paths)
def transcribe(i):
    texts[i] = transcriber.transcribe(paths[i]).text
threads = [threading.Thread(target=transcribe, args=(i,)) for i in range(len(paths))]
for thread in threads: thread.start()
for thread in threads: thread.join()
pipeline = transcriber._pipeline
samples = read_audio(paths[0], transcriber.info()["sample_rate"])
one = pipeline.log_probs(samples)
np.save(out, one)
backend, extractor = pipeline.backend, pipeline.extractor
frames = extractor.push(extractor.start(), samples)[:4]
states = [backend.start(), backend.start()]
pairs = [backend.step_together(states, [chunk, chunk]) for chunk in frames]
together = [np.concatenate(side) for side in zip(*pairs)]
state = backend.start()
alone = np.concatenate([backend.step(state, chunk) for chunk in frames])
print(json.dumps({
    "backend": transcriber.info()["backend"],
    "texts": texts,
    "batch_difference": max(float(np.abs(alone - each).max()) for each in together),
}))
"""
SERVE = """
import json, logging, sys, threading
logging.basicConfig(format="%(message)s")
from ds2edge import Final, Transcriber
from ds2edge.audio_file import read_audio
from ds2edge.serving.dispatcher import Dispatcher
bundle, how, *paths = sys.argv[1:]
transcriber = Transcriber(bundle, **json.loads(how))
rate = transcriber.info()["sample_rate"]
samples = [read_audio(path, rate)[: 3 * rate] for path in paths]
with Dispatcher(transcriber) as dispatcher:
    streams = [dispatcher.stream(rate) for _ in samples]
    for at in range(0, max(map(len, samples)), rate // 5):
        for stream, heard in zip(streams, samples):
            stream.push(heard[at : at + rate // 5])
    for stream in streams: stream.finish()
    texts = [" ".join(e.text for e in stream if isinstance(e, Final)) for stream in streams]
    largest = max(dispatcher.metrics.batches)
print(json.dumps({"backend": transcriber.info()["backend"], "texts": texts, "largest": largest}))
"""
AUTO = """
import json, sys
from ds2edge import Transcriber
from ds2edge.runtimes import gpu
software = gpu.hardware_adapters()
gpu.GPU_KINDS = (4,)
print(json.dumps([software, gpu.hardware_adapters(), Transcriber(sys.argv[1]).info()["backend"]]))
"""


def run(*command: object, **environment: str) -> str:
    """What a command prints, which must say nothing on standard error."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded model with int8, fp16 and fp32 weights."""
    from ds2edge.convert.restore import restore

    english = load_bundle("en")
    features = english.manifest.features
    samples = read_audio(SPOKEN[0], features.sample_rate)[: 2 * features.sample_rate]
    frames = FeatureExtractor(features, english.manifest.grid.chunk_frames).extract(samples)
    folder = tmp_path_factory.mktemp("gpu") / "en"
    return write_gpu_bundle(restore(english), folder, frames, english)


@pytest.fixture(scope="module")
def on_cpu(bundle: Bundle) -> Transcriber:
    return Transcriber(bundle, device="cpu", precision="fp32")


# ---- GPU


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-3), ("auto", 0.3)])
def test_the_gpu_hears_what_the_cpu_hears(
    bundle: Bundle, on_cpu: Transcriber, tmp_path: Path, precision: str, allowed: float
) -> None:
    how = json.dumps({"device": "gpu", "precision": precision, "strict": True})
    arguments = (bundle.folder, how, tmp_path / "one.npy", *SPOKEN)
    facts = json.loads(run(sys.executable, "-P", "-c", TRANSCRIBE, *arguments))
    backend = facts["backend"]
    assert "llvmpipe" in backend["adapter"]
    assert (backend["device"], backend["fully_accelerated"]) == ("gpu", True)
    assert backend["weights"] == {"fp32": "fp32", "auto": "fp16"}[precision]
    assert facts["texts"] == [on_cpu.transcribe(path).text for path in SPOKEN]  # two threads
    assert all(facts["texts"])
    samples = read_audio(SPOKEN[0], bundle.manifest.features.sample_rate)
    expected = on_cpu._pipeline.log_probs(samples)
    off = float(np.abs(np.load(tmp_path / "one.npy") - expected).max())
    print(f"{precision}: log-probabilities differ by {off:.3g}, {facts['batch_difference']:.3g}")
    assert 0 < off < allowed
    assert backend["self_test_error"] < allowed
    assert facts["batch_difference"] < allowed


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_the_dispatcher_serves_many_streams_on_the_gpu(
    bundle: Bundle, on_cpu: Transcriber, precision: str
) -> None:
    how = json.dumps({"device": "gpu", "precision": precision, "strict": True})
    spoken = [*SPOKEN, SPOKEN[0]]
    facts = json.loads(run(sys.executable, "-P", "-c", SERVE, bundle.folder, how, *spoken))
    assert facts["backend"]["device"] == "gpu"
    assert facts["largest"] > 1
    rate = bundle.manifest.features.sample_rate
    expected = [on_cpu.transcribe(read_audio(p, rate)[: 3 * rate], rate).text for p in spoken]
    assert facts["texts"] == expected
    assert all(expected)


def test_the_commands_print_nothing_else(bundle: Bundle, on_cpu: Transcriber) -> None:
    flags = ("--bundle", bundle.folder, "--device", "gpu", "--strict")
    facts = json.loads(run(DS2EDGE, "info", "--json", *flags))
    assert "llvmpipe" in facts["backend"]["adapter"]
    heard = run(DS2EDGE, "transcribe", "--jobs", 2, *flags, *SPOKEN)
    expected = [f"{path}: {on_cpu.transcribe(path).text}" for path in SPOKEN]
    assert heard.splitlines() == expected


def test_software_that_is_slower_is_not_taken(bundle: Bundle) -> None:
    hardware, software, backend = json.loads(run(sys.executable, "-P", "-c", AUTO, bundle.folder))
    assert not any("llvmpipe" in name for name in hardware)
    assert any("llvmpipe" in name for name in software)
    assert backend["device"] == "cpu"
    assert re.fullmatch(
        r"it takes [\d.]+ ms for the test chunk, the CPU [\d.]+", backend["gpu_refused"]
    )


def test_a_gpu_that_does_not_give_the_stored_answer_is_not_used(
    bundle: Bundle, tmp_path: Path
) -> None:
    wrong = with_check(bundle, tmp_path / "wrong", 0.5)
    done = subprocess.run(
        [DS2EDGE, "info", "--json", "--bundle", wrong.folder, "--device", "gpu"],
        capture_output=True,
        text=True,
        check=True,
    )
    backend = json.loads(done.stdout)["backend"]
    assert backend["device"] == "cpu"
    assert re.search(r"differ by 0\.\d+, allowed 0\.3", backend["gpu_refused"])
    assert (
        done.stderr
        == f"ds2edge: the GPU cannot be used: {backend['gpu_refused']}; the CPU is used\n"
    )


# ---- Delegate


DELEGATE = """
import json, logging, sys
logging.basicConfig(format="%(message)s")
from ds2edge import Transcriber
bundle, path, how = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
transcriber = Transcriber(bundle, **how)
print(json.dumps([transcriber.info()["backend"], transcriber.transcribe(path).text]))
"""


@pytest.fixture(scope="module")
def delegate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that takes nothing from the CPU."""
    library = tmp_path_factory.mktemp("delegate") / "delegate.so"
    source = Path(__file__).with_name("do_nothing_delegate.c")
    subprocess.run(["g++", "-x", "c", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def with_delegate(bundle: Bundle, library: Path, **environment: str) -> tuple[Any, str, str]:
    """Backend and text from tflite-runtime, and what it says on standard error."""
    how = json.dumps({"delegate": str(library)})
    done = subprocess.run(
        [TFLITE_PYTHON, "-P", "-c", DELEGATE, bundle.folder, SPOKEN[0], how],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return *json.loads(done.stdout), done.stderr


def test_a_delegate_runs_in_tflite_runtime(
    bundle: Bundle, on_cpu: Transcriber, delegate: Path
) -> None:
    backend, text, said = with_delegate(bundle, delegate)
    assert (backend["device"], backend["adapter"]) == ("delegate", "delegate.so")
    assert backend["self_test_error"] < 1e-3
    assert text == on_cpu.transcribe(SPOKEN[0]).text
    assert set(said.splitlines()) == {"delegate: asked to prepare"}  # the library's own words


@pytest.mark.parametrize(
    ("step", "reason"),
    [("create", "delegate.so makes no delegate: .*told to fail"), ("prepare", "cannot load")],
)
def test_a_delegate_that_fails_is_not_used(
    bundle: Bundle, on_cpu: Transcriber, delegate: Path, step: str, reason: str
) -> None:
    backend, text, said = with_delegate(bundle, delegate, DELEGATE_FAILS=step)
    assert backend["device"] == "cpu"
    assert re.search(reason, backend["gpu_refused"])
    assert text == on_cpu.transcribe(SPOKEN[0]).text
    assert said.count("the delegate cannot be used") == 1
    assert "Traceback" not in said


def test_a_library_that_is_no_delegate_is_not_given_to_tflite_runtime(bundle: Bundle) -> None:
    backend, _, said = with_delegate(bundle, Path("libc.so.6"))
    assert backend["gpu_refused"].startswith("libc.so.6 is no TFLite delegate: it has no ")
    assert said == f"the delegate cannot be used: {backend['gpu_refused']}; the CPU is used\n"
