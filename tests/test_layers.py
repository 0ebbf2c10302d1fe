"""Every layer and loop against its definition in NumPy, and its gradient against TensorFlow's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from ds2edge.training.network.layers import (
    CausalConvolution,
    CentredConvolution,
    Connected,
    Recurrence,
    RowConvolution,
    SequenceBatchNorm,
    SequenceConvolution,
)
from ds2edge.training.network.recurrent import gru, simple

Array = np.ndarray[Any, Any]

CELLS = [("simple", "tanh"), ("gru", "tanh"), ("gru", "clipped_relu")]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def clipped(x: Array) -> Array:
    return np.clip(x, 0, 20)


def reference(cell: str, candidate: str, x: Array, kernel: Array, reverse: bool = False) -> Array:
    """The recurrence of one recording by its definition; x: shape = (steps, gates)."""
    hidden, units = np.zeros(len(kernel)), len(kernel)
    states = np.zeros((len(x), units))
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        recurrent = hidden @ kernel
        if cell == "simple":
            hidden = clipped(x[t] + recurrent)
        else:
            update, reset = np.split(sigmoid((x[t] + recurrent)[: 2 * units]), 2)
            new = x[t, 2 * units :] + reset * recurrent[2 * units :]
            new = np.tanh(new) if candidate == "tanh" else clipped(new)
            hidden = update * hidden + (1 - update) * new
        states[t] = hidden
    return states


def run(cell: str, candidate: str, reverse: bool) -> Callable[..., Any]:
    def states(x: Any, initial: Any, kernel: Any) -> Any:
        by_time = ops.transpose(x, (1, 0, 2))
        if cell == "simple":
            found = simple(by_time, initial, kernel, reverse)
        else:
            found = gru(by_time, initial, kernel, candidate, reverse)
        return ops.transpose(found, (1, 0, 2))

    return states


def gates(cell: str, units: int) -> int:
    return units if cell == "simple" else 3 * units


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("cell", "candidate"), CELLS)
@settings(max_examples=8)
@given(batch=st.integers(1, 3), steps=st.integers(1, 8), units=st.integers(1, 5))
def test_recurrence_is_its_definition(
    cell: str, candidate: str, reverse: bool, batch: int, steps: int, units: int
) -> None:
    rng = np.random.default_rng(batch + 10 * steps + 100 * units)
    x = rng.normal(0, 10, size=(batch, steps, gates(cell, units))).astype("f4")  # some clip at 20
    kernel = rng.normal(size=(units, gates(cell, units))).astype("f4")
    found = run(cell, candidate, reverse)(x, np.zeros((batch, units), "f4"), kernel)
    wanted = [reference(cell, candidate, row, kernel, reverse) for row in x]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def unrolled(cell: str, candidate: str, reverse: bool) -> Callable[..., Any]:
    """The definition in TensorFlow's operations, which it can differentiate."""

    def states(x: Any, hidden: Any, kernel: Any) -> Any:
        units, found = kernel.shape[0], []
        for t in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
            recurrent = hidden @ kernel
            if cell == "simple":
                hidden = tf.clip_by_value(x[:, t] + recurrent, 0, 20)
            else:
                both = tf.sigmoid((x[:, t] + recurrent)[:, : 2 * units])
                update, reset = both[:, :units], both[:, units:]
                new = x[:, t, 2 * units :] + reset * recurrent[:, 2 * units :]
                new = tf.tanh(new) if candidate == "tanh" else tf.clip_by_value(new, 0, 20)
                hidden = update * hidden + (1 - update) * new
            found.append(hidden)
        return tf.stack(found[::-1] if reverse else found, axis=1)

    return states


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("cell", "candidate"), CELLS)
def test_gradients_are_those_of_the_definition(cell: str, candidate: str, reverse: bool) -> None:
    rng = np.random.default_rng(1)
    shapes = [(3, 7, gates(cell, 5)), (3, 5), (5, gates(cell, 5))]
    values = [rng.normal(0, 3, size=shape).astype("f4") for shape in shapes]
    values[1] = np.abs(values[1])
    weights = rng.normal(size=(3, 7, 5)).astype("f4")
    results = []
    for function in (run(cell, candidate, reverse), unrolled(cell, candidate, reverse)):
        tensors = [tf.constant(value) for value in values]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            states = function(*tensors)
            loss = tf.reduce_sum(states * weights)
        results.append([states, *tape.gradient(loss, tensors)])
    if candidate == "clipped_relu" or cell == "simple":
        assert (np.asarray(results[0][0]) >= 19).any()  # the clip is met
    for found, wanted in zip(*results, strict=True):
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def filled(layer: Any, seed: int, *shape: int | None) -> Any:
    """The layer with variables that all do something."""
    layer.build(shape)
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        low, high = (0.5, 1.5) if variable.path.endswith(("variance", "gamma")) else (-0.7, 0.7)
        variable.assign(rng.uniform(low, high, variable.shape))
    return layer


