"""Delegates that are none, impossible options and flags: each one clear line."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import FORMAT_3

from ds2edge import Bundle, Transcriber, load_bundle
from ds2edge.backends import load_backend
from ds2edge.cli import main as cli
from ds2edge.errors import BackendError, ConfigError
from ds2edge.options import BackendOptions


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """With int8 and fp32 weights."""
    return load_bundle(FORMAT_3)


def load(bundle: Bundle, **how: Any) -> Any:
    return load_backend(bundle, BackendOptions(**how))


@pytest.fixture
def libraries(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "text.so").write_text("no library")
    import _ctypes  # a library that is no delegate

    return {
        "missing": tmp_path / "missing.so",
        "text": tmp_path / "text.so",
        "folder": tmp_path,
        "other": Path(_ctypes.__file__),
    }


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "No such file"),
        ("text", "invalid ELF header|file too short"),
        ("folder", "directory"),
        ("other", "is no TFLite delegate: it has no tflite_plugin_create_delegate"),
    ],
)
def test_a_library_that_is_no_delegate(
    bundle: Bundle,
    libraries: dict[str, Path],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    reason: str,
) -> None:
    library = libraries[kind]
    with pytest.raises(BackendError, match=f"^the delegate cannot be used: .*({reason})") as raised:
        load(bundle, delegate=library, strict=True)
    assert str(library) in str(raised.value)
    loaded = load(bundle, delegate=str(library))
    assert loaded.device == "cpu"
    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warned == [f"the delegate cannot be used: {loaded.refused}; the CPU is used"]
    assert (
        cli(["info", "--bundle", str(bundle.folder), "--strict", "--delegate", str(library)]) == 2
    )
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"ds2edge: {raised.value}\n")


def test_a_delegate_needs_tflite_runtime(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ds2edge.runtimes.interpreter.DELEGATE_FUNCTIONS", ())
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    import _ctypes

    with pytest.raises(BackendError, match=r"pip install 'ds2edge\[tflite\]'"):
        load(bundle, delegate=_ctypes.__file__, strict=True)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"device": "cuda"}, "device must be one of auto, cpu, gpu, got 'cuda'"),
        ({"precision": "int4"}, "precision must be one of auto, int8, fp16, fp32, got 'int4'"),
        ({"backend": "onnx"}, "backend must be one of auto, litert, "),
        ({"strict": "yes"}, "strict must be True or False"),
        ({"delegate": 3}, "delegate must be the path of a library, got 3"),
        ({"delegate": "x.so", "device": "cpu"}, "a delegate and device 'cpu' exclude each other"),
    ],
)
def test_impossible_options(how: Any, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Transcriber("nowhere", **how)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "--device", "cuda"], "argument --device: invalid choice: 'cuda'"),
        (["transcribe", "--precision", "int4", "x.wav"], "argument --precision: invalid choice"),
        (["bench", "--backend", "x", "x.wav"], "argument --backend: invalid choice: 'x'"),
        (["mic", "--model-device", "x"], "argument --model-device: invalid choice: 'x'"),
        (["info", "--device", "gpu", "--strict"], "the GPU cannot be used: bundle 'en' has no"),
        (["mic", "--model-device", "gpu", "--strict"], "the GPU cannot be used: bundle 'en' has"),
        (["info", "--device", "cpu", "--delegate", "x.so"], "a delegate and device 'cpu' excl"),
    ],
)
def test_bad_flags_are_one_line(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        code = cli(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capfd.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("ds2edge: ")
    assert message in err


def test_info_shows_what_runs_the_model(bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["info", "--bundle", str(bundle.folder), "--precision", "fp32"]
    arguments += ["--backend", "litert-interpreter"]
    assert cli([*arguments, "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert "Interpreter, CPU" in facts["runtime"]
    assert (facts["backend"]["device"], facts["backend"]["weights"]) == ("cpu", "fp32")
    assert cli(arguments) == 0
    assert "  artefact               fp32.tflite" in capfd.readouterr().out.splitlines()
