"""`ds2edge data stats`: the figures are right, and what was planted is found."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import RECORDINGS
from html_page import Page
from tiny_training import HEADER

from ds2edge import cli
from ds2edge.audio_file import read_audio
from ds2edge.text import english_bigrams, english_characters, mandarin_characters
from ds2edge.training.data.manifest import Utterance, read_manifest
from ds2edge.training.statistics import gather, page
from ds2edge.training.statistics.measure import Figures, measure
from ds2edge.training.statistics.overlap import overlaps
from ds2edge.training.statistics.rows import Recordings, Row, read_rows
from ds2edge.training.statistics.strange import find_strange, most_strange, robust_scores
from ds2edge.training.statistics.summary import summarise

RATE = 16_000
NASTY = "<script>alert(1)</script>"
# A text for each usual recording, of about 12 characters a second.
USUAL = [f"word {'lorem ipsum dolor sit amet'[: 16 + i % 7]}".strip() for i in range(20)]
Planted = dict[str, tuple[str, str, str, str]]  # name: seconds, text, speaker, split
PLANTED: Planted = {
    "clipped.wav": ("1.8", "a text that is like others", "ann", "train"),
    "silent.wav": ("1.8", "a text that is like another", "ann", "train"),
    "wordy.wav": ("1.8", "three times as much as can be said " * 2, "ann", "train"),
    "narrow.wav": ("1.8", "what the telephone transmits", "ann", "train"),
    "copy.wav": ("1.8", "said once and kept twice", "ann", "train"),
    "promised.wav": ("9.0", "much shorter than promised", "ann", "train"),
    "stereo.wav": ("1.8", "word 7 cannot be spelled", "ann", "train"),
    "shared.wav": ("1.8", USUAL[0], "bob", "test"),
    "broken.wav": ("1.8", "none can hear it", "ann", "train"),
    "nowhere.wav": ("1.8", NASTY, "ann", "train"),
}
UNREADABLE = {"broken.wav", "nowhere.wav"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces of real speech, and what is strange; a manifest."""
    folder = tmp_path_factory.mktemp("strange")
    speech = np.concatenate([read_audio(path, RATE) for path in RECORDINGS])
    speech = speech * (0.5 / np.abs(speech).max())
    length = round(1.8 * RATE)
    rows = []
    for i, text in enumerate(USUAL):
        at = (i * length * 3 // 5) % (len(speech) - length)
        soundfile.write(folder / f"{i:02}.flac", speech[at : at + length], RATE)
        rows.append((f"{i:02}.flac", "1.8", text, ("ann", "bob", "eve")[i % 3], "train"))
    piece = speech[1000 : 1000 + length]
    sounds: dict[str, Any] = {
        "clipped.wav": np.clip(piece * 30, -1, 1),
        "silent.wav": np.zeros(length),
        "wordy.wav": speech[2000 : 2000 + length],
        "narrow.wav": np.sin(np.arange(length) * 2 * np.pi * 300 / RATE) * 0.1,
        "promised.wav": speech[3000 : 3000 + length],
        "stereo.wav": np.stack([speech[4000 : 4000 + length], speech[5000 : 5000 + length]], 1),
        "shared.wav": speech[6000 : 6000 + length],
    }
    for name, samples in sounds.items():
        soundfile.write(folder / name, samples, RATE)
    samples, _ = soundfile.read(folder / "03.flac", dtype="int16")
    soundfile.write(folder / "copy.wav", samples, RATE)
    (folder / "broken.wav").write_bytes(b"no sound")
    rows += [(name, *row) for name, row in PLANTED.items()]
    (folder / "manifest.tsv").write_text(HEADER + "".join("\t".join(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of the module's one command."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def made(
    corpus: Path, cached: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any]]:
    """The page and the figures that the command wrote."""
    out = tmp_path_factory.mktemp("out")
    command = ["data", "stats", str(corpus / "manifest.tsv"), "-o", str(out / "page.html")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DS2EDGE_CACHE", str(cached))
        assert cli.main([*command, "--json", str(out / "all.json"), "--jobs", "2"]) == 0
    return (out / "page.html").read_text(), json.loads((out / "all.json").read_text())


def kinds(figures: dict[str, Any]) -> dict[str, set[str]]:
    return {
        Path(each["path"]).name: {reason["kind"] for reason in each["reasons"]}
        for each in figures["strange"]
    }


# ---- Figures


def test_totals_are_those_of_the_files(made: tuple[str, dict[str, Any]], corpus: Path) -> None:
    figures = made[1]
    readable = [u for u in read_manifest(corpus / "manifest.tsv") if u.path.name not in UNREADABLE]
    for split in ("train", "test"):
        of = [u for u in readable if u.split == split]
        totals = figures["corpora"][corpus.name][split]
        assert totals["utterances"] == len(of)
        seconds = sum(soundfile.info(u.path).duration for u in of)
        assert totals["hours"] == pytest.approx(seconds / 3600, abs=1e-4)
        assert totals["speakers"] == len({u.speaker for u in of})
    texts = [u.text.replace("7", "").split() for u in readable]
    words = Counter(word for text in texts for word in text)
    assert figures["all"]["words"] == words.total()
    assert figures["vocabulary"]["size"] == len(words)
    assert figures["vocabulary"]["most_frequent"][0] == list(words.most_common(1)[0])
    assert figures["vocabulary"]["once"] == sum(n == 1 for n in words.values())
    speeds = figures["values"]["characters_per_second"]
    lengths = {u.path: soundfile.info(u.path).duration for u in readable}
    expected = [len(" ".join(t)) / lengths[u.path] for t, u in zip(texts, readable, strict=True)]
    assert speeds["median"] == pytest.approx(np.median(expected), abs=1e-4)
    assert speeds["most"] == pytest.approx(max(expected), abs=1e-4)
    letters = Counter("".join("".join(text) for text in texts))
    assert figures["tokens"]["counts"]["e"] == letters["e"]
    assert figures["tokens"]["unused"] == 28 - len(figures["tokens"]["counts"])
    minutes = {u.speaker: 0.0 for u in readable}
    for u in readable:
        minutes[u.speaker] += soundfile.info(u.path).duration
    assert figures["speakers"] == {
        name: pytest.approx(seconds / 3600, abs=1e-4) for name, seconds in minutes.items()
    }


def test_values_are_those_of_the_samples(corpus: Path) -> None:
    samples, _ = soundfile.read(corpus / "clipped.wav")
    found = measure(corpus / "clipped.wav")
    assert found.clipped == pytest.approx(np.mean(np.abs(samples) >= 0.99))
    assert found.clipped > 0.1
    assert found.peak == pytest.approx(0, abs=0.01)
    assert (found.seconds, found.sample_rate, found.channels) == (1.8, RATE, 1)
    tone = measure(corpus / "narrow.wav")
    assert tone.level == pytest.approx(10 * np.log10(0.1**2 / 2), abs=0.05)
    assert tone.silence == 0
    assert 300 <= tone.bandwidth < 800
    silent = measure(corpus / "silent.wav")
    assert (silent.level, silent.silence, silent.bandwidth) == (-120, 1, 0)


def test_silence_and_band_are_measured_over_the_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for rate in (8_000, 11_025, 48_000):
        noise = rng.normal(0, 0.1, rate * 6)
        noise[: rate * 3] *= 1e-3  # 60 dB below the rest
        soundfile.write(tmp_path / "a.wav", np.tile(noise, 4), rate)
        found = measure(tmp_path / "a.wav")
        assert found.silence == pytest.approx(0.5, abs=0.01)
        assert found.level == pytest.approx(-20, abs=0.1)
        assert found.bandwidth == pytest.approx(rate / 2, rel=0.01)
        assert found.seconds == 24


def test_the_shortest_recording_is_measured(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", [0.5, -0.5, 0.5], RATE)
    assert measure(tmp_path / "a.wav").level == pytest.approx(-6, abs=0.1)


def test_formats_are_counted(made: tuple[str, dict[str, Any]]) -> None:
    first, second = made[1]["formats"]
    assert (first["sample_rate"], first["channels"], first["utterances"]) == (RATE, 1, 27)
    assert (second["sample_rate"], second["channels"], second["utterances"]) == (RATE, 2, 1)


# ---- What is found


def test_planted_recordings_are_strange(made: tuple[str, dict[str, Any]]) -> None:
    found = kinds(made[1])
    assert "clipped" in found.pop("clipped.wav")
    assert "faint" in found.pop("silent.wav")
    assert found.pop("wordy.wav") == {"much text for its length"}
    assert found.pop("narrow.wav") == {"narrow band"}
    assert found.pop("promised.wav") == {"not as long as the manifest says"}
    assert not found


def test_what_is_twice_or_in_two_splits_is_told(made: tuple[str, dict[str, Any]]) -> None:
    figures = made[1]
    ((first, second),) = figures["equal_audio"]
    assert {Path(first).name, Path(second).name} == {"03.flac", "copy.wav"}
    (overlap,) = figures["overlaps"]
    assert overlap["splits"] == ["train", "test"]
    assert overlap["speakers"] == ["bob"]
    assert overlap["texts"]["examples"] == [USUAL[0]]
    assert overlap["texts"]["share"] == 1
    assert overlap["audio"] == []
    repeated = Counter([*USUAL, USUAL[0]])
    assert figures["repeated_texts"]["texts"] == sum(n > 1 for n in repeated.values())
    assert figures["repeated_texts"]["most"][0] == list(repeated.most_common(1)[0])


def test_what_cannot_be_read_or_spelled_is_listed(made: tuple[str, dict[str, Any]]) -> None:
    figures = made[1]
    assert {Path(each["path"]).name for each in figures["unreadable"]} == UNREADABLE
    assert all(each["reason"] for each in figures["unreadable"])
    assert figures["unknown"]["characters"] == {"7": 1}
    assert figures["unknown"]["first"]["7"].endswith(", line 28")


def row(i: int, **changes: Any) -> Row:
    """A recording that is like all others, but for some figures."""
    split, speaker, text = (changes.pop(k, d) for k, d in ROW.items())
    values = {"seconds": 4 + 0.1 * (i % 9), "level": -20 + i % 5, "digest": str(i), **changes}
    figures = Figures(**{**FIGURES, **values})
    manifest = Path("x/manifest.tsv")
    utterance = Utterance(Path(f"{i}.wav"), values["seconds"], text, speaker, split, manifest, i)
    text = text or "abcdefghijk"[: 7 + i % 4] + f" {i:03}".translate(LETTERS)
    return Row("x", utterance, figures, text, ())


LETTERS = str.maketrans("0123456789", "abcdefghij")
ROW = {"split": "train", "speaker": "", "text": ""}
FIGURES: dict[str, Any] = {
    "sample_rate": RATE,
    "channels": 1,
    "peak": -3.0,
    "clipped": 0.0,
    "silence": 0.2,
    "bandwidth": 7900.0,
}


def recordings(*rows: Row) -> Recordings:
    return Recordings(english_characters(), list(rows), [])


def test_strangest_are_of_all_kinds() -> None:
    clipped = [row(50 + i, clipped=0.1) for i in range(6)]
    found = find_strange(recordings(*map(row, range(50)), *clipped, row(99, level=-70.0)))
    assert {s.reasons[0].kind for s in most_strange(found, 2)} == {"clipped", "faint"}
    assert len(most_strange(found, 100)) == len(found) == 7


def test_a_corpus_of_equals_has_nothing_strange() -> None:
    assert find_strange(recordings(*map(row, range(60)))) == []
    assert find_strange(recordings(row(1))) == []


def test_each_side_has_its_own_deviation() -> None:
    skewed = np.concatenate([np.linspace(-10, 0, 51), np.linspace(0, 1, 50), [5.0]])
    scores = robust_scores(skewed, 0.01)
    assert scores[-1] > 5
    assert np.abs(scores[:-1]).max() < 3


def test_one_file_in_several_rows_is_no_other_recording() -> None:
    one = row(1)
    again = replace(row(2, digest="1"), utterance=replace(one.utterance, split="test"))
    figures = summarise(recordings(one, again), [])
    assert figures["equal_audio"] == []
    assert figures["overlaps"][0]["audio"] == [("1.wav", "1.wav")]


def test_same_names_in_other_corpora_are_other_speakers() -> None:
    here, there = row(1, speaker="1"), row(2, speaker="1", split="test")
    assert overlaps(recordings(here, there))[0].speakers == ["1"]
    other = replace(there.utterance, manifest=Path("y/manifest.tsv"))
    elsewhere = replace(there, utterance=other)
    assert overlaps(recordings(here, elsewhere)) == []


# ---- The page


def test_page_stands_alone_and_shows_the_figures(made: tuple[str, dict[str, Any]]) -> None:
    html, figures = made
    found = Page(html)
    found.assert_stands_alone(html)
    assert len(html) < 3_000_000
    for text in ("train and test overlap.", "1 speaker is in both", "1 text is in both: 100.0 %"):
        assert text in found.text
    assert "2 recordings cannot be read" in found.text
    assert "much text for its length" in found.text
    assert "cannot spell: training leaves it out" in found.text
    assert f"{figures['vocabulary']['size']} different words" in found.text
    for cell in found.all("td"):
        if cell.get("class") == "number":
            float(cell["data-value"])
    assert html.count("prefers-color-scheme: dark") == 1


def test_strange_recordings_can_be_seen_and_heard(made: tuple[str, dict[str, Any]]) -> None:
    found = Page(made[0])
    sounds = found.all("audio")
    pictures = [i["src"] for i in found.all("img") if i["alt"].startswith("Spectrogram")]
    assert len(sounds) == len(pictures) == 5
    start, encoded = sounds[0]["src"].split(",")
    assert start == "data:audio/mpeg;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    assert rate == RATE
    assert len(samples) / rate == pytest.approx(1.8, abs=0.15)
    assert all(base64.b64decode(p.split(",")[1]).startswith(b"\x89PNG") for p in pictures)


def test_sound_in_a_page_is_bounded(
    corpus: Path, tmp_path: Path, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS2EDGE_CACHE", str(cached))
    monkeypatch.setattr(page, "AUDIO", 1.0)
    monkeypatch.setattr(page, "_plots", lambda *_: [])  # they take long
    path = tmp_path / "page.html"
    assert cli.main(["data", "stats", str(corpus / "manifest.tsv"), "-o", str(path)]) == 0
    found = Page(path.read_text())
    sounds = [sound["src"].split(",")[1] for sound in found.all("audio")]
    assert found.text.count("Its beginning only.") == len(sounds) == 5
    lengths = [len(soundfile.read(io.BytesIO(base64.b64decode(s)))[0]) for s in sounds]
    assert all(length < 0.5 * RATE for length in lengths)


def test_everything_is_escaped(tmp_path: Path, cache: Path) -> None:
    shutil.copy(RECORDINGS[0], tmp_path / "a.mp3")
    line = f"a.mp3\t60\t{NASTY}\t{NASTY}\t{NASTY}\n"
    (tmp_path / "manifest.tsv").write_text(HEADER + line)
    path = tmp_path / "page.html"
    assert cli.main(["data", "stats", str(tmp_path / "manifest.tsv"), "-o", str(path)]) == 0
    assert len(Page(path.read_text()).all("script")) == 1
    assert "alert(1)" in Page(path.read_text()).text


def test_other_token_sets(tmp_path: Path, corpus: Path, cache: Path) -> None:
    shutil.copy(RECORDINGS[0], tmp_path / "a.mp3")
    (tmp_path / "manifest.tsv").write_text(HEADER + "a.mp3\t4\t你好你\tx\ttrain\n")
    found = read_rows([tmp_path / "manifest.tsv"], None, mandarin_characters(), 1)
    figures = summarise(found, [])
    assert figures["tokens"]["counts"] == {"你": 2, "好": 1}
    assert figures["vocabulary"]["of"] == "characters"
    page.write_page(tmp_path / "page.html", found, figures, [], 0)  # without a warning
    (tmp_path / "manifest.tsv").write_text(HEADER + "a.mp3\t4\tthe cat\tx\ttrain\n")
    found = read_rows([tmp_path / "manifest.tsv"], None, english_bigrams(), 1)
    assert set(summarise(found, [])["tokens"]["counts"]) == {"th", "e", "space", "ca", "t"}


def test_a_corpus_of_noise_has_a_page(tmp_path: Path, cache: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    (tmp_path / "manifest.tsv").write_text(HEADER + "a.wav\t1\t\t\ttrain\n")
    path = tmp_path / "page.html"
    assert cli.main(["data", "stats", str(tmp_path / "manifest.tsv"), "-o", str(path)]) == 0
    found = Page(path.read_text())
    assert "speakers unknown" in found.text
    assert "There are none." in found.text


# ---- The cache and the command


def test_a_second_call_reads_only_what_is_new(
    corpus: Path, tmp_path: Path, cached: Path, monkeypatch: pytest.MonkeyPatch, made: Any
) -> None:
    shutil.copytree(cached, tmp_path / "cache")
    monkeypatch.setenv("DS2EDGE_CACHE", str(tmp_path / "cache"))
    (store,) = (tmp_path / "cache" / "statistics").rglob("*.jsonl")
    text = store.read_text()
    store.write_text(text[:-30])  # a kill cut the last line off
    read: list[str] = []

    class Here:
        """In place of processes."""

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def in_order(_: object, work: Any, paths: list[Path], __: str) -> Any:
        for path in paths:
            read.append(path.name)
            yield work(path)

    monkeypatch.setattr(gather, "worker_processes", lambda _: Here())
    monkeypatch.setattr(gather, "in_order", in_order)
    utterances = read_manifest(corpus / "manifest.tsv")
    first = gather.gather(utterances)
    assert read == ["shared.wav", "broken.wav", "nowhere.wav"]
    read.clear()
    assert gather.gather(utterances) == first
    assert read == ["broken.wav", "nowhere.wav"]
    time = (corpus / "05.flac").stat().st_mtime_ns
    os.utime(corpus / "05.flac", ns=(time + 1, time + 1))
    read.clear()
    assert gather.gather(utterances) == first
    assert read == ["05.flac", "broken.wav", "nowhere.wav"]


def test_summary_in_the_terminal(
    corpus: Path,
    tmp_path: Path,
    cached: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    made: Any,
) -> None:
    monkeypatch.setenv("DS2EDGE_CACHE", str(cached))
    monkeypatch.setattr(page, "write_page", lambda *_: None)
    command = ["data", "stats", str(corpus / "manifest.tsv"), "-o", str(tmp_path / "page.html")]
    assert cli.main([*command, "--strange", "0"]) == 0
    said = capfd.readouterr().out
    assert "train and test share 1 speaker, 1 text\n" in said
    assert "2 recordings are not readable; of the first: " in said
    assert "5 recordings are strange\n" in said
    assert "1 recording is there more than once\n" in said
    assert cli.main([*command, "--strange", "0", "--split", "test"]) == 0
    assert "train" not in capfd.readouterr().out.replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/none.tsv", "-o", "{tmp}/x.html"], "cannot read manifest"),
        (["{tmp}/broken.tsv", "-o", "{tmp}/x.html"], "none of 1 recordings can be read; of the"),
        (["{tmp}/shards.tsv", "-o", "{tmp}/x.html"], "is one of shards; give the manifest of the"),
        (["{tmp}/none.tsv", "-o", "{tmp}/no/x.html"], "there is no folder"),
        (["{tmp}/none.tsv", "-o", "{tmp}/x.html", "--strange", "999"], "--strange needs 0 to 60"),
        (["{tmp}/none.tsv", "-o", "{tmp}/x.html", "--jobs", "0"], "--jobs 1 or more"),
    ],
)
def test_bad_use_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    cache: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.tsv").write_text(HEADER + "no.wav\t1\tword\tx\ttrain\n")
    head = HEADER.rstrip("\n") + "\tshard\trecord\n"
    (tmp_path / "shards.tsv").write_text(head + "a.wav\t1\tword\tx\ttrain\ta.tfrecord\t0\n")
    assert cli.main(["data", "stats", *(a.format(tmp=tmp_path) for a in arguments)]) == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert error.startswith("ds2edge: ")
    assert message in error
    assert not (tmp_path / "x.html").exists()


def test_help_has_examples(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["data", "stats", "--help"])
    assert "ds2edge data stats speech/librispeech/manifest.tsv -o" in capfd.readouterr().out
