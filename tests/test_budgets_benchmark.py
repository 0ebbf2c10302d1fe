"""benchmarks/budgets.py measures both recognisers, and says which aims are missed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from conftest import BENCHMARKS

COUNT = 6  # budgets


@pytest.fixture(scope="module")
def budgets(benchmark_scripts: None) -> ModuleType:
    return import_module("budgets")


def test_all_that_is_installed_is_measured_in_one_run(speech: np.ndarray, tmp_path: Path) -> None:
    plot, recording = tmp_path / "budgets.png", tmp_path / "short.wav"
    soundfile.write(recording, speech[: 16_000 * 2], 16_000)
    options = ["--rounds", "1", "--starts", "1", "--plot", plot, recording]
    command = [sys.executable, BENCHMARKS / "budgets.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, _, header, _, *lines = done.stdout.splitlines()
    assert first.startswith("en: 1 recordings, ")
    both = find_spec("pocketsphinx") is not None
    beside = ["pocketsphinx", "to", "ds2edge"] if both else []
    assert header.split() == ["aim", "ds2edge", "of", "the", "aim", *beside]
    count = 7 if both else 4
    figures = [line.replace("MISSED", "").split()[-count:] for line in lines[:COUNT]]
    for aim, ours, _, part, *peer in figures:
        assert float(ours) > 0
        assert float(part) == pytest.approx(float(ours) / float(aim), abs=0.06)
        assert all(float(figure) > 0 for figure in peer[:1])
    factor, resident = (float(figure[1]) for figure in figures[:2])
    assert 0 < factor < (float(figures[0][4]) if both else 1) < 20  # seconds a second
    assert 50 < resident < 200  # MB, its own and not the parent's
    assert ("pip install pocketsphinx" in done.stdout) is not both
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_missed_aim_is_said(budgets: ModuleType) -> None:
    ours = budgets.Measured(0.02, (0.01, 0.03), 60.0, 0.05, 0.4, 0.015, 25.0)
    found = {"ds2edge": ours, "pocketsphinx": replace(ours, factor=0.5)}
    header, rows = budgets.table(found)
    assert len(rows) == COUNT
    assert rows[0] == [
        *("real-time factor, end to end", "0.01", "0.02000", "x 2.00 MISSED"),
        *("0.50000", "x 25.00"),
    ]
    assert [row[3] for row in rows[1:]] == ["x 0.50", "x 1.00", "x 1.00", "x 0.50", "x 1.00"]
    header, rows = budgets.table({"ds2edge": ours})  # without the peer
    assert {len(row) for row in (header, *rows)} == {4}


def test_what_cannot_be_read_is_said_in_one_line() -> None:
    command = [sys.executable, BENCHMARKS / "budgets.py", "nothing.wav"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "budgets.py: cannot read nothing.wav: No such file or directory\n"
