"""`ds2edge data augment`: from recordings to copies and a manifest that says what was done."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import SPEECH
from tiny_training import HEADER

from ds2edge import cli
from ds2edge.audio_file import read_audio
from ds2edge.training.data.manifest import read_manifest

MANIFEST = SPEECH / "manifest.tsv"


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    folder = tmp_path / "noise"
    folder.mkdir()
    samples = 0.1 * np.random.default_rng(0).normal(size=4000)
    soundfile.write(folder / "hiss.wav", samples, 16_000)
    (folder / "manifest.tsv").write_text(HEADER + "hiss.wav\t0.25\t\tx\ttrain\n")
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.flac")}


def test_copies_are_made_and_kept(
    cache: Path, noise: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["data", "augment", str(MANIFEST), "-o", str(out), "--jobs", "1", "--copies", "2"]
    what = ["--noise", f"{noise}:train", "--snr", "3", "9", "--codec", "telephone"]
    what += ["--speed", "--gain", "--vocal-tract", "--band", "--share", "0.7"]
    assert cli.main([*command, *what]) == 0
    assert capfd.readouterr().out == f"{out}: 10 files\n"
    rows, given = rows_of(out), read_manifest(MANIFEST)
    assert len(rows) == 2 * len(given)
    for row, utterance in zip(rows, [u for u in given for _ in range(2)], strict=True):
        assert (row["text"], row["split"]) == (utterance.text, utterance.split)
        assert row["source"] == str(utterance.path)
        samples = read_audio(out / row["path"], 16_000)
        assert float(row["seconds"]) == pytest.approx(len(samples) / 16_000, abs=1e-3)
        length = len(read_audio(utterance.path, 16_000)) / float(row["speed"])
        assert len(samples) == pytest.approx(length, abs=1)
        assert np.abs(samples).max() < 1
        assert row["speed"] in ("0.9", "1", "1.1")
        assert 0.9 <= float(row["vocal_tract"]) <= 1.1
        assert float(row["gain_db"]) <= 6
        assert row["codec"] in ("", "telephone 64 kbit/s")
        if row["noise"]:
            assert set(row["noise"].split(" + ")) == {"hiss.wav"}
            assert 3 <= float(row["snr_db"]) <= 9
    assert {bool(row["noise"]) for row in rows} == {bool(row["codec"]) for row in rows}
    assert len({row["snr_db"] for row in rows if row["noise"]}) > 1

    before = times(out)  # goes on: what is whole stays
    gone = out / rows[0]["path"]
    gone.unlink()
    (out / "manifest.tsv").unlink()
    (out / "half.flac.1.part").touch()
    assert cli.main([*command, *what]) == 0
    after = times(out)
    assert after.pop(gone.name) != before.pop(gone.name)
    assert after == before
    assert rows_of(out) == rows
    assert not list(out.glob("*.part"))

    assert cli.main([*command, *what, "--seed", "2"]) == 0
    assert not {row["path"] for row in rows_of(out)} & {row["path"] for row in rows}


def test_what_would_clip_is_quieter_and_said_to_be(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "loud"
    folder.mkdir()
    samples = 0.9 * np.sin(np.arange(8000) * 0.1)
    soundfile.write(folder / "a.wav", samples, 16_000)
    soundfile.write(folder / "b.wav", 0.01 * samples, 16_000)
    rows = "".join(f"{name}.wav\t0.5\tone\tx\ttrain\n" for name in "abc")  # c is not there
    (folder / "manifest.tsv").write_text(HEADER + rows)
    command = ["data", "augment", str(folder / "manifest.tsv"), "-o", str(tmp_path / "out")]
    # With this seed one copy of each is to be louder.
    more = ["--gain", "--copies", "4", "--seed", "9", "--jobs", "1"]
    assert cli.main([*command, *more]) == 1  # done, but for c
    found = rows_of(tmp_path / "out")
    assert len(found) == 8
    for row in found:
        heard = read_audio(tmp_path / "out" / row["path"], 16_000)
        assert np.abs(heard).max() < 0.995
        peak = 0.9 if row["path"].startswith("a") else 0.009
        gain = 20 * np.log10(np.abs(heard).max() / peak)
        assert float(row["gain_db"]) == pytest.approx(gain, abs=0.2)
    most = [max(float(r["gain_db"]) for r in found if r["path"][0] == name) for name in "ab"]
    assert 0.5 < most[0] < 1 < most[1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "nothing is to be done; give --noise CORPUS, --rooms"),
        (["--noise", "nowhere"], "cannot read manifest nowhere/manifest.tsv"),
        (["--gain", "--copies", "0"], "--copies and --jobs need 1 or more"),
        (["--gain", "--share", "2"], "--share needs more than 0, 1 at most, got 2"),
        (["--noise", "x:test"], "augmentation must not see the test split"),
        (["--noise", "x", "--snr", "9", "3"], "snr needs two numbers from -20 to 60, rising"),
    ],
)
def test_bad_input_is_one_line(
    more: list[str], said: str, tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "augment", str(MANIFEST), "-o", str(tmp_path / "out")]
    assert cli.main([*command, *more]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_the_manifest_itself_is_not_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "manifest.tsv"
    path.write_text(HEADER + "a.wav\t1\tone\tx\ttrain\n")
    assert cli.main(["data", "augment", str(path), "-o", str(tmp_path), "--gain"]) == 2
    assert "give another folder" in capfd.readouterr().err
    other = ["data", "augment", str(path), "-o", str(tmp_path / "out"), "--gain", "--jobs", "1"]
    assert cli.main(other) == 2
    assert "none of its 1 recordings can be read" in capfd.readouterr().err


def test_help_is_quick_and_has_examples(capfd: pytest.CaptureFixture[str]) -> None:
    loaded = "import sys; from ds2edge.training.data import command; "
    loaded += "print([m for m in ('scipy', 'pyroomacoustics', 'tensorflow') if m in sys.modules])"
    done: Any = subprocess.run(
        [sys.executable, "-P", "-c", loaded], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    with pytest.raises(SystemExit, match="0"):
        cli.main(["data", "augment", "--help"])
    text = capfd.readouterr().out
    assert all(word in text for word in ("examples:", "--vocal-tract", "--share", "--seed"))
