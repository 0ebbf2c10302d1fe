"""training/english.mk: the embedded model's recipe, from the start, at reduced size."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import RECORDINGS, SPEECH
from language_model_folder import write_language_model

from ds2edge import Transcriber

ROOT = Path(__file__).parents[1]
CORPORA = ("librispeech", "speechocean762", "kathleen", "ljspeech", "philipp", "keywords", "noise")
ALIGNED = ("librispeech", "speechocean762")  # of which words are cut out
HEADER = "path\tseconds\ttext\tspeaker\tsplit\n"
# What makes a shipped configuration small enough for a moment.
SMALLER = {
    r"layers = 4": "layers = 1",
    r"units = 384": "units = 16",
    r"layers = \[2\]": "layers = [1]",
    r"epochs = \d+": "epochs = 1",
    r"repeat = \d": "repeat = 1",
    r"room_share = [\d.]+": "room_share = 0.0",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpora of the samples, the configurations at reduced size, a toy language model."""
    folder = tmp_path_factory.mktemp("english")
    rows = [row.split("\t") for row in (SPEECH / "manifest.tsv").read_text().splitlines()[1:]]
    for name in CORPORA:
        corpus = folder / "speech" / name
        corpus.mkdir(parents=True)
        lines = []
        for path, seconds, text, who, _ in rows if name in ALIGNED else rows[:1]:
            for split in ("train", "dev", "test"):
                shutil.copy(SPEECH / path, corpus / f"{split}-{path}")
                said = "" if name == "noise" else text
                lines.append("\t".join([f"{split}-{path}", seconds, said, who, split]))
        (corpus / "manifest.tsv").write_text(HEADER + "\n".join(lines) + "\n")
    unlabelled = folder / "speech" / "librispeech-unlabelled"
    unlabelled.mkdir()
    line = f"{RECORDINGS[0]}\t4.76\t\tsomebody\tunlabelled\n"
    (unlabelled / "manifest.tsv").write_text(HEADER + line)
    configs = folder / "configs"
    configs.mkdir()
    for path in (ROOT / "training" / "configs").glob("en*"):
        text = path.read_text()
        for pattern, small in SMALLER.items():
            text = re.sub(pattern, small, text)
        (configs / path.name).write_text(text)
    (folder / "work").mkdir()
    write_language_model(folder / "work" / "lm")
    return folder


def make(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The recipe's target, with the language model that is there."""
    command = f"{sys.executable} -P -m ds2edge.cli"
    variables = {
        "SPEECH": folder / "speech",
        "TEXT": folder / "text",
        "WORK": folder / "work",
        "CONFIGS": folder / "configs",
        "DS2EDGE": command,
        "PYTHON": f"{sys.executable} -P",
        "STEADY": "--each 1",
        "LISTENER": "--bundle en",  # what has heard a sentence or two finds no words
        "CONVERT": "--beam 8 --prior-weight 0.4 --licence CC-BY-4.0",
    }
    return subprocess.run(
        [
            "make",
            "-f",
            "training/english.mk",
            *options,
            *(f"{k}={v}" for k, v in variables.items()),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DS2EDGE_CACHE": str(folder / "cache")},
    )


def test_from_recordings_to_a_bundle_that_transcribes(folder: Path) -> None:
    done = make(folder, "model")
    assert done.returncode == 0, done.stderr[-3000:]
    transcriber = Transcriber(folder / "work" / "en")
    config = transcriber.bundle.manifest.training["config"]
    assert (config["name"], config["model"]["direction"]) == ("en-student", "forward")
    assert config["distill"]["teacher"]
    assert transcriber.bundle.manifest.training["prior_weight"] == 0.4
    assert "LibriSpeech" in (folder / "work" / "en" / "MODEL_CARD.md").read_text()
    assert isinstance(transcriber.transcribe(RECORDINGS[0]).text, str)
    short = (folder / "work" / "speech" / "short" / "librispeech" / "manifest.tsv").read_text()
    assert len(short.splitlines()) > 2  # pieces of the recordings

    # What is done is not done again; what has changed is.
    assert make(folder, "--question", "model").returncode == 0
    os.utime(folder / "configs" / "en-student.toml")
    again = make(folder, "--dry-run", "model").stdout
    assert "distill" in again
    assert "convert" in again
    assert "en-teacher" not in again


def test_help_is_what_is_shown_first(folder: Path) -> None:
    done = make(folder)
    assert done.returncode == 0
    assert "make -f training/english.mk model" in done.stdout
