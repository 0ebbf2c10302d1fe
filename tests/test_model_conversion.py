"""Which models have a step graph: that of every forward GRU is the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import tiny_checkpoint
from keras import ops

from ds2edge.convert.converter import convert_model
from ds2edge.convert.parity import FLOAT_LIMIT, graph_log_probs
from ds2edge.convert.step_graph import build_step_graph
from ds2edge.errors import ConfigError
from ds2edge.training.config import Convolution, ModelConfig
from ds2edge.training.evaluation.listener import model_log_probs
from ds2edge.training.network.model import build_model

NARROW = Convolution(channels=4, time=5, frequency=3, time_stride=2)


@pytest.mark.parametrize(
    "config",
    [
        # Two strides in time: what lies beyond the end goes through both.
        ModelConfig((NARROW, NARROW), layers=1, units=8, look_ahead=3),
        ModelConfig((replace(NARROW, frequency=0),), layers=1, units=8, look_ahead=1, norm="none"),
    ],
    ids=["stride 4", "1-D, no norms"],
)
def test_step_graph_is_the_model(config: ModelConfig) -> None:
    features = tiny_checkpoint(seed=1).config.features
    model, rng = build_model(config, features), np.random.default_rng(3)
    for variable in model.trainable_variables:
        value = ops.convert_to_numpy(variable)
        variable.assign(value + rng.normal(0.1, 0.1, value.shape))
    recordings = [rng.normal(size=(n, features.size)).astype("f4") for n in (1, 29, 31, 50)]
    converted = convert_model(model)
    found = graph_log_probs(converted.float32, converted.grid, recordings)
    for one, other in zip(found, model_log_probs(model, recordings), strict=True):
        np.testing.assert_allclose(one, other, atol=FLOAT_LIMIT)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"direction": "both"}, "ds2edge distill"),
        ({"cell": "simple"}, "cell = 'simple' .* needed 'gru'"),
        ({"candidate": "clipped_relu"}, "candidate = 'clipped_relu' .* needed 'tanh'"),
        ({"connected": 9}, "connected = 9 .* needed 0"),
        ({"norm": "input"}, 'norm = "input"'),
        ({"look_ahead": 0}, "look_ahead = 0"),
    ],
)
def test_models_without_a_step_graph_are_named(change: dict[str, Any], named: str) -> None:
    checkpoint = tiny_checkpoint(seed=1)
    config = replace(checkpoint.config.model, layers=1, units=8, **change)
    with pytest.raises(ConfigError, match=named):
        build_step_graph(build_model(config, checkpoint.config.features), 4)
