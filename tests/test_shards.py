"""TFRecord shards: the same training as from files; what is damaged is named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import RECORDINGS
from tiny_training import HEADER

from ds2edge import cli
from ds2edge.audio_file import read_audio
from ds2edge.errors import DataError
from ds2edge.features import FeatureSettings
from ds2edge.text import english_characters
from ds2edge.training.config import Corpus
from ds2edge.training.data import feature_cache, shards
from ds2edge.training.data.batches import Recordings
from ds2edge.training.data.corpora import load_recordings, read_corpora
from ds2edge.training.data.feature_cache import Change, feature_statistics
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.snapshot import data_digest

TOKENS = english_characters()
FEATURES = FeatureSettings(bins=20)
CHANGES = [Change(), Change(0.9, (-6.0, 6.0))]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings in four formats, one that is none, one that is missing; a folder of corpora."""
    folder = tmp_path_factory.mktemp("corpora") / "speech"
    folder.mkdir()
    samples = read_audio(RECORDINGS[0], 16_000)[:40_000]
    names = ["b.flac", "a.wav"]
    for name in names:
        soundfile.write(folder / name, samples, 16_000)
    for recording in RECORDINGS[:2] + RECORDINGS[-2:]:
        shutil.copy(recording, folder)
        names.append(recording.name)
    assert {Path(name).suffix for name in names} == {".flac", ".wav", ".mp3", ".opus"}
    (folder / "broken.wav").write_bytes(b"no sound")
    rows = [
        f"{name}\t{soundfile.info(folder / name).duration}\tword {chr(97 + i)}\tx\t{split}\n"
        for i, name in enumerate(names)
        for split in ("train", "dev")
    ]
    rows += ["broken.wav\t1\tword\tx\ttrain\n", "missing.wav\t1\tword\tx\ttrain\n"]
    (folder / "manifest.tsv").write_text(HEADER + "".join(rows))
    return folder.parent


