"""An import that is killed goes on; two do not meet; nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import import_corpora
import pytest
import soundfile
from conftest import interruptible
from import_corpora import said, sound, write

from ds2edge import cli
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.files import locked
from ds2edge.training.importing import engine, recordings
from ds2edge.training.importing.recordings import Found, Recording

# Verifies two recordings, then tells so and waits for its end.
STOPPING = """
import sys, time
from ds2edge import cli
from ds2edge.training.importing import engine
examine, done = engine.examine, []
def slow(recording):
    if len(done) == 2:
        print("ready", flush=True)
        time.sleep(600)
    done.append(recording)
    return examine(recording)
engine.examine = slow
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Five recordings of VCTK."""
    root = tmp_path / "download"
    for take in range(5):
        path = root / f"wav48/p1/p1_{take}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound(take)[:40_000], 16_000)
        write(root / f"txt/p1/p1_{take}.txt", said(take))
    return root


def command(corpus: Path, folder: Path, jobs: int = 1) -> list[str]:
    return ["data", "import", "vctk", str(corpus), "-o", str(folder), "--jobs", str(jobs)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the recordings that this process decodes."""
    names: list[str] = []

    def noting(recording: Recording) -> Found:
        names.append(Path(recording.path).name)
        return recordings.examine(recording)

    monkeypatch.setattr(engine, "examine", noting)
    return names


@pytest.mark.parametrize("ended", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_import_goes_on(
    ended: signal.Signals, corpus: Path, tmp_path: Path, decoded: list[str]
) -> None:
    folder = tmp_path / "corpus"
    started = subprocess.Popen(
        [sys.executable, "-P", "-c", STOPPING, *command(corpus, folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )
    with started:
        assert started.stdout
        assert started.stderr
        assert started.stdout.readline() == "ready\n"
        started.send_signal(ended)
        error = started.stderr.read()
    if ended == signal.SIGINT:
        assert (started.returncode, error) == (130, "ds2edge: interrupted\n")
    assert not (folder / "manifest.tsv").exists()
    with (folder / ".import.jsonl").open("a") as file:
        file.write('["decoded torn')  # by the kill
    assert cli.main(command(corpus, folder)) == 0
    assert decoded == ["p1_2.wav", "p1_3.wav", "p1_4.wav"]
    assert len(read_manifest(folder / "manifest.tsv")) == 5
    assert cli.main(command(corpus, folder)) == 0
    assert len(decoded) == 3


def test_again_it_is_quick_and_says_so(
    corpus: Path, tmp_path: Path, decoded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ("", "nothing was new: all recordings had been verified before\n"):
        assert cli.main(command(corpus, tmp_path / "corpus")) == 0
        told = capsys.readouterr().out
        assert told.endswith(words)
        assert ("nothing was new" in told) == bool(words)
    assert len(decoded) == 5


def test_what_has_changed_is_decoded_again(
    corpus: Path, tmp_path: Path, decoded: list[str]
) -> None:
    assert cli.main(command(corpus, tmp_path / "corpus")) == 0
    decoded.clear()
    os.utime(corpus / "wav48/p1/p1_1.wav", (1, 1))
    soundfile.write(corpus / "wav48/p1/p1_2.wav", sound(2)[:50_000], 16_000)
    write(corpus / "txt/p1/p1_3.txt", "other words")  # which the recording does not tell
    assert cli.main([*command(corpus, tmp_path / "corpus"), "--longest", "3"]) == 0
    assert decoded == ["p1_1.wav", "p1_2.wav"]
    rows = {u.path.stem: u.text for u in read_manifest(tmp_path / "corpus/manifest.tsv")}
    assert rows["p1_3"] == "other words"
    assert "p1_2" not in rows  # longer than 3 s


def test_a_cut_that_was_removed_is_written_again(tmp_path: Path, decoded: list[str]) -> None:
    import_corpora.an4_raw(tmp_path / "download")
    arguments = ["data", "import", "an4", str(tmp_path / "download"), "-o"]
    arguments += [str(tmp_path / "corpus"), "--jobs", "1"]
    assert cli.main(arguments) == 0
    (cut,) = (tmp_path / "corpus/audio").rglob("*.flac")
    cut.unlink()
    assert cli.main(arguments) == 0
    assert cut.exists()
    assert decoded.count("an251-fash-b.raw") == 2


def test_several_processes_give_the_same(corpus: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        assert cli.main(command(corpus, tmp_path / str(jobs), jobs)) == 0
    one, two = ((tmp_path / str(jobs) / "manifest.tsv").read_bytes() for jobs in (1, 2))
    assert one == two


def test_two_at_once_are_refused(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    with locked(folder):
        assert cli.main(command(corpus, folder)) == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert f"another process is importing into {folder}; wait for it, or give another" in error
    assert not (folder / "manifest.tsv").exists()


def test_a_full_disk_keeps_what_was_found(
    corpus: Path,
    tmp_path: Path,
    decoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "manifest.tsv")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "write_manifest", full)
        assert cli.main(command(corpus, tmp_path / "corpus")) == 2
    assert capfd.readouterr().err == "ds2edge: manifest.tsv: No space left on device\n"
    assert not (tmp_path / "corpus/manifest.tsv").exists()
    assert cli.main(command(corpus, tmp_path / "corpus")) == 0
    assert len(decoded) == 5


def test_the_manifest_of_another_maker_stays(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    for report in (None, "no JSON", json.dumps({"made_by": "me"}), "[]"):
        write(folder / "manifest.tsv", "mine")
        if report:
            write(folder / "report.json", report)
        assert cli.main(command(corpus, folder)) == 2
        assert (folder / "manifest.tsv").read_text() == "mine"
