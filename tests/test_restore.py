"""A bundle back to a checkpoint, and training that begins with another model's weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import RECORDINGS, enliven, tiny_checkpoint
from keras import ops

from ds2edge import Bundle
from ds2edge.acoustic import run_chunks
from ds2edge.audio_file import read_audio
from ds2edge.backends import load_backend
from ds2edge.cli import main
from ds2edge.convert.artefacts import Form
from ds2edge.convert.converter import Told, convert
from ds2edge.convert.parity import difference
from ds2edge.convert.restore import restore
from ds2edge.errors import DataError
from ds2edge.features import FeatureExtractor
from ds2edge.training.checkpoint import Checkpoint, assign, load_checkpoint, variables
from ds2edge.training.config import Convolution
from ds2edge.training.data.batches import Batch, pad
from ds2edge.training.evaluation.listener import model_log_probs
from ds2edge.training.network.model import AcousticModel, build_model
from ds2edge.training.network.warm_start import measure_norms, take_weights, warm_start

Frames = list[np.ndarray]


@pytest.fixture(scope="module")
def frames(tiny_bundle: Bundle) -> Frames:
    features = tiny_bundle.manifest.features
    extractor = FeatureExtractor(features, tiny_bundle.manifest.grid.chunk_frames)
    return [extractor.extract(read_audio(path, features.sample_rate)) for path in RECORDINGS[:2]]


def batch_of(frames: Frames) -> Batch:
    return pad(frames, [[]] * len(frames))


def model_of(checkpoint: Checkpoint) -> AcousticModel:
    model = build_model(checkpoint.config.model, checkpoint.config.features)
    assign(model, checkpoint.weights)
    return model


def training_logits(model: AcousticModel, batch: Batch) -> np.ndarray:
    """As a training step computes them, with the norms of the batch; without dropout."""
    for layer in model.dropouts:
        layer.rate = 0.0
    inputs = {"features": batch.features, "frames": batch.frames}
    return ops.convert_to_numpy(model(inputs, training=True))


def test_a_restored_model_computes_what_the_bundle_does(
    tiny_bundle: Bundle, frames: Frames
) -> None:
    backend = load_backend(tiny_bundle).backend
    of_bundle = [run_chunks(backend, one, tiny_bundle.manifest.grid.chunk_frames) for one in frames]
    found = difference(model_log_probs(model_of(restore(tiny_bundle)), frames), of_bundle)
    assert found.mean < 0.02  # the bundle rounds activations, too
    assert found.same_best > 0.98
    other = model_log_probs(model_of(tiny_checkpoint(seed=2)), frames)
    assert difference(other, of_bundle).mean > 0.2


def test_measured_norms_change_nothing_but_training(tiny_bundle: Bundle, frames: Frames) -> None:
    model, batch = model_of(restore(tiny_bundle)), batch_of(frames)
    before = model_log_probs(model, frames)
    evaluated = ops.convert_to_numpy(model({"features": batch.features, "frames": batch.frames}))
    assert np.abs(training_logits(model, batch) - evaluated).max() > 0.1
    model = model_of(restore(tiny_bundle))
    measure_norms(model, [batch])
    assert difference(model_log_probs(model, frames), before).largest < 1e-3
    for logits, expected, steps in zip(
        training_logits(model, batch), evaluated, batch.frames // 3, strict=True
    ):
        np.testing.assert_allclose(logits[:steps], expected[:steps], atol=1e-3)


def test_a_shorter_look_ahead_keeps_the_nearest_steps(
    checkpoint: Checkpoint, frames: Frames
) -> None:
    config = replace(checkpoint.config.model, look_ahead=3)
    model = build_model(config, checkpoint.config.features)
    warm_start(model, checkpoint, [batch_of(frames)])
    row = ops.convert_to_numpy(model_of(checkpoint).row.kernel)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.row.kernel), row[:4])


def test_both_directions_grow_out_of_one(checkpoint: Checkpoint, frames: Frames) -> None:
    config = replace(checkpoint.config.model, convolutions=(Convolution(4, 3, 5, 3, 2),))
    forward = build_model(config, checkpoint.config.features)
    enliven(forward, 3, 0.1)
    grown = build_model(replace(config, direction="both"), checkpoint.config.features)
    train_config = replace(checkpoint.config, model=config)
    take_weights(grown, Checkpoint(train_config, variables(forward)))
    steps = [one[i : i + 3] for one in frames for i in (30, 90)]
    batch = batch_of(steps)  # in a single step no direction knows what the other does not
    inputs = {"features": batch.features, "frames": batch.frames}
    for once, twice in zip(
        forward.with_states(inputs)[1], grown.with_states(inputs)[1], strict=True
    ):
        assert np.ptp(ops.convert_to_numpy(once)) > 0.1
        np.testing.assert_allclose(2 * ops.convert_to_numpy(once), twice, atol=1e-5)
    np.testing.assert_array_equal(2 * ops.convert_to_numpy(grown.head), forward.head)


def test_a_model_of_other_tokens_takes_what_hears(checkpoint: Checkpoint, frames: Frames) -> None:
    config = replace(
        checkpoint.config.model,
        tokens="english_bigrams",
        connected=8 + checkpoint.config.model.units,
    )
    model = build_model(config, checkpoint.config.features)
    fresh = ops.convert_to_numpy(model.head)
    take_weights(model, checkpoint)
    given = model_of(checkpoint)
    for mine, its in zip(
        (*model.convolutions, *model.recurrences, model.row),
        (*given.convolutions, *given.recurrences, given.row),
        strict=True,
    ):
        for one, other in zip(mine.variables, its.variables, strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(model.head, fresh)
    other = build_model(replace(config, units=32), checkpoint.config.features)
    with pytest.raises(DataError, match="to start from has"):
        take_weights(other, checkpoint)


def test_nothing_grows_out_of_a_model_that_normalises_inputs(checkpoint: Checkpoint) -> None:
    config = replace(checkpoint.config.model, norm="input")
    model = build_model(config, checkpoint.config.features)
    given = Checkpoint(replace(checkpoint.config, model=config), variables(model))
    grown = build_model(replace(config, direction="both"), checkpoint.config.features)
    with pytest.raises(DataError, match="cannot grow a way back"):
        take_weights(grown, given)


@pytest.mark.parametrize("change", [{"units": 32}, {"layers": 1}, {"look_ahead": 9}])
def test_another_model_cannot_start_from_it(
    checkpoint: Checkpoint, frames: Frames, change: dict[str, int]
) -> None:
    config = replace(checkpoint.config.model, **change)
    model = build_model(config, checkpoint.config.features)
    with pytest.raises(DataError, match="to start from has"):
        warm_start(model, checkpoint, [batch_of(frames)])


@pytest.mark.parametrize("chunk", [1, 2])
def test_short_chunks_are_restored(checkpoint: Checkpoint, tmp_path: Path, chunk: int) -> None:
    form = Form(("fp32",), chunk_outputs=chunk, batches=(1,))
    bundle = convert(checkpoint, tmp_path / "short", Told("short"), form)
    frames = [np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)]
    found = model_log_probs(model_of(restore(bundle)), frames)
    assert difference(found, model_log_probs(model_of(checkpoint), frames)).largest < 1e-3


def test_the_command(tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "start.npz"
    assert main(["restore", str(tiny_bundle.folder), "-o", str(out)]) == 0
    assert load_checkpoint(out).config.model == restore(tiny_bundle).config.model
    assert str(out) in capsys.readouterr().out


def test_a_bundle_of_another_graph_is_refused(tiny_bundle: Bundle) -> None:
    training = json.loads(json.dumps(tiny_bundle.manifest.training))
    training["config"]["model"]["layers"] = 3
    other = replace(tiny_bundle, manifest=replace(tiny_bundle.manifest, training=training))
    with pytest.raises(DataError, match="not a step graph of its configuration"):
        restore(other)
    without = replace(tiny_bundle, manifest=replace(tiny_bundle.manifest, training={}))
    with pytest.raises(DataError, match="does not hold the configuration"):
        restore(without)
