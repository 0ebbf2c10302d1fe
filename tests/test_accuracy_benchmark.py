"""benchmarks/accuracy.py: rates, intervals, a closed vocabulary, and what cannot be scored."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import BENCHMARKS, SPEECH

from ds2edge import StreamOptions, Transcriber
from ds2edge.audio_file import read_audio
from ds2edge.training.evaluation.metrics import word_error_rate

MANIFEST = SPEECH / "manifest.tsv"


@pytest.fixture(scope="module")
def accuracy(benchmark_scripts: None) -> ModuleType:
    return import_module("accuracy")


@pytest.fixture(scope="module")
def accuracy_systems(benchmark_scripts: None) -> ModuleType:
    return import_module("accuracy_systems")


def run(*options: object, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCHMARKS / "accuracy.py", *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "DS2EDGE_CACHE": str(cache), "HOME": str(cache)},
    )


def manifest_of(folder: Path, *splits: str) -> Path:
    """Of the first samples, each in the split given."""
    header, *rows = MANIFEST.read_text().splitlines()
    chosen = [row.split("\t")[:4] for row in rows[: len(splits)]]
    lines = [f"{SPEECH}/" + "\t".join([*row, s]) for row, s in zip(chosen, splits, strict=True)]
    folder.mkdir(parents=True)
    (folder / "manifest.tsv").write_text("\n".join([header, *lines]) + "\n")
    return folder / "manifest.tsv"


def test_free_speech_beside_what_is_installed(tmp_path: Path) -> None:
    rows, plot = tmp_path / "rows.json", tmp_path / "accuracy.png"
    options = ("--manifest", MANIFEST, "--json", rows, "--plot", plot, "--speakers")
    done = run(*options, cache=tmp_path / "cache")
    assert (done.returncode, done.stderr) == (0, "")
    found = {row["system"]: row for row in json.loads(rows.read_text())}
    peers = {"pocketsphinx"} if find_spec("pocketsphinx") else set()
    assert set(found) == {"ds2edge", "ds2edge, greedy", *peers}
    assert ("pip install pocketsphinx" in done.stdout) is not bool(peers)
    tests = [line.split("\t") for line in MANIFEST.read_text().splitlines() if "\ttest" in line]
    assert {row["recordings"] for row in found.values()} == {len(tests)}
    transcriber = Transcriber()  # whole recordings: cutting them changes nothing
    said = [transcriber.transcribe(SPEECH / row[0]).text for row in tests]
    rate = word_error_rate([row[2] for row in tests], said).rate
    assert found["ds2edge"]["rate"] == pytest.approx(rate)
    assert f"{100 * rate:.2f}" in done.stdout
    assert found["ds2edge"]["rate"] < found["ds2edge, greedy"]["rate"] < 1
    for row in tests:
        assert f"\n{row[3]}" in done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    log = (tmp_path / "cache").rglob("*.jsonl")  # a look at a test split
    assert any("accuracy.py" in path.read_text() for path in log)


def test_a_closed_vocabulary_counts_what_is_right(tmp_path: Path) -> None:
    options = ("--manifest", MANIFEST, "--closed")
    done = run(*options, cache=tmp_path / "cache")
    assert (done.returncode, done.stderr) == (0, "")
    assert "100.00" in done.stdout
    assert "ds2edge heard all of it right" in done.stdout


def test_rates_and_intervals(accuracy: ModuleType) -> None:
    wanted = ["a b c d"] * 6
    said = {"ds2edge": ["a b c d"] * 3 + ["a b c"] * 3, "pocketsphinx": ["a b"] * 6}
    ours, peer = accuracy.rows_of(accuracy.Heard("set", ["x"] * 6, wanted, said), False)
    assert (ours.rate, peer.rate) == (3 / 24, 0.5)
    assert ours.interval.low < ours.rate < ours.interval.high
    assert peer.more == pytest.approx(3 / 24 - 0.5)
    assert peer.more_interval.high < 0
    assert peer.times == pytest.approx(3 / 12)
    ours, peer = accuracy.rows_of(accuracy.Heard("set", ["x"] * 6, wanted, said), True)
    assert (ours.rate, peer.rate, peer.times) == (0.5, 1.0, 0.5)  # of recordings
    assert peer.interval == pytest.approx((0.6097, 1), abs=1e-4)  # six of six, by Wilson
    header, cells = accuracy.table([ours, peer], True)
    assert {len(row) for row in cells} == {len(header)}
    assert cells[0][4].startswith("50.00 (")
    assert cells[1][4].startswith("0.00")
    assert cells[1][5].startswith("-50.00 (")
    assert cells[1][6] == "x 0.50"


def test_a_peer_without_errors_is_no_divisor(accuracy: ModuleType) -> None:
    said = {"ds2edge": ["a", "b"], "pocketsphinx": ["a", "a"]}
    _, peer = accuracy.rows_of(accuracy.Heard("set", ["x"] * 2, ["a", "a"], said), False)
    assert (peer.rate, peer.more, peer.times) == (0, 0.5, None)


def test_mistakes_are_told(accuracy: ModuleType) -> None:
    heard = accuracy.Heard("set", [], ["one", "two", "two"], {"ds2edge": ["one", "", ""]})
    assert accuracy.mistakes(heard) == ["set, ds2edge heard two as nothing 2 times"]


def test_speakers_are_pooled(accuracy: ModuleType) -> None:
    names = [f"speaker-{i}" for i in range(20)]
    said = {"ds2edge": ["a"] * 10 + ["b"] * 10}
    _, rows = accuracy.speaker_table(accuracy.Heard("set", names, ["a"] * 20, said))
    assert len(rows) == accuracy.MOST_SPEAKERS + 1
    assert [row[2] for row in rows[:10]] == ["100.00"] * 10
    assert rows[-1][:2] == ["8 others", "8"]


def test_a_stream_is_what_is_measured(accuracy_systems: ModuleType) -> None:
    transcriber, path = Transcriber(), SPEECH / "2428-83705-0017.mp3"
    samples = read_audio(path, 16_000)
    text = accuracy_systems.streaming(transcriber, StreamOptions())(samples)
    assert text == transcriber.transcribe(path).text
    assert np.array_equal(np.concatenate(accuracy_systems.blocks(samples)), samples)


@pytest.mark.parametrize(
    ("splits", "kept", "name"),
    [
        (("train", "test", "dev"), 1, "mine test"),
        (("train", "test-clean", "test-other"), 2, "mine test-clean, test-other"),
        (("train", "dev", "dev"), 3, "mine train, dev"),  # no test: all, and which those are
        (("", "", ""), 3, "mine"),
    ],
)
def test_splits_that_are_scored(
    accuracy: ModuleType, tmp_path: Path, splits: tuple[str, ...], kept: int, name: str
) -> None:
    manifest = manifest_of(tmp_path / "x", *splits)
    sources = accuracy.sources_of(manifest, "mine", None, Transcriber().bundle.manifest.tokens)
    assert [source.set for source in sources] == [name] * kept


def test_two_manifests_of_one_name_and_several_test_splits(
    accuracy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = manifest_of(tmp_path / "a" / "x", "test-clean", "test-other")
    second, rows = manifest_of(tmp_path / "b" / "x", "test"), tmp_path / "rows.json"
    options = ("--manifest", first, "--manifest", second, "--json", rows)
    monkeypatch.setattr("sys.argv", ["accuracy.py", *map(str, options)])
    monkeypatch.setenv("DS2EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(accuracy, "systems", lambda *_: {accuracy.OURS: lambda samples: ""})
    assert accuracy.main() == 0
    found = {row["name"]: (row["recordings"], row["rate"]) for row in json.loads(rows.read_text())}
    assert found == {f"{first} test-clean, test-other": (2, 1), f"{second} test": (1, 1)}


@pytest.mark.skipif(not find_spec("pocketsphinx"), reason="needs pocketsphinx")
def test_a_peer_that_knows_no_phrase_hears_nothing(
    accuracy_systems: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    system = accuracy_systems.pocketsphinx(["zzxqy"])
    assert system(np.zeros(16_000, np.float32)) == ""
    assert "no pronunciation: zzxqy" in capsys.readouterr().out


def test_rows_that_cannot_be_written(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "x", "test")
    options = ("--manifest", manifest, "--closed", "--json", tmp_path)
    done = run(*options, cache=tmp_path / "cache")
    assert done.returncode == 2
    assert done.stderr.startswith("accuracy.py: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("path\tseconds\ttext\tspeaker\n", "split"),
        ("path\tseconds\ttext\tspeaker\tsplit\nno.wav\t1\ta\tb\ttest\n", "missing: "),
        ("path\tseconds\ttext\tspeaker\tsplit\nx.wav\t1\t\tb\ttest\n", "no recording with a text"),
        ("path\tseconds\ttext\tspeaker\tsplit\nx.wav\t1\ta\tb\ttest\n", "x.wav"),
    ],
)
def test_what_cannot_be_scored(lines: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    manifest = tmp_path / "manifest.tsv"
    manifest.write_text(lines)
    done = run("--manifest", manifest, cache=tmp_path / "cache")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("accuracy.py: ")
    assert done.stderr.count("\n") == 1
