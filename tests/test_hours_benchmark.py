"""benchmarks/hours.py: nested parts of the corpora, the fitted law, the report."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import BENCHMARKS, tiny_checkpoint
from stored_rows import store

from ds2edge.errors import ConfigError
from ds2edge.language_model import open_language_model
from ds2edge.training.checkpoint import Checkpoint, save_checkpoint
from ds2edge.training.data.manifest import Utterance, read_manifest, write_manifest
from ds2edge.training.evaluation.recognised import read_evaluation, to_json

pytestmark = pytest.mark.usefixtures("benchmark_scripts")

PLAN = BENCHMARKS / "hours.toml"
SPEAKERS = {"often": 400, "seldom": 40}


@pytest.fixture
def rows() -> ModuleType:
    return import_module("hours_rows")


@pytest.fixture
def plan(rows: ModuleType) -> Any:
    return rows.read_hours(PLAN)


@pytest.fixture
def data(plan: Any, tmp_path: Path) -> Path:
    """Each corpus: two speakers, one of them ten times as often, one recording that is too long."""
    for corpus in plan.base.data.train:
        folder = tmp_path / "speech" / corpus.folder
        given = [
            Utterance(folder / f"{who}{i}.wav", 3.0 + i % 5, f"text {i}", who, "train")
            for who, count in SPEAKERS.items()
            for i in range(count)
        ]
        given.append(Utterance(folder / "long.wav", 30.0, "long", "often", "train"))
        given += [Utterance(folder / f"{s}.wav", 5.0, s, "other", s) for s in ("dev", "test")]
        write_manifest(folder / "manifest.tsv", given)
    return tmp_path / "speech"


# ---- parts


def test_every_part_is_in_the_next_and_twice_as_long(
    rows: ModuleType, plan: Any, data: Path
) -> None:
    parts = rows.parts_of(plan, data)
    assert len(parts) >= 5
    for small, large in pairwise(parts):
        assert large.hours == pytest.approx(2 * small.hours, rel=0.03)
        for folder in small.train:
            assert {u.path for u in small.train[folder]} < {u.path for u in large.train[folder]}
    everything = parts[-1].train.values()
    assert {u.split for part in everything for u in part} == {"train"}
    assert [len(part) for part in everything] == [sum(SPEAKERS.values())] * 5  # not the long one
    assert rows.parts_of(plan, data) == parts
    assert rows.parts_of(replace(plan, seed=2), data) != parts


def test_every_part_has_all_speakers_in_like_proportion(
    rows: ModuleType, plan: Any, data: Path
) -> None:
    for part in rows.parts_of(plan, data):
        for some in part.train.values():
            count = Counter(u.speaker for u in some)
            assert count["seldom"] == pytest.approx(count["often"] / 10, abs=1.5)


def test_what_has_few_updates_gets_more_passes(rows: ModuleType, plan: Any, data: Path) -> None:
    seconds = sum(3.0 + i % 5 for count in SPEAKERS.values() for i in range(count))
    same = rows.parts_of(replace(plan, least_updates=0), data)
    assert {part.passes for part in same} == {6}
    (part,) = rows.parts_of(replace(plan, least_updates=3000, shares=(1.0,)), data)
    assert part.passes == np.ceil(3000 * 50 / (5 * seconds))
    assert part.minutes(100.0) == pytest.approx(part.passes * (5 * seconds + 5.0 / 3) / 100 / 60)


def test_what_is_repeated_counts_as_often(rows: ModuleType, plan: Any, data: Path) -> None:
    once, *others = plan.base.data.train
    corpora = (replace(once, repeat=3), *others)
    base = replace(plan.base, data=replace(plan.base.data, train=corpora))
    given = replace(plan, least_updates=3000, shares=(1.0,))
    (plain,), (part,) = rows.parts_of(given, data), rows.parts_of(replace(given, base=base), data)
    assert part.pass_seconds == pytest.approx(7 / 5 * plain.pass_seconds)
    assert part.passes == np.ceil(3000 * 50 / part.pass_seconds) < plain.passes
    assert (part.hours, part.name) == (plain.hours, plain.name)


def test_rows_train_on_their_part_and_are_measured_on_dev(
    rows: ModuleType, plan: Any, data: Path, tmp_path: Path
) -> None:
    part, *_ = rows.parts_of(plan, data)
    row = rows.row_of(part, plan.base)
    assert row.name == part.name == f"{part.hours:.2f}h"
    config = row.config(plan.base)
    assert config.optimizer.epochs == part.passes
    rows.write_part(part, tmp_path)
    for corpus in config.data.train:
        (folder,) = (f for f in part.train if corpus.folder == f"{part.name}/{f}")
        found = read_manifest(tmp_path / "data" / corpus.folder / "manifest.tsv")
        assert [u.path.resolve() for u in found] == [u.path for u in part.train[folder]]
    (dev,) = (read_manifest(rows.manifest(tmp_path, c.folder)) for c in config.data.dev)
    assert [(u.text, u.split) for u in dev] == [("dev", "dev")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("shares = [0.0625,", "shares = [1.5,", "shares needs numbers above 0, 1 at most"),
        ("shares", "parts", "unknown key 'parts'"),
        ("units", "unit", "unknown key 'base.model.unit'"),
    ],
)
def test_a_bad_plan_is_said(
    rows: ModuleType, tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "hours.toml"
    path.write_text(PLAN.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=said):
        rows.read_hours(path)


def test_the_language_model_of_a_bundle_is_laid_out(
    rows: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder, name, alpha = rows.evaluation_options("en", 0.5, None, tmp_path)
    assert (name, alpha) == ("--alpha", 0.5)
    model = open_language_model(folder)
    assert model.words
    assert rows.evaluation_options(str(folder), None, None, tmp_path / "other") == [
        *("--language-model", folder)
    ]
    assert rows.evaluation_options(None, None, None, tmp_path) == []
    monkeypatch.setattr(rows, "language_model_of", lambda bundle: None)
    with pytest.raises(ConfigError, match="en has no language model"):
        rows.evaluation_options("en", None, None, tmp_path)


def test_the_command_tells_what_it_would_take(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    main = import_module("hours").main
    assert main(["--data", str(data), "--out", str(out), "--estimate"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) >= 2 + 6 + 1
    assert not out.exists()
    smallest = printed[2].split()[0]
    assert main(["--data", str(data), "--out", str(out), "--estimate", "--rows", smallest]) == 0
    assert capsys.readouterr().out.splitlines()[2] == printed[2]


def test_rows_begin_with_the_weights_that_are_given(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, checkpoint = tmp_path / "start.npz", tiny_checkpoint(0)
    save_checkpoint(start, checkpoint)
    bases, commands = [], []
    runner = import_module("techniques_runner").Runner

    def prepare(row: Any, base: Any, out: Path) -> None:
        bases.append(base)
        row_config = import_module("techniques_rows").Place(out, row.name).config
        row_config.parent.mkdir(exist_ok=True)
        row_config.write_text(import_module("techniques_rows").to_toml(base.as_dict()))

    def run(self: Any) -> int:
        for row in self.rows:
            with pytest.raises(FileNotFoundError):  # nothing was evaluated
                self._row(row)
        return 0

    monkeypatch.setattr(import_module("techniques_rows"), "prepare_row", prepare)
    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(runner, "_command", lambda _, words, *__, **___: commands.append(words))
    command = ["--data", str(data), "--out", str(tmp_path / "out")]
    command += ["--start", str(start), "--tokens", "zh.tokens"]
    assert import_module("hours").main(command) == 0
    assert {base.features for base in bases} == {checkpoint.config.features}
    trained = [words for words in commands if words[0] == "train"]
    assert len(trained) == len(bases) == 5
    given = ["--start", start, "--tokens", Path("zh.tokens")]
    assert all(words[-4:] == given for words in trained)


# ---- the report


def test_a_power_law_is_found_and_a_ceiling_left_out() -> None:
    report = import_module("hours_report")
    points = [(hours, 60.0 * hours**-0.2) for hours in (0.5, 1.0, 2.0, 8.0)]
    law = report.power_law([(0.1, 99.0), *points])
    assert (law.factor, law.exponent) == pytest.approx((60, 0.2))
    assert law.tenfold == pytest.approx(36.9, abs=0.1)
    assert report.power_law([(1, 95.0), (2, 80.0)]) is None
    paper = report.power_law(report.PAPER)
    assert paper.exponent == pytest.approx(0.273, abs=0.001)
    assert report.power_law([report.PAPER[1], report.PAPER[4]]).tenfold == pytest.approx(
        39, abs=0.5
    )


def test_rows_that_are_done_are_in_the_report(
    rows: ModuleType, plan: Any, data: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    report, stored = import_module("hours_report"), import_module("techniques_rows")
    parts = rows.parts_of(plan, data)
    all_rows = [rows.row_of(part, plan.base) for part in parts]
    for row, lost in zip(all_rows[:3], (7, 5, 3), strict=True):
        store(stored, tmp_path, row, [lost] * 8, checkpoint)
        place = stored.Place(tmp_path, row.name)
        found = read_evaluation(place.evaluation)
        better = tuple(  # by search, of which some are right
            replace(one, said={**one.said, "language_model": one.wanted if i < 2 else ""})
            for i, one in enumerate(found.utterances)
        )
        place.evaluation.write_text(to_json(replace(found, utterances=better), {}))
    results = report.write_hours(plan.base, all_rows, tmp_path)
    assert [result.row.name for result in results] == [part.name for part in parts[:3]]
    first = results[0]
    assert first.hours == pytest.approx(parts[0].hours, abs=0.005)
    assert first.figures["greedy"]["wer"] == 70
    assert first.figures["language_model"]["wer"] == 75
    assert first.processor_minutes == pytest.approx(2)
    page = (tmp_path / "hours.md").read_text()
    assert "| 70.00 (70.0-70.0) | 75.00 " in page
    assert "ours, WER with language model: 75 % * hours ^ " in page
    assert "the paper's, WER with language model: 102 % * hours ^ -0.273, 47 % less" in page
    assert len((tmp_path / "hours.jsonl").read_text().splitlines()) == 3
    assert (tmp_path / "hours.png").read_bytes().startswith(b"\x89PNG")
