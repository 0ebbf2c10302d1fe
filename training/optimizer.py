"""Optimisers and learning rate schedules: a modern one and the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ds2edge.training.config import OptimizerConfig

Tensor = Any


def build_optimizer(config: OptimizerConfig, updates: Sequence[int]) -> keras.optimizers.Optimizer:
    """AdamW or Nesterov's momentum, with weights that are averaged besides.

    Gradients are clipped before they come here, see `ds2edge.training.step`.

    Args:
        updates: of each epoch.
    """
    settings: dict[str, Any] = {
        "learning_rate": build_schedule(config, updates),
        "weight_decay": config.weight_decay,
        "use_ema": config.averaging > 0,
        "ema_momentum": config.averaging,
    }
    if config.kind == "adamw":
        optimizer = keras.optimizers.AdamW(beta_2=0.98, **settings)
    else:
        optimizer = keras.optimizers.SGD(momentum=config.momentum, nesterov=True, **settings)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def build_schedule(
    config: OptimizerConfig, updates: Sequence[int]
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of each update, of which every epoch has so many."""
    if config.schedule == "anneal":
        return Annealing(config.learning_rate, config.warm_up, config.annealing, updates)
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, sum(updates) - config.warm_up),
        warmup_target=config.learning_rate,
        warmup_steps=config.warm_up,
    )


class Annealing(keras.optimizers.schedules.LearningRateSchedule):
    """Constant in an epoch and divided after it, as in the paper; warm-up is linear."""

    def __init__(
        self, learning_rate: float, warm_up: int, divisor: float, updates: Sequence[int]
    ) -> None:
        self.learning_rate, self.warm_up, self.divisor = learning_rate, warm_up, divisor
        self.ends = np.cumsum(updates)

    def __call__(self, step: Tensor) -> Tensor:
        """The rate of the update after `step` others."""
        step = ops.cast(step, "float32")
        epoch = ops.sum(ops.cast(step >= ops.convert_to_tensor(self.ends, "float32"), "float32"))
        rate = self.learning_rate / ops.power(self.divisor, epoch)
        return rate * ops.minimum(1.0, (step + 1) / (self.warm_up + 1))

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {
            "learning_rate": self.learning_rate,
            "warm_up": self.warm_up,
            "divisor": self.divisor,
            "updates": np.diff(self.ends, prepend=0).tolist(),
        }
