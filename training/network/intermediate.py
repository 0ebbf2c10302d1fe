"""CTC losses of inner layers beside the model's own (arXiv 2102.03216).

An inner recurrent layer gets an output layer of its own, which only training has: what is kept is
the model without it.
"""

from __future__ import annotations

from typing import Any

import keras

from ds2edge.training.config import AuxiliaryConfig
from ds2edge.training.network.layers import product
from ds2edge.training.network.model import AcousticModel

Tensor = Any


def build_objective(model: AcousticModel, config: AuxiliaryConfig) -> keras.Model:
    """What is trained: the model, with auxiliary outputs if there are to be any."""
    return AuxiliaryModel(model, config) if config.layers else model


class AuxiliaryModel(keras.Model):
    """An acoustic model and an output layer for each of some of its recurrent layers.

    Inputs and targets are the acoustic model's. Output: logits of the model, then of each
    auxiliary layer, each of shape = (batch, steps, tokens).
    """

    def __init__(self, model: AcousticModel, config: AuxiliaryConfig) -> None:
        super().__init__()
        self.model, self.auxiliary = model, config
        self.heads = [
            (
                self.add_weight(
                    name=f"auxiliary{layer}_head",
                    shape=(model.config.units, model.tokens),
                    initializer="glorot_uniform",
                ),
                self.add_weight(
                    name=f"auxiliary{layer}_bias", shape=(model.tokens,), initializer="zeros"
                ),
            )
            for layer in config.layers
        ]

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> list[Tensor]:
        logits, states = self.model.with_states(inputs, training=training)
        return [logits] + [
            product(states[layer - 1], head, self.model.precision) + bias
            for layer, (head, bias) in zip(self.auxiliary.layers, self.heads, strict=True)
        ]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The model's own loss and the mean of the auxiliary ones, weighted."""
        own, *inner = [self.model.compute_loss(x, y, logits) for logits in y_pred]
        weight = self.auxiliary.weight
        return (1 - weight) * own + weight * sum(inner) / len(inner)
