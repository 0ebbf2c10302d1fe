"""Damaged TFLite files are refused before a runtime sees them."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import FORMAT_3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ds2edge.bundle import load_bundle
from ds2edge.errors import BackendError
from ds2edge.runtimes.tflite_file import MODEL_BUFFERS, _Table, check_tflite_file


@pytest.fixture(scope="module")
def models() -> list[Path]:
    """An embedded model, and small ones of both kinds of weights."""
    small, embedded = load_bundle(FORMAT_3).folder, load_bundle("en").folder
    return [embedded / "int8.tflite", small / "int8.tflite", small / "fp32.tflite"]


def test_whole_files_pass(models: list[Path]) -> None:
    for model in models:
        check_tflite_file(model)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.9))
def test_truncated_ones_are_refused(models: list[Path], tmp_path: Path, share: float) -> None:
    """The last bytes may be padding, or a name that nothing reads."""
    for model in models[1:]:
        content = model.read_bytes()
        part = tmp_path / "part.tflite"
        part.write_bytes(content[: int(share * len(content))])
        with pytest.raises(BackendError, match=r"part\.tflite is not a whole TFLite model"):
            check_tflite_file(part)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_ones_are_refused_or_read(
    models: list[Path], tmp_path: Path, data: st.DataObject
) -> None:
    """Whatever a file points at: no other exception, and an end."""
    content = bytearray(models[1].read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(content)
    with suppress(BackendError):
        check_tflite_file(changed)
    assert changed.read_bytes() == bytes(content)


def test_weights_that_reach_beyond_the_end_are_refused(models: list[Path], tmp_path: Path) -> None:
    content = bytearray(models[1].read_bytes())
    model = _Table(bytes(content), *struct.unpack_from("<I", content))
    begin, length = max(
        (buffer.vector(0, 1) for buffer in model.tables(MODEL_BUFFERS)), key=lambda found: found[1]
    )
    assert struct.unpack_from("<I", content, begin - 4) == (length,)
    struct.pack_into("<I", content, begin - 4, len(content))
    longer = tmp_path / "longer.tflite"
    longer.write_bytes(content)
    with pytest.raises(BackendError, match=r"it has \d+ bytes, needed \d+"):
        check_tflite_file(longer)