def value(variable: Any) -> Array:
    return np.asarray(ops.convert_to_numpy(variable), np.float64)


def affine(norm: Any, x: Array) -> Array:
    """A batch norm with its running statistics, or the bias in its place."""
    if not hasattr(norm, "gamma"):
        return x + value(norm.bias)
    scale = value(norm.gamma) / np.sqrt(value(norm.variance) + norm.epsilon)
    return (x - value(norm.mean)) * scale + value(norm.beta)


def input_term(layer: Any, x: Array) -> Array:
    if layer.normalises_input:
        return affine(layer.norm, x) @ value(layer.kernel) + value(layer.bias)
    return affine(layer.norm, x @ value(layer.kernel))


def padded(lengths: list[int], width: int, seed: int) -> tuple[Array, Array]:
    """Recordings with large numbers beyond their end, and the mask."""
    x = np.full((len(lengths), max(lengths), width), 1e3, "f4")
    mask = np.zeros(x.shape[:2], "f4")
    rng = np.random.default_rng(seed)
    for i, length in enumerate(lengths):
        x[i, :length] = rng.normal(size=(length, width))
        mask[i, :length] = 1
    return x, mask


LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@pytest.mark.parametrize("norm", ["term", "input", "none"])
@pytest.mark.parametrize(("cell", "candidate"), CELLS)
@settings(max_examples=6)
@given(lengths=LENGTHS, both=st.booleans())
def test_each_direction_runs_over_the_recording_and_nothing_else(
    norm: str, cell: str, candidate: str, lengths: list[int], both: bool
) -> None:
    layer = filled(Recurrence(4, "float32", cell, candidate, norm, both), 2, None, None, 3)
    x, mask = padded(lengths, 3, seed=3)
    found = ops.convert_to_numpy(layer(x, mask))
    for row, one, length in zip(found, x, lengths, strict=True):
        term = input_term(layer, one[:length])
        wanted = reference(cell, candidate, term, value(layer.recurrent))
        if both:
            wanted += reference(cell, candidate, term, value(layer.recurrent_back), reverse=True)
        np.testing.assert_allclose(row[:length], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["term", "input", "none"])
