"""benchmarks/runtimes.py: words that differ are counted, streams side by side are compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FORMAT_3, RECORDINGS

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "runtimes.py"


def test_replaced_missing_and_added_words_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import runtimes

    same = ["a", "b", "c"]
    assert runtimes.differences([same, []], [same, []]) == (3, 0)
    assert runtimes.differences([same], [["a", "x", "c"]]) == (3, 1)
    assert runtimes.differences([same], [["a", "c", "d", "e"]]) == (3, 3)
    assert runtimes.differences([[], same], [["a"], []]) == (3, 4)


def test_runtimes_and_batches_are_compared() -> None:
    command = [sys.executable, SCRIPT, "--bundle", FORMAT_3, "--batches", *RECORDINGS[:2]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line]
    assert ["2", "2", "0"] in rows  # streams at once, streams, difference
    assert [row[-1] for row in rows if row[0] == "LiteRT"] == ["yes", "yes"]
