"""The table of techniques: its rows, what runs them, and what is made of their files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import BENCHMARKS
from sound_server import until
from stored_rows import SMALL, store

from ds2edge.errors import ConfigError
from ds2edge.training.checkpoint import Checkpoint
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.evaluation.bootstrap import Difference
from ds2edge.training.snapshot import differences

pytestmark = pytest.mark.usefixtures("benchmark_scripts")

ROOT = Path(__file__).parents[1]
PLAN = BENCHMARKS / "techniques.toml"

# In the place of `ds2edge`: hands out what is stored.
FAKE = """#!/bin/bash
echo "$@" >> "$STORED/said"
file=${@: -1}  # of --json
if [ $1 = evaluate ]; then
    name=$(basename "$(dirname "$file")")
    exec cp "$STORED/runs/$name/evaluation.json" "$file"
fi
out=$6
name=$(basename "$out")
taskset -cp $$ >> "$STORED/cores"
if [ "$name" = "$FAILS" ]; then
    echo "it cannot"
    exit 3
fi
trap 'echo "stopped $name" >> "$STORED/said"; exit 130' INT
if [ "$name" = "$WAITS" ]; then echo "waiting" >> "$STORED/said"; fi
for i in {1..400}; do [ "$name" = "$WAITS" ] && sleep 0.05; done
cp "$STORED/runs/$name/"{steps.jsonl,history.jsonl,last.npz} "$out"
"""


@pytest.fixture
def rows() -> ModuleType:
    return import_module("techniques_rows")


@pytest.fixture
def report() -> ModuleType:
    return import_module("techniques_report")


@pytest.fixture
def runner() -> ModuleType:
    return import_module("techniques_runner")


@pytest.fixture
def small(rows: ModuleType, tmp_path: Path) -> Any:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return rows.read_plan(path)


LOST = {"base": 2, "seed": 2, "both": 1, "distilled": 7}  # words of ten


@pytest.fixture
def stored(rows: ModuleType, small: Any, checkpoint: Checkpoint, tmp_path: Path) -> Path:
    out = tmp_path / "stored"
    rng = np.random.default_rng(1)
    for row in small.rows:
        lost = np.clip(LOST[row.name] + rng.integers(-1, 2, size=40), 0, 10)
        store(rows, out, row, lost.tolist(), checkpoint)
    return out


# ---- rows


def test_each_row_differs_from_the_base_by_what_it_says(rows: ModuleType) -> None:
    plan = rows.read_plan(PLAN)
    for row in plan.rows:
        config = row.config(plan.base)
        apart = differences(plan.base.as_dict(), config.as_dict())
        changed = {line.split(" is ")[0] for line in apart} - {"name"}
        assert changed == row.changes.keys(), row.name
        assert config.name == row.name
        assert len(changed) <= 2
        assert row.name == "base" or changed or row.teacher


def test_the_table_has_every_technique(rows: ModuleType) -> None:
    plan = rows.read_plan(PLAN)
    configs = [row.config(plan.base) for row in plan.rows]
    models = [config.model for config in configs]
    assert {config.data.sorta_grad for config in configs} == {True, False}
    assert {model.norm for model in models} == {"term", "none"}
    assert {model.cell for model in models} == {"gru", "simple"}
    assert {bool(model.convolutions[0].frequency) for model in models} == {True, False}
    assert {model.look_ahead for model in models} == {0, 10, 20}
    kinds = {(model.tokens, model.time_stride) for model in models}
    assert kinds >= {("english_characters", 4), ("english_bigrams", 4), ("english_characters", 3)}
    teachers = {row.teacher for row in plan.rows if row.teacher}
    assert [row.config(plan.base).model.direction for row in plan.chosen(list(teachers))][-1] == (
        "both"
    )


def test_rows_that_are_chosen_bring_what_they_need(rows: ModuleType) -> None:
    plan = rows.read_plan(PLAN)
    assert [row.name for row in plan.chosen(["bigrams"])] == ["base", "stride-4", "bigrams"]
    assert [row.name for row in plan.chosen(["distilled"])] == ["base", "both", "distilled"]
    assert len(plan.chosen([])) == len(plan.rows)
    with pytest.raises(ConfigError, match=r"no row 'gru'; there are base, seed, both"):
        plan.chosen(["gru"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("model.direction", "model.directions", "no key 'model.directions'"),
        ('"both" }', '"up" }', "model.direction needs .*, got 'up'"),
        ("units = 8", "unit = 8", "unknown key 'base.model.unit'"),
        ('teacher = "both"', 'teacher = "other"', "no row 'other'"),
        ('title = "the base"', "", "title"),
    ],
)
def test_a_bad_plan_is_said(
    rows: ModuleType, tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        rows.read_plan(path)


def test_no_sentence_is_trained_on_and_measured(
    rows: ModuleType, small: Any, tmp_path: Path
) -> None:
    header = "path\tseconds\ttext\tspeaker\tsplit\n"
    lines = [f"{i}.wav\t1\tsentence {i // 2}\tx\ttrain\n" for i in range(200)]
    lines += ["t.wav\t1\ta secret\tx\ttest\n"]
    more = rows.Row("more", "more", {"data.train": [{"folder": "speech"}, {"folder": "more"}]})
    for folder in ("speech", "more"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "manifest.tsv").write_text(header + "".join(lines))
    rows.split_corpora([small.base, more.config(small.base)], tmp_path, tmp_path / "out")
    assert len(read_manifest(rows.manifest(tmp_path / "out", "more"), "train")) > 150
    split = read_manifest(rows.manifest(tmp_path / "out", "speech"))
    texts = {kind: {u.text for u in split if u.split == kind} for kind in ("train", "dev")}
    assert len(split) == 200
    assert not texts["train"] & texts["dev"]
    assert 5 <= len(texts["dev"]) <= 15
    assert split[0].path == tmp_path / "speech" / "0.wav"


def test_a_configuration_as_toml_is_itself(rows: ModuleType, tmp_path: Path) -> None:
    from ds2edge.training.config import load_config

    plan = rows.read_plan(PLAN)
    for row in plan.rows:
        path = tmp_path / f"{row.name}.toml"
        path.write_text(rows.to_toml(row.config(plan.base).as_dict()))
        assert load_config(path) == row.config(plan.base)


def test_rows_of_another_base_are_not_mixed(rows: ModuleType, small: Any, tmp_path: Path) -> None:
    path = rows.Place(tmp_path, "base").config
    path.parent.mkdir()
    path.write_text(rows.to_toml(small.base.as_dict()))
    assert rows.with_statistics(small.base, tmp_path) == small.base
    optimizer = replace(small.base.optimizer, epochs=2)
    with pytest.raises(ConfigError, match="has rows of another base; give another --out"):
        rows.with_statistics(replace(small.base, optimizer=optimizer), tmp_path)


# ---- table and plot


def test_what_is_too_weak_or_too_near_is_marked(report: ModuleType) -> None:
    def outcome(rate: float, p: float, *rates: float) -> str:
        return report.outcome(Difference(rate, None, p, 0, 0, 0), rates)

    assert outcome(-0.02, 0.01, 20, 18) == "better"
    assert outcome(0.02, 0.01, 20, 22) == "worse"
    assert outcome(0.02, 0.06, 20, 22) == "no difference shown"
    assert outcome(0.30, 0.001, 20, 40.1) == "inconclusive"
    assert outcome(-0.30, 0.001, 40.1, 20) == "inconclusive"
    assert report.outcome(None, (20,)) == ""
    assert report.outcome(None, (41,)) == "inconclusive"


def test_table_plot_and_lines_come_from_stored_files(
    report: ModuleType, small: Any, stored: Path
) -> None:
    results = {result.row.name: result for result in report.load_results(small.rows, stored)}
    base, both = results["base"], results["both"]
    assert base.apart is None
    assert base.minutes == pytest.approx(3)
    assert base.processor_minutes == pytest.approx(2)  # of 30 of 60 updates it is known: a minute
    assert base.speed == pytest.approx(60)
    assert both.apart
    assert both.cer - base.cer == pytest.approx(100 * both.apart.rate, abs=0.02)
    assert (both.outcome, both.agreement) == ("better", "as there")
    assert results["seed"].outcome == "no difference shown"
    assert (results["distilled"].outcome, results["distilled"].agreement) == ("inconclusive", "")

    report.write_report([*results.values()], stored)
    table = (stored / "techniques.md").read_text()
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 4
    assert len({line.count("|") for line in lines}) == 1
    assert "| in both directions |" in table
    assert "| better | better, it says | as there |" in table
    assert "| 3 of 100 |" in table
    assert "Another seed alone makes" in table
    records = [json.loads(line) for line in (stored / "techniques.jsonl").read_text().splitlines()]
    assert [record["row"]["name"] for record in records] == ["base", "seed", "both", "distilled"]
    assert records[0]["losses"] == [3, 2]
    assert (stored / "techniques.png").read_bytes().startswith(b"\x89PNG")


def test_rows_that_are_not_done_are_not_in_the_table(
    report: ModuleType, small: Any, stored: Path
) -> None:
    (stored / "runs" / "both" / "evaluation.json").unlink()
    assert [r.row.name for r in report.load_results(small.rows, stored)] == [
        *("base", "seed", "distilled")
    ]


# ---- running


@pytest.fixture
def out(
    rows: ModuleType, small: Any, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder in which nothing is done, and a `ds2edge` that does it in a moment."""
    program = tmp_path / "bin" / "ds2edge"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    for name, value in (("STORED", stored), ("FAILS", ""), ("WAITS", "")):
        monkeypatch.setenv(name, str(value))
    (stored / "said").touch()
    out = tmp_path / "out"
    for row in small.rows:
        place = rows.Place(out, row.name)
        place.run.mkdir(parents=True)
        place.config.parent.mkdir(exist_ok=True)
        place.config.write_text(rows.to_toml(row.config(small.base).as_dict()))
        place.work.write_text(json.dumps(vars(rows.Work(60, 7200.0, 3, 100))))
    return out


