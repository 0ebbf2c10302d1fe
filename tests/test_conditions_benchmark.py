"""benchmarks/conditions.py: what each condition does to the sound, and the tables."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from conftest import BENCHMARKS, SPEECH

from ds2edge.training.checkpoint import Checkpoint, save_checkpoint
from ds2edge.training.data.manifest import Utterance

HEADER = "path\tseconds\ttext\tspeaker\tsplit\n"


@pytest.fixture(scope="module")
def conditions(benchmark_scripts: None) -> ModuleType:
    return import_module("conditions")


def utterance(speaker: str, seconds: float, text: str = "a") -> Utterance:
    return Utterance(Path("x.wav"), seconds, text, speaker, "dev")


def test_all_models_in_all_conditions(checkpoint: Checkpoint, tmp_path: Path) -> None:
    speech, noise = tmp_path / "speech.tsv", tmp_path / "noise.tsv"
    rows = (SPEECH / "manifest.tsv").read_text().splitlines()[2:4]
    speech.write_text(
        HEADER + "".join(f"{SPEECH}/{row.rsplit(chr(9), 1)[0]}\tdev\n" for row in rows)
    )
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000 * 3)
    soundfile.write(tmp_path / "noise.wav", sound, 16_000)
    noise.write_text(f"{HEADER}noise.wav\t3\t\tfan\tdev\n")
    save_checkpoint(tmp_path / "random.npz", checkpoint)
    found, plot = tmp_path / "found.json", tmp_path / "conditions.png"
    done = subprocess.run(
        [
            *(sys.executable, BENCHMARKS / "conditions.py", f"{speech}:dev"),
            *("--noise", f"{noise}:dev", "--model", f"random={tmp_path / 'random.npz'}"),
            *("--json", found, "--plot", plot),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = ["clean", *(f"noise, {r} dB" for r in (20, 10, 0)), "gain -30 dB", "gain +10 dB"]
    rates = {(one["condition"], one["model"]): one for one in json.loads(found.read_text())}
    assert list(dict.fromkeys(condition for condition, _ in rates)) == [*names, "8 minutes"]
    clean, loud = (rates[name, "int8"]["language_model"]["wer"] for name in ("clean", names[3]))
    assert clean < 40 < loud
    assert rates["clean", "random"]["language_model"]["wer"] > 80
    assert rates["8 minutes", "int8"]["words"] == rates["clean", "int8"]["words"]
    assert "int8 against random" in done.stdout
    assert re.search(r"clean\W+-\d", done.stdout)  # fewer errors
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_what_is_too_loud_is_clipped(conditions: ModuleType) -> None:
    samples = np.array([0.0, 0.1, -0.5, 0.9], np.float32)
    assert conditions.louder(samples, 10).tolist() == pytest.approx([0, 0.3162, -1, 1], abs=1e-4)
    quiet = conditions.louder(samples, -30)
    assert quiet.tolist() == pytest.approx((samples * 10**-1.5).tolist(), abs=1 / 32767)
    assert np.array_equal(quiet * 32767, np.round(quiet * 32767))  # as 16 bits hold them


def test_long_recordings_have_all_words_of_one_speaker_each(conditions: ModuleType) -> None:
    some = [utterance(name, 100, f"{name} {i}") for i in range(6) for name in ("x", "y")]
    groups = conditions.long_recordings(some)
    assert [len(group) for group in groups] == [4, 2, 4, 2]
    assert all(len({one.speaker for one in group}) == 1 for group in groups)
    joined = [conditions.as_one(group) for group in groups]
    words = " ".join(one.text for one in joined).split()
    assert sorted(words) == sorted(" ".join(one.text for one in some).split())
    assert all(one.seconds <= conditions.LONG + conditions.PAUSE for one in joined)


@pytest.mark.parametrize("option", ["teacher", "=x.npz", "teacher=", "float=en"])
def test_a_model_needs_a_name_and_a_file(option: str) -> None:
    command = [sys.executable, BENCHMARKS / "conditions.py", "x.tsv", "--noise", "y.tsv"]
    done = subprocess.run(
        [*command, "--model", option], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"needed NAME=FILE.npz, got {option!r}" in done.stderr
