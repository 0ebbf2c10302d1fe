"""Manifests, error rates and the evaluation of a bundle or a checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SPEECH
from language_model_folder import write_language_model

from ds2edge import Bundle, Transcriber
from ds2edge.cli import main as cli
from ds2edge.decoder import Decoder
from ds2edge.errors import DataError
from ds2edge.text import english_characters
from ds2edge.training.checkpoint import Checkpoint, save_checkpoint
from ds2edge.training.data.manifest import Utterance, read_manifest
from ds2edge.training.evaluation.alignment import marked, print_worst, worst
from ds2edge.training.evaluation.bootstrap import Bootstrap
from ds2edge.training.evaluation.evaluate import recognise, table
from ds2edge.training.evaluation.metrics import (
    ErrorRate,
    Piece,
    align,
    character_error_rate,
    character_errors,
    word_error_rate,
    word_errors,
)
from ds2edge.training.evaluation.outputs import open_recogniser
from ds2edge.training.evaluation.recognised import (
    Recognised,
    all_figures,
    read_evaluation,
    score,
    summary,
)

TOKENS = english_characters()
MANIFEST = SPEECH / "manifest.tsv"


@pytest.fixture(autouse=True)
def _log_of_its_own(cache: Path) -> None:
    """The log of the test splits is in the cache folder."""


def test_word_error_rate_counts_over_all_recordings() -> None:
    found = word_error_rate(["a b c", "", "d"], ["a x c", "y", ""])
    assert found == ErrorRate(errors=3, length=4)  # one wrong, one too many, one lost
    assert found.percent == 75.0


def test_character_error_rate_counts_spaces() -> None:
    assert character_error_rate(["ab c"], ["abc"]) == ErrorRate(errors=1, length=4)


def test_errors_are_counted_for_each_recording() -> None:
    wanted, said = ["a b c", "", "d", "x y"], ["a x c d", "y", "", "x y"]
    assert word_errors(wanted, said).tolist() == [2, 1, 1, 0]
    assert character_errors(wanted, said).tolist() == [3, 1, 1, 0]


def test_alignment_sets_words_side_by_side() -> None:
    assert align("a b c d", "b x d e f") == [
        *(Piece("a", ""), Piece("b", "b"), Piece("c", "x"), Piece("d", "d"), Piece("", "e f")),
    ]
    assert align("", "") == []
    assert align("", "a b") == [Piece("", "a b")]
    assert align("a", "") == [Piece("a", "")]


def spell(text: str) -> np.ndarray:
    """Log-probabilities that are sure of `text`, a blank after each letter."""
    path = [token for letter in TOKENS.encode(text) for token in (letter, 0)]
    probabilities = np.full((len(path), len(TOKENS)), 0.002, np.float32)
    probabilities[range(len(path)), path] = 1 - 0.002 * (len(TOKENS) - 1)
    return np.log(probabilities)


def test_recognise_normalises_what_was_said_and_decodes_in_every_way() -> None:
    said = Utterance(Path("x.wav"), 1.0, "Hello, there!", "me", "test")
    searches = {"letters": Decoder(TOKENS)}
    (found,) = recognise([said], [spell("hello there")], TOKENS, searches)
    assert found.wanted == "hello there"
    assert found.said == {"greedy": "hello there", "letters": "hello there"}


def heard(number: int, speaker: str, said: str, set: str = "x dev") -> Recognised:
    wanted = "one two three four five"
    texts = {"greedy": said, "language_model": wanted}
    return Recognised(set, f"{number}.wav", speaker, "dev", 2.0, wanted, texts)


EXAMPLE = [
    *(heard(i, "ann", "one two three four five") for i in range(5)),
    *(heard(i, "bob", "one two three four") for i in range(5, 10)),
    heard(10, "bob", "three four five six", set="y dev"),
]


def test_figures_of_all_of_sets_and_of_speakers() -> None:
    figures = all_figures(score(EXAMPLE), Bootstrap(samples=500))
    assert figures["all"]["utterances"] == 11
    assert figures["all"]["words"] == 55
    assert figures["all"]["greedy"]["wer"] == round(100 * 8 / 55, 2)
    low, high = figures["all"]["greedy"]["wer_interval"]
    assert low < figures["all"]["greedy"]["wer"] < high
    assert figures["all"]["language_model"]["wer_interval"] == [0, 0]
    assert {name: f["greedy"]["wer"] for name, f in figures["sets"].items()} == {
        "x dev": 10.0,
        "y dev": 60.0,
    }
    # Two sets may have another bob each.
    assert {name: f["greedy"]["wer"] for name, f in figures["speakers"].items()} == {
        "x dev: ann": 0.0,
        "x dev: bob": 20.0,
        "y dev: bob": 60.0,
    }
    assert figures["speakers"]["x dev: bob"]["greedy"]["wer_interval"] == [20, 20]
    assert figures["speakers"]["y dev: bob"]["greedy"]["wer_interval"] is None


def test_speakers_drawn_as_a_whole_make_the_interval_wider() -> None:
    rows = [
        heard(10 * s + i, str(s), "one two"[: 7 * (s % 2)]) for s in range(8) for i in range(10)
    ]
    scores = score(rows)
    widths = []
    for unit in ("utterance", "speaker"):
        low, high = summary(scores, Bootstrap(unit, 500))["greedy"]["wer_interval"]
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_table_has_every_group_the_worst_first() -> None:
    same = [replace(one, said=dict.fromkeys(one.said, one.said["greedy"])) for one in EXAMPLE]
    lines = table(all_figures(score(same), Bootstrap(samples=500))).splitlines()
    assert lines[1].split() == ["words", *["WER", "%", "CER", "%"] * 2]
    names = [line.split("  ")[0] for line in lines[2:-1]]
    assert names == ["all", "y dev", "x dev", "y dev: bob", "x dev: bob", "x dev: ann"]
    assert "60.00" in lines[3]
    assert "95 % intervals, 500 bootstrap samples of utterances" in lines[-1]


def test_of_many_speakers_the_worst_are_shown() -> None:
    many = [heard(i, f"s{i}", "one two three four five"[: i % 24]) for i in range(50)]
    shown = table(all_figures(score(many), Bootstrap(samples=100)))
    assert "30 better speakers" in shown
    assert shown.count("x dev: s") == 20


def test_different_ways_of_decoding_are_no_evaluation() -> None:
    with pytest.raises(DataError, match="the same ways"):
        score([EXAMPLE[0], replace(EXAMPLE[1], said={"greedy": "x"})])
    with pytest.raises(DataError, match="one at least"):
        score([])


def test_worst_utterances_are_those_with_most_errors() -> None:
    scores = score(EXAMPLE)
    assert worst(scores, "greedy", 3) == [10, 5, 6]
    assert worst(scores, "greedy", 99) == [10, 5, 6, 7, 8, 9]
    assert worst(scores, "language_model", 3) == []
    long, short = replace(EXAMPLE[0], wanted="one " * 9), replace(EXAMPLE[0], wanted="six seven")
    few = [replace(long, said={"greedy": "one " * 6}), replace(short, said={"greedy": ""})]
    assert worst(score(few), "greedy", 2) == [0, 1]  # three errors of nine before two of two


def test_alignment_is_marked_without_colours_too() -> None:
    shown = marked("a b c d", "b x d e f")
    assert shown.plain == "-a- b (c -> x) d +e f+"
    assert len(shown.spans) == 3


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_only_where_they_are_right(
    environment: dict[str, str],
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    print_worst(EXAMPLE, score(EXAMPLE), "greedy", 2)
    printed = capsys.readouterr().out
    assert ("\x1b[3" in printed) == coloured
    assert "y dev, 10.wav, speaker bob: 3 errors in 5 words" in printed
    assert "-one two-" in printed
    assert "+six+" in printed
    assert printed.count("errors in") == 2


@pytest.mark.parametrize(
    ("wanted", "counted"),
    [
        ("one two", "2 words"),
        ("", "0 words"),
        ("今天天气", "4 characters"),
        ("看cnn的人", "4 words and characters"),
    ],
)
def test_what_is_counted_has_its_name(
    wanted: str, counted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [replace(EXAMPLE[0], wanted=wanted, said={"greedy": "x"})]
    print_worst(found, score(found), "greedy", 1)
    assert f"errors in {counted}\n" in capsys.readouterr().out


def run(*arguments: str | Path) -> int:
    return cli(["evaluate", *map(str, arguments)])


def test_command_prints_every_way_and_writes_every_utterance(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    assert run(MANIFEST, "--split", "test", "--bundle", tiny_bundle.folder, "--json", out) == 0
    printed = capsys.readouterr().out
    assert "tiny, speech test: 3 utterances" in printed
    assert "greedy" in printed
    assert "letters, by search" in printed
    assert "errors in" in printed
    evaluation = read_evaluation(out)
    assert evaluation.model.name == "tiny"
    assert [one.path for one in evaluation.utterances] == [
        utterance.path.name for utterance in read_manifest(MANIFEST, "test")
    ]
    figures = json.loads(out.read_text())["figures"]
    assert figures["all"] == json.loads(json.dumps(summary(score(evaluation.utterances))))


def test_json_can_go_to_standard_output(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = ["--bundle", str(tiny_bundle.folder), "--samples", "200", "--resample", "speaker"]
    assert run(MANIFEST, "--split", "train", *bundle, "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["utterances"]) == 2
    assert found["figures"]["bootstrap"]["unit"] == "speaker"
    assert found["figures"]["bootstrap"]["samples"] == 200


def test_several_manifests_are_several_sets(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = MANIFEST.read_text().splitlines()
    some = [rows[0], *(f"{SPEECH}/{row}" for row in rows[4:5])]
    (tmp_path / "one.tsv").write_text("\n".join(some) + "\n")
    assert (
        run(MANIFEST, tmp_path / "one.tsv", "--split", "train", "--bundle", tiny_bundle.folder) == 0
    )
    printed = capsys.readouterr().out
    assert "speech train, one train: 3 utterances" in printed
    assert "one train: kathleen" in printed


def test_evaluation_recognises_what_transcribe_does(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    assert run(MANIFEST, "--json", out) == 0
    transcriber = Transcriber()
    for one in read_evaluation(out).utterances:
        assert one.said["language_model"] == transcriber.transcribe(SPEECH / one.path).text


@pytest.fixture(scope="module")
def checkpoint_file(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "best.npz"
    save_checkpoint(path, checkpoint)
    return path


def test_a_checkpoint_answers_as_the_bundle_made_of_it(
    tiny_bundle: Bundle, checkpoint_file: Path
) -> None:
    utterances = read_manifest(MANIFEST)
    of_bundle = open_recogniser(str(tiny_bundle.folder)).log_probs(utterances)
    of_checkpoint = open_recogniser(str(checkpoint_file)).log_probs(utterances)
    for one, other in zip(of_bundle, of_checkpoint, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).mean() < 0.1  # int8


def test_a_checkpoint_is_greedy_without_a_language_model(
    checkpoint_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--checkpoint", str(checkpoint_file)]
    assert run(MANIFEST, "--split", "train", *model) == 0
    printed = capsys.readouterr().out
    assert "tiny (best.npz)" in printed
    assert "language model" not in printed
    folder = write_language_model(tmp_path / "lm")
    out = tmp_path / "found.json"
    more = ["--language-model", folder, "--alpha", "0.3", "--beam", "8", "--json", out]
    assert run(MANIFEST, "--split", "train", *model, *more) == 0
    evaluation = read_evaluation(out)
    assert evaluation.model.decoder["alpha"] == 0.3
    words = set((folder / "lexicon.txt").read_text().split())
    for one in evaluation.utterances:
        assert set(one.said["language_model"].split()) <= words


def test_a_language_model_of_other_tokens_is_refused(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_language_model(tmp_path / "lm")
    (folder / "language_model.json").write_text('{"tokens": "0"}')
    model = ["--bundle", str(tiny_bundle.folder), "--language-model", str(folder)]
    assert run(MANIFEST, "--split", "train", *model) == 2
    assert "another token set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "cannot read"),
        ("path\ttext\nx\ty\n", "lacks the column(s) seconds, speaker, split"),
        ("path\tseconds\ttext\tspeaker\tsplit\nx\tlong\ty\tz\ttest\n", "line 2: seconds is 'long'"),
        ("path\tseconds\ttext\tspeaker\tsplit\nx\t1\ty\tz\ttrain\n", "it has ['train']"),
        ("path\tseconds\ttext\tspeaker\tsplit\nx\t1\n", "m.tsv"),
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
    assert run(path, "--split", "test") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error


def test_a_recording_that_is_missing_is_named_before_any_is_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.tsv"
    rows = [f"{SPEECH}/LJ001-0011.opus\t1\ty\tz\tdev", "lost.wav\t1\ty\tz\tdev"]
    path.write_text("\n".join(["path\tseconds\ttext\tspeaker\tsplit", *rows]))
    assert run(path, "--bundle", tmp_path / "no-bundle") == 2
    assert "1 of 2 recordings are missing: " in (error := capsys.readouterr().err)
    assert "lost.wav" in error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--samples", "3"], "--samples needs 100 or more"),
        (["--seed", "-1"], "--seed 0 or more"),
        (["--beam", "0"], "beam"),
        (["--bundle", "nowhere"], "nowhere"),
        (["--checkpoint", "nowhere.npz"], "nowhere.npz"),
        (["--language-model", "nowhere"], "nowhere"),
        (["--json", "nowhere/a.json"], "there is no folder nowhere"),
        (["--report", "nowhere/a.html"], "there is no folder nowhere"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(MANIFEST, *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error


def test_a_manifest_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run("--split", "dev")
    assert stop.value.code == 2
    assert "MANIFEST" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [None, "", "[]", '{"format": 99}', '{"format": 1}', '{"format": 1, "model": 3}']
)
def test_another_file_is_no_evaluation(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "found.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=r"found\.json"):
        read_evaluation(path)
