"""The acoustic model: features to token logits, and its loss."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import keras
from keras import ops

from ds2edge.features import FeatureSettings
from ds2edge.plain_values import from_dict
from ds2edge.text import TOKEN_SETS, TokenSet, with_tokens
from ds2edge.training.config import ModelConfig
from ds2edge.training.network.layers import (
    CausalConvolution,
    CentredConvolution,
    Connected,
    Recurrence,
    RowConvolution,
    SequenceConvolution,
    norm_layer,
    product,
    step_mask,
)
from ds2edge.training.network.loss import ctc_loss
from ds2edge.training.network.recurrent import clipped_relu

Tensor = Any


def token_set(config: ModelConfig) -> TokenSet:
    """The tokens that the model's outputs stand for.

    Raises:
        TextError: an extra token is no single character, or one of the set.
    """
    listed = config.token_list
    named = TokenSet(listed) if listed else TOKEN_SETS[config.tokens]()
    return with_tokens(named, config.extra_tokens) if config.extra_tokens else named


def output_lengths(frames: Tensor, config: ModelConfig) -> Tensor:
    """Output steps of recordings of so many feature frames: ceil(frames / time stride)."""
    return -(-frames // config.time_stride)


@keras.saving.register_keras_serializable(package="ds2edge")
class AcousticModel(keras.Model):
    """Convolutions, recurrences, row convolution or none, connected layer or none, output layer.

    Inputs: a dict of `features`, shape = (batch, frames, bins), zero beyond the end, and `frames`,
    the valid ones of each recording, shape = (batch,). Output: logits, shape = (batch, steps,
    tokens). Targets: a dict of `tokens`, shape = (batch, longest), padded with the blank, `lengths`
    and, if not all have a text to learn, `labelled`, 1.0 for those that have.
    """

    def __init__(
        self, config: ModelConfig, features: FeatureSettings, precision: str = "float32"
    ) -> None:
        super().__init__()
        self.config, self.features, self.precision = config, features, precision
        self.feature_size = features.size
        self.both = config.direction == "both"
        self.convolutions = self._convolutions()
        self.recurrences = [
            Recurrence(
                config.units,
                precision,
                config.cell,
                config.candidate,
                config.norm,
                self.both,
                name=f"recurrence{i}",
            )
            for i in range(config.layers)
        ]
        self.row: Any = None  # where the way back has seen the future
        if not self.both:
            self.row = RowConvolution(config.look_ahead, name="row")
            self.row_norm = norm_layer(config.norm, name="row_norm")
        self.dropouts = [keras.layers.Dropout(config.dropout) for _ in range(config.layers)]
        self.connected: Any = None
        if config.connected:
            self.connected = Connected(config.connected, precision, config.norm, name="connected")
        self.tokens = len(token_set(config))
        self.head = self.add_weight(
            name="head",
            shape=(config.connected or config.units, self.tokens),
            initializer="glorot_uniform",
        )
        self.head_bias = self.add_weight(
            name="head_bias", shape=(self.tokens,), initializer="zeros"
        )

    def get_config(self) -> dict[str, Any]:
        """What `model.save("FILE.keras")` keeps beside the weights: plain values."""
        settings = {"model": asdict(self.config), "features": self.features.as_dict()}
        return {**settings, "precision": self.precision}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AcousticModel:
        """The inverse of `get_config`, with new weights.

        Raises:
            ConfigError: an unknown key, or a value of a wrong type.
        """
        model = from_dict(ModelConfig, config["model"], "model.")
        features = FeatureSettings.from_dict(config["features"])
        return build_model(model, features, config["precision"])

    def get_build_config(self) -> None:
        """Nothing: `from_config` makes the variables, too."""

    def _convolutions(self) -> list[SequenceConvolution]:
        kind = CentredConvolution if self.both else CausalConvolution
        layers, bins = [], self.feature_size
        for i, c in enumerate(self.config.convolutions):
            kernel, stride = (c.frequency, c.frequency_stride) if c.frequency else (bins, bins)
            layers.append(
                kind(
                    c.channels,
                    c.time,
                    kernel,
                    c.time_stride,
                    stride,
                    self.precision,
                    self.config.norm,
                    name=f"convolution{i}",
                )
            )
            bins = -(-bins // stride)
        return layers

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> Tensor:
        return self.with_states(inputs, training)[0]

    def with_states(
        self, inputs: dict[str, Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits, and what each recurrent layer gave: shape = (batch, steps, units)."""
        x, mask = self._convolve(inputs["features"], inputs["frames"], training)
        states = []
        for i, layer in enumerate(self.recurrences):
            if i:
                x = self.dropouts[i - 1](x, training=training)
            x = layer(x, mask, training=training)
            states.append(x)
        if self.row:
            x = clipped_relu(self.row_norm(self.row(x, mask), mask, training=training))
        if self.connected:
            x = self.connected(x, mask, training=training)
        x = self.dropouts[-1](x, training=training)
        return product(x, self.head, self.precision) + self.head_bias, states

    def _convolve(self, x: Tensor, lengths: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        """All convolutions. Returns shape = (batch, steps, units), and the mask of the steps."""
        # What is beyond the end then goes through the same steps in a batch and in a stream.
        x = ops.pad(x, ((0, 0), (0, -ops.shape(x)[1] % self.config.time_stride), (0, 0)))
        x, mask = x[..., None], None
        for layer in self.convolutions:
            if self.both and mask is not None:
                x = x * mask[:, :, None, None]
            lengths = -(-lengths // layer.time_stride)
            mask = step_mask(lengths, -(-ops.shape(x)[1] // layer.time_stride))
            x = layer(x, mask, training=training)
        return ops.reshape(x, (ops.shape(x)[0], ops.shape(x)[1], x.shape[2] * x.shape[3])), mask

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """CTC loss per token of the batch: long and short recordings weigh by their text."""
        lengths, labelled = y["lengths"], y.get("labelled")
        if labelled is not None:  # a text that nobody gave could be too long to be aligned
            lengths = lengths * ops.cast(labelled, lengths.dtype)
        steps = output_lengths(x["frames"], self.config)
        losses = ctc_loss(y_pred, steps, y["tokens"], lengths, self.config.silent)
        if labelled is not None:
            losses = losses * labelled
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
