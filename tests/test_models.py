"""The models of the configurations: their size, what they see, and that both backends agree."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from tiny_training import records, write_corpus

from ds2edge.errors import ConfigError
from ds2edge.features import FeatureSettings
from ds2edge.training.checkpoint import Checkpoint, assign, load_checkpoint, save_checkpoint
from ds2edge.training.checkpoint import variables as values_of
from ds2edge.training.config import (
    Convolution,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    load_config,
)
from ds2edge.training.data.batches import Batch, pad
from ds2edge.training.network.model import AcousticModel, build_model, output_lengths
from ds2edge.training.optimizer import build_optimizer
from ds2edge.training.step import build_stepper

Array = np.ndarray[Any, Any]

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
SPECTROGRAM = FeatureSettings(
    kind="log_spectrogram", window=320, fft=320, low=0.0, high=8000.0
)  # the paper's 161 bins of 20 ms


@cache
def measured(config: ModelConfig, features: FeatureSettings) -> tuple[int, tuple[int, ...]]:
    """Parameters of a model, and the shape of its output for 100 frames, without its memory."""
    with tf.Graph().as_default():  # nothing is computed in a graph that is not run
        model = AcousticModel(config, features)
        inputs = {"features": tf.zeros((1, 100, features.size)), "frames": tf.fill((1,), 100)}
        shape = tuple(model(inputs).shape)
    return sum(math.prod(v.shape) for v in model.trainable_variables), shape


def convolutions(*shapes: tuple[int, int, int], bins: int = 161) -> tuple[int, int]:
    """Parameters and outputs of the paper's 2-D stacks: channels and kernels, half of the bins."""
    count, channels = 0, 1
    for out, frequency, time in shapes:
        count += channels * frequency * time * out + 2 * out
        channels, bins = out, (bins + 1) // 2
    return count, channels * bins


TWO = convolutions((32, 41, 11), (32, 21, 11))
THREE = convolutions((32, 41, 11), (32, 21, 11), (96, 21, 11))


def recurrent(inputs: int, units: int, layers: int, gates: int = 1, directions: int = 1) -> int:
    """Input matrices, recurrent matrices, scales and shifts."""
    wide = gates * units
    per_layer = directions * units * wide + 2 * wide
    return inputs * wide + (layers - 1) * units * wide + layers * per_layer


# What the paper says, and the same by counting matrices.
PAPER = {
    "paper-arxiv": (
        100e6,
        THREE[0]
        + recurrent(THREE[1], 2128, 7, directions=2)
        + (2128 * 2128 + 2 * 2128)
        + 2129 * 29,
    ),
    "paper-icml": (
        None,
        TWO[0] + recurrent(TWO[1], 2560, 3, gates=3) + (81 + 2) * 2560 + 2561 * 29,
    ),
    "paper-mandarin": (
        None,
        TWO[0]
        + recurrent(TWO[1], 2560, 5)
        + (20 + 2) * 2560
        + (2560 * 2560 + 2 * 2560)
        + 2561 * 6790,
    ),
}


