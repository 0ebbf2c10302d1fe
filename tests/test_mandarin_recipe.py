"""training/mandarin.mk: a Mandarin model's recipe, from the start, at reduced size."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace
from os import utime
from pathlib import Path

import import_corpora
import pytest
import recipe_runs
from conftest import RECORDINGS
from recipe_runs import BUILD_BINARY, HEADER, ROOT, commands, program

from ds2edge import Transcriber
from ds2edge.bundle import load_bundle
from ds2edge.token_files import read_tokens
from ds2edge.training.checkpoint import Checkpoint, save_checkpoint, variables
from ds2edge.training.config import load_config
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.network.model import build_model

# What makes a shipped configuration small enough for a moment.
SMALLER = {
    # One convolution in the place of two: to make graphs takes most of the time.
    r"(?m)^layers = \d": "layers = 1\nconvolutions = [{ channels = 4, time_stride = 3 }]",
    r"units = \d+": "units = 16",
    r"connected = \d+": "connected = 8",
    r"epochs = \d+": "epochs = 1",
    r"dev = \[\{ folder = \"aishell-1\" \}\]": 'dev = [{ folder = "thchs-30" }]',
}
SMALL = {"PREPARE": "--numerals zh", "TOKENS": "--coverage 1", "CONVERT": "--beam 8 --batches 1"}
TEXT = "今天是2023年。楼市成交。购房最大的限制。\n也成为地方政府CNN的眼中钉\n" * 40
# KenLM's lmplz needs Boost: this one knows the words, and nothing of what follows what.
LMPLZ = """#!{python} -IS
import sys
given = dict(zip(sys.argv, sys.argv[1:]))
words = open(given["--limit_vocab_file"], encoding="utf-8").read().split()
grams = ["-3\\t<unk>", "-99\\t<s>\\t0", "-2\\t</s>", *(f"-2\\t{{w}}\\t0" for w in words)]
with open(given["--arpa"], "w", encoding="utf-8") as file:
    print("\\\\data\\\\", f"ngram 1={{len(grams)}}", "ngram 2=1", "", sep="\\n", file=file)
    print("\\\\1-grams:", *grams, "", sep="\\n", file=file)
    print("\\\\2-grams:", f"-1\\t<s> {{words[0]}}", "", "\\\\end\\\\", sep="\\n", file=file)
"""
WORDS = ["text", "tokens", "restore", "synth", "synth", "train", "train", "lm", "convert"]
REAL = ["import", "import", "text", "tokens", "train", "lm", "convert"]
AISHELL = {"RECIPE": "zh-aishell"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A text, downloads of real corpora, single words, the configurations at reduced size."""
    for name in ("text", "configs", "tools", "speech/mandarin-words"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "text" / "zh-toy.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "speech" / "mandarin-words" / "manifest.tsv").write_text(
        HEADER + "a.wav\t1.0\t钉\tx\ttrain\nb.wav\t1.0\t好\tx\tdev\n", encoding="utf-8"
    )
    import_corpora.aishell(tmp_path / "downloads" / "aishell-1")
    import_corpora.thchs30(tmp_path / "downloads" / "thchs-30")
    data = tmp_path / "downloads" / "thchs-30" / "data_thchs30" / "data"
    import_corpora.record(data / "D4_750.wav", 2)
    import_corpora.write(data / "D4_750.wav.trn", "今天 是 限制\n")
    for path in (ROOT / "training" / "configs").glob("zh*"):
        text = path.read_text(encoding="utf-8")
        for pattern, small in SMALLER.items():
            text = re.sub(pattern, small, text)
        (tmp_path / "configs" / path.name).write_text(text, encoding="utf-8")
    program(tmp_path / "tools" / "lmplz", LMPLZ.format(python=sys.executable))
    program(tmp_path / "tools" / "build_binary", BUILD_BINARY)
    return tmp_path


def letters(folder: Path) -> Path:
    """The weights of an English model of the same form."""
    config = load_config(folder / "configs" / "zh-aishell.toml")
    size, start = config.features.size, folder / "start.npz"
    features = replace(config.features, mean=(-50.0,) * size, deviation=(20.0,) * size)
    model = replace(config.model, tokens="english_characters", connected=0)
    weights = variables(build_model(model, features))
    save_checkpoint(start, Checkpoint(replace(config, model=model, features=features), weights))
    return start


