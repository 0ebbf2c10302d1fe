"""The acoustic model: features to token logits, and its loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ds2edge.features import FeatureSettings
from ds2edge.text import TokenSet, english_characters
from ds2edge.training.config import ModelConfig
from ds2edge.training.layers import (
    CausalConvolution,
    ForwardGRU,
    RowConvolution,
    SequenceBatchNorm,
    clipped_relu,
    product,
    step_mask,
)
from ds2edge.training.loss import ctc_loss

Tensor = Any


def token_set(config: ModelConfig) -> TokenSet:
    """The tokens that the model's outputs stand for."""
    return {"english_characters": english_characters}[config.tokens]()


def output_lengths(frames: Tensor, config: ModelConfig) -> Tensor:
    """Output steps of recordings of so many feature frames: ceil(frames / time stride)."""
    return -(-frames // config.time_stride)


class AcousticModel(keras.Model):
    """Causal convolutions, forward GRUs, row convolution, output layer.

    Inputs: a dict of `features`, shape = (batch, frames, bins), and `frames`, the valid ones of
    each recording, shape = (batch,). Output: logits, shape = (batch, steps, tokens). Targets: a
    dict of `tokens`, shape = (batch, longest), padded with the blank, and `lengths`.
    """

    def __init__(
        self, config: ModelConfig, features: FeatureSettings, precision: str = "float32"
    ) -> None:
        super().__init__()
        self.config, self.feature_size, self.precision = config, features.size, precision
        self.convolutions = [
            CausalConvolution(
                c.channels,
                c.time,
                c.frequency,
                c.time_stride,
                c.frequency_stride,
                precision,
                name=f"convolution{i}",
            )
            for i, c in enumerate(config.convolutions)
        ]
        self.recurrences = [
            ForwardGRU(config.units, precision, name=f"recurrence{i}") for i in range(config.layers)
        ]
        self.row = RowConvolution(config.look_ahead, name="row")
        self.row_norm = SequenceBatchNorm(name="row_norm")
        self.dropouts = [keras.layers.Dropout(config.dropout) for _ in range(config.layers)]
        self.tokens = len(token_set(config))
        self.head = self.add_weight(
            name="head", shape=(config.units, self.tokens), initializer="glorot_uniform"
        )
        self.head_bias = self.add_weight(
            name="head_bias", shape=(self.tokens,), initializer="zeros"
        )

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> Tensor:
        x = inputs["features"][..., None]
        lengths = inputs["frames"]
        for layer in self.convolutions:
            lengths = -(-lengths // layer.time_stride)
            mask = step_mask(lengths, -(-ops.shape(x)[1] // layer.time_stride))
            x = layer(x, mask, training=training)
        x = ops.reshape(x, (ops.shape(x)[0], ops.shape(x)[1], x.shape[2] * x.shape[3]))
        for i, layer in enumerate(self.recurrences):
            if i:
                x = self.dropouts[i - 1](x, training=training)
            x = layer(x, mask, training=training)
        x = clipped_relu(self.row_norm(self.row(x, mask), mask, training=training))
        x = self.dropouts[-1](x, training=training)
        return product(x, self.head, self.precision) + self.head_bias

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """CTC loss per token of the batch: long and short recordings weigh by their text."""
        losses = ctc_loss(
            y_pred, output_lengths(x["frames"], self.config), y["tokens"], y["lengths"]
        )
        tokens = ops.cast(ops.sum(y["lengths"]) + ops.shape(losses)[0], "float32")
        return ops.sum(losses) / tokens


def build_model(
    config: ModelConfig, features: FeatureSettings, precision: str = "float32"
) -> AcousticModel:
    """A model with its variables made."""
    model = AcousticModel(config, features, precision)
    frames = 4 * config.time_stride
    model(
        {
            "features": ops.zeros((1, frames, features.size)),
            "frames": ops.full((1,), frames, dtype="int32"),
        }
    )
    return model
