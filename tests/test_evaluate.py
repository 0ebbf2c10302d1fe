"""Manifests, error rates and the evaluation of a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SPEECH

from ds2edge import Bundle, Transcriber
from ds2edge.cli import main as cli
from ds2edge.decoder import Decoder, SearchOptions
from ds2edge.errors import DataError
from ds2edge.text import english_characters
from ds2edge.training.evaluate import recognise, tune
from ds2edge.training.manifest import Utterance, read_manifest
from ds2edge.training.metrics import ErrorRate, character_error_rate, word_error_rate

TOKENS = english_characters()


def test_word_error_rate_counts_over_all_recordings() -> None:
    found = word_error_rate(["a b c", "", "d"], ["a x c", "y", ""])
    assert found == ErrorRate(errors=3, length=4)  # one wrong, one too many, one lost
    assert found.percent == 75.0


def test_character_error_rate_counts_spaces() -> None:
    assert character_error_rate(["ab c"], ["abc"]) == ErrorRate(errors=1, length=4)


def spell(text: str) -> np.ndarray:
    """Log-probabilities that are sure of `text`, a blank after each letter."""
    path = [token for letter in TOKENS.encode(text) for token in (letter, 0)]
    probabilities = np.full((len(path), len(TOKENS)), 0.002, np.float32)
    probabilities[range(len(path)), path] = 1 - 0.002 * (len(TOKENS) - 1)
    return np.log(probabilities)


def test_recognise_normalises_what_was_said_and_decodes_both_ways() -> None:
    said = Utterance(Path("x.wav"), 1.0, "Hello, there!", "me", "test")
    (found,) = recognise(Decoder(TOKENS), [said], [spell("hello there")])
    assert (found.wanted, found.greedy, found.language_model) == ("hello there",) * 3


def test_tuning_finds_the_weights_that_recognise_best() -> None:
    said = [Utterance(Path("x"), 1.0, "a ab", "me", "dev")]
    start = Decoder(TOKENS, words=["a", "ab", "b"], options=SearchOptions(beta=-50.0))
    assert recognise(start, said, [spell("a ab")])[0].language_model != "a ab"
    options, tried = tune(start, TOKENS, said, [spell("a ab")])
    assert recognise(start.with_options(options), said, [spell("a ab")])[0].language_model == "a ab"
    assert min(rate for _, _, rate in tried) == 0


def test_command_prints_both_ways_and_writes_every_utterance(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.jsonl"
    manifest = str(SPEECH / "manifest.tsv")
    bundle = ["--bundle", str(tiny_bundle.folder)]
    assert cli(["evaluate", manifest, "--split", "test", *bundle, "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "3 utterances" in printed
    assert "greedy" in printed
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["path"] for row in rows] == [
        utterance.path.name for utterance in read_manifest(SPEECH / "manifest.tsv", "test")
    ]


def test_evaluation_recognises_what_transcribe_does(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    assert cli(["evaluate", str(SPEECH / "manifest.tsv"), "--json", str(out)]) == 0
    transcriber = Transcriber()
    for row in map(json.loads, out.read_text().splitlines()):
        assert row["language_model"] == transcriber.transcribe(SPEECH / row["path"]).text


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "cannot read"),
        ("path\ttext\nx\ty\n", "lacks the column(s) seconds, speaker, split"),
        ("path\tseconds\ttext\tspeaker\tsplit\nx\tlong\ty\tz\ttest\n", "line 2: seconds is 'long'"),
        ("path\tseconds\ttext\tspeaker\tsplit\nx\t1\ty\tz\ttrain\n", "it has ['train']"),
        ("path\tseconds\ttext\tspeaker\tsplit\nx\t1\n", "it has"),
    ],
)
def test_a_bad_manifest_is_one_line_and_exit_code_2(
    tmp_path: Path, content: str | None, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.tsv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError):
        read_manifest(path, "test")
    assert cli(["evaluate", str(path), "--split", "test"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error


def test_a_recording_that_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.tsv"
    path.write_text("path\tseconds\ttext\tspeaker\tsplit\nlost.wav\t1\ty\tz\ttest\n")
    assert cli(["evaluate", str(path)]) == 2
    assert "lost.wav" in capsys.readouterr().err