@pytest.mark.parametrize("name", PAPER)
def test_models_of_the_paper_have_its_size(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.toml")
    said, counted = PAPER[name]
    found, shape = measured(config.model, config.features)
    assert config.features.size == 161
    assert found == counted
    assert said is None or abs(found / said - 1) < 0.01
    assert shape == (1, 50, 6790 if "mandarin" in name else 29)  # 20 ms an output


@pytest.mark.parametrize(("layers", "units"), [(3, 1880), (7, 1280)])
def test_the_papers_models_of_38_million_parameters(layers: int, units: int) -> None:
    """Its table of depth; that the widths fit tells that both directions share W."""
    one = Convolution(channels=units, time=11, frequency=0, time_stride=2)
    config = ModelConfig(
        (one,), direction="both", cell="simple", layers=layers, units=units, connected=units
    )
    found, shape = measured(config, SPECTROGRAM)
    assert abs(found / 38e6 - 1) < 0.04
    assert shape == (1, 50, 29)


def test_the_papers_model_of_68_million_parameters() -> None:
    """Two convolutions and seven recurrent layers; the width is of Baidu's DeepBench."""
    config = load_config(CONFIGS / "paper-arxiv.toml").model
    config = replace(config, convolutions=config.convolutions[:2], units=1760, connected=1760)
    assert abs(measured(config, SPECTROGRAM)[0] / 68e6 - 1) < 0.01


# channels, kernel in time, its bins of frequency (0: all), strides in time; of the paper's table
STACKS = [
    [(1280, 11, 0, 2)],
    [(640, 5, 0, 1), (640, 5, 0, 2)],
    [(512, 5, 0, 1), (512, 5, 0, 1), (512, 5, 0, 2)],
    [(32, 11, 41, 2)],
    [(32, 11, 41, 2), (32, 11, 21, 1)],
    [(32, 11, 41, 2), (32, 11, 21, 1), (96, 11, 21, 1)],
]


@pytest.mark.parametrize("stack", STACKS)
def test_convolutions_of_the_paper(stack: list[tuple[int, int, int, int]]) -> None:
    layers = tuple(Convolution(c, t, f, time_stride=s) for c, t, f, s in stack)
    config = ModelConfig(layers, direction="both", cell="simple", layers=1, units=8)
    count, channels, bins = 0, 1, 161
    for out, time, frequency, _ in stack:
        count += channels * time * (frequency or bins) * out + 2 * out
        channels, bins = out, (bins + 1) // 2 if frequency else 1
    count += recurrent(channels * bins, 8, 1, directions=2) + 9 * 29
    assert measured(config, SPECTROGRAM) == (count, (1, 50, 29))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_configurations_load(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    assert config.data.train
    assert config.data.dev
    count, shape = measured(config.model, config.features)
    assert shape[1] == math.ceil(100 / config.model.time_stride)
    assert count < 110e6


@pytest.mark.parametrize(
    ("name", "least", "most"), [("small", 6e6, 8e6), ("tiny", 1e4, 1e5), ("en-forward", 3.5e6, 4e6)]
)
def test_small_models_are_small(name: str, least: float, most: float) -> None:
    config = load_config(CONFIGS / f"{name}.toml")
    assert least < measured(config.model, config.features)[0] < most


FEATURES = FeatureSettings(bins=12)
NARROW = Convolution(channels=3, time=5, frequency=3, time_stride=3)
STRIDES = {
    2: (replace(NARROW, time_stride=2), replace(NARROW, time_stride=1)),
    3: (NARROW,),
    4: (replace(NARROW, time_stride=2), replace(NARROW, frequency=0, time_stride=2)),
}


def alive(config: ModelConfig, seed: int = 1) -> AcousticModel:
    """A model whose every variable does something."""
    model = build_model(config, FEATURES)
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables + model.non_trainable_variables:
        name = variable.path.rsplit("/", 1)[-1]
        if name in ("variance", "gamma", "beta"):  # a shift up: few rectifiers are shut
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.dtype == "float32":
            value = ops.convert_to_numpy(variable)
            variable.assign(value + rng.normal(0, 0.1, variable.shape))
    return model


def recordings(*lengths: int) -> list[Array]:
    rng = np.random.default_rng(2)
    return [rng.normal(size=(n, FEATURES.size)).astype("f4") for n in lengths]


def logits(model: AcousticModel, frames: list[Array], training: bool = False) -> Array:
    batch = pad(frames, [[]] * len(frames))
    inputs = {"features": batch.features, "frames": batch.frames}
    found: Array = ops.convert_to_numpy(model(inputs, training=training))
    return found


STEPS = OptimizerConfig(
    kind="nesterov", momentum=0.9, learning_rate=0.1, warm_up=0, averaging=0.5, precision="float32"
)
TINY = """
[model]
convolutions = [{ channels = 2, time = 3, time_stride = 3, frequency_stride = 8 }]
layers = 1
units = 4
look_ahead = 1
[data]
train = [{ folder = "speech" }]
dev = [{ folder = "speech" }]
speeds = [1.0]
batch_size = 2
[optimizer]
epochs = 2
warm_up = 0
precision = "float32"
"""
SMALL = ModelConfig(STRIDES[3], layers=2, units=6, look_ahead=2, dropout=0.0)
GATED = replace(SMALL, candidate="clipped_relu", norm="input", convolutions=STRIDES[4])
KINDS = {
    "deployed": SMALL,
    "research": replace(
        SMALL, direction="both", cell="simple", connected=5, convolutions=STRIDES[2]
    ),
    "gated": replace(GATED, direction="both"),
    "gated, forward": GATED,
    "no norms": replace(SMALL, cell="simple", norm="none", connected=4, look_ahead=0),
}


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> AcousticModel:
    return alive(KINDS[request.param])


@settings(max_examples=6)
@given(lengths=st.lists(st.integers(1, 14), min_size=2, max_size=3))
def test_padding_changes_nothing(model: AcousticModel, lengths: list[int]) -> None:
    frames = recordings(*lengths)
    together = logits(model, frames)
    for one, row in zip(frames, together, strict=True):
        alone = logits(model, [one])[0]
        assert len(alone) == math.ceil(len(one) / model.config.time_stride)
        assert len(alone) == output_lengths(len(one), model.config)
        np.testing.assert_allclose(row[: len(alone)], alone, atol=1e-5)


def test_longer_padding_changes_no_loss_and_no_gradient(model: AcousticModel) -> None:
    batch = pad(recordings(40, 23), [[3, 4], [5]])
    tokens = {"tokens": batch.tokens, "lengths": batch.lengths}
    found = []
    for more in (0, 24):
        features = np.pad(batch.features, ((0, 0), (0, more), (0, 0)))
        inputs = {"features": features, "frames": batch.frames}
        with tf.GradientTape() as tape:
            loss = model.compute_loss(inputs, tokens, model(inputs, training=True))
        found.append([loss, *tape.gradient(loss, model.trainable_variables)])
    for one, other in zip(*found, strict=True):
        assert one is not None
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def changed_outputs(model: AcousticModel, frame: int, frames: int = 48) -> list[int]:
    """Outputs that are others when a frame is."""
    (recording,) = recordings(frames)
    other = recording.copy()
    other[frame] += 3
    apart = np.abs(logits(model, [other]) - logits(model, [recording])).max(axis=-1)[0]
    return [int(i) for i in np.flatnonzero(apart)]


@pytest.mark.parametrize(("stride", "look_ahead"), [(2, 0), (3, 1), (4, 3)])
def test_forward_models_see_as_far_ahead_as_they_say(stride: int, look_ahead: int) -> None:
    model = alive(replace(SMALL, convolutions=STRIDES[stride], look_ahead=look_ahead))
    for frame in (0, 27, 47):
        first = max(0, frame // stride - look_ahead)
        assert min(changed_outputs(model, frame)) == first


def test_models_of_both_directions_see_everything() -> None:
    model = alive(replace(SMALL, direction="both"))
    for frame in (0, 47):
        assert changed_outputs(model, frame) == list(range(16))


def test_states_are_those_of_every_recurrent_layer(model: AcousticModel) -> None:
    batch = pad(recordings(11, 6), [[], []])
    inputs = {"features": batch.features, "frames": batch.frames}
    found, states = model.with_states(inputs)
    np.testing.assert_array_equal(found, model(inputs))
    assert [tuple(s.shape) for s in states] == [(*found.shape[:2], 6)] * 2
    assert not np.allclose(*states)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("direction = 'back'", "model.direction"),
        ("cell = 'lstm'", "model.cell"),
        ("layers = 8", "layers needs 7 or fewer, got 8"),
        ("look_ahead = -1", "look_ahead needs 0 or more"),
        ("connected = -1", "connected needs 0 or more"),
        ("tokens = 'klingon'", "model.tokens"),
        ("convolutions = [{}, {}, {}, {}]", "three at most.* got 4"),
        ("convolutions = [{frequency = -1}]", "frequency needs 0 or more"),
        ("convolutions = [{frequency = 0}, {}]", "follows a 1-D one"),
    ],
)
def test_bad_models_are_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(f"[model]\n{text}")
    with pytest.raises(ConfigError, match=named):
        load_config(path)


def test_the_same_weights_compute_the_same_on_jax(tmp_path: Path) -> None:
    batch = pad(recordings(50, 31, 9), [[3, 4, 4, 2], [5], []])
    arrays = {name: value for name, value in asdict(batch).items() if value is not None}
    np.savez(tmp_path / "batch.npz", **arrays)
    write_corpus(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    inputs = {"features": batch.features, "frames": batch.frames}
    tokens = {"tokens": batch.tokens, "lengths": batch.lengths}
    models = {kind: alive(KINDS[kind]) for kind in ("deployed", "research", "gated")}
    for kind, model in models.items():
        config = TrainConfig(kind, features=FEATURES, model=model.config, optimizer=STEPS)
        save_checkpoint(tmp_path / f"{kind}.checkpoint", Checkpoint(config, values_of(model)))
    # Keras has one backend for the life of a process.
    program = Path(__file__).with_name("on_jax.py")
    command = [sys.executable, "-P", str(program), str(tmp_path)]
    environment = {**os.environ, "DS2EDGE_CACHE": str(tmp_path / "cache")}
    # As where there is no TensorFlow.
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError(name='tensorflow')")
    given = os.environ.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *([given] if given else [])])
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "several workers need Keras's backend tensorflow, got jax" in done.stderr
    assert len(records(tmp_path / "whole" / "steps.jsonl")) == 4
    for name in ("steps.jsonl", "history.jsonl"):
        assert records(tmp_path / "parts" / name) == records(tmp_path / "whole" / name)
    for kind, model in models.items():
        found = dict(np.load(tmp_path / f"{kind}.npz"))
        log_probs = ops.convert_to_numpy(ops.log_softmax(model(inputs)))
        for row, wanted, frames in zip(found["log_probs"], log_probs, batch.frames, strict=True):
            steps = output_lengths(int(frames), model.config)
            np.testing.assert_allclose(row[:steps], wanted[:steps], atol=1e-4)
        with tf.GradientTape() as tape:
            loss = model.compute_loss(inputs, tokens, model(inputs, training=True))
        np.testing.assert_allclose(found["loss"], loss, rtol=1e-4)
        for i, wanted in enumerate(tape.gradient(loss, model.trainable_variables)):
            np.testing.assert_allclose(found[f"gradient{i:03d}"], wanted, rtol=1e-3, atol=1e-4)
        back = load_checkpoint(tmp_path / f"{kind}.back").weights
        original = load_checkpoint(tmp_path / f"{kind}.checkpoint").weights
        for (_, one), (_, other) in zip(
            sorted(back.items()), sorted(original.items()), strict=True
        ):
            np.testing.assert_array_equal(one, other)
        if kind == "deployed":
            assign(model, original)  # what was computed since changed its running averages
            same_update(model, batch, found)


def same_update(model: AcousticModel, batch: Batch, found: dict[str, Array]) -> None:
    """An update, and the weights after it, are those of the other backend."""
    before = list(values_of(model).values())
    optimizer = build_optimizer(STEPS, [2])
    optimizer.build(model.trainable_variables)
    step = build_stepper(model, optimizer, STEPS.clip_norm)
    did = step([batch])
    for name, value in asdict(did).items():
        assert float(found[f"update_{name}"]) == pytest.approx(value, rel=1e-3), name
    changed = 0
    for i, ((name, value), old) in enumerate(zip(values_of(model).items(), before, strict=True)):
        np.testing.assert_allclose(
            found[f"after{i:03d}"], value, rtol=1e-3, atol=1e-4, err_msg=name
        )
        changed += not np.allclose(value, old, rtol=1e-3, atol=1e-4)
    assert changed > len(before) / 2