def said(stored: Path) -> list[str]:
    """Commands and their rows, in their order."""
    found = []
    for line in (stored / "said").read_text().splitlines():
        command, *arguments = line.split()
        name = Path(arguments[-1]).parent.name if command == "evaluate" else Path(arguments[0]).stem
        found.append(f"{command} {name}")
    return found


def test_rows_are_trained_evaluated_and_not_again(
    runner: ModuleType, rows: ModuleType, small: Any, stored: Path, out: Path
) -> None:
    work = runner.Runner(small.rows, small.rows, out, 1)
    assert sum(1 for _ in work.updates()) == 4 * 60
    assert not work.failed
    assert said(stored) == [
        *("train base", "evaluate base", "train seed", "evaluate seed"),
        *("train both", "evaluate both", "distill distilled", "evaluate distilled"),
    ]
    assert "| in both directions |" in (out / "techniques.md").read_text()
    (usage,) = rows.Place(out, "base").usage.read_text().splitlines()
    assert json.loads(usage)["updates"] == 60
    assert "--split dev" in (stored / "said").read_text()

    (stored / "said").write_text("")
    assert sum(1 for _ in runner.Runner(small.rows, small.rows, out, 2).updates()) == 4 * 60
    assert not said(stored)


def test_a_teacher_comes_first_and_cores_are_shared(
    runner: ModuleType, small: Any, stored: Path, out: Path
) -> None:
    (*others, both, distilled) = small.rows
    cores = sorted(os.sched_getaffinity(0))
    for _ in runner.Runner([distilled, both, *others], small.rows, out, len(cores)).updates():
        pass
    order = said(stored)
    assert order.index("evaluate both") < order.index("distill distilled")
    taken = {line.rpartition(": ")[2] for line in (stored / "cores").read_text().splitlines()}
    assert taken <= {str(core) for core in cores}  # one each
    assert os.sched_getaffinity(0) == set(cores)


