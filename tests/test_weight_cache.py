"""Packed weights on disk: they cost speed at most, never correctness."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import RECORDINGS

from ds2edge import Bundle
from ds2edge.acoustic import run_chunks
from ds2edge.audio_file import read_audio
from ds2edge.backends import load_backend
from ds2edge.options import BackendOptions
from ds2edge.pipeline import load_pipeline
from ds2edge.runtimes import weight_cache as module
from ds2edge.runtimes.litert import litert_name
from ds2edge.runtimes.weight_cache import IN_MEMORY, weight_cache

FRAMES = np.random.default_rng(0).normal(size=(100, 20)).astype(np.float32)
CHILD = """
import sys
import numpy as np
from ds2edge.bundle import load_bundle
from ds2edge.pipeline import load_pipeline

pipeline = load_pipeline(load_bundle(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
samples = np.load(sys.argv[2])
pipeline = load_pipeline(load_bundle(sys.argv[1]))
np.save(sys.argv[3], pipeline.log_probs(samples))
"""


@pytest.fixture(autouse=True)
def own_cache(cache: Path) -> Path:
    return cache / "weights"


def answer(bundle: Bundle) -> np.ndarray:
    backend = load_backend(bundle, BackendOptions(backend="litert")).backend
    return run_chunks(backend, FRAMES, bundle.manifest.grid.chunk_frames)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


@pytest.fixture
def expected(tiny_bundle: Bundle) -> np.ndarray:
    """As it is without a cache: the interpreter's, which has none."""
    options = BackendOptions(backend="litert-interpreter")
    backend = load_backend(tiny_bundle, options).backend
    return run_chunks(backend, FRAMES, tiny_bundle.manifest.grid.chunk_frames)


def test_the_second_load_uses_what_the_first_kept(
    tiny_bundle: Bundle, own_cache: Path, expected: np.ndarray
) -> None:
    np.testing.assert_array_equal(answer(tiny_bundle), expected)
    (kept,) = files(own_cache)
    content = kept.read_bytes()
    with weight_cache(tiny_bundle.folder / "int8.tflite", "another runtime") as other:
        assert other != str(kept)
    np.testing.assert_array_equal(answer(tiny_bundle), expected)
    assert files(own_cache) == [kept]
    assert kept.read_bytes() == content


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty"])
def test_a_damaged_file_is_made_anew(
    tiny_bundle: Bundle, own_cache: Path, expected: np.ndarray, damage: str
) -> None:
    answer(tiny_bundle)
    (kept,) = files(own_cache)
    content = kept.read_bytes()
    changed = bytearray(content)
    changed[len(content) // 2] ^= 0xFF
    damaged = {"truncated": content[: len(content) // 2], "changed": bytes(changed), "empty": b""}
    kept.write_bytes(damaged[damage])
    np.testing.assert_array_equal(answer(tiny_bundle), expected)
    assert [file.read_bytes() for file in files(own_cache)] == [content]


def test_another_models_file_is_not_used(
    tiny_bundle: Bundle, own_cache: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    """XNNPACK would compute with those weights: they were packed for the same graph."""
    answer(tiny_bundle)
    (mine,) = files(own_cache)
    other = tmp_path / "other.tflite"
    other.write_bytes((tiny_bundle.folder / "int8.tflite").read_bytes() + b"\0")
    with weight_cache(other, litert_name()) as path:
        assert path != str(mine)


@pytest.mark.parametrize("trouble", ["a file in its place", "no room", "not ours to write"])
def test_a_folder_that_cannot_be_written_costs_only_speed(
    tiny_bundle: Bundle,
    own_cache: Path,
    expected: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    own_cache.parent.mkdir(parents=True, exist_ok=True)
    if trouble == "a file in its place":
        own_cache.write_text("in the way")
    else:
        number = {"no room": 28, "not ours to write": 13}[trouble]  # ENOSPC, EACCES

        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(module.tempfile, "NamedTemporaryFile", refuse)
    np.testing.assert_array_equal(answer(tiny_bundle), expected)
    np.testing.assert_array_equal(answer(tiny_bundle), expected)


def test_where_there_is_no_memory_file_xnnpack_keeps_it_in_memory(
    tiny_bundle: Bundle, own_cache: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with weight_cache(tiny_bundle.folder / "int8.tflite", "x") as path:
        assert path == IN_MEMORY
    np.testing.assert_array_equal(answer(tiny_bundle), expected)
    assert files(own_cache) == []


def test_only_those_used_last_are_kept(own_cache: Path) -> None:
    for i in range(module.KEPT + 3):
        module._keep(own_cache, f"model{i:02d}", bytes([i]))
        os.utime(files(own_cache)[-1], (i, i))
    assert [file.name[:7] for file in files(own_cache)] == [
        f"model{i:02d}" for i in range(3, module.KEPT + 3)
    ]


def test_ten_processes_start_at_once_on_a_cold_cache(
    tiny_bundle: Bundle, own_cache: Path, tmp_path: Path
) -> None:
    samples = read_audio(RECORDINGS[0], tiny_bundle.manifest.features.sample_rate)
    np.save(tmp_path / "samples.npy", samples)
    (tmp_path / "child.py").write_text(CHILD)
    command = [sys.executable, "-P", str(tmp_path / "child.py"), str(tiny_bundle.folder)]
    children = [
        subprocess.Popen(
            [*command, str(tmp_path / "samples.npy"), str(tmp_path / f"{i}.npy")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(10)
    ]
    for child in children:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
    shutil.rmtree(own_cache)
    for child in children:
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [(child.communicate()[1], child.returncode) for child in children] == [("", 0)] * 10
    expected = load_pipeline(tiny_bundle).log_probs(samples)
    for i in range(10):
        np.testing.assert_array_equal(np.load(tmp_path / f"{i}.npy"), expected)
    assert len(files(own_cache)) == 1
