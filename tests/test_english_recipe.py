"""training/english.mk: the embedded model's recipe, from the start, at reduced size."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import recipe_runs
from conftest import RECORDINGS, SPEECH
from language_model_folder import ARPA
from recipe_runs import BUILD_BINARY, HEADER, ROOT, TOOLS, commands, program
from stand_in_speech import StandIns

from ds2edge import Transcriber, cli
from ds2edge.language_model import open_language_model

CORPORA = ("librispeech", "speechocean762", "kathleen", "ljspeech", "philipp", "keywords", "noise")
ALIGNED = ("librispeech", "speechocean762")  # of which words are cut out
UNLABELLED = "librispeech-unlabelled"
WORDS = "a ab all a\nab a a\nall\n"  # those of the toy language model
# What makes a shipped configuration small enough for a moment.
SMALLER = {
    r"layers = 4": "layers = 1",
    r"units = 384": "units = 16",
    r"layers = \[2\]": "layers = [1]",
    r"epochs = \d+": "epochs = 1",
    r"repeat = \d": "repeat = 1",
    r"room_share = [\d.]+": "room_share = 0.0",
}
SMALL = {
    "STEADY": "--each 1",
    "TURNS": "--hours 0.01",
    # What has heard a sentence or two finds no words.
    "LISTENER": "--bundle en",
    "LABELLER": "--bundle en",
    "CONVERT": "--beam 8 --batches 1 --prior-weight 0.4 --licence CC-BY-4.0",
}
# KenLM's tools need Boost: these write the toy language model, whatever the text.
LMPLZ = '#!/bin/sh\nwhile [ "$1" != --arpa ]; do shift; done\ncp {arpa} "$2"\n'
EVERYTHING = ["steady_sounds", "first", "turns", "align", "segment", "align", "segment", "forward"]
EVERYTHING += ["lm", "convert", "label", "synth", "heard", "convert"]
HEARD = EVERYTHING[9:]  # all that comes of the forward model and the texts
AGAIN = [step for step in HEARD if step != "synth"]  # of the forward model alone


def make_corpora(folder: Path) -> None:
    """The samples as the corpora that the configurations name; one sentence in most.

    Those of which words are cut out have each twice in split dev: a filter needs ten examples.
    """
    rows = [row.split("\t") for row in (SPEECH / "manifest.tsv").read_text().splitlines()[1:]]
    for name in (*CORPORA, UNLABELLED):
        corpus = folder / name
        corpus.mkdir(parents=True)
        splits = ["unlabelled"] if name == UNLABELLED else ["train", "dev", "test"]
        lines = []
        for path, seconds, text, who, _ in rows if name in ALIGNED else rows[:1]:
            said = "" if name in ("noise", UNLABELLED) else text
            for number, split in enumerate(splits + ["dev"] * (name in ALIGNED)):
                shutil.copy(SPEECH / path, corpus / f"{number}-{path}")
                lines.append("\t".join([f"{number}-{path}", seconds, said, who, split]))
        (corpus / "manifest.tsv").write_text(HEADER + "\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Corpora of the samples, a text, the configurations at reduced size."""
    make_corpora(tmp_path / "speech")
    for name in ("text", "configs", "tools"):
        (tmp_path / name).mkdir()
    (tmp_path / "text" / "en-toy.txt").write_text(WORDS)
    for path in (ROOT / "training" / "configs").glob("en*"):
        text = path.read_text()
        for pattern, small in SMALLER.items():
            text = re.sub(pattern, small, text)
        (tmp_path / "configs" / path.name).write_text(text)
    program(tmp_path / "tools" / "lmplz", LMPLZ.format(arpa=shlex.quote(str(ARPA))))
    program(tmp_path / "tools" / "build_binary", BUILD_BINARY)
    return tmp_path


