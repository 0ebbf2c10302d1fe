"""What the time of an update is spent on, and how many operations it is made of."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_training import tiny_config, write_corpus

from ds2edge import cli
from ds2edge.training import profile as profiling
from ds2edge.training.config import Convolution, ModelConfig, load_config
from ds2edge.training.flops import forward_flops, training_flops
from ds2edge.training.profile import Profile, lines_of, profile
from ds2edge.training.trace import innermost, part_of, shared
from ds2edge.training.train import prepare

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
CONFIG = """
[model]
convolutions = [{ channels = 4, time = 5, time_stride = 3, frequency_stride = 4 }]
layers = 1
units = 12
[data]
train = [{ folder = "speech" }]
dev = [{ folder = "speech" }]
speeds = [1.0]
[optimizer]
precision = "float32"
accumulate = 2
"""


def test_operations_are_those_counted_by_hand() -> None:
    model = ModelConfig(
        convolutions=(Convolution(2, 3, 5, time_stride=2), Convolution(4, 3, 3)),
        layers=2,
        units=6,
        look_ahead=1,
    )
    # 11 frames of 8 bins: 6 steps of 4 bins and 2 channels, then 6 steps of 2 bins and 4 channels
    first, second = 6 * 4 * 2 * (3 * 5 * 1), 6 * 2 * 4 * (3 * 3 * 2)
    layers = 6 * (8 * 18 + 6 * 18 + 6 * 18 + 6 * 18)  # inputs and states times three gates
    output = 6 * (6 * 2 + 6 * 29)  # row convolution, letters
    assert forward_flops(model, 8, 11) == {
        "convolutions": 2 * (first + second),
        "recurrence": 2 * layers,
        "output": 2 * output,
    }
    assert training_flops(model, 8, 11) == {
        "convolutions": 4 * first + 6 * second,
        "recurrence": 6 * layers,
        "output": 6 * output,
    }


def test_operations_of_other_forms() -> None:
    model = ModelConfig(
        convolutions=(Convolution(4, 2, 0, time_stride=2),),
        direction="both",
        cell="simple",
        layers=1,
        units=5,
        connected=7,
    )
    assert forward_flops(model, 8, 10) == {
        "convolutions": 2 * 5 * 4 * 2 * 8,
        "recurrence": 2 * 5 * (4 * 5 + 2 * 5 * 5),
        "output": 2 * 5 * (5 * 7 + 7 * 29),
    }


def test_training_the_paper_s_model_takes_tens_of_exaflops() -> None:
    config = load_config(CONFIGS / "paper-arxiv.toml")
    second = sum(training_flops(config.model, config.features.size, 100).values())
    assert 10e18 < second * 3600 * 11_940 * 20 < 100e18  # hours, epochs: sections 5 and 4


def test_operations_have_the_part_of_their_name() -> None:
    names = {
        "acoustic_model_1/convolution1_1/convolution:Conv2D": "convolutions",
        "gradient_tape/acoustic_model/recurrence0_1/norm/Mul_1:Mul": "recurrence",
        "recurrence/while/body/_126/recurrence/while/MatMul:MatMul": "recurrence",
        "acoustic_model/recurrence0_1/norm/CollectiveReduceV2:CollectiveReduceV2": "communication",
        "ctc/while/body/_3/ctc/while/Exp:Exp": "CTC",
        "optimiser/adam_w/Square_3:Square#id=1#": "optimiser",
        "acoustic_model/row_1/depthwise:DepthwiseConv2dNative": "output",
        "AddN_3:AddN": "other",
        "EagerLocalExecute: __inference_whole_8209": None,
        "ExecutorState::Process": None,
    }
    assert {name: part_of(name) for name in names} == names


def test_what_runs_inside_an_operation_is_counted_once() -> None:
    events = [
        (0.0, 10.0, "ExecutorState::Process"),
        (1.0, 9.0, "recurrence/while:While"),
        (2.0, 5.0, "ctc/Exp:Exp"),
        (3.0, 4.0, "AddN:AddN"),
        (5.0, 6.0, "AddN_1:AddN"),
        (6.0, 8.0, "ParallelFor"),  # no operation: part of the one around it
    ]
    found = innermost(events[::-1])
    assert sorted(found) == found
    assert shared(found) == {"recurrence": 4, "CTC": 2, "other": 2}


def test_what_runs_side_by_side_shares_the_time() -> None:
    spans = [(0.0, 4.0, "recurrence"), (2.0, 6.0, "CTC"), (3.0, 4.0, "CTC"), (8.0, 9.0, "CTC")]
    assert shared(spans) == {
        "recurrence": pytest.approx(2 + 1 / 2 + 1 / 3),
        "CTC": pytest.approx(1 / 2 + 2 / 3 + 2 + 1),
    }


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("profile"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS2EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(profiling, "SIZE", 64)


@pytest.mark.slow
def test_parts_add_up_and_every_one_is_named(corpora: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(CONFIG)
    command = [sys.executable, "-P", "-m", "ds2edge.cli", "train", tmp_path / "tiny.toml"]
    options = ["--data", corpora, "--out", tmp_path / "run", "--profile", "3"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    table, notes = done.stdout.split("\n\n")
    rows = dict(re.findall(r"(?m)^(\w[\w ]*?) {2,}[\d.]+ +([\d.]+) %", table))
    assert list(rows) == [
        *("input", "convolutions", "recurrence", "CTC", "optimiser", "output", "other"),
        *("between operations", "an update"),
    ]
    shares = [float(share) for share in rows.values()]
    assert sum(shares[:-1]) == pytest.approx(100, abs=0.5)
    assert all(share > 0 for share in shares)
    assert re.search(r"times real time; .* % longer\n", notes)
    assert re.search(r"sustained [\d.]+ GFLOP/s, \d+% of .* \(float32, \d+ threads?\)\n", notes)
    kept = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert kept == ["profile.png", "train.log"]
    assert (tmp_path / "run" / "profile.png").read_bytes().startswith(b"\x89PNG")


def test_where_parts_cannot_be_told_the_step_is_one(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "can_trace", lambda: False)
    found = profile(prepare(tiny_config(1), corpora, tmp_path), 2)
    assert found
    assert list(found.parts) == ["input", "compiled step"]
    assert sum(found.parts.values()) == pytest.approx(found.step)
    assert found.audio == pytest.approx(8 * 0.75, abs=0.1)  # four recordings, each twice


def test_figures_are_those_of_the_updates_without_the_profiler() -> None:
    parts = {"input": 0.1, "recurrence": 0.6, "between operations": 0.3}
    found = Profile(parts, 0.8, 0.8, 24.0, {"recurrence": 4e9}, 10e9, "float32, 1 thread")
    assert found.sustained == pytest.approx(5e9)
    *table, _, time, rate = lines_of(found)
    assert table[2].split() == ["recurrence", "600.0", "60.0", "%", "4.0", "6.7"]
    assert time.startswith("an update takes 800.0 ms, 30.0 times real time; ")
    assert time.endswith("+25.0 % longer")
    assert rate.startswith("sustained 5.0 GFLOP/s, 50% of the 10.0 GFLOP/s")
    without = lines_of(replace(found, same=0.0))[-2]
    assert without == "an update takes 800.0 ms, 30.0 times real time"


def test_no_update_is_refused(
    corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(CONFIG)
    command = ["train", str(tmp_path / "tiny.toml"), "--data", str(corpora), "--profile", "0"]
    assert cli.main([*command, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == "ds2edge: --profile needs 1 update or more, got 0\n"
