"""Bundles: verified when loaded, and clear about what is wrong."""

from __future__ import annotations

import errno
import json
import math
import shutil
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ds2edge import Bundle, Transcriber, load_bundle
from ds2edge.bundle import MANIFEST, pack_bundle, write_bundle
from ds2edge.cli import main as cli
from ds2edge.decoder import Confidence, SearchOptions
from ds2edge.errors import BundleError

MODELS = dict.fromkeys(("int8.tflite", "fp32.tflite", "check.npz"), "0")
WEIGHTS = [field.name for field in fields(Confidence)]


@pytest.fixture
def folder(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the tiny bundle to damage."""
    return Path(shutil.copytree(tiny_bundle.folder, tmp_path / "bundle"))


@pytest.fixture
def archive(tiny_bundle: Bundle, tmp_path: Path, cache: Path) -> Path:
    return pack_bundle(tiny_bundle, tmp_path / "tiny.ds2")


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(reference: Path | str) -> str:
    """The message of the refusal, which the command line gives as one line with exit code 2."""
    with pytest.raises(BundleError) as raised:
        Transcriber(reference)
    assert cli(["info", "--bundle", str(reference)]) == 2
    return str(raised.value)


def test_the_embedded_bundle_is_whole_and_small() -> None:
    bundle = load_bundle("en")
    assert bundle.size <= 25e6
    assert bundle.words
    assert {"MODEL_CARD.md", "LICENSE.txt"} <= set(bundle.manifest.members)
    assert bundle.manifest.accuracy["test"]["language_model"]["wer"] > 0


def test_what_is_written_is_read(folder: Path) -> None:
    old = load_bundle(folder)
    weights = Confidence(1.0, -2.0, 3.0, 0.5, 0.25, 0.125, 4.0)
    manifest = replace(
        old.manifest,
        decoder=SearchOptions(beam=7, alpha=0.3, unknown=math.inf),
        delay=0.12,
        confidence={"language_model": weights},
    )
    members = {name: (folder / name).read_bytes() for name in manifest.members}
    assert write_bundle(folder, manifest, members).manifest == manifest
    json.loads((folder / MANIFEST).read_text(), parse_constant=pytest.fail)  # plain JSON


def test_the_manifest_sets_times_and_confidences(speech: np.ndarray) -> None:
    bundle = load_bundle("en")
    assert bundle.manifest.delay > 0
    plain = replace(bundle, manifest=replace(bundle.manifest, delay=0.0, confidence={}))
    fitted, bare = (Transcriber(one).transcribe(speech, 16_000).words for one in (bundle, plain))
    assert [word.text for word in fitted] == [word.text for word in bare]
    assert len(fitted) > 5
    for one, other in zip(fitted, bare, strict=True):
        assert one.start == pytest.approx(max(other.start - bundle.manifest.delay, 0.0))
        assert one.confidence != other.confidence


@pytest.mark.parametrize("position", [0.0, 0.5, 1.0])
def test_one_changed_byte_of_any_member_is_found(folder: Path, position: float) -> None:
    for name in load_bundle(folder).manifest.members:
        path = folder / name
        content = bytearray(path.read_bytes())
        at = int(position * (len(content) - 1))
        content[at] ^= 1
        path.write_bytes(content)
        message = refusal(folder)
        assert name in message
        assert "SHA-256" in message
        content[at] ^= 1
        path.write_bytes(content)
    load_bundle(folder)


def test_a_missing_or_truncated_member_is_named(folder: Path) -> None:
    for name in load_bundle(folder).manifest.members:
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        assert name in refusal(folder)
        (folder / name).write_bytes(content[:-1])
        assert name in refusal(folder)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"format": 999}, "upgrade ds2edge"),
        ({"format": None}, "format is None"),
        ({"tokens": ["a"]}, "token 0"),
        ({"grid": {"chunk_frames": 7, "time_stride": 3, "look_ahead": 1}}, "step grid"),
        ({"grid": {"chunk": 7}}, "malformed"),
        ({"features": {"kind": "mfcc"}}, "mfcc"),
        ({"grid": {"chunk_frames": "12", "time_stride": 3, "look_ahead": 1}}, "grid.chunk_frames"),
        ({"grid": {"chunk_frames": 12, "time_stride": 3, "look_ahead": -1}}, "step grid"),
        ({"decoder": {"beam": "wide"}}, "decoder.beam"),
        ({"decoder": {"alpha": 1e30}}, "alpha"),
        ({"delay": -0.1}, "delay must be 0 to 5"),
        ({"delay": math.nan}, "delay must be 0 to 5"),
        ({"confidence": {"letters": {"bias": 1.0}}}, "malformed"),
        ({"confidence": {"letters": dict.fromkeys(WEIGHTS, math.inf)}}, "finite number"),
        ({"tokens": "abc"}, "tokens"),
        ({"language_model": ["tokens"]}, "language_model"),
        ({"members": {"int8.tflite": 5}}, "members"),
        ({"tokens": ["<blank>", "a"], "language_model": {}}, "not of one conversion"),
        ({"members": {}}, "lists no check.npz"),
        ({"members": {"check.npz": "0"}}, "lists no int8.tflite"),
        ({"artefacts": []}, "lists no model"),
        ({"artefacts": [{"file": "int8.tflite", "weights": "int3"}]}, "weights"),
        ({"artefacts": [{"file": "int8.tflite", "weights": "int8", "batches": [2]}]}, "batches"),
        ({"members": {"../x": "0", **MODELS}}, "plain file name"),
        ({"language_model": {"tokens": "of another set"}}, "made for the token set"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    folder: Path, changes: dict[str, Any], named: str
) -> None:
    change_manifest(folder, **changes)
    assert named in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_broken_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    assert MANIFEST in refusal(folder)


def test_no_bundle_names_what_there_is(tmp_path: Path) -> None:
    assert "en" in refusal(tmp_path / "none")
    assert "not a bundle" in refusal(tmp_path)


def test_an_archive_is_the_same_bundle_and_unpacked_once(
    tiny_bundle: Bundle, archive: Path, cache: Path
) -> None:
    first = load_bundle(archive)
    assert first.manifest == tiny_bundle.manifest
    assert first.folder.is_relative_to(cache)
    modified = (first.folder / "int8.tflite").stat().st_mtime_ns
    assert load_bundle(archive).folder == first.folder
    assert (first.folder / "int8.tflite").stat().st_mtime_ns == modified
    Transcriber(archive)


def test_packing_is_reproducible(tiny_bundle: Bundle, archive: Path, tmp_path: Path) -> None:
    assert pack_bundle(tiny_bundle, tmp_path / "again.ds2").read_bytes() == archive.read_bytes()


def test_an_unwritable_cache_costs_only_speed(
    tiny_bundle: Bundle, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS2EDGE_CACHE", "/dev/null/cache")
    assert load_bundle(archive).manifest.name == tiny_bundle.manifest.name


def test_a_full_disk_costs_only_speed(
    tiny_bundle: Bundle, archive: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.is_relative_to(cache):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert load_bundle(archive).manifest.name == tiny_bundle.manifest.name
    assert not list((cache / "bundles").iterdir())


def test_a_damaged_cached_copy_is_unpacked_again(
    tiny_bundle: Bundle, archive: Path, cache: Path
) -> None:
    model = load_bundle(archive).folder / "int8.tflite"
    model.write_bytes(b"damaged")
    assert load_bundle(archive).manifest.name == tiny_bundle.manifest.name
    assert model.read_bytes() != b"damaged"


def test_a_damaged_archive_is_refused_and_not_kept(archive: Path, cache: Path) -> None:
    content = archive.read_bytes()
    for damaged in (b"", b"PK", content[: len(content) // 2], b"x" * 1000):
        archive.write_bytes(damaged)
        assert "tiny.ds2" in refusal(archive)
    assert not list((cache / "bundles").glob("*"))


def test_an_archive_cannot_write_elsewhere(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "evil.ds2"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../evil.txt", "x")
    assert "evil.txt" in refusal(path)
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize("name", ["recordings", "recordings/a.wav"])
def test_what_is_no_bundle_is_not_replaced(tiny_bundle: Bundle, tmp_path: Path, name: str) -> None:
    kept = tmp_path / "recordings" / "a.wav"
    kept.parent.mkdir()
    kept.write_bytes(b"sound")
    with pytest.raises(BundleError, match="would be lost"):
        write_bundle(tmp_path / name, tiny_bundle.manifest, {})
    assert kept.read_bytes() == b"sound"
    (tmp_path / "empty").mkdir()
    members = {name: tiny_bundle.folder / name for name in tiny_bundle.manifest.members}
    assert write_bundle(tmp_path / "empty", tiny_bundle.manifest, dict(members)).size


def test_writing_replaces_a_bundle_as_a_whole(tiny_bundle: Bundle, folder: Path) -> None:
    members: dict[str, bytes | Path] = {
        name: tiny_bundle.folder / name for name in tiny_bundle.manifest.members
    }
    write_bundle(folder, tiny_bundle.manifest, {**members, "leftover": b"of an older bundle"})
    written = write_bundle(folder, tiny_bundle.manifest, members)
    assert written.manifest == tiny_bundle.manifest
    assert not (folder / "leftover").exists()
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_other_files_in_a_bundles_folder_are_not_lost(tiny_bundle: Bundle, folder: Path) -> None:
    members: dict[str, bytes | Path] = {
        name: tiny_bundle.folder / name for name in tiny_bundle.manifest.members
    }
    (folder / "thesis.txt").write_text("dear")
    with pytest.raises(BundleError, match=r"has thesis\.txt, which is not the bundle's, and would"):
        write_bundle(folder, tiny_bundle.manifest, members)
    assert (folder / "thesis.txt").read_text() == "dear"
    assert load_bundle(folder).manifest.name == tiny_bundle.manifest.name


def test_a_replacement_that_fails_leaves_the_old_one(
    tiny_bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(errno.EIO, "broken")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    members: dict[str, bytes | Path] = {
        name: tiny_bundle.folder / name for name in tiny_bundle.manifest.members
    }
    with pytest.raises(OSError, match="broken"):
        write_bundle(folder, tiny_bundle.manifest, members)
    assert load_bundle(folder).manifest == tiny_bundle.manifest


def damaged_checks() -> dict[str, bytes]:
    """Test chunks that are none, by name."""
    import io

    def stored(**arrays: Any) -> bytes:
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()

    frames, log_probs = np.zeros((30, 20), np.float32), np.zeros((10, 29), np.float32)
    whole = stored(features=frames, log_probs=log_probs)
    alone = io.BytesIO()
    np.save(alone, frames)
    return {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "one array": alone.getvalue(),
        "without an answer": stored(features=frames),
        "flat": stored(features=frames[0], log_probs=log_probs),
        "no rows": stored(features=frames[:0], log_probs=log_probs),
        "strings": stored(features=frames.astype(str), log_probs=log_probs),
        "a number": stored(features=np.float32(1), log_probs=log_probs),
    }


@pytest.mark.parametrize("name", damaged_checks())
def test_a_test_chunk_that_is_none_is_refused(
    tiny_bundle: Bundle, tmp_path: Path, name: str
) -> None:
    members: dict[str, bytes | Path] = {
        member: tiny_bundle.folder / member for member in tiny_bundle.manifest.members
    }
    members["check.npz"] = damaged_checks()[name]
    bundle = write_bundle(tmp_path / "bundle", tiny_bundle.manifest, members)
    assert "check.npz" in refusal(bundle.folder)


def test_without_a_home_the_cache_is_as_if_unwritable(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("DS2EDGE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert Transcriber(tiny_bundle).info()["backend"]["device"] == "cpu"
