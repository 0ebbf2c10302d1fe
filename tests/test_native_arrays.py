"""What native code does to many small arrays: against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ds2edge._native import join, mono, peak, stack, unstack

FLOATS = st.floats(-4, 4, width=32)
PIECES = st.lists(st.integers(0, 20).flatmap(lambda n: arrays(np.float32, n, elements=FLOATS)))


@given(pieces=PIECES)
def test_join(pieces: list[np.ndarray[Any, Any]]) -> None:
    joined = join(pieces)
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined, np.concatenate([np.zeros(0, np.float32), *pieces]))
    assert all(not np.shares_memory(joined, piece) for piece in pieces)


@given(
    dtype=st.sampled_from(["int16", "int32", "float32", "float64"]),
    shape=st.sampled_from([(0,), (1,), (7,), (7, 1), (5, 2), (0, 3)]),
    step=st.sampled_from([1, 2, -1]),
    seed=st.integers(0, 99),
)
def test_mono(dtype: str, shape: tuple[int, ...], step: int, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(size=shape) * 20_000
    array = samples.astype(dtype)[::step]
    columns = [array] if array.ndim == 1 else list(array.T)
    expected = columns[0].astype(np.float32)
    for column in columns[1:]:
        expected = expected + column.astype(np.float32)
    np.testing.assert_array_equal(mono(array, 0.3), expected * np.float32(0.3))


def test_mono_of_samples_that_lie_anywhere() -> None:
    samples = np.arange(9, dtype=np.int16)
    anywhere = np.frombuffer(b"x" + samples.tobytes(), np.uint8)[1:].view(np.int16)
    np.testing.assert_array_equal(mono(anywhere, 1.0), samples.astype(np.float32))


@pytest.mark.parametrize(
    ("samples", "error"),
    [
        (np.zeros(3, np.int8), TypeError),
        (np.zeros(3, ">i2"), TypeError),
        (np.zeros((1, 1, 1), np.float32), ValueError),
        (np.zeros((), np.float32), ValueError),
    ],
)
def test_mono_refuses_the_rest(samples: np.ndarray[Any, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        mono(samples, 1.0)


@given(samples=arrays(np.float32, st.integers(0, 40), elements=FLOATS))
def test_peak(samples: np.ndarray[Any, Any]) -> None:
    assert peak(samples) == np.abs(samples).max(initial=0)


@given(count=st.integers(0, 5), spare=st.integers(0, 2), length=st.integers(0, 6))
def test_stack_and_back(count: int, spare: int, length: int) -> None:
    rows = [np.full((1, length, 2), i + 1, np.float32) for i in range(count)]
    stacked = np.zeros((count + spare, length, 2), np.float32)
    stack(rows, stacked)
    np.testing.assert_array_equal(stacked[:count], np.array(rows).reshape(count, length, 2))
    assert not stacked[count:].any()
    back = unstack(stacked, count)
    assert len(back) == count
    for row, again in zip(rows, back, strict=True):
        np.testing.assert_array_equal(row, again)
        assert not np.shares_memory(again, stacked)


def test_shorter_rows_leave_the_rest_as_it_is() -> None:
    stacked = np.full((2, 3), 9, np.float32)
    stack([np.array([1], np.float32), np.array([2, 3], np.float32)], stacked)
    assert stacked.tolist() == [[1, 9, 9], [2, 3, 9]]


def test_what_does_not_fit_is_refused() -> None:
    stacked = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="too few rows"):
        stack([stacked[0]] * 3, stacked)
    with pytest.raises(ValueError, match="too long"):
        stack([np.zeros(4, np.float32)], stacked)
    with pytest.raises(ValueError, match="too few rows"):
        unstack(stacked, 3)
    with pytest.raises(TypeError):  # a copy of it would be filled, and lost
        stack([stacked[0]], stacked.astype(np.float64))
