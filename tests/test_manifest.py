"""Manifests: bad rows are named with file and line, bad recordings are left out with a report."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_training import HEADER

from ds2edge.errors import ConfigError, DataError
from ds2edge.features import FeatureSettings
from ds2edge.text import english_characters
from ds2edge.training.config import Corpus, ModelConfig
from ds2edge.training.data.batches import Recordings
from ds2edge.training.data.corpora import load_recordings, read_corpora, unknown_characters
from ds2edge.training.data.feature_cache import Change, feature_statistics
from ds2edge.training.data.manifest import read_manifest

TOKENS = english_characters()
FEATURES = FeatureSettings(bins=20)
RATE = 16_000


def write_manifest(folder: Path, *rows: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.tsv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return path


def sound(path: Path, seconds: float, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).normal(size=round(seconds * rate)) * 0.1
    soundfile.write(path, samples, rate, format="WAV")


def load(
    root: Path,
    *corpora: str,
    changes: tuple[Change, ...] = (Change(),),
    silent: int = 0,
) -> Recordings:
    found = read_corpora(root, [Corpus(name) for name in corpora], "train", 20.0, TOKENS)
    model = ModelConfig(silent=silent)
    return load_recordings(found, FEATURES, changes, TOKENS, root / "cache", 20.0, model)


def used(recordings: Recordings) -> list[str]:
    pairs = zip(recordings.utterances, recordings.repeats, strict=True)
    return [utterance.path.name for utterance, repeats in pairs if repeats]


# ---- the table


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav\tlong\ttext\tx\ttrain", "line 3: seconds is 'long', needed a number"),
        ("a.wav\t\ttext\tx\ttrain", "line 3: seconds is ''"),
        ("a.wav\tnan\ttext\tx\ttrain", "line 3: seconds is 'nan'"),
        ("a.wav\t-1\ttext\tx\ttrain", "line 3: seconds is '-1'"),
        ("\t1.0\ttext\tx\ttrain", "line 3: no path"),
        ("a.wav\t1.0\ttext", "line 3: more or fewer columns than the header"),
        ("a.wav\t1.0\ta\ttab\tx\ttrain", "line 3: more or fewer columns than the header"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    path = write_manifest(tmp_path, "good.wav\t1.0\ttext\tx\ttrain", row)
    with pytest.raises(DataError) as caught:
        read_manifest(path, "train")
    assert str(caught.value).startswith(f"{path}, {message}")


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "a.wav\t1\ta\tx\ttrain", "", "b.wav\t1\tb\tx\ttrain")
    assert [u.where for u in read_manifest(path)] == [f"{path}, line 2", f"{path}, line 4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path\tseconds\ttext\n", "lacks the column(s) speaker, split"),
        (b"", "lacks the column(s) path"),
        (HEADER.encode() + b"a.wav\t1\t\xff\tx\ttrain\n", "is no table of UTF-8 text"),
        (HEADER.encode() + b"a.wav\t1\t" + b"a" * 200_000 + b"\tx\ttrain\n", "is no table"),
        (HEADER.encode() + b"a.wav\t1\ta\tx\ttest\n", "no recording of split 'train'; it has ['t"),
    ],
)
def test_a_file_that_is_no_manifest(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "manifest.tsv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_manifest(tmp_path / "manifest.tsv", "train")
    assert str(tmp_path / "manifest.tsv") in str(caught.value)
    assert message in str(caught.value)


def test_a_manifest_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    text = "\ufeff" + (HEADER + "a.wav\t1.5\tone\tx\ttrain\n").replace("\n", "\r\n")
    (tmp_path / "manifest.tsv").write_bytes(text.encode())
    (utterance,) = read_manifest(tmp_path / "manifest.tsv", "train")
    assert (utterance.path, utterance.seconds) == (tmp_path / "a.wav", 1.5)
    assert (utterance.text, utterance.split) == ("one", "train")


# ---- what it promises


def test_what_cannot_be_used_is_left_out_with_file_and_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ds2edge")
    for name in ("good", "empty_text", "digits", "long_text", "promised"):
        sound(tmp_path / "speech" / f"{name}.wav", 1.0)
    sound(tmp_path / "speech" / "telephone.wav", 1.0, rate=8_000)
    sound(tmp_path / "speech" / "none.wav", 0.0)
    (tmp_path / "speech" / "text.wav").write_text("no sound\n")
    sound(tmp_path / "speech" / "cut.wav", 3.0)
    sound(tmp_path / "speech" / "half.wav", 4.0)  # its header claims another rate
    path = write_manifest(
        tmp_path / "speech",
        "good.wav\t1.0\tgood\tx\ttrain",
        "telephone.wav\t1.0\tanother rate is fine\tx\ttrain",
        "missing.wav\t1.0\tmissing\tx\ttrain",
        "empty_text.wav\t1.0\t...\tx\ttrain",
        "digits.wav\t1.0\tat 3 o'clock, größer\tx\ttrain",
        "long_text.wav\t1.0\t" + "much too long a text " * 9 + "\tx\ttrain",
        "none.wav\t1.0\tno samples\tx\ttrain",
        "text.wav\t1.0\tno sound\tx\ttrain",
        "cut.wav\t20.0\tcut\tx\ttrain",
        "promised.wav\t21.0\tlong\tx\ttrain",
        "missing.wav\t1.0\ttwice\tx\ttrain",
        "half.wav\t8.0\thalf\tx\ttrain",
    )
    assert used(load(tmp_path, "speech")) == ["good.wav", "telephone.wav"]

    (warning,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert warning == (
        f"train: left out 10 of 12 recordings: 2 without a file (first: {path}, line 4); "
        f"2 that cannot be read (first: {path}, line 8); "
        f"2 not as long as the manifest says (first: {path}, line 10); "
        f"1 without text (first: {path}, line 5); "
        f"1 that cannot be spelled (first: {path}, line 6); "
        f"1 longer than 20 s (first: {path}, line 11); "
        f"1 too short for its text (first: {path}, line 7); "
        "unknown characters: '3' 1 times, 'ß' 1 times"
    )
    details = [r.message for r in caplog.records if r.levelno == logging.DEBUG]
    assert sorted(int(d.split(", line ")[1].split(":")[0]) for d in details) == [*range(4, 14)]
    for detail in (
        f"{path}, line 8: left out, that cannot be read: {tmp_path}/speech/none.wav has 0 samples",
        f"{path}, line 7: left out, too short for its text: 188 tokens in 34 steps",
    ):
        assert detail in details
    assert "20.00 s in the manifest, 3.00 s in the recording" in caplog.text

    caplog.clear()
    load(tmp_path, "speech")  # now the features come from the cache
    assert warning in caplog.messages


def test_texts_have_room_after_the_silent_steps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ds2edge")
    for name in ("short", "long"):
        sound(tmp_path / "speech" / f"{name}.wav", 0.5 if name == "short" else 1.0)
    rows = ("short.wav\t0.5\tabcdefghij\tx\ttrain", "long.wav\t1.0\tabcdefghij\tx\ttrain")
    path = write_manifest(tmp_path / "speech", *rows)
    assert used(load(tmp_path, "speech")) == ["short.wav", "long.wav"]
    assert used(load(tmp_path, "speech", silent=8)) == ["long.wav"]
    assert f"{path}, line 2: left out, too short for its text: 10 tokens in 9 steps" in caplog.text


def test_a_recording_that_was_mended_is_read_anew(tmp_path: Path) -> None:
    sound(tmp_path / "speech" / "good.wav", 1.0)
    (tmp_path / "speech" / "bad.wav").write_text("no sound\n")
    rows = ("good.wav\t1.0\tgood\tx\ttrain", "bad.wav\t1.0\tbad\tx\ttrain")
    write_manifest(tmp_path / "speech", *rows)
    assert used(load(tmp_path, "speech")) == ["good.wav"]
    sound(tmp_path / "speech" / "bad.wav", 1.0)
    assert used(load(tmp_path, "speech")) == ["good.wav", "bad.wav"]


def test_a_recording_that_was_made_louder_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "speech" / "a.wav"
    sound(path, 1.0)
    write_manifest(tmp_path / "speech", "a.wav\t1.0\tgood\tx\ttrain")
    (before,) = load(tmp_path, "speech").features
    samples, rate = soundfile.read(path)
    size = path.stat().st_size
    soundfile.write(path, samples * 4, rate, format="WAV")
    assert path.stat().st_size == size
    (after,) = load(tmp_path, "speech").features
    assert not np.array_equal(before.frames, after.frames)


@pytest.mark.parametrize(
    ("seconds", "why"),
    [(None, "is not a readable recording"), (0.01, "shorter than 400")],
)
def test_statistics_of_nothing_are_refused(tmp_path: Path, seconds: float | None, why: str) -> None:
    path = tmp_path / "speech" / "a.wav"
    if seconds:
        sound(path, seconds)
    else:
        path.parent.mkdir()
        path.write_text("no sound\n")
    manifest = write_manifest(tmp_path / "speech", "a.wav\t0.01\ta\tx\ttrain")
    with pytest.raises(
        DataError, match=rf"none can be used; of the first, {manifest}, line 2: .*{why}"
    ):
        feature_statistics(read_manifest(manifest), FEATURES)


def test_what_a_killed_process_had_begun_is_removed(tmp_path: Path) -> None:
    sound(tmp_path / "speech" / "a.wav", 1.0)
    write_manifest(tmp_path / "speech", "a.wav\t1.0\tgood\tx\ttrain")
    (tmp_path / "cache").mkdir()
    begun = tmp_path / "cache" / "a.frames.npy.1.part"
    begun.write_bytes(b"begun")
    load(tmp_path, "speech")
    assert not begun.exists()


def test_a_corpus_without_any_text_is_noise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("noise", "speech"):
        sound(tmp_path / name / "a.wav", 1.0)
        text = "" if name == "noise" else "words"
        write_manifest(tmp_path / name, f"a.wav\t1.0\t{text}\tx\ttrain")
    recordings = load(tmp_path, "speech", "noise")
    assert used(recordings) == ["a.wav", "a.wav"]
    assert [len(tokens) for tokens in recordings.tokens] == [5, 0]
    assert not caplog.messages


def test_a_text_has_to_fit_at_the_highest_speed(tmp_path: Path) -> None:
    text = "ab" * 15  # 30 tokens, 34 steps at normal speed
    sound(tmp_path / "speech" / "a.wav", 1.0)
    sound(tmp_path / "speech" / "b.wav", 1.0)
    rows = (f"a.wav\t1.0\t{text}\tx\ttrain", "b.wav\t1.0\tshort\tx\ttrain")
    write_manifest(tmp_path / "speech", *rows)
    assert used(load(tmp_path, "speech")) == ["a.wav", "b.wav"]
    faster = (Change(), Change(speed=1.5))
    assert used(load(tmp_path, "speech", changes=faster)) == ["b.wav"]


def test_a_manifest_of_which_nothing_can_be_used_is_an_error(tmp_path: Path) -> None:
    sound(tmp_path / "speech" / "a.wav", 1.0)
    write_manifest(tmp_path / "speech", "a.wav\t1.0\tgood\tx\ttrain")
    gone = write_manifest(tmp_path / "gone", "a.wav\t1.0\tgone\tx\ttrain")
    with pytest.raises(DataError, match=r"has no recording that can be used: 1 without a file"):
        load(tmp_path, "speech", "gone")
    (gone.parent / "a.wav").write_text("no sound\n")
    with pytest.raises(DataError, match=rf"^{gone} has no .*: 1 that cannot be read \(first: "):
        load(tmp_path, "speech", "gone")


def test_there_has_to_be_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"names no corpus in data.dev"):
        read_corpora(tmp_path, [], "dev", 20.0, TOKENS)


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("Well -- it's «fine», Señor!", ""),
        ("3 cats, 21%", "321"),
        ("naïve straße", "ß"),
        ("你好", "你好"),
    ],
)
def test_letters_and_digits_that_cannot_be_spelled(text: str, unknown: str) -> None:
    assert "".join(unknown_characters(text, TOKENS)) == unknown
