"""The layers of Deep Speech 2 that Keras lacks, written with keras.ops.

All of them take the number of valid steps of each recording, since a batch is padded: what
lies beyond the end never enters a statistic or a neighbour.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ds2edge.training.recurrent import gru

Tensor = Any
CLIP = 20.0  # of the clipped rectifier, section 3.1 of the paper


def step_mask(lengths: Tensor, steps: Tensor) -> Tensor:
    """1.0 inside each recording and 0.0 beyond its end; shape = (batch, steps)."""
    return ops.cast(ops.arange(steps)[None, :] < lengths[:, None], "float32")


def clipped_relu(x: Tensor) -> Tensor:
    """min(max(x, 0), 20)."""
    return ops.clip(x, 0.0, CLIP)


def product(x: Tensor, kernel: Tensor, precision: str) -> Tensor:
    """x @ kernel, computed in `precision` and returned in float32."""
    return ops.cast(ops.matmul(ops.cast(x, precision), ops.cast(kernel, precision)), "float32")


class SequenceBatchNorm(keras.layers.Layer):
    """Batch norm over recordings and steps (section 3.2 of the paper), padding left out.

    The last axis holds the units. Evaluation uses running averages.
    """

    def __init__(self, momentum: float = 0.98, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, shape: tuple[int | None, ...]) -> None:
        units = (shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=units, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=units, initializer="zeros")
        self.mean = self.add_weight(name="mean", shape=units, initializer="zeros", trainable=False)
        self.variance = self.add_weight(
            name="variance", shape=units, initializer="ones", trainable=False
        )

    def call(self, x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        """x: shape = (batch, steps, ..., units); mask: shape = (batch, steps)."""
        if training:
            mean, variance = self._moments(x, mask)
            for running, value in ((self.mean, mean), (self.variance, variance)):
                running.assign(self.momentum * running + (1 - self.momentum) * value)
        else:
            mean, variance = self.mean, self.variance
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return x * scale + (self.beta - mean * scale)

    def _moments(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        weights = ops.reshape(mask, (*ops.shape(mask), *([1] * (len(x.shape) - 2))))
        axes = tuple(range(len(x.shape) - 1))
        inner = 1
        for size in x.shape[2:-1]:
            inner *= size
        count = ops.maximum(ops.sum(mask), 1.0) * inner
        mean = ops.sum(x * weights, axis=axes) / count
        square = ops.sum(x * x * weights, axis=axes) / count
        return mean, ops.maximum(square - mean * mean, 0.0)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of evaluation: what `convert` folds into the weights before."""
        scale = self.gamma * ops.rsqrt(self.variance + self.epsilon)
        return scale, self.beta - self.mean * scale


class CausalConvolution(keras.layers.Layer):
    """2-D convolution, batch norm and clipped rectifier; sees nothing later than its own step.

    Output step k covers input frames up to k * time_stride + time_stride - 1, so n frames make
    ceil(n / time_stride) steps. Frequency is padded evenly. Beyond the end of a recording the
    input is zero, in a padded batch as in the last chunk of a stream.
    """

    def __init__(
        self,
        channels: int,
        time: int,
        frequency: int,
        time_stride: int,
        frequency_stride: int,
        precision: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels, self.time, self.frequency = channels, time, frequency
        self.time_stride, self.frequency_stride = time_stride, frequency_stride
        self.precision = precision
        self.norm = SequenceBatchNorm(name="norm")

    def build(self, shape: tuple[int | None, ...]) -> None:
        kernel = (self.time, self.frequency, shape[-1], self.channels)
        self.kernel = self.add_weight(name="kernel", shape=kernel, initializer="he_normal")
        self.norm.build((None, None, None, self.channels))

    def call(self, x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        """x: shape = (batch, frames, bins, channels); mask: of the output steps."""
        frames = ops.shape(x)[1]
        missing = -frames % self.time_stride
        x = ops.pad(
            x,
            (
                (0, 0),
                (self.time - self.time_stride, missing),
                frequency_padding(x.shape[2], self.frequency, self.frequency_stride),
                (0, 0),
            ),
        )
        x = ops.conv(
            ops.cast(x, self.precision),
            ops.cast(self.kernel, self.precision),
            strides=(self.time_stride, self.frequency_stride),
            padding="valid",
            data_format="channels_last",
        )
        return clipped_relu(self.norm(ops.cast(x, "float32"), mask, training=training))


class ForwardGRU(keras.layers.Layer):
    """GRU over time with batch norm on the input term only: h = f(B(W x) + U h)."""

    def __init__(self, units: int, precision: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.precision = units, precision
        self.norm = SequenceBatchNorm(name="norm")

    def build(self, shape: tuple[int | None, ...]) -> None:
        gates = 3 * self.units
        self.kernel = self.add_weight(
            name="kernel", shape=(shape[-1], gates), initializer="glorot_uniform"
        )
        self.recurrent = self.add_weight(
            name="recurrent", shape=(self.units, gates), initializer="orthogonal"
        )
        self.norm.build((None, None, gates))

    def call(self, x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        """x: shape = (batch, steps, inputs). Returns shape = (batch, steps, units)."""
        x = self.norm(product(x, self.kernel, self.precision), mask, training=training)
        initial = ops.zeros((ops.shape(x)[0], self.units))
        return gru(x, initial, ops.cast(self.recurrent, self.precision))


class RowConvolution(keras.layers.Layer):
    """r_t = sum over j = 0..tau of W_j * h_(t+j), unit by unit (section 3.6 of the paper).

    Steps beyond the end of a recording count as zero.
    """

    def __init__(self, look_ahead: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.look_ahead = look_ahead

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.look_ahead + 1, shape[-1]),
            initializer=_present_first,
        )

    def call(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: shape = (batch, steps, units)."""
        x = ops.pad(x * mask[:, :, None], ((0, 0), (0, self.look_ahead), (0, 0)))
        kernel = self.kernel[:, None, :, None]
        y = ops.depthwise_conv(x[:, :, None, :], kernel, data_format="channels_last")
        return y[:, :, 0, :]


def frequency_padding(bins: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros below and above, so that `bins` become ceil(bins / stride)."""
    total = max((-(-bins // stride) - 1) * stride + kernel - bins, 0)
    return total // 2, total - total // 2


def _present_first(shape: tuple[int, int], dtype: Any = None) -> Tensor:
    """Begin as the present step plus a little of each later one."""
    present = ops.cast(ops.arange(shape[0]) == 0, dtype or "float32")[:, None]
    return ops.ones(shape, dtype) * (present + 0.5 / shape[0])
