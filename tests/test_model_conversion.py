"""Every model that can be trained can be converted: what is deployed computes the same."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import enliven
from tensorflow.lite.python.schema_py_generated import BuiltinOperator
from tensorflow.lite.tools import flatbuffer_utils

from ds2edge.acoustic import run_chunks
from ds2edge.backends import as_backend
from ds2edge.bundle import StepGrid
from ds2edge.convert.layer_graph import layer_graph_to_tflite
from ds2edge.convert.parity import check_gate, difference
from ds2edge.convert.quantise import to_float16, to_int8
from ds2edge.convert.step_graph import build_step_graph, to_tflite
from ds2edge.decoder import LogProbs
from ds2edge.errors import BundleError
from ds2edge.features import FeatureSettings
from ds2edge.runtimes.interpreter import InterpreterRuntime, load_litert
from ds2edge.runtimes.runtime import Tensors
from ds2edge.training.config import CONFIGS, Convolution, ModelConfig, load_config
from ds2edge.training.evaluation.listener import model_log_probs
from ds2edge.training.network.model import AcousticModel, build_model
from ds2edge.training.train import next_step
from ds2edge.whole import WholeRecording

CHUNK = 3  # steps of a chunk
LONG = 497  # frames; ends within a step of any stride, and of two strides
CLOSE = 1e-4  # of any log-probability
NARROW = Convolution(channels=4, time=5, frequency=3, time_stride=2)
STRIDES = (NARROW, replace(NARROW, time=3, time_stride=1), replace(NARROW, frequency=0))
WIDE = 256  # outputs of each layer of `Idle`
LOUD = 12.0  # times as loud: what a rectifier clips is clipped

Case = tuple[ModelConfig, FeatureSettings]


def shrunk(config: ModelConfig) -> ModelConfig:
    """The same form with few channels, units and layers."""
    return replace(
        config,
        convolutions=tuple(replace(c, channels=4) for c in config.convolutions),
        layers=min(config.layers, 2),
        units=12,
        connected=min(config.connected, 9),
    )


def cases() -> Iterator[tuple[str, Case]]:
    for path in sorted(CONFIGS.glob("*.toml")):
        config = load_config(path.stem)
        yield path.stem, (shrunk(config.model), config.features)
    small = ModelConfig((NARROW, replace(NARROW, time_stride=1)), layers=2, units=8, look_ahead=2)
    both = replace(small, direction="both")
    forms = {
        "no look-ahead, norm of the input, connected, bigrams": replace(
            small, look_ahead=0, norm="input", connected=7, tokens="english_bigrams"
        ),
        "1-D, no norm, simple": replace(
            small, convolutions=(replace(NARROW, frequency=0),), norm="none", cell="simple"
        ),
        "stride 4, rectified candidate, norm of the input, more tokens": replace(
            small,
            convolutions=STRIDES,
            candidate="clipped_relu",
            norm="input",
            extra_tokens=("é", "7"),
        ),
        "both ways, stride 4, rectified candidate, no norm": replace(
            both, convolutions=STRIDES, candidate="clipped_relu", norm="none"
        ),
        "both ways, 1-D without a past, norm of the input, connected": replace(
            both, convolutions=(Convolution(4, 2, 0, 2),), norm="input", connected=7
        ),
    }
    for name, form in forms.items():
        yield name, (form, FeatureSettings(bins=20))


CASES = dict(cases())


@dataclass(frozen=True)
class Converted:
    """A model, how it answers, and its float graph."""

    model: AcousticModel
    recordings: list[np.ndarray[Any, Any]]
    expected: list[LogProbs]
    content: bytes

    def log_probs(self, content: bytes, folder: Path) -> list[LogProbs]:
        """What a graph of this model answers, in a stream if it can run on one."""
        runtime, config = loaded(content, folder), self.model.config
        chunk = CHUNK * config.time_stride
        grid = StepGrid(chunk, config.time_stride, config.look_ahead)
        backend = as_backend("whole" if self.model.both else "stream", runtime, grid)
        return [run_chunks(backend, frames, chunk) for frames in self.recordings]


def loaded(content: bytes, folder: Path) -> InterpreterRuntime:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return load_litert(path)


def lively_model(config: ModelConfig, features: FeatureSettings) -> AcousticModel:
    """A model whose every weight does something, those of batch norms too."""
    model = build_model(config, features)
    enliven(model, 3, 0.05)
    return model


@cache
def converted_case(name: str) -> Converted:
    config, features = CASES[name]
    model, rng = lively_model(config, features), np.random.default_rng(4)
    # Around the ends of chunks, of strides and of the look-ahead; and one with many outputs.
    chunk, late = CHUNK * config.time_stride, config.look_ahead * config.time_stride
    lengths = (1, chunk - 1, chunk, chunk + 1, 2 * chunk, late + 1, late + 4 * chunk + 2, LONG)
    recordings = [rng.normal(size=(n, features.size)).astype("f4") for n in lengths]
    recordings.append(recordings[-2] * LOUD)
    if model.both:
        content = layer_graph_to_tflite(model, CHUNK)
    else:
        content = to_tflite(build_step_graph(model, CHUNK))
    return Converted(model, recordings, model_log_probs(model, recordings), content)


@pytest.fixture(params=CASES)
def converted(request: pytest.FixtureRequest) -> Converted:
    return converted_case(request.param)


@pytest.fixture
def research(tmp_path: Path) -> WholeRecording:
    """A model of both directions, loaded."""
    return WholeRecording(loaded(converted_case("small").content, tmp_path))


def test_converted_model_is_the_model(converted: Converted, tmp_path: Path) -> None:
    found = converted.log_probs(converted.content, tmp_path)
    for one, other in zip(found, converted.expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=CLOSE)


def test_smaller_weights_pass_the_gate(converted: Converted, tmp_path: Path) -> None:
    kinds = {"fp32": bytes, "fp16": to_float16, "int8": to_int8}
    apart = {}
    for name, smaller in kinds.items():
        found = converted.log_probs(smaller(converted.content), tmp_path)
        apart[name] = difference(found, converted.expected)
        check_gate(name, apart[name])
    assert apart["fp32"].mean < apart["fp16"].mean < apart["int8"].mean


def test_graphs_have_fixed_shapes_and_known_operators(converted: Converted) -> None:
    file = flatbuffer_utils.convert_bytearray_to_object(bytearray(converted.content))
    assert not any(code.customCode for code in file.operatorCodes)
    loops = {BuiltinOperator.WHILE, BuiltinOperator.IF, BuiltinOperator.CUSTOM}
    assert loops.isdisjoint(code.builtinCode for code in file.operatorCodes)
    for graph in file.subgraphs:
        for tensor in graph.tensors:
            shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
            assert np.all(np.array(shape) > 0)


def test_whole_recording_is_cut_in_any_way(research: WholeRecording) -> None:
    frames = np.random.default_rng(5).normal(size=(100, 64)).astype("f4")
    whole = run_chunks(research, frames, 102)
    assert whole.shape == (34, 29)
    for chunk in (3, 12, 48):
        np.testing.assert_array_equal(run_chunks(research, frames, chunk), whole)


def test_frames_are_kept_until_the_end(research: WholeRecording) -> None:
    """The caller may use its array again; what is held is counted."""
    state, frames = research.start(), np.ones((12, 64), "f4")
    assert research.step(state, frames).shape == (0, 29)
    frames[:] = 7
    assert research.step(state, np.ones((5, 64))).shape == (0, 29)
    assert (state.nbytes, state.steps) == (17 * 64 * 4, 6)
    found = research.flush(state)
    np.testing.assert_array_equal(found, run_chunks(research, np.ones((17, 64), "f4"), 18))
    assert (state.nbytes, state.emitted) == (0, 6)


def test_nothing_was_said(research: WholeRecording) -> None:
    found = run_chunks(research, np.zeros((0, 64), "f4"), 12)
    assert (found.shape, found.dtype) == ((0, 29), np.float32)


def test_two_layers_of_a_recording_are_held_at_most() -> None:
    steps, backend = 4096, WholeRecording(Idle())
    state = backend.start()
    for _ in range(steps // 64):
        backend.step(state, np.zeros((64, 1), "f4"))
    tracemalloc.start()
    try:
        assert backend.flush(state).shape == (steps, WIDE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.2 * steps * WIDE * 4


class Idle:
    """A runtime of a layer graph whose layers are all as wide and give zeros."""

    description = "idle"
    signatures = (
        *("convolution0", "convolution1", "kernel0", "recurrent0", "recurrent_back0"),
        *("kernel1", "recurrent1", "recurrent_back1", "connected", "head"),
    )

    def shapes(self, signature: str) -> dict[str, tuple[int, ...]]:
        if signature == "convolution0":
            return {"frames": (1, 16, 1, 1)}
        if signature == "convolution1":
            return {"before": (1, 1, WIDE, 1), "frames": (1, 16, WIDE, 1)}
        state = {"state": (1, WIDE)} if "recurrent" in signature else {}
        return {"steps": (16, WIDE), **state}

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        assert {name: x.shape for name, x in inputs.items()} == self.shapes(signature)
        shape = (1, 16, WIDE, 1) if "convolution" in signature else (16, WIDE)
        return {"steps": np.zeros(shape, "f4"), "state": np.zeros((1, WIDE), "f4")}


def test_step_graph_is_no_layer_graph(tmp_path: Path) -> None:
    runtime = loaded(converted_case("tiny").content, tmp_path)
    with pytest.raises(BundleError, match=r"no layer graph.*got flush, step"):
        WholeRecording(runtime)


def test_trained_model_says_what_it_is_good_for() -> None:
    forward, both = (
        next_step(ModelConfig(direction=d), Path("m.npz")) for d in ("forward", "both")
    )
    assert forward == "to use it: ds2edge convert m.npz -o BUNDLE"
    assert both.startswith(forward)
    assert "ds2edge distill" in both