def test_connected_layer_is_its_definition(norm: str) -> None:
    layer = filled(Connected(5, "float32", norm), 4, None, None, 3)
    x, mask = padded([6, 4], 3, seed=5)
    x[0] *= 30  # some clip at 20
    found = ops.convert_to_numpy(layer(x, mask))
    assert found[0].max() == 20
    np.testing.assert_allclose(found[0], clipped(input_term(layer, x[0])), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inner", [(), (5,)])
def test_a_norm_s_gradients_are_those_of_its_definition(inner: tuple[int, ...]) -> None:
    layer = filled(SequenceBatchNorm(), 5, None, None, *inner, 3)
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, (2, 6, *inner, 3)).astype("f4")
    mask = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]], "f4")
    upstream = rng.normal(size=x.shape).astype("f4")

    def definition(x: Any, mask: Any) -> Any:
        inside = tf.boolean_mask(x, mask)
        axes = list(range(len(inside.shape) - 1))
        mean, variance = tf.nn.moments(inside, axes)
        return (x - mean) / tf.sqrt(variance + layer.epsilon) * layer.gamma + layer.beta

    results = []
    for function in (lambda x, mask: layer(x, mask, training=True), definition):
        tensor, weights = tf.constant(x), [layer.gamma.value, layer.beta.value]
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            found = function(tensor, tf.constant(mask))
        results.append([found, *tape.gradient(found, [tensor, *weights], upstream)])
    for one, other in zip(*results, strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@settings(max_examples=15)
@given(lengths=LENGTHS)
def test_training_normalises_by_the_valid_inputs(lengths: list[int]) -> None:
    layer = filled(Connected(5, "float32", "input"), 6, None, None, 3)
    x, mask = padded(lengths, 3, seed=7)
    found = ops.convert_to_numpy(layer(x, mask, training=True))[mask > 0]
    valid = x[mask > 0].astype(np.float64)
    scale = value(layer.norm.gamma) / np.sqrt(valid.var(axis=0) + layer.norm.epsilon)
    normed = (valid - valid.mean(axis=0)) * scale + value(layer.norm.beta)
    wanted = clipped(normed @ value(layer.kernel) + value(layer.bias))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def convolved(layer: SequenceConvolution, x: Array, before: int) -> Array:
    """A convolution of one recording by its definition; x: shape = (frames, bins, channels)."""
    kernel, stride = value(layer.kernel), layer.frequency_stride
    bins = -(-x.shape[1] // stride)
    below = max((bins - 1) * stride + layer.frequency - x.shape[1], 0) // 2
    steps = -(-len(x) // layer.time_stride)
    y = np.zeros((steps, bins, layer.channels))
    for step, bin_ in np.ndindex(steps, bins):
        for j, f in np.ndindex(layer.time, layer.frequency):
            t, b = step * layer.time_stride - before + j, bin_ * stride - below + f
            if 0 <= t < len(x) and 0 <= b < x.shape[1]:
                y[step, bin_] += x[t, b] @ kernel[j, f]
    return clipped(affine(layer.norm, y))


@settings(max_examples=40)
@given(
    frames=st.integers(1, 9),
    time=st.integers(1, 6),
    time_stride=st.integers(1, 4),
    frequency=st.sampled_from([1, 2, 3, 4, 5, 6, 6]),
    frequency_stride=st.sampled_from([1, 2, 3, 6]),  # 6 is all of it
    centred=st.booleans(),
    norm=st.sampled_from(["term", "none"]),
)
def test_convolution_is_its_definition(
    frames: int,
    time: int,
    time_stride: int,
    frequency: int,
    frequency_stride: int,
    centred: bool,
    norm: str,
) -> None:
    time = max(time, time_stride)
    kind = CentredConvolution if centred else CausalConvolution
    layer = kind(2, time, frequency, time_stride, frequency_stride, "float32", norm)
    filled(layer, 8, None, None, 6, 2)
    x = np.random.default_rng(9).normal(0, 5, size=(1, frames, 6, 2)).astype("f4")
    found = ops.convert_to_numpy(layer(x, np.ones((1, -(-frames // time_stride)), "f4")))
    # Frames seen that are not the step's own: all before it, or half of them after it.
    before = (time - time_stride) // 2 if centred else time - time_stride
    np.testing.assert_allclose(found[0], convolved(layer, x[0], before), rtol=1e-4, atol=1e-4)


def test_kernel_of_all_bins_is_a_convolution_over_time() -> None:
    layer = filled(CausalConvolution(3, 4, 6, 2, 6, "float32"), 10, None, None, 6, 1)
    x = np.random.default_rng(11).normal(size=(1, 8, 6, 1)).astype("f4")
    found = ops.convert_to_numpy(layer(x, np.ones((1, 4), "f4")))
    kernel, padded_x = value(layer.kernel)[:, :, 0], np.pad(x[0, :, :, 0], ((2, 0), (0, 0)))
    windows = np.stack([padded_x[t : t + 4] for t in (0, 2, 4, 6)])
    wanted = clipped(affine(layer.norm, np.einsum("tjb,jbc->tc", windows, kernel)))
    assert found.shape == (1, 4, 1, 3)
    np.testing.assert_allclose(found[0, :, 0], wanted, rtol=1e-4, atol=1e-5)


def test_kernel_of_many_bins_asks_for_no_gigabytes() -> None:
    """In a process of its own: what others had asked for before would hide it."""
    code = """
import numpy as np
from ds2edge.training.network.layers import CausalConvolution

layer = CausalConvolution(256, 9, 191, 3, 191, "float32")
layer(np.zeros((8, 600, 191, 1), "f4"), np.ones((8, 200), "f4"))
print(next(line for line in open("/proc/self/status") if line.startswith("VmPeak")).split()[1])
"""
    command = [sys.executable, "-Pc", code]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert int(said.split()[-1]) < 8e6  # kB


def test_row_convolution_without_look_ahead_sees_the_present_step_only() -> None:
    layer = filled(RowConvolution(0), 12, None, None, 3)
    x, mask = padded([5, 2], 3, seed=13)
    found = ops.convert_to_numpy(layer(x, mask))
    np.testing.assert_allclose(found, x * mask[:, :, None] * value(layer.kernel)[0], rtol=1e-5)
