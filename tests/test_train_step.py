"""Updates of the weights: optimisers, schedules, clipping, several batches as one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from ds2edge.training.config import OptimizerConfig
from ds2edge.training.data.batches import Batch, pad
from ds2edge.training.network.loss import ctc_loss
from ds2edge.training.optimizer import build_optimizer, build_schedule
from ds2edge.training.step import build_stepper, clip, few

BINS, TOKENS = 5, 7


class WithoutNorm(keras.Model):
    """Frames to logits; nothing in it depends on what else is in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = keras.layers.Dense(6, "tanh"), keras.layers.Dense(TOKENS)

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        return self.out(self.hidden(inputs["features"]))

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any) -> Any:
        losses = ctc_loss(y_pred, x["frames"], y["tokens"], y["lengths"])
        return ops.sum(losses) / ops.cast(ops.sum(y["lengths"]) + ops.shape(losses)[0], "float32")


def model_and_optimizer(config: OptimizerConfig) -> tuple[Any, Any]:
    keras.utils.set_random_seed(3)
    model = WithoutNorm()
    model({"features": np.zeros((1, 2, BINS), "f4"), "frames": np.array([2], "i4")})
    optimizer = build_optimizer(config, [4, 4])
    optimizer.build(model.trainable_variables)
    return model, optimizer


def batch(*lengths: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng([seed, *lengths])
    frames = [rng.normal(size=(n, BINS)).astype("f4") for n in lengths]
    texts = [rng.integers(1, TOKENS, size=n // 4).tolist() for n in lengths]
    return pad(frames, texts)


def joined(a: Batch, b: Batch) -> Batch:
    """The recordings of two batches in one."""
    frames = [f[:n] for one in (a, b) for f, n in zip(one.features, one.frames, strict=True)]
    texts = [t[:n].tolist() for one in (a, b) for t, n in zip(one.tokens, one.lengths, strict=True)]
    return pad(frames, texts)


def weights(model: Any) -> list[np.ndarray]:
    return [ops.convert_to_numpy(v) for v in model.trainable_variables]


@pytest.mark.parametrize("kind", ["adamw", "nesterov"])
def test_batches_together_are_one_large_batch(kind: str) -> None:
    config = OptimizerConfig(kind=kind, learning_rate=0.05, warm_up=0, clip_norm=1.0)
    apart, together = model_and_optimizer(config), model_and_optimizer(config)
    in_parts = build_stepper(*apart, config.clip_norm)
    as_one = build_stepper(*together, config.clip_norm)
    for seed in range(3):  # batches of different size and length
        one, other = batch(30, 40, 35, seed=seed), batch(9, 12, seed=seed)
        parts, whole = in_parts([one, other]), as_one([joined(one, other)])
        assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
        assert parts.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-4)
    for a, b in zip(weights(apart[0]), weights(together[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert not np.allclose(weights(apart[0])[0], weights(model_and_optimizer(config)[0])[0])


def test_nesterov_is_momentum_that_looks_ahead() -> None:
    config = OptimizerConfig(
        kind="nesterov",
        momentum=0.9,
        learning_rate=0.1,
        schedule="anneal",
        warm_up=0,
        weight_decay=0,
        averaging=0,
    )
    model, optimizer = model_and_optimizer(config)
    value = [w.astype(float) for w in weights(model)]
    velocity = [np.zeros_like(w) for w in value]
    rng = np.random.default_rng(1)
    for update in range(8):
        rate = 0.1 if update < 4 else 0.1 / 1.2  # four updates are an epoch
        gradients = [rng.normal(size=w.shape).astype("f4") for w in value]
        optimizer.apply([ops.convert_to_tensor(g) for g in gradients])
        velocity = [0.9 * v - rate * g for v, g in zip(velocity, gradients, strict=True)]
        value = [w + 0.9 * v - rate * g for w, v, g in zip(value, velocity, gradients, strict=True)]
    for found, wanted in zip(weights(model), value, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (
            OptimizerConfig(schedule="anneal", warm_up=0, learning_rate=1.2, annealing=1.2),
            [1.2, 1.2, 1.2, 1, 1, 1 / 1.2],
        ),
        (
            OptimizerConfig(schedule="anneal", warm_up=2, learning_rate=1.2, annealing=2),
            [0.4, 0.8, 1.2, 0.6, 0.6, 0.3],
        ),
        (
            OptimizerConfig(schedule="cosine", warm_up=2, learning_rate=1.0),
            [0, 0.5, 1, *(0.5 + 0.5 * np.cos(np.pi * np.arange(1, 5) / 4))],
        ),
    ],
)
def test_schedules(config: OptimizerConfig, wanted: list[float]) -> None:
    schedule = build_schedule(config, [3, 2, 1])
    found = [float(schedule(ops.convert_to_tensor(i))) for i in range(len(wanted))]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("longest", "expected"), [(10.0, [3.0, 4.0]), (1.0, [0.6, 0.8])])
def test_gradients_are_clipped_by_their_common_norm(longest: float, expected: list[float]) -> None:
    gradients = [ops.convert_to_tensor([3.0]), ops.convert_to_tensor([[4.0]])]
    clipped, norm = clip(gradients, longest)
    assert float(norm) == pytest.approx(5)
    assert [float(g.numpy().item()) for g in clipped] == pytest.approx(expected)


def test_weights_are_averaged() -> None:
    config = OptimizerConfig(averaging=0.75, warm_up=0, learning_rate=0.1)
    model, optimizer = model_and_optimizer(config)
    step, mean = build_stepper(model, optimizer, 1.0), None
    for seed in range(3):
        step([batch(20, 30, seed=seed)])
        now = weights(model)[0]
        mean = now if mean is None else 0.75 * mean + 0.25 * now
    optimizer.finalize_variable_values(model.trainable_variables)
    np.testing.assert_allclose(weights(model)[0], mean, rtol=1e-5)


def test_batches_are_padded_to_few_lengths() -> None:
    sizes = [few(n) for n in range(1, 3001)]
    assert all(n <= size <= 1.125 * n + 1 for n, size in enumerate(sizes, 1))
    assert len(set(sizes)) < 90  # which are compiled one by one
