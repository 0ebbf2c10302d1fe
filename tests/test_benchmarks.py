"""Benchmarks run, and find what is slow, grows, is wrong or is missing."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ds2edge.text import collapse

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HOUR = 120  # windows


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """They are imported as they import each other, and forgotten afterwards."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    yield
    for name in (
        "common",
        "cold_start",
        "long_stream",
        "ctc",
        "recurrence",
        "pieces_beside",
        "worker",
    ):
        sys.modules.pop(name, None)


@pytest.fixture
def long_stream(scripts: None) -> ModuleType:
    return import_module("long_stream")


@pytest.fixture
def cold_start(scripts: None) -> ModuleType:
    return import_module("cold_start")


def flat(module: ModuleType, compute: list[float], resident: list[float]) -> list[bool]:
    """Of compute beside a fresh stream, while the machine becomes slower, and of memory."""
    pairs = zip(compute, resident, strict=True)
    windows = [module.Window(c * (i + 1), 10.0 * (i + 1), r, 5) for i, (c, r) in enumerate(pairs)]
    alone, *trends = module.trends_of(windows)
    assert alone.is_flat, "it has no limit"
    return [trend.is_flat for trend in trends]


def test_a_stream_that_stays_as_it_is_is_flat(long_stream: ModuleType) -> None:
    wobble = [9.0 + 0.5 * (i % 3) for i in range(HOUR)]
    assert flat(long_stream, wobble, [90.0] + [95.5] * (HOUR - 1)) == [True, True]


def test_a_stream_that_grows_is_not(long_stream: ModuleType) -> None:
    steady = [9.0] * HOUR
    slower = [9.0 + 0.008 * i for i in range(HOUR)]
    larger = [50.0 + 0.01 * i for i in range(HOUR)]  # 1.1 MB in all
    assert flat(long_stream, slower, larger) == [False, False]
    assert flat(long_stream, steady, [50.0 + 0.008 * i for i in range(HOUR)]) == [True, True]
    assert flat(long_stream, steady, [100.0 + 0.015 * i for i in range(HOUR)]) == [True, True]
    assert flat(long_stream, steady, [100.0 + 0.020 * i for i in range(HOUR)]) == [True, False]


def test_the_slope_is_for_an_hour(long_stream: ModuleType) -> None:
    windows = [long_stream.Window(9, 9, 50 + 0.5 * i / HOUR, 5) for i in range(2 * HOUR)]
    *compute, memory = long_stream.trends_of(windows)
    assert [trend.slope for trend in compute] == pytest.approx([0, 0])
    assert memory.slope == pytest.approx(0.5)


@pytest.mark.slow
def test_a_long_stream_is_measured() -> None:
    done = run("long_stream.py", "--hours", "0.01")  # the fewest windows
    assert done.stderr == ""
    assert "0.03 h in one stream" in done.stdout
    assert "resident memory, MB" in done.stdout
    assert done.returncode == ("MISSED" in done.stdout)


def test_a_missing_recording_is_said_in_one_line() -> None:
    done = run("long_stream.py", "nothing.wav")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "long_stream.py: cannot read nothing.wav: No such file or directory\n"


@pytest.mark.slow
def test_a_cold_start_is_measured() -> None:
    done = run("cold_start.py", "--repeats", "1")
    assert (done.returncode, done.stderr) == (0, "")
    first, imports, files, *_ = done.stdout.split("\n\n")[1:]
    assert "import ds2edge to first text" in first
    assert [row.split()[0] for row in imports.splitlines()[2:]] == [
        *("ds2edge", "pocketsphinx", "sherpa-onnx")
    ]
    assert "not installed" not in files.splitlines()[2]
    assert len(done.stdout.rpartition("ds2edge transcribe FILE: ")[2].split()) > 5


def test_a_process_is_measured_alone() -> None:
    # From a small process: at least as much as it has counts for those that it starts.
    program = """
from cold_start import python, run
large, small = run(python("print(len(b'x' * 100_000_000))")), run(python("print(1, 2.5)"))
assert large.peak > 100 > 40 > small.peak, (large, small)
assert large.processor > small.processor > 0
assert small.printed == [1, 2.5]
"""
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS)}
    subprocess.run([sys.executable, "-P", "-c", program], env=environment, check=True)


def test_a_peer_that_is_missing_or_fails_has_a_row_that_says_so(
    cold_start: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = [
        cold_start.Program("ours", cold_start.python("print(1.0, 2.0)")),
        cold_start.Program("missing", cold_start.python("print(1)"), "no-such-package"),
        cold_start.Program("failing", cold_start.python("raise SystemExit('no model')"), "numpy"),
    ]
    cold_start.measure(programs, 1)
    cold_start.print_beside("import", ["s", "MB"], programs, "printed")
    ours, missing, failing = capsys.readouterr().out.splitlines()[-3:]
    assert ours.split() == ["ours", "1.000", "2.000"]
    assert missing == "missing  not installed: pip install no-such-package"
    assert failing == "failing  failed: no model"


def test_references_of_ctc_and_recurrence_are_their_definitions(scripts: None) -> None:
    rng = np.random.default_rng(0)
    logits, text = rng.normal(size=(5, 3)), [1, 1]
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    paths = [p for p in itertools.product(range(3), repeat=5) if collapse(p) == text]
    total = np.logaddexp.reduce([log_probs[range(5), p].sum() for p in paths])
    ctc = import_module("ctc")
    loss, gradient = ctc.reference(logits, np.array(text))
    assert loss == pytest.approx(-total)
    more = np.zeros_like(logits)
    more[2, 1] = 1e-6
    slope = (ctc.reference(logits + more, np.array(text))[0] - loss) / 1e-6
    assert gradient[2, 1] == pytest.approx(slope, abs=1e-4)
    assert ctc.reference(logits[:2], np.array(text))[0] == 0  # no blank fits between them

    recurrence = import_module("recurrence")
    given, right = recurrence.problem(1, 4, 3, 2)
    arrays = [array.astype("f8") for array in given.values()]
    arrays[0][0, 1, 2] += 1e-6
    states = recurrence.reference(*arrays)[0]
    slope = ((states - right["value"]) * given["upstream"]).sum() / 1e-6
    assert right["gradient"][0, 1, 2] == pytest.approx(slope, abs=1e-4)


@pytest.mark.slow
def test_ctc_is_compared_with_its_reference() -> None:
    done = run(
        "ctc.py", "--shapes", "3,12,4,6", "--threads", "1", "--repeats", "1", "--only", "ours"
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("3,12")]
    assert [row[1:3] for row in rows] == [["ours,", "tensorflow"], ["ours,", "jax"]]
    for row in rows:
        assert all(float(off) < 1e-4 for off in row[-2:]), row


def test_without_pytorch_training_speed_says_so_in_one_line() -> None:
    done = run("training_speed.py", "--torch-python", sys.executable)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"training_speed.py: {sys.executable} has no PyTorch; name one that has it: "
        "--torch-python PYTHON\n"
    )