def make(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    given = {"DOWNLOADS": folder / "downloads", **SMALL, **variables}
    return recipe_runs.make("mandarin", folder, *options, **given)


def steps(folder: Path, fails: str = "nothing", **variables: str) -> list[str]:
    """The commands that `make model` runs, by their names."""
    given = {"DOWNLOADS": folder / "downloads", **SMALL, **variables}
    lines = commands("mandarin", folder, fails=fails, **given)
    return [line.removeprefix("data ").split()[0] for line in lines]


def test_from_real_corpora_to_a_bundle_that_transcribes(folder: Path) -> None:
    """AISHELL-1 and THCHS-30, some files of each in their layout; a model that knows letters."""
    start = letters(folder)
    done = make(folder, "model", "evaluate", **AISHELL, START=str(start))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "tokens have no training example" in done.stderr  # of train, and in train.log
    sentences = (folder / "work" / "text" / "zh.txt").read_text(encoding="utf-8").splitlines()
    assert len(sentences) == len(set(sentences)) == 4  # what is said twice is not held out once
    tokens, bundle = read_tokens(folder / "work" / "tokens"), load_bundle(folder / "work" / "zh")
    assert bundle.manifest.tokens == tokens
    assert bundle.manifest.language == "zh"
    assert {"今", "二", "钉", "购", "c"} <= set(tokens.tokens)
    assert bundle.manifest.decoder.beam == 8
    assert bundle.manifest.language_model["of"] == "tokens"
    assert bundle.words is None
    held_out = read_manifest(folder / "work" / "speech" / "held-out.tsv")
    assert sorted(utterance.split for utterance in held_out) == ["dev", "test", "test"]
    assert all(utterance.path.is_file() for utterance in held_out)
    assert "aishell-1 test, characters never heard" in done.stdout
    assert "mixed error rate" in done.stdout
    text = Transcriber(bundle).transcribe(RECORDINGS[0]).text
    assert set(text) <= {*tokens.tokens, " "}  # between letters that a pause parts
    assert make(folder, "--question", "model", **AISHELL, START=str(start)).returncode == 0


def test_every_step_is_done_once(folder: Path) -> None:
    assert sorted(steps(folder)) == sorted(WORDS)
    assert steps(folder) == []
    assert (folder / "work" / "text" / "held-out.txt").read_text().count("\n") == 2
    assert (folder / "work" / "text" / "zh.txt").read_text().count("\n") == 98
    assert (folder / "work" / "text" / "said.txt").read_text(encoding="utf-8") == "钉\n"


def test_the_steps_of_real_corpora(folder: Path) -> None:
    assert sorted(steps(folder, **AISHELL)) == sorted(REAL)


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("speech/mandarin-words/manifest.tsv", ["tokens", *WORDS[3:]]),
        ("configs/zh.toml", ["train", "convert"]),
        ("configs/zh-first.toml", ["train", "train", "convert"]),
        ("work/start.npz", ["train", "train", "convert"]),
        ("text/zh-toy.txt", ["text", "tokens", *WORDS[3:]]),
    ],
)
def test_what_has_changed_is_done_again(folder: Path, changed: str, again: list[str]) -> None:
    steps(folder)
    time.sleep(0.05)  # file times go in steps of some milliseconds
    utime(folder / changed)
    assert sorted(steps(folder)) == sorted(again)
    assert steps(folder) == []


def test_as_it_stands_it_makes_the_model_of_the_paper(folder: Path) -> None:
    """A character 5-gram, beam 200, no corpus spoken twice; SMALL leaves that out elsewhere."""
    lines = commands("mandarin", folder, DOWNLOADS=folder / "downloads")
    asked = {name: [s for s in lines if s.startswith(name)] for name in ("lm", "convert")}
    assert ["--order 5" in line for line in asked["lm"]] == [True]
    assert ["--beam 200 " in f"{line} " for line in asked["convert"]] == [True]
    (text,) = (line for line in lines if line.startswith("data text"))
    assert text.endswith("--numerals zh --simplify")
    spoken = [line for line in lines if line.startswith("data synth")]
    assert len({"--seed 1 " in line for line in spoken}) == len(spoken) == 2


def test_a_text_that_is_not_there(folder: Path) -> None:
    (folder / "text" / "zh-toy.txt").unlink()
    done = make(folder, "model")
    assert done.returncode == 2
    assert f"no text: needed {folder / 'text'}/zh-*; give its folder as TEXT=" in done.stderr


def test_the_interrupted_run_goes_on(folder: Path) -> None:
    assert steps(folder, fails="train").count("train") == 1
    half = folder / "work" / "first" / "last.npz"
    half.touch()
    assert steps(folder)[:2] == ["train", "train"]
    assert half.exists()


def test_each_stage_begins_with_the_weights_of_the_one_before(folder: Path) -> None:
    work = folder / "work"
    first, then = (line for line in commands("mandarin", folder, **SMALL) if "train " in line)
    assert f"--out {work}/first --start {work}/start.npz" in first
    assert f"--out {work}/train --start {work}/first/best.npz" in then


def test_help_is_what_is_shown_first(folder: Path) -> None:
    done = make(folder)
    assert done.returncode == 0
    assert "make -f training/mandarin.mk model" in done.stdout
