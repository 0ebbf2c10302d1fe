"""Two workers as processes: the losses of one, killed, interrupted, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import interruptible
from tiny_training import records, write_corpus

from ds2edge import cli
from ds2edge.training.checkpoint import load_checkpoint
from ds2edge.training.cluster import Cluster, cluster_of

CONFIG = """
[model]
convolutions = [{ channels = 4, time = 5, time_stride = 3, frequency_stride = 4 }]
layers = 1
units = 12
look_ahead = 3
dropout = 0.0

[data]
train = [{ folder = "speech", repeat = 2 }]
dev = [{ folder = "speech" }]
speeds = [0.9, 1.0]
batch_size = 7        # then one batch of an epoch has one recording, fewer than there are workers
sorta_grad = false

[augment]
time_width = 0.2

[optimizer]
epochs = 6
warm_up = 2
learning_rate = 0.02
averaging = 0.5
average_last = 2
precision = "float32"
"""
EPOCH = 2  # updates in one of it


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The command line of a run in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("together")
        patch.setenv("DS2EDGE_CACHE", str(folder / "cache"))
        config, corpus = folder / "tiny.toml", write_corpus(folder)
        config.write_text(CONFIG)
        yield lambda run, *more: [
            *("train", str(config), "--data", str(corpus), "--out", str(run)),
            *("--checkpoint-minutes", "0", *more),
        ]


class Process(subprocess.Popen[str]):
    """The command in a process of its own."""

    def __init__(self, arguments: list[str], **variables: str) -> None:
        super().__init__(
            [str(Path(sys.executable).with_name("ds2edge")), *arguments],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=interruptible,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables},
        )

    def until(self, said: str) -> None:
        """Read on to a line that begins so."""
        assert self.stderr
        lines = []
        for line in self.stderr:
            lines.append(line)
            if line.startswith(said):
                return
        raise AssertionError(f"it never said {said!r}: {''.join(lines)}")

    def last_line(self) -> str:
        """What it says at its end."""
        assert self.stderr
        *_, last = self.stderr
        return last

    def others(self) -> list[int]:
        """Process numbers of the workers that it has started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(c) for c in children if "--worker-index" in _command_line(c)]


def _command_line(number: str) -> str:
    return Path(f"/proc/{number}/cmdline").read_text()


def alike(one: Path, other: Path, tolerance: float) -> None:
    """Two folders hold the same run, to rounding."""
    for name, count in (("steps.jsonl", 6 * EPOCH), ("history.jsonl", 6)):
        rows, wanted = records(one / name), records(other / name)
        assert len(rows) == len(wanted) == count
        for row, want in zip(rows, wanted, strict=True):
            assert row == pytest.approx(want, rel=tolerance), name
    for name in ("last.npz", "best.npz", "average.npz"):
        found, kept = load_checkpoint(one / name), load_checkpoint(other / name)
        for group in ("weights", "training"):
            values = zip(getattr(found, group).values(), getattr(kept, group).values(), strict=True)
            for a, b in values:
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.slow
def test_two_workers_are_one_also_when_they_are_killed(command: Any, tmp_path: Path) -> None:
    assert cli.main(command(tmp_path / "one")) == 0
    with Process(command(tmp_path / "two", "--workers", "2")) as process:
        last = process.last_line()
    assert process.returncode == 0, last
    alike(tmp_path / "two", tmp_path / "one", 1e-3)
    first = records(tmp_path / "two" / "steps.jsonl")[0]["loss"]
    assert first == pytest.approx(records(tmp_path / "one" / "steps.jsonl")[0]["loss"], rel=1e-6)
    said = (tmp_path / "two" / "worker-1.log").read_text().splitlines()
    # The first may be at the features still.
    assert [line for line in said if not line.startswith("waiting for another process")] == []

    parts, found = tmp_path / "parts", cluster_of_two()
    one_by_one = ["--worker-addresses", ",".join(found.addresses)]
    variable = {"cluster": {"worker": found.addresses}, "task": {"type": "worker", "index": 1}}
    chief = Process(command(parts, *one_by_one, "--worker-index", "0"))
    other = Process(command(tmp_path / "nothing"), TF_CONFIG=json.dumps(variable))
    with chief, other:  # the chief is killed
        chief.until("checkpoint: epoch 1, update 1 of 2")
        chief.kill()
        said = other.last_line()
    assert other.returncode == 2
    assert said.startswith(f"ds2edge: worker 0 ({found.addresses[0]}) is gone; started again, ")
    assert not (tmp_path / "nothing").exists()

    with Process(command(parts, "--workers", "2")) as process:  # another one is
        process.until("checkpoint: epoch 2, update 2 of 2")
        (worker,) = process.others()
        os.kill(worker, signal.SIGKILL)
        said = process.last_line()
    assert process.returncode == 2
    assert said.startswith("ds2edge: worker 1 was killed by SIGKILL")
    assert "the run goes on from its last checkpoint" in said

    with Process(command(parts, "--workers", "2")) as process:  # Ctrl-C
        process.until("checkpoint: epoch 4, update 1 of 2")
        (worker,) = process.others()
        process.send_signal(signal.SIGINT)
        said = process.last_line()
    assert process.returncode == 130
    assert said.startswith("ds2edge: stopped in epoch ")
    assert not Path(f"/proc/{worker}").exists()

    with Process(command(parts, "--workers", "2")) as process:
        last = process.last_line()
    assert process.returncode == 0, last
    alike(parts, tmp_path / "two", 1e-9)
    assert sorted(path.name for path in parts.iterdir()) == sorted(
        path.name for path in (tmp_path / "two").iterdir()
    )


def cluster_of_two() -> Cluster:
    """On ports of this machine that are free now."""
    from argparse import Namespace

    found = cluster_of(Namespace(workers=2, worker_index=None, worker_addresses=None), {})
    assert found
    return found