@pytest.fixture(scope="module")
def sharded(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in shards; a folder of corpora."""
    folder = tmp_path_factory.mktemp("sharded")
    command = ["data", "shard", str(corpus / "speech" / "manifest.tsv")]
    assert cli.main([*command, "-o", str(folder / "speech"), "--megabytes", "0.09"]) == 0
    return folder


def load(root: Path, cache: Path) -> Recordings:
    found = read_corpora(root, [Corpus("speech")], "train", 60.0, TOKENS)
    return load_recordings(found, FEATURES, CHANGES, TOKENS, cache, 60.0)


def shard_files(root: Path) -> list[Path]:
    return sorted((root / "speech").glob("*.tfrecord"))


def test_shards_are_the_same_recordings_as_files(
    corpus: Path, sharded: Path, tmp_path: Path
) -> None:
    assert len(shard_files(sharded)) > 3
    assert {path.name.split("-")[0] for path in shard_files(sharded)} == {"dev", "train"}
    one, other = load(corpus, tmp_path / "one"), load(sharded, tmp_path / "other")
    assert data_digest(one) == data_digest(other)
    assert one.repeats.tolist() == [1] * 6 + [0]
    for a, b in zip(one.features, other.features, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
    for a, b in zip(one.utterances, other.utterances, strict=True):
        assert (a.text, a.seconds, a.speaker, a.split) == (b.text, b.seconds, b.speaker, b.split)
    statistics = [feature_statistics(r.utterances, FEATURES) for r in (one, other)]
    assert statistics[0] == statistics[1]


def test_features_of_shards_are_computed_once(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(sharded, tmp_path)
    monkeypatch.setattr(feature_cache, "write_rows", None)
    for one, other in zip(before.features, load(sharded, tmp_path).features, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)


def test_what_is_unreadable_is_told_by_shard_and_record(
    sharded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "ds2edge")
    load(sharded, tmp_path)
    assert "train: left out 1 of 7 recordings: 1 that cannot be read (first: " in caplog.text
    (line,) = [r for r in caplog.messages if "left out, that cannot be read" in r]
    assert line.startswith(f"{shard_files(sharded)[-1]}, record ")
    assert "is not a readable recording" in line


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def other_order(path: Path) -> None:
    import tensorflow as tf

    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records[::-1]:
            writer.write(record)


def one_less(path: Path) -> None:
    import tensorflow as tf

    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records[:-1]:
            writer.write(record)


def no_example(path: Path) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"\xff\xff")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damaged, r"{path}, record 0: corrupted record at \d+; delete it, and run the same"),
        (truncated, r"{path}, record 6: truncated record at \d+; delete it"),
        (other_order, r"{path}, record 0 is .*\.wav, the manifest says b.flac"),
        (one_less, r"{path} has 6 records, the manifest says that there is one with the number 6"),
        (no_example, r"{path}, record 0 is no recording"),
        (Path.unlink, r"7 without a file \(first: {path}, record 0"),
    ],
)
def test_damage_is_named_and_mended_by_the_same_command(
    corpus: Path, tmp_path: Path, spoil: Any, message: str
) -> None:
    manifest, folder = corpus / "speech" / "manifest.tsv", tmp_path / "speech"
    shards.write_shards(manifest, folder, 170_000, 1)
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    path = next(p for p in shard_files(tmp_path) if p.name.startswith("train-"))
    spoil(path)
    with pytest.raises(DataError, match=message.format(path=path)):
        load(tmp_path, tmp_path / "cache")
    path.unlink(missing_ok=True)
    others = {p: p.stat().st_mtime_ns for p in shard_files(tmp_path)}
    shards.write_shards(manifest, folder, 170_000, 1)
    assert {p: p.read_bytes() for p in folder.iterdir()} == whole
    assert {p: p.stat().st_mtime_ns for p in others} == others  # those were kept


def test_it_is_written_whole_or_not_at_all(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shards.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            shards.write_shards(corpus / "speech" / "manifest.tsv", tmp_path, 50_000, 2)
    assert not list(tmp_path.iterdir())


def test_a_changed_recording_is_another_shard(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "corpora")
    manifest = tmp_path / "corpora" / "speech" / "manifest.tsv"
    shards.write_shards(manifest, tmp_path / "speech", 10**9, 1)
    before = {u.shard for u in read_manifest(tmp_path / "speech" / "manifest.tsv")}
    os.utime(manifest.with_name("a.wav"), ns=(1, 1))
    shards.write_shards(manifest, tmp_path / "speech", 10**9, 1)
    assert not before & {u.shard for u in read_manifest(tmp_path / "speech" / "manifest.tsv")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{corpus}/manifest.tsv", "-o", "{corpus}"], "is a manifest of files, which the shards'"),
        (["{sharded}/manifest.tsv", "-o", "{tmp}"], "is one of shards already"),
        (["{tmp}/none.tsv", "-o", "{tmp}/x"], "cannot read manifest"),
        (["{corpus}/manifest.tsv", "-o", "{tmp}/x", "--megabytes", "0"], "--megabytes needs more"),
        (["{tmp}/empty.tsv", "-o", "{tmp}/x"], "none of its 1 recordings is there"),
    ],
)
def test_bad_use_is_one_line(
    corpus: Path,
    sharded: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "empty.tsv").write_text(HEADER + "a.wav\t1\tword\tx\ttrain\n")
    places = {"corpus": corpus / "speech", "sharded": sharded / "speech", "tmp": tmp_path}
    assert cli.main(["data", "shard", *(a.format(**places) for a in arguments)]) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("ds2edge: ")
    assert message in error


def test_a_manifest_without_a_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.tsv"
    path.write_text(HEADER.rstrip("\n") + "\tshard\trecord\na\t1\tword\tx\ttrain\ts.tfrecord\tx\n")
    with pytest.raises(
        DataError, match=r"line 2: shard 's.tfrecord' and record 'x', needed a file"
    ):
        read_manifest(path)


def test_help_has_examples(capfd: pytest.CaptureFixture[str]) -> None:
    for command in (["data", "--help"], ["data", "shard", "--help"]):
        with pytest.raises(SystemExit, match="0"):
            cli.main(command)
        text = capfd.readouterr().out
        assert "examples:" in text
        assert "ds2edge data shard speech/librispeech/manifest.tsv -o" in text
