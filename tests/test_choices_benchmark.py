"""benchmarks/choices.py: its rows, runs taken from another folder, size, speed and the frontier."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import BENCHMARKS
from stored_rows import SENTENCE, SMALL, store

from ds2edge.errors import ConfigError
from ds2edge.training.checkpoint import Checkpoint, variables
from ds2edge.training.evaluation.recognised import read_evaluation, to_json
from ds2edge.training.network.model import build_model

pytestmark = pytest.mark.usefixtures("benchmark_scripts")

PLAN = BENCHMARKS / "choices.toml"


@pytest.fixture
def rows() -> ModuleType:
    return import_module("techniques_rows")


@pytest.fixture
def plan(rows: ModuleType, tmp_path: Path) -> Any:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return rows.read_plan(path)


# ---- rows


def test_the_rows_are_those_of_techniques_and_more(rows: ModuleType) -> None:
    choices, techniques = rows.read_plan(PLAN), rows.read_plan(BENCHMARKS / "techniques.toml")
    assert choices.base == techniques.base
    taken = [row for row in choices.rows if row in techniques.rows]
    assert len(taken) == 6
    configs = [row.config(choices.base) for row in choices.rows]
    assert len({replace(config, name="").digest for config in configs}) == len(configs)
    models = [config.model for config in configs]
    assert {model.time_stride for model in models} == {2, 3, 4}
    assert {model.tokens for model in models} == {"english_characters", "english_bigrams"}
    assert {model.units for model in models} >= {128, 256, 384}
    assert {model.look_ahead for model in models} == {0, 10, 20}
    assert {config.features.kind for config in configs} == {"log_mel", "log_spectrogram"}
    assert choices.marked in [row.name for row in choices.rows]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('like = { plan = "small.toml", rows = ["gru"] }', "no row 'gru'"),
        ('like = { plan = "small.toml", row = [] }', "unknown key 'like.row'"),
        ('like = { plan = "nothing.toml" }', "cannot read .*nothing.toml"),
        ('marked = "best"\nlike = { plan = "small.toml", rows = ["base"] }', "no row 'best'"),
    ],
)
def test_a_bad_plan_is_said(
    rows: ModuleType, plan: Any, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "choices.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        rows.read_plan(path)


def test_other_features_have_other_statistics(rows: ModuleType, plan: Any) -> None:
    features = replace(plan.base.features, mean=(1.0,) * 64, deviation=(2.0,) * 64)
    base = replace(plan.base, features=features)
    spectrogram = rows.Row("s", "s", {"features.kind": "log_spectrogram"}).config(base)
    assert (spectrogram.features.mean, spectrogram.features.deviation) == ((), ())
    assert rows.Row("w", "w", {"model.units": 9}).config(base).features == features


def test_a_row_that_is_done_needs_no_features(rows: ModuleType, plan: Any, tmp_path: Path) -> None:
    out, row = tmp_path / "out", plan.rows[1]
    store(rows, out, row, [1, 2], Checkpoint(row.config(plan.base), {}))
    measured = replace(plan.base.features, mean=(1.0,) * 64, deviation=(2.0,) * 64)
    place = rows.Place(out, row.name)
    place.config.parent.mkdir()
    known = replace(row.config(plan.base), features=measured)
    place.config.write_text(rows.to_toml(known.as_dict()))
    assert rows.prepare_row(row, plan.base, out).updates == 60  # there is no corpus at all
    other = replace(row, changes={"optimizer.seed": 3})
    with pytest.raises(ConfigError, match="is another row than"):
        rows.prepare_row(other, plan.base, out)


# ---- runs of another folder

COUNT = 6


@pytest.fixture
def source(rows: ModuleType, plan: Any, tmp_path: Path) -> Path:
    """A folder in which base, seed and distilled are done, the seed's row by another name."""
    source = tmp_path / "deeper" / "source"
    write_manifest(rows, source, tmp_path)
    for name, stored in (("base", "base"), ("seed", "chance"), ("distilled", "a-distilled")):
        (row,) = (row for row in plan.rows if row.name == name)
        config = replace(row.config(plan.base), name=stored)
        if row.teacher:
            config = replace(config, distill=replace(config.distill, teacher="abc"))
        stored_row = replace(row, name=stored)
        store(rows, source, stored_row, [1] * COUNT, Checkpoint(config, {}))
        place = rows.Place(source, stored)
        place.config.parent.mkdir(exist_ok=True)
        place.config.write_text(rows.to_toml(replace(config, distill=plan.base.distill).as_dict()))
        found = read_evaluation(place.evaluation)
        heard = tuple(
            replace(one, set="speech dev", path=f"../../../../audio/{one.path}")
            for one in found.utterances
        )
        place.evaluation.write_text(to_json(replace(found, utterances=heard), {}))
    return source


