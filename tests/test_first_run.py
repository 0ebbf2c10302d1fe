"""A newcomer's first hour: the README's commands, from recordings to text, in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from terminal import Terminal

from ds2edge import cli
from ds2edge.errors import ConfigError
from ds2edge.training.config import load_config
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.evaluation.metrics import character_error_rate

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TRAINING = (ROOT / "docs" / "training.md").read_text()
MANIFEST = ROOT / "tests" / "data" / "first-run" / "manifest.tsv"
CONFIG = str(ROOT / "training" / "configs" / "tiny.toml")


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of somebody who never used ds2edge, in a checkout that can be written to."""
    for name in ("training", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    dropped = ("DS2EDGE_CACHE", "XDG_CACHE_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "HOME": str(tmp_path), "PATH": path}


def commands() -> tuple[str, str, str]:
    """The three of the README and of the page on training."""
    found = re.compile(r"^```\n(ds2edge train \S+tiny\.toml.*?)^```$", re.M | re.S)
    (block,) = found.findall(README)
    assert found.findall(TRAINING) == [block]
    train, convert, transcribe = block.splitlines()
    return train, convert, transcribe


def run(command: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_first_run_learns_converts_and_transcribes(newcomer: dict[str, str]) -> None:
    train, convert, transcribe = commands()
    with Terminal(["sh", "-c", train], newcomer) as terminal:
        terminal.read(300)
        assert terminal.process.wait() == 0
    shown = terminal.lines()
    assert any(re.match(r"epoch 2 of 10 .*━.* 1\d/20 .*left", line) for line in shown), shown
    (last,) = [line for line in shown if line.startswith("epoch 10: loss")]
    (rate,) = re.findall(r"dev CER ([\d.]+) %", last)
    assert float(rate) < 5
    best = f"{newcomer['HOME']}/.cache/ds2edge/runs/tiny/best.npz"
    assert [line for line in shown if line][-1].startswith(
        f"trained; to use it: ds2edge convert {best} -o BUNDLE"
    )

    assert "| int8 weights |" in run(convert, newcomer)

    said = dict(line.split(": ", 1) for line in run(transcribe, newcomer).splitlines())
    wanted = {f"tests/data/first-run/{u.path.name}": u.text for u in read_manifest(MANIFEST)}
    assert len(wanted) == 8
    assert said.keys() == wanted.keys()
    rate = character_error_rate([*wanted.values()], [said[path] for path in wanted])
    assert rate.percent < 5


def test_a_run_without_data_says_what_it_needs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "tiny"]) == 2
    assert capsys.readouterr().err == (
        "ds2edge: tiny needs --data FOLDER, the one that has tests/data/first-run/manifest.tsv\n"
    )


@pytest.mark.parametrize("name", ["tiny", "tiny.toml", "configs/tiny.toml", CONFIG])
def test_a_configuration_of_ds2edge_has_a_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(name) == load_config(CONFIG)


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text("[model]\nunits = 7\n")
    assert load_config("tiny.toml").model.units == 7


def test_what_is_no_configuration_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"configuration tinny: No such file.*; .* small, tiny"):
        load_config("tinny")
