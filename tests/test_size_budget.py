"""The size of a language model: as much as is allowed, and no more."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_build_language_model import TOOLS

from ds2edge.cli import main as cli
from ds2edge.errors import DataError
from ds2edge.language_model import open_language_model
from ds2edge.training.size_budget import PRUNINGS, prune_to_fit

SIZES = st.lists(st.floats(0.1, 100), min_size=len(PRUNINGS), max_size=len(PRUNINGS))


@given(SIZES.map(lambda sizes: sorted(sizes, reverse=True)), st.floats(0.1, 100))
def test_the_least_pruning_that_fits_is_found(sizes: list[float], megabytes: float) -> None:
    by_pruning = dict(zip(PRUNINGS, sizes, strict=True))
    fitting = [pruning for pruning in PRUNINGS if by_pruning[pruning] <= megabytes]
    if fitting:
        assert prune_to_fit(by_pruning.__getitem__, megabytes) == fitting[0]
    else:
        with pytest.raises(DataError, match=re.escape(f"smallest model has {sizes[-1]:.2f} MB")):
            prune_to_fit(by_pruning.__getitem__, megabytes)


def test_each_pruning_leaves_less_than_the_one_before() -> None:
    for less, more in pairwise(PRUNINGS):
        assert all(a <= b for a, b in zip(less, more, strict=True))
        assert less != more


@pytest.mark.parametrize("options", [["--megabytes=-1"], ["--order=1"], ["--words=0"]])
def test_sizes_that_make_no_sense_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert cli(["lm", str(tmp_path / "text"), "-o", str(tmp_path / "lm"), *options]) == 2
    assert "--megabytes above 0" in capsys.readouterr().err


@pytest.mark.system
def test_a_model_has_the_size_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, out = tmp_path / "text", tmp_path / "lm"
    pairs = [f"{a}{b}" for a in "abcdefgh" for b in "ijklmnop"]
    lines = [f"{x} {y} {z}" for i, x in enumerate(pairs) for y in pairs[: i % 9] for z in pairs[:i]]
    text.write_text("\n".join(lines))
    sizes = []
    for megabytes in ("9", "0.01"):
        command = ["lm", str(text), "-o", str(out), "--tools", str(TOOLS)]
        assert cli([*command, "--megabytes", megabytes]) == 0
        sizes.append(open_language_model(out).binary.stat().st_size / 1e6)
        assert sizes[-1] <= float(megabytes)
    assert sizes[0] > 0.01
    assert cli([*command, "--megabytes", "0.0001"]) == 2
    assert "the smallest model has" in capsys.readouterr().err
