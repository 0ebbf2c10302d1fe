"""`ds2edge train` as a process: killed, interrupted, on a full disk; what it prints and leaves."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import interruptible
from tiny_training import InterruptAt, records, write_corpus

from ds2edge import cli
from ds2edge.training.checkpoint import load_checkpoint
from ds2edge.training.config import load_config
from ds2edge.training.loop import Stopped, train
from ds2edge.training.train import prepare

CONFIG = """
[model]
convolutions = [{ channels = 4, time = 5, time_stride = 3, frequency_stride = 4 }]
layers = 1
units = 12
look_ahead = 3
dropout = 0.2

[data]
train = [{ folder = "speech", repeat = 2 }]
dev = [{ folder = "speech" }]
speeds = [0.9, 1.0]
batch_size = 2

[optimizer]
epochs = 8
warm_up = 2
learning_rate = 0.02
averaging = 0.5
precision = "float32"
"""
EPOCH = 4  # updates in one of it


@pytest.fixture(scope="module", autouse=True)
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("training")
        patch.setenv("DS2EDGE_CACHE", str(folder / "cache"))
        (folder / "tiny.toml").write_text(CONFIG)
        yield write_corpus(folder)


@pytest.fixture
def arguments(corpus: Path) -> Any:
    """The command line of a run in a folder."""

    def arguments(folder: Path, *more: str, config: Path | None = None) -> list[str]:
        config = config or corpus.parent / "tiny.toml"
        return ["train", str(config), "--data", str(corpus), "--out", str(folder), *more]

    return arguments


def until(process: subprocess.Popen[str], said: str) -> list[str]:
    """What a process says on standard error, up to a line that begins so."""
    assert process.stderr
    lines = []
    for line in process.stderr:
        lines.append(line.rstrip("\n"))
        if line.startswith(said):
            return lines
    raise AssertionError(f"it never said {said!r}: {lines}")


def start(arguments: list[str]) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("ds2edge")), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible)


def test_interrupted_and_killed_it_goes_on_as_if_nothing_had_been(
    arguments: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments(tmp_path / "whole")) == 0
    command = arguments(tmp_path / "parts", "--checkpoint-minutes", "0", "--deterministic")

    with start(command) as process:  # Ctrl-C
        until(process, "checkpoint: epoch 1, update 2 of 4")
        process.send_signal(signal.SIGINT)
        *_, last = process.stderr or ()
    assert process.returncode == 130
    assert last.startswith("ds2edge: stopped in epoch ")
    assert last.removeprefix("ds2edge: ") in (tmp_path / "parts" / "train.log").read_text()
    assert last.endswith(f"without --fresh, goes on from {tmp_path}/parts/last.npz\n")

    with start(command) as process:  # a kill at any moment after that
        until(process, "checkpoint: epoch 3, update 1 of 4")
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(records(tmp_path / "parts" / "steps.jsonl")) < 8 * EPOCH

    capfd.readouterr()
    assert cli.main(arguments(tmp_path / "parts")) == 0
    assert "epoch 8: loss" in capfd.readouterr().err
    for name in ("steps.jsonl", "history.jsonl"):
        assert records(tmp_path / "parts" / name) == records(tmp_path / "whole" / name)
    assert len(records(tmp_path / "parts" / "steps.jsonl")) == 8 * EPOCH
    whole, parts = (load_checkpoint(tmp_path / name / "best.npz") for name in ("whole", "parts"))
    assert all(map(np.array_equal, whole.weights.values(), parts.weights.values()))
    assert not list((tmp_path / "parts").glob("*.part"))


@pytest.fixture
def small_files() -> Iterator[Any]:
    """Lets no file grow beyond so many bytes: what a full disk does, to this process alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint(
    arguments: Any,
    corpus: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    small_files: Any,
) -> None:
    run = tmp_path / "run"
    command = arguments(run, "--checkpoint-minutes", "0")
    config = load_config(corpus.parent / "tiny.toml")
    with pytest.raises(Stopped):
        train(prepare(config, corpus, run), interrupt=InterruptAt(1))
    before = (run / "last.npz").read_bytes()

    small_files(len(before) // 2)
    assert cli.main(command) == 2
    small_files(resource.RLIM_INFINITY)
    *_, last = capfd.readouterr().err.splitlines()
    assert last == f"ds2edge: {run}/last.npz: File too large"
    assert (run / "last.npz").read_bytes() == before
    assert not list(run.glob("*.part"))


def test_a_disk_that_is_full_from_the_start_costs_no_training(
    arguments: Any,
    corpus: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    small_files: Any,
) -> None:
    prepare(load_config(corpus.parent / "tiny.toml"), corpus, tmp_path)  # the features are there
    small_files(4000)
    assert cli.main(arguments(tmp_path)) == 2
    small_files(resource.RLIM_INFINITY)
    assert capfd.readouterr().err.endswith(f"\nds2edge: {tmp_path}/last.npz: File too large\n")
    assert [path.name for path in tmp_path.iterdir()] == ["train.log"]


def test_a_disk_too_full_for_the_features_is_one_line(
    arguments: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    small_files: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DS2EDGE_CACHE", str(tmp_path / "cache"))
    small_files(4000)
    assert cli.main(arguments(tmp_path / "run")) == 2
    small_files(resource.RLIM_INFINITY)
    last = capfd.readouterr().err.splitlines()[-1]
    assert re.fullmatch(
        rf"ds2edge: {tmp_path}/cache/features/\w+\.frames\.npy: File too large", last
    )
    assert not list((tmp_path / "cache" / "features").iterdir())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("units = 12", "unit = 12", "unknown key 'model.unit'"),
        ("units = 12", "units = 0", "model.units needs 1 or more, got 0"),
        ('folder = "speech"', 'folder = "spech"', "cannot read manifest .*spech/manifest.tsv: No"),
        ("epochs = 8", "epochs = 'many'", "optimizer.epochs needs .*int.*, got 'many'"),
        ("dev = [", "# dev = [", "the configuration names no corpus in data.dev"),
    ],
)
def test_a_bad_configuration_is_one_line_that_names_file_and_key(
    arguments: Any,
    corpus: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    old: str,
    new: str,
    said: str,
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(CONFIG.replace(old, new))
    assert cli.main(arguments(tmp_path / "run", config=path)) == 2
    error = capfd.readouterr().err
    assert re.search(said, error)
    assert error.startswith("ds2edge: ")
    assert error.count("\n") == 1
    if "data" not in said and "manifest" not in said:
        assert str(path) in error
        assert not (tmp_path / "run").exists()


def test_help_has_examples(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "--help"])
    text = capfd.readouterr().out
    for word in (
        "examples:",
        "--fresh",
        "--start",
        "--checkpoint-minutes",
        "average.npz",
        "curves",
    ):
        assert word in text


def test_an_impossible_option(arguments: Any, tmp_path: Path, capfd: Any) -> None:
    assert cli.main(arguments(tmp_path, "--checkpoint-minutes", "-1")) == 2
    assert "--checkpoint-minutes needs 0 or more, got -1" in capfd.readouterr().err