def make(folder: Path, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """The recipe, below a folder, at reduced size."""
    return recipe_runs.make("english", folder, *options, **{**SMALL, **variables})


def test_from_recordings_to_a_bundle_that_transcribes(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = StandIns(folder / "engines")
    monkeypatch.setenv("PATH", f"{engines.folder}{os.pathsep}{os.environ['PATH']}")
    recordings = sorted((folder / "speech").rglob("*"))
    done = make(folder, "model", "filter", "evaluate")
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted((folder / "speech").rglob("*")) == recordings  # nothing is written there
    bundle = folder / "work" / "en"
    assert cli.main(["bundle", "verify", str(bundle)]) == 0
    assert "lexicon of 3 words" in capsys.readouterr().out
    transcriber = Transcriber(bundle)
    training = transcriber.bundle.manifest.training
    assert training["config"]["name"] == "en-heard"
    assert training["config"]["model"]["direction"] == "forward"
    assert training["prior_weight"] == 0.4
    assert "LibriSpeech" in (bundle / "MODEL_CARD.md").read_text()
    words = set(transcriber.transcribe(RECORDINGS[0]).text.split())
    assert words <= {"a", "ab", "all"}
    short = folder / "work" / "speech" / "short" / "librispeech" / "manifest.tsv"
    assert len(short.read_text().splitlines()) > 2  # pieces of the recordings
    heard = folder / "work" / "speech" / "heard" / "manifest.tsv"
    assert len(heard.read_text().splitlines()) == 2  # the recording of the samples
    said = (folder / "work" / "words.txt").read_text().split()
    assert {"seven", "all", "ab"} <= set(said)
    assert json.loads((folder / "work" / "test.json").read_text())
    assert json.loads((folder / "work" / "transcript_filter.json").read_text())["model"]
    assert make(folder, "--question", "model", "filter").returncode == 0


@pytest.mark.system
def test_the_language_model_is_built_with_kenlms_tools(folder: Path) -> None:
    target = folder / "work" / "lm" / "language_model.json"
    done = make(folder, str(target), TOOLS=TOOLS, LM="--order 2 --prune 0")
    assert done.returncode == 0, done.stderr
    assert open_language_model(target.parent).lexicon.read_text().split() == ["a", "ab", "all"]


# ---- What is done again, with a stand-in for the commands


def steps(folder: Path, *options: str, fails: str = "nothing") -> list[str]:
    """What `make model` runs: commands of `ds2edge`, or the runs that they train."""
    log = "\n".join(commands("english", folder, *options, fails=fails, **SMALL))
    pattern = r"^(?:data )?(?:\S+ \S+configs/en-(\w+)|-P -m \S+\.(\w+)|(\w+))"
    return ["".join(found) for found in re.findall(pattern, log, re.M)]


def forward(folder: Path) -> str:
    """How the command that trains the model to be embedded begins."""
    return f"train {folder / 'configs' / 'en-forward.toml'}"


def change(path: Path) -> None:
    time.sleep(0.05)  # file times go in steps of some milliseconds
    os.utime(path)


def test_every_step_is_done_once(folder: Path) -> None:
    assert steps(folder) == EVERYTHING
    assert steps(folder) == []
    done = make(folder, "tune", TUNE="--trials 0")  # refused before anything is loaded
    assert "ds2edge: --trials needs 1 or more" in done.stderr


def test_the_interrupted_run_goes_on(folder: Path) -> None:
    assert steps(folder, fails=forward(folder)) == EVERYTHING[:8]
    half = folder / "work" / "forward" / "last.npz"
    half.touch()
    assert steps(folder) == ["forward", "lm", *HEARD]
    assert half.exists()


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("speech/kathleen/manifest.tsv", ["first", *EVERYTHING[2:8], *AGAIN]),
        ("configs/en-first.toml", ["first", *EVERYTHING[3:8], *AGAIN]),
        ("configs/en-forward.toml", ["forward", *AGAIN]),
        ("configs/en-heard.toml", ["heard", "convert"]),
        ("text/en-toy.txt", ["lm", *HEARD]),
        ("configs/en.md", ["convert"]),
    ],
)
def test_what_has_changed_is_done_again(folder: Path, changed: str, again: list[str]) -> None:
    steps(folder)
    change(folder / changed)
    assert steps(folder) == again
    assert steps(folder) == []


def test_other_settings_begin_a_run_anew_and_keep_the_one_before(folder: Path) -> None:
    steps(folder, fails=forward(folder))
    run = folder / "work" / "forward"
    (run / "last.npz").touch()
    change(folder / "configs" / "en-first.toml")
    assert steps(folder) == ["first", *EVERYTHING[3:]]
    assert not (run / "last.npz").exists()
    assert (folder / "work" / "forward.before" / "last.npz").exists()


def test_a_student_of_both_directions_comes_after_the_model(folder: Path) -> None:
    assert steps(folder) == EVERYTHING
    assert steps(folder, "student") == ["teacher", "student"]
    change(folder / "configs" / "en-teacher.toml")
    assert steps(folder, "student") == ["teacher", "student"]


def test_a_corpus_that_is_missing_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "speech" / "philipp")
    done = make(folder, "model")
    assert done.returncode == 2
    assert "speech/philipp/manifest.tsv" in done.stderr


def test_help_is_what_is_shown_first(folder: Path) -> None:
    done = make(folder)
    assert done.returncode == 0
    assert "make -f training/english.mk model" in done.stdout
