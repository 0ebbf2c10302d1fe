"""Which transcripts are right: CTC's cost, the classifier, and the commands around it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SPEECH
from hypothesis import given
from hypothesis import strategies as st

from ds2edge import cli, load_bundle
from ds2edge.audio_file import read_audio
from ds2edge.errors import DataError
from ds2edge.text import collapse, mandarin_characters
from ds2edge.training.construction.ctc_cost import ctc_cost
from ds2edge.training.construction.filter_chart import kept_curve
from ds2edge.training.construction.spoiled import Others, spoil
from ds2edge.training.construction.transcript_filter import (
    FEATURES,
    SHIPPED,
    features_of,
    read_filter,
    to_json,
    train_filter,
)
from ds2edge.training.data.manifest import read_column, read_manifest
from ds2edge.training.evaluation.listener import open_listener

TEXTS = [tuple(f"word{i} of text {i} here".split()) for i in range(9)]


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.lists(st.integers(1, 3), max_size=3))
def test_cost_is_the_sum_over_all_alignments(seed: int, outputs: int, tokens: list[int]):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(outputs, 4)).astype(np.float32)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    paths = list(itertools.product(range(4), repeat=outputs))
    own = [path for path in paths if collapse(path) == tokens]
    total = sum(np.exp(sum(log_probs[t, k] for t, k in enumerate(path))) for path in own)
    expected = -np.log(total) if own else np.inf
    assert ctc_cost(log_probs, tokens) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_nothing_heard_costs_nothing_only_for_no_text():
    nothing = np.zeros((0, 4), np.float32)
    assert ctc_cost(nothing, []) == 0
    assert ctc_cost(nothing, [1]) == np.inf


def examples(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Features of examples whose cost tells whether they are good."""
    rng = np.random.default_rng(seed)
    good = np.arange(count) % 2 == 0
    features = rng.uniform(1, 10, size=(count, len(FEATURES)))
    features[:, 0] = np.where(good, 20, 90) + rng.normal(size=count) * 10
    return features, good


def test_classifier_learns_what_tells_them_apart():
    features, good = examples(400)
    found = train_filter(features, good, "model", keep=0.9)
    unseen, labels = examples(400, seed=2)
    chances = found.chances(unseen)
    assert ((chances > 0.5) == labels).mean() > 0.98
    assert np.all((chances >= 0) & (chances <= 1))
    kept = found.chances(features)[good] >= found.threshold
    assert kept.mean() == pytest.approx(0.9, abs=0.01)


def test_too_few_examples_are_refused():
    features, _ = examples(40)
    with pytest.raises(DataError, match="needed 10 good and 10 bad examples or more, got 40 and 0"):
        train_filter(features, np.ones(40, bool), "model", keep=0.9)


def test_a_filter_is_read_as_it_was_written(tmp_path: Path):
    found = train_filter(*examples(100), "model", keep=0.9)
    (tmp_path / "f.json").write_text(to_json(found))
    assert read_filter(tmp_path / "f.json") == found


@pytest.mark.parametrize("damage", ["", "[]", '{"format": 9}', '{"format": 1, "mean": [1]}'])
def test_damaged_filters_are_refused(tmp_path: Path, damage: str):
    (tmp_path / "f.json").write_text(damage)
    with pytest.raises(DataError, match=r"f\.json is not from `ds2edge data train-filter`"):
        read_filter(tmp_path / "f.json")


def test_the_filter_that_ships_belongs_to_the_embedded_model():
    """A new bundle needs `ds2edge data train-filter`."""
    assert read_filter(SHIPPED).model == open_listener("en").digest


def test_the_filter_that_ships_knows_right_from_wrong():
    bundle, found = load_bundle("en"), read_filter(SHIPPED)
    tokens, listener = bundle.manifest.tokens, open_listener("en")
    utterances = read_manifest(SPEECH / "manifest.tsv")
    log_probs = listener.log_probs([read_audio(u.path, 16_000) for u in utterances])
    others = Others(tuple(tuple(u.text.split()) for u in utterances))
    rng = np.random.default_rng(1)
    chances = []
    for utterance, heard in zip(utterances, log_probs, strict=True):
        words = utterance.text.split()
        texts = [utterance.text, *(" ".join(spoil(words, others, rng)) for _ in range(3))]
        features = [features_of(heard, tokens.encode(text), text) for text in texts]
        chances.append(found.chances(np.array(features)))
    right, *wrong = np.array(chances).T
    assert (right >= found.threshold).mean() >= 0.8
    assert (np.array(wrong) >= found.threshold).mean() <= 0.2


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from("abc"), min_size=1, max_size=8))
def test_what_is_spoiled_is_wrong(seed: int, words: list[str]):
    spoiled = spoil(words, Others(tuple(TEXTS)), np.random.default_rng(seed))
    assert spoiled
    assert list(spoiled) != words


def test_transcripts_without_spaces_are_spoiled_sign_by_sign():
    tokens = mandarin_characters()
    texts = [tuple("北京欢迎你"), tuple("今天天气很好"), tuple("我们去上海")]
    rng = np.random.default_rng(1)
    for _ in range(20):
        spoiled = "".join(spoil(texts[0], Others(tuple(texts)), rng))
        assert tokens.decode(tokens.encode(spoiled)) == spoiled != "".join(texts[0])