@pytest.fixture
def run_with_a_failure(
    runner: ModuleType, small: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Any]:
    """All rows, of which the named one fails."""

    def run(name: str) -> Any:
        monkeypatch.setenv("FAILS", name)
        work = runner.Runner(small.rows, small.rows, out, 1)
        for _ in work.updates():
            pass
        return work

    return run


def test_a_row_that_fails_leaves_the_others(
    run_with_a_failure: Callable[[str], Any], out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = run_with_a_failure("seed")
    assert [row.name for row in work.failed] == ["seed"]
    assert "seed failed: train ended with 3: it cannot" in caplog.text
    assert (out / "runs" / "distilled" / "evaluation.json").exists()


def test_a_teacher_that_failed_teaches_nobody(
    run_with_a_failure: Callable[[str], Any], stored: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = run_with_a_failure("both")
    assert [row.name for row in work.failed] == ["both", "distilled"]
    assert "distilled failed: its teacher, both, failed" in caplog.text
    assert "distill distilled" not in said(stored)


def test_stopped_it_asks_for_a_checkpoint_and_goes_on(
    runner: ModuleType,
    small: Any,
    stored: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WAITS", "seed")
    work = runner.Runner(small.rows, small.rows, out, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where nohup ignores it, too

    def stop() -> None:
        until(lambda: "waiting" in (stored / "said").read_text())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop).start()
    with pytest.raises(KeyboardInterrupt):
        for _ in work.updates():
            pass
    assert (stored / "said").read_text().endswith("stopped seed\n")
    assert not (out / "runs" / "seed" / "evaluation.json").exists()

    monkeypatch.setenv("WAITS", "")
    for _ in runner.Runner(small.rows, small.rows, out, 1).updates():
        pass
    assert (out / "runs" / "distilled" / "evaluation.json").exists()


@pytest.mark.slow
def test_the_command_trains_on_real_speech(small: Any, tmp_path: Path, cache: Path) -> None:
    out = tmp_path / "out"
    options = ["--data", ROOT / "tests" / "data", "--plan", tmp_path / "small.toml", "--out", out]
    command = [sys.executable, BENCHMARKS / "techniques.py", *options, "--rows", "base"]
    environment = {**os.environ, "DS2EDGE_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].startswith("the base  ")
    assert "base: dev CER" in done.stderr
    assert "TensorFlow" not in done.stderr
    (record,) = (out / "techniques.jsonl").read_text().splitlines()
    assert json.loads(record)["work"]["recordings"] == 1
