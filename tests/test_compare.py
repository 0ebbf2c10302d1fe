"""`ds2edge compare`: two models on the same utterances, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SPEECH

from ds2edge import Bundle, cli
from ds2edge.errors import ConfigError, DataError
from ds2edge.training.evaluation.bootstrap import Bootstrap
from ds2edge.training.evaluation.compare import compare, same_utterances, verdict
from ds2edge.training.evaluation.recognised import (
    Evaluation,
    ModelFacts,
    Recognised,
    score,
    to_json,
)

pytestmark = pytest.mark.usefixtures("cache")

MANIFEST = str(SPEECH / "manifest.tsv")
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def heard(wrong: Sequence[int], split: str = "dev", **said: str) -> Evaluation:
    """Ten words an utterance, so many of them not recognised."""
    wanted = " ".join(WORDS)
    return Evaluation(
        ModelFacts("model", "abcdef0123"),
        tuple(
            Recognised(
                f"x {split}",
                f"{i}.wav",
                f"s{i % 5}",
                split,
                3.0,
                wanted,
                {"greedy": " ".join(WORDS[lost:]), **said},
            )
            for i, lost in enumerate(wrong)
        ),
    )


def wrong(seed: int, rate: float) -> list[int]:
    return np.random.default_rng(seed).binomial(10, rate, size=100).tolist()


def rows(first: Evaluation, second: Evaluation, bootstrap: Bootstrap | None = None) -> list:
    first, second = same_utterances(first, second)
    scores = score(first.utterances), score(second.utterances)
    return compare(*scores, bootstrap or Bootstrap(samples=1000))


def test_a_planted_difference_is_told() -> None:
    first, second = wrong(1, 0.3), wrong(2, 0.2)
    words, characters = rows(heard(first), heard(second))
    assert words.name == "greedy, WER"
    assert characters.name == "greedy, CER"
    assert words.first == pytest.approx(sum(first) / 10)
    assert words.second == pytest.approx(sum(second) / 10)
    assert words.apart.rate == pytest.approx((sum(second) - sum(first)) / 1000)
    assert words.apart.interval.high < 0
    assert verdict(words).startswith("B is better (p = 0.0")
    assert verdict(rows(heard(second), heard(first))[0]).startswith("A is better")


def test_no_difference_is_told() -> None:
    words, _ = rows(heard(wrong(1, 0.3)), heard(wrong(3, 0.3)))
    assert words.apart.interval.low < 0 < words.apart.interval.high
    assert verdict(words).startswith("no difference that these recordings can tell")


def test_the_order_of_utterances_does_not_matter() -> None:
    first, second = heard(wrong(1, 0.3)), heard(wrong(2, 0.2))
    turned = replace(second, utterances=second.utterances[::-1])
    assert rows(first, turned) == rows(first, second)


def test_the_best_ways_are_compared_too() -> None:
    first = heard([1] * 9, letters=" ".join(WORDS[2:]))
    second = heard([1] * 9, language_model=" ".join(WORDS[3:]))
    found = {row.name: (row.first, row.second) for row in rows(first, second)}
    assert found["greedy, WER"] == (10, 10)
    assert found["letters, by search / with language model, WER"] == (20, 30)


def test_other_utterances_are_refused() -> None:
    one, more = heard([0, 0]), heard([0, 0, 0])
    with pytest.raises(DataError, match=r"0 of 2 .* first, 1 of 3 .* second \(x dev, 2\.wav\)"):
        same_utterances(one, more)
    twice = replace(one, utterances=one.utterances * 2)
    with pytest.raises(DataError, match="listed twice"):
        same_utterances(one, twice)


def test_other_texts_are_refused() -> None:
    one = heard([0, 0])
    other = replace(one.utterances[1], wanted="else")
    with pytest.raises(DataError, match=r"1\.wav has the text 'one two"):
        same_utterances(one, replace(one, utterances=(one.utterances[0], other)))


def test_the_test_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="comparing models must not see the test split"):
        same_utterances(heard([0], split="test"), heard([0], split="test"))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    names = []
    for name, rate in (("old", 0.3), ("new", 0.2)):
        (tmp_path / f"{name}.json").write_text(to_json(heard(wrong(len(names), rate)), {}))
        names.append(str(tmp_path / f"{name}.json"))
    return names


def test_command_tells_the_difference(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *files, "--most", "2"]) == 0
    printed = capsys.readouterr().out
    assert "greedy, WER: B is better" in printed
    assert "x dev: 100 utterances" in printed
    assert printed.count("\n  A ") == printed.count("\n  B ") == 2
    assert "\x1b" not in printed


def test_command_prints_json(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *files, "--json", "--resample", "speaker"]) == 0
    found = json.loads(capsys.readouterr().out)
    words = found["rates"][0]
    assert words["second"] < words["first"]
    assert words["apart"]["wins"] + words["apart"]["losses"] + words["apart"]["ties"] == 100
    assert found["bootstrap"]["unit"] == "speaker"


def test_two_bundles_on_one_manifest(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles = [str(tiny_bundle.folder), "en"]
    assert cli.main(["compare", *bundles, "--manifest", MANIFEST, "--split", "train"]) == 0
    printed = capsys.readouterr().out
    assert "A  tiny" in printed
    assert "B  en" in printed
    assert "letters, by search / with language model, WER" in printed


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["en", "en"], "give --manifest"),
        (["en", "en", "--manifest", MANIFEST, "--split", "test"], "must not see the test split"),
        (["nowhere.json", "en"], "nowhere.json"),
        (["en", "en", "--manifest", "nowhere.tsv"], "nowhere.tsv"),
        (["nowhere", "en", "--manifest", MANIFEST, "--split", "train"], "nowhere"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