def test_nothing_heard_is_never_right():
    found = read_filter(SHIPPED)
    nothing = np.zeros((0, 29), np.float32)
    for text in ("", "some words"):
        tokens = load_bundle("en").manifest.tokens.encode(text)
        assert found.chances(np.array([features_of(nothing, tokens, text)]))[0] < 0.01


def test_curve_counts_the_errors_of_the_likeliest():
    said = ["a b c d", "e f", "g h i j"]
    curve = kept_curve(np.array([0.9, 0.2, 0.5]), ["a b c d", "x y", "g h i z"], said)
    assert curve.errors.tolist() == pytest.approx([0, 1 / 8, 3 / 10])
    assert curve.at(1.0) == pytest.approx(0.3)
    assert "<- kept" in curve.table(0.5)


@pytest.fixture
def corpus(tmp_path: Path, cache: Path) -> Path:
    """The samples, two of them with another's text, `said` tells; one that cannot be read."""
    utterances = read_manifest(SPEECH / "manifest.tsv")
    texts = [u.text for u in utterances]
    wrong = [texts[2], texts[1], texts[0], *texts[3:]]
    rows = [
        f"{u.path}\t{u.seconds}\t{text}\tx\ttrain\t{u.text}"
        for u, text in zip(utterances, wrong, strict=True)
    ]
    (tmp_path / "none.wav").write_bytes(b"")
    rows.append("none.wav\t1\tno sound\tx\ttrain\tno sound")
    header = "path\tseconds\ttext\tspeaker\tsplit\tsaid"
    (tmp_path / "manifest.tsv").write_text("\n".join([header, *rows]) + "\n")
    return tmp_path / "manifest.tsv"


def test_command_keeps_the_right_ones(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    arguments = ["data", "filter", str(corpus), "-o", str(out), "--jobs", "1"]
    assert cli.main(arguments) == 0
    kept, dropped = (read_manifest(out / name) for name in ("manifest.tsv", "dropped.tsv"))
    assert [u.text for u in kept] == read_column(out / "manifest.tsv", "said")
    assert len(kept) == 3
    assert {u.path.name for u in dropped} > {"none.wav"}
    chances = [float(c) for c in read_column(out / "manifest.tsv", "chance")]
    others = [float(c) for c in read_column(out / "dropped.tsv", "chance")]
    assert min(chances) > max(others)
    assert (out / "chances.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "3 of 6 recordings" in printed
    assert "<- kept" in printed
    assert cli.main([*arguments, "--keep", "0.34"]) == 0
    assert len(read_manifest(out / "manifest.tsv")) == 2


def test_what_was_heard_is_not_heard_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from ds2edge.training.construction import kept_work

    arguments = ["data", "filter", str(corpus), "-o", str(tmp_path / "out"), "--jobs", "1"]
    assert cli.main(arguments) == 0

    def never(*_: object) -> None:
        raise AssertionError("it was heard again")

    monkeypatch.setattr(kept_work, "in_order", never)
    assert cli.main([*arguments, "--threshold", "0.5"]) == 0
    corpus.write_text(corpus.read_text().replace("that disturb me", "that disturb us"))
    with pytest.raises(AssertionError, match="again"):
        cli.main(arguments)


def test_a_filter_of_labelled_examples(tmp_path: Path, cache: Path):
    """Each sample several times, with its own text or a spoiled one."""
    utterances = read_manifest(SPEECH / "manifest.tsv")
    others = Others(tuple(tuple(u.text.split()) for u in utterances))
    rng = np.random.default_rng(1)
    rows = ["path\tseconds\ttext\tspeaker\tsplit\tsaid"]
    for u in utterances:
        spoiled = [" ".join(spoil(u.text.split(), others, rng)) for _ in range(3)]
        for text in [*[u.text] * 3, *spoiled]:
            rows.append(f"{u.path}\t{u.seconds}\t{text}\tx\ttrain\t{u.text}")
    (tmp_path / "labelled.tsv").write_text("\n".join(rows) + "\n")
    target = tmp_path / "filter.json"
    command = ["data", "train-filter", str(tmp_path / "labelled.tsv"), "-o", str(target)]
    assert cli.main([*command, "--jobs", "1"]) == 0
    assert read_filter(target).examples == 30
    assert target.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["filter", "{corpus}", "-o", "{tmp}/out", "--keep", "2"], "--keep needs a number from"),
        (["filter", "{corpus}", "-o", "{tmp}", "--jobs", "1"], "has the manifest itself"),
        (["filter", "{tmp}/none.tsv", "-o", "{tmp}/out"], "cannot read manifest"),
        (["filter", "{corpus}", "-o", "{tmp}/out", "--filter", "{corpus}"], "is not from"),
        (["filter", "{corpus}", "-o", "{tmp}/out", "--filter", "{other}"], "knows another model"),
        (["train-filter", "{corpus}", "-o", "{tmp}/f.json", "--split", "test"], "the test split"),
        (["train-filter", "{corpus}", "-o", "{tmp}/f.json", "--split", "dev"], "no recording of"),
    ],
)
def test_bad_input_is_one_line(
    corpus: Path,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
):
    values = json.loads(SHIPPED.read_text())
    (tmp_path / "other.json").write_text(json.dumps({**values, "model": "another"}))
    places = {"corpus": corpus, "tmp": tmp_path, "other": tmp_path / "other.json"}
    assert cli.main(["data", *(argument.format(**places) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
