"""Pseudo-labels: what a model hears, the surer part of it, as a corpus to train on."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SPEECH
from hypothesis import given
from hypothesis import strategies as st
from language_model_folder import write_language_model

from ds2edge import cli
from ds2edge.bundle import LANGUAGE_MODEL, LEXICON
from ds2edge.training.construction import kept_work
from ds2edge.training.construction.pseudo_labels import PseudoLabel, surest
from ds2edge.training.data.manifest import read_column, read_manifest
from ds2edge.training.evaluation.metrics import word_error_rate

SCORES = st.floats(-9, 0, allow_nan=False)


@given(st.lists(st.tuples(st.sampled_from(["", "word"]), SCORES)), st.floats(0.01, 1))
def test_the_surest_are_kept_in_their_order(found: list[tuple[str, float]], share: float):
    labels = [PseudoLabel(*values) for values in found]
    kept = surest(labels, share)
    heard = [i for i, label in enumerate(labels) if label.text]
    assert kept == sorted(kept)
    assert set(kept) <= set(heard)
    assert len(kept) == round(share * len(heard))
    left = set(heard) - set(kept)
    worst = min((labels[i].score for i in kept), default=0)
    assert all(labels[i].score <= worst for i in left)


@pytest.fixture
def corpus(tmp_path: Path, cache: Path) -> Path:
    """The samples with texts that say nothing, and a recording that cannot be read."""
    utterances = read_manifest(SPEECH / "manifest.tsv")
    rows = [f"{u.path}\t{u.seconds}\t-\t{u.speaker}\tunlabelled" for u in utterances]
    (tmp_path / "none.wav").write_bytes(b"")
    rows.append("none.wav\t1\t\tx\tunlabelled")
    header = "path\tseconds\ttext\tspeaker\tsplit"
    (tmp_path / "manifest.tsv").write_text("\n".join([header, *rows]) + "\n")
    return tmp_path / "manifest.tsv"


def label(corpus: Path, out: Path, *more: str) -> int:
    return cli.main(["data", "label", str(corpus), "-o", str(out), "--jobs", "1", *more])


def test_what_is_heard_becomes_the_transcript(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    right = {u.path.name: u.text for u in read_manifest(SPEECH / "manifest.tsv")}
    out = tmp_path / "out"
    assert label(corpus, out, "--keep", "1") == 0
    all_of_them = read_manifest(out / "manifest.tsv")
    assert {u.path.name for u in all_of_them} == set(right)
    assert {u.split for u in all_of_them} == {"train"}
    assert all(u.path.samefile(SPEECH / u.path.name) for u in all_of_them)
    said, heard = [right[u.path.name] for u in all_of_them], [u.text for u in all_of_them]
    assert word_error_rate(said, heard).rate < 0.5
    assert f"{len(right)} of {len(right) + 1} recordings" in capsys.readouterr().out
    assert label(corpus, out, "--keep", "0.4") == 0
    surer = read_manifest(out / "manifest.tsv")
    assert len(surer) == 2
    scores = [float(score) for score in read_column(out / "manifest.tsv", "score") or []]
    assert label(corpus, out, "--keep", "1") == 0
    every = sorted(float(score) for score in read_column(out / "manifest.tsv", "score") or [])
    assert sorted(scores) == every[-2:]


def test_what_was_heard_is_not_heard_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert label(corpus, tmp_path / "out") == 0

    def never(*_: object) -> None:
        raise AssertionError("it was heard again")

    monkeypatch.setattr(kept_work, "in_order", never)
    assert label(corpus, tmp_path / "out", "--keep", "0.5") == 0
    with pytest.raises(AssertionError, match="again"):
        label(corpus, tmp_path / "out", "--beam", "64")


def test_another_language_model_of_the_same_name_hears_anew(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = write_language_model(tmp_path / "lm")
    arguments = ("--keep", "1", "--language-model", str(folder))
    assert label(corpus, tmp_path / "out", *arguments) == 0
    heard = {word for u in read_manifest(tmp_path / "out/manifest.tsv") for word in u.text.split()}
    assert heard <= set((folder / LEXICON).read_text().split())

    def never(*_: object) -> None:
        raise AssertionError("it was heard again")

    monkeypatch.setattr(kept_work, "in_order", never)
    assert label(corpus, tmp_path / "out", *arguments) == 0
    with (folder / LANGUAGE_MODEL).open("a") as file:
        file.write("\n")
    with pytest.raises(AssertionError, match="again"):
        label(corpus, tmp_path / "out", *arguments)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--keep", "0"], "--keep needs a share, above 0"),
        (["--keep", "nan"], "--keep needs a share, above 0"),
        (["-o", "{tmp}"], "has the manifest itself"),
        (["--split", "train"], "no recording of split 'train'"),
        (["--bundle", "{tmp}/none"], "none"),
        (["--checkpoint", "{tmp}/none.npz"], "none.npz"),
        (["--beam", "0"], "beam"),
    ],
)
def test_bad_input_is_one_line(
    corpus: Path,
    tmp_path: Path,
    changes: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
):
    assert label(corpus, tmp_path / "o", *(one.format(tmp=tmp_path) for one in changes)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_a_test_split_is_refused(corpus: Path, capsys: pytest.CaptureFixture[str]):
    corpus.write_text(corpus.read_text().replace("unlabelled", "test", 1))
    assert label(corpus, corpus.parent / "o") == 2
    assert "has a test split" in capsys.readouterr().err


def test_silence_only_is_refused(corpus: Path, capsys: pytest.CaptureFixture[str]):
    rows = corpus.read_text().splitlines()
    corpus.write_text("\n".join([rows[0], rows[-1]]) + "\n")
    assert label(corpus, corpus.parent / "o") == 2
    assert "nothing was heard" in capsys.readouterr().err