def write_manifest(rows: ModuleType, out: Path, folder: Path, count: int = COUNT) -> None:
    lines = [f"{folder}/audio/{i}.wav\t3\t{SENTENCE}\ts\tdev\n" for i in range(count)]
    path = rows.manifest(out, "speech")
    path.parent.mkdir(parents=True)
    path.write_text("path\tseconds\ttext\tspeaker\tsplit\n" + "".join(lines))


def test_runs_are_known_by_what_they_train(
    rows: ModuleType, plan: Any, source: Path, tmp_path: Path
) -> None:
    take_runs = import_module("techniques_taken").take_runs
    out = tmp_path / "out"
    write_manifest(rows, out, tmp_path)
    renamed = [replace(row, name=f"my-{row.name}") for row in plan.rows]
    taken = take_runs(plan, renamed, source, out)
    assert [row.name for row in taken] == ["my-base", "my-seed"]  # none that had a teacher
    for own, other in (("my-base", "base"), ("my-seed", "chance")):
        place, kept = rows.Place(out, own), rows.Place(source, other)
        for name in ("last.npz", "steps.jsonl", "history.jsonl", "usage.jsonl", "work.json"):
            assert (place.run / name).read_bytes() == (kept.run / name).read_bytes(), own
    paths = [one.path for one in read_evaluation(place.evaluation).utterances]
    assert [(rows.manifest(out, "speech").parent / path).resolve() for path in paths] == [
        tmp_path / "audio" / f"{i}.wav" for i in range(COUNT)
    ]
    assert rows.Place(out, "base").config.exists()  # whose statistics are the others'
    assert not take_runs(plan, renamed, source, out)  # twice


def test_runs_on_other_recordings_are_refused(
    rows: ModuleType, plan: Any, source: Path, tmp_path: Path
) -> None:
    take_runs = import_module("techniques_taken").take_runs
    write_manifest(rows, tmp_path / "out", tmp_path, COUNT - 1)
    with pytest.raises(ConfigError, match="measured on other recordings"):
        take_runs(plan, plan.rows, source, tmp_path / "out")
    assert not rows.Place(tmp_path / "out", "base").evaluation.exists()
    with pytest.raises(ConfigError, match="has no runs that are done"):
        take_runs(plan, plan.rows, tmp_path / "nothing", tmp_path / "out")


# ---- size, speed, frontier


def test_models_are_converted_and_measured_beside_the_base(
    rows: ModuleType, plan: Any, checkpoint: Checkpoint, tmp_path: Path, cache: Path
) -> None:
    base, _, both, _ = plan.rows
    out, folder = tmp_path / "out", tmp_path / "work"
    folder.mkdir()
    config = replace(checkpoint.config, model=replace(checkpoint.config.model, direction="both"))
    other = Checkpoint(config, variables(build_model(config.model, config.features)))
    for row, one in ((base, checkpoint), (both, other)):
        store(rows, out, row, [1, 2, 3, 1, 2], one)
    results = import_module("techniques_report").load_results([base, both], out)
    found = import_module("choices_measure").deployed(results, out, folder, 3)
    assert found.keys() == {"base"}  # of both directions there is no step graph
    one = found["base"]
    assert one.megabytes == pytest.approx((folder / "base.tflite").stat().st_size / 1e6)
    assert 0 < one.spread[0] <= one.factor <= one.spread[1] < 0.1
    assert one.beside_base == 1
    assert one.look_ahead == pytest.approx(5 * 0.03)

    report = import_module("choices_report")
    report.write_choices([base, both], out, found, "base")
    line, _ = (out / "choices.jsonl").read_text().splitlines()
    assert json.loads(line)["deployed"]["look_ahead"] == one.look_ahead
    page = (out / "choices.md").read_text()
    assert "| real-time factor |" in page
    assert "Chosen: base." in page
    assert (out / "choices.png").read_bytes().startswith(b"\x89PNG")


def test_the_frontier_has_what_nothing_beats(rows: ModuleType, plan: Any) -> None:
    report, measure = import_module("choices_report"), import_module("choices_measure")
    result = import_module("techniques_report").Result

    def one(name: str, cer: float, outcome: str = "", **changes: int) -> Any:
        row = rows.Row(name, name, {key.replace("__", "."): v for key, v in changes.items()})
        work = rows.Work(1, 1.0, 0, 1)
        return result(row, cer, None, 50, None, None, outcome, [1.0], [], 1, 1, 10, work)

    def speed(factor: float) -> Any:
        return measure.Deployed(1.0, factor, (factor, factor), 1.0, 0.1)

    results = [
        one("slow", 20),
        one("beaten", 25),
        one("fast", 30),
        one("seed", 19, optimizer__seed=2),
        one("weak", 70, "inconclusive"),
        one("unmeasured", 1),
    ]
    found = {"slow": speed(3), "beaten": speed(4), "fast": speed(2), "seed": speed(3)}
    found |= {"weak": speed(1)}
    assert report.frontier(results, found) == ["fast", "slow"]
    header, cells = report.table(results, found)
    assert {len(row) for row in cells} == {len(header)}
    assert [row[header.index("frontier")] for row in cells] == ["yes", "", "yes", "", "", ""]
