"""Auxiliary CTC losses: outputs of inner layers that training has and what is kept has not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from tiny_training import lively, records, tiny_config, write_corpus

from ds2edge.training.checkpoint import assign, load_checkpoint
from ds2edge.training.config import AuxiliaryConfig, TrainConfig
from ds2edge.training.data.batches import Batch, pad
from ds2edge.training.loop import train
from ds2edge.training.network.intermediate import AuxiliaryModel, build_objective
from ds2edge.training.network.model import AcousticModel, build_model
from ds2edge.training.step import inputs, targets
from ds2edge.training.train import prepare


def two_layers(epochs: int, *layers: int, weight: float = 0.25) -> TrainConfig:
    config = lively(tiny_config(epochs))
    model = replace(config.model, layers=2, dropout=0.0)
    return replace(config, model=model, auxiliary=AuxiliaryConfig(layers, weight))


def built(config: TrainConfig) -> tuple[AcousticModel, AuxiliaryModel]:
    keras.utils.set_random_seed(5)
    model = build_model(config.model, config.features)
    return model, build_objective(model, config.auxiliary)


def batch(config: TrainConfig) -> Batch:
    rng = np.random.default_rng(7)
    frames = [rng.normal(size=(n, config.features.size)).astype("f4") for n in (60, 45)]
    return pad(frames, [[1, 2, 3], [4, 4]])


def test_the_loss_is_the_weighted_one_of_all_outputs() -> None:
    config = two_layers(1, 1, 2)
    model, objective = built(config)
    one = batch(config)
    logits, *inner = objective(inputs(one))
    assert len(inner) == 2
    np.testing.assert_allclose(logits, model(inputs(one)), atol=1e-5)
    losses = [model.compute_loss(inputs(one), targets(one), each) for each in (logits, *inner)]
    wanted = 0.75 * losses[0] + 0.25 * (losses[1] + losses[2]) / 2
    found = objective.compute_loss(inputs(one), targets(one), [logits, *inner])
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)


def test_an_inner_output_is_a_layer_on_the_states_of_its_recurrence() -> None:
    config = two_layers(1, 1)
    model, objective = built(config)
    one = batch(config)
    _, inner = objective(inputs(one))
    _, states = model.with_states(inputs(one))
    ((head, bias),) = objective.heads
    more = np.arange(bias.shape[0])
    bias.assign(more)
    _, shifted = objective(inputs(one))
    np.testing.assert_allclose(inner, ops.matmul(states[0], head), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shifted, inner + more, rtol=1e-4, atol=1e-5)


def test_without_layers_the_model_itself_is_trained() -> None:
    model, objective = built(two_layers(1))
    assert objective is model


def test_what_is_kept_is_the_model_alone(cache: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    config = two_layers(1, 1)
    train(prepare(config, corpus, tmp_path / "run"))
    kept = load_checkpoint(tmp_path / "run" / "best.npz")
    assign(build_model(config.model, kept.config.features), kept.weights)
    last = load_checkpoint(tmp_path / "run" / "last.npz")
    of_model = [name for name in last.training if name.startswith("model/")]
    assert len(of_model) == len(kept.weights) + 2
    steps = records(tmp_path / "run" / "steps.jsonl")
    train(prepare(config, corpus, tmp_path / "run"))  # nothing is left to do: it is taken up whole
    assert records(tmp_path / "run" / "steps.jsonl") == steps
