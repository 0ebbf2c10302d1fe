"""The test split: refused where something is chosen, and every look at it written down."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from conftest import SPEECH

from ds2edge import Bundle, cli
from ds2edge.errors import ConfigError
from ds2edge.training.evaluation import split
from ds2edge.training.evaluation.split import Look

MANIFEST = str(SPEECH / "manifest.tsv")


def look(data: str = "d", digest: str = "m") -> Look:
    figures = {"greedy": {"wer": 12.5, "cer": 3.0}}
    return Look("2026-01-02T03:04:05+00:00", "evaluate", "x test", data, "en", digest, {}, figures)


@pytest.mark.parametrize("name", ["test", "Test", "test-clean", "test_other", "test2", "TEST.a"])
def test_names_of_test_splits(name: str) -> None:
    assert split.is_test(name)
    with pytest.raises(
        ConfigError, match=f"tuning must not see the test split, got split '{name}'"
    ):
        split.refuse_test_split(name, "tuning")


@pytest.mark.parametrize("name", ["dev", "train", "", "testament", "latest", "dev-test"])
def test_names_of_others(name: str) -> None:
    assert not split.is_test(name)
    split.refuse_test_split(name, "tuning")


def test_looks_are_counted_by_recordings_and_models(cache: Path) -> None:
    assert "no test split was evaluated yet" in split.log_table()
    for one in (look(), look(digest="other"), look(), look(data="e")):
        split.record(one)
    assert split.read_log() == [look(), look(digest="other"), look(), look(data="e")]
    assert split.times_seen("d") == "looked at 3 times, with 2 models"
    assert split.times_seen("e") == "looked at once, with 1 model"
    lines = split.log_table().splitlines()
    assert [("look 3" in line, "WER 12.50 CER 3.00" in line) for line in lines] == [
        *((False, True), (False, True), (True, True), (False, True))
    ]


def test_digest_tells_other_recordings_and_texts_apart() -> None:
    rows = [("a.wav", "one"), ("b.wav", "two")]
    assert split.data_digest(rows) == split.data_digest(rows[::-1])
    others = [
        rows[:1],
        [("a.wav", "one"), ("b.wav", "three")],
        [("a.wav", "one"), ("c.wav", "two")],
    ]
    assert len({split.data_digest(each) for each in [rows, *others]}) == 4


def test_damaged_lines_are_left_out(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    split.record(look())
    with split.log_path().open("a") as file:
        file.write('half a li\n{"date": 3}\n[]\n')
    split.record(look())
    assert split.read_log() == [look(), look()]
    assert "3 line(s) that are no evaluation" in caplog.text


def evaluate(bundle: Bundle, *more: str) -> int:
    return cli.main(["evaluate", MANIFEST, "--bundle", str(bundle.folder), *more])


def test_evaluating_a_test_split_is_logged_and_told(
    tiny_bundle: Bundle, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tiny_bundle, "--split", "test") == 0
    assert "test split, speech test: looked at once, with 1 model" in capsys.readouterr().out
    assert evaluate(tiny_bundle) == 0  # all splits: test is among them
    assert "looked at 2 times, with 1 model" in capsys.readouterr().out
    first, second = split.read_log()
    assert (first.set, first.model, first.command) == ("speech test", "tiny", "evaluate")
    assert first.data == second.data
    assert first.figures == second.figures
    assert set(first.figures) == {"greedy", "letters"}
    assert cli.main(["evaluate", "--test-log"]) == 0
    assert capsys.readouterr().out.count("speech test") == 2


def test_evaluating_other_splits_is_not(
    tiny_bundle: Bundle, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tiny_bundle, "--split", "train") == 0
    assert "looked at" not in capsys.readouterr().out
    assert split.read_log() == []


def test_a_log_that_cannot_be_written_is_one_warning(
    tiny_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DS2EDGE_CACHE", str(tmp_path / "file" / "cache"))
    assert evaluate(tiny_bundle, "--split", "test", "--json", str(tmp_path / "found.json")) == 0
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "this look at the test split is not in the log" in warnings[0].message
    assert "how often it was looked at is not known" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "found.json").read_text())["utterances"]) == 3
