"""The layers of Deep Speech 2 that Keras lacks, written with keras.ops.

All of them take the number of valid steps of each recording, since a batch is padded: what
lies beyond the end never enters a statistic or a neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ds2edge.training.network.recurrent import clipped_relu, gru, simple

Tensor = Any


def step_mask(lengths: Tensor, steps: Tensor) -> Tensor:
    """1.0 inside each recording and 0.0 beyond its end; shape = (batch, steps)."""
    return ops.cast(ops.arange(steps)[None, :] < lengths[:, None], "float32")


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
        # Where several workers train, it sums over all of them: see `ds2edge.training.workers`.
        self.total: Callable[[Sequence[Tensor]], Sequence[Tensor]] = lambda tensors: tensors

    @property
    def part(self) -> str:
        """The layer that it is in, by name: what `ds2edge train --profile` counts it as."""
        path: str = self.path
        return path.split("/")[-2] if "/" in path else str(self.name)

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
        return _scaled(x, scale, self.beta - mean * scale, self.part)

    def _moments(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        first, second, steps = self.total([*_power_sums(x, mask, self.part), ops.sum(mask)])
        count = ops.maximum(steps, 1.0) * math.prod(x.shape[2:-1])
        mean, square = first / count, second / count
        return mean, ops.maximum(square - mean * mean, 0.0)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of evaluation: what `convert` folds into the weights before."""
        scale = self.gamma * ops.rsqrt(self.variance + self.epsilon)
        return scale, self.beta - self.mean * scale


# Sums over all steps are products with a row of ones or with the mask, several times faster than
# summing: hence gradients of our own.


def _scaled(x: Tensor, scale: Tensor, shift: Tensor, part: str) -> Tensor:
    """x * scale + shift, of the last axis; `part` names the gradient's operations."""

    @ops.custom_gradient
    def scaled(x: Tensor, scale: Tensor, shift: Tensor) -> Any:
        def gradient(*args: Any, **_: Any) -> tuple[Tensor, ...]:
            with keras.name_scope(part):
                upstream = args[-1]
                ones = ops.ones((1, ops.size(x) // math.prod(x.shape[2:])))
                sums = (_column_sums(ones, upstream * x), _column_sums(ones, upstream))
                return upstream * scale, *sums

        return x * scale + shift, gradient

    return scaled(x, scale, shift)


def _power_sums(x: Tensor, mask: Tensor, part: str) -> tuple[Tensor, Tensor]:
    """Sums of x and of x * x inside the recordings, of each unit; `part` as above."""

    @ops.custom_gradient
    def sums(x: Tensor) -> Any:
        def gradient(*args: Any, **_: Any) -> Tensor:
            d_first, d_second = args[-2:] if len(args) > 1 else args[0]
            with keras.name_scope(part):
                weights = ops.reshape(mask, (*ops.shape(mask), *([1] * (len(x.shape) - 2))))
                return (x * (2 * d_second) + d_first) * weights

        row = ops.reshape(mask, (1, -1))
        return (_column_sums(row, x), _column_sums(row, x * x)), gradient

    first, second = sums(x)
    return first, second


def _column_sums(row: Tensor, x: Tensor) -> Tensor:
    """Sum over all axes but the last; `row` has a weight for each recording's step."""
    inner = x.shape[2:]
    sums = ops.reshape(ops.matmul(row, ops.reshape(x, (-1, math.prod(inner)))), inner)
    return ops.sum(sums, axis=tuple(range(len(inner) - 1))) if len(inner) > 1 else sums


class Bias(keras.layers.Layer):
    """What stands in the place of a batch norm in a model without any."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.bias = self.add_weight(name="bias", shape=(shape[-1],), initializer="zeros")

    def call(self, x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        """x: shape = (batch, steps, ..., units)."""
        return x + self.bias

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift, as of a batch norm."""
        return ops.ones_like(self.bias), ops.convert_to_tensor(self.bias)


def norm_layer(norm: str, name: str = "norm") -> SequenceBatchNorm | Bias:
    """The layer after a product in a model with this kind of norm."""
    return Bias(name=name) if norm == "none" else SequenceBatchNorm(name=name)


class SequenceConvolution(keras.layers.Layer):
    """2-D convolution, batch norm and clipped rectifier; n frames make ceil(n / time_stride) steps.

    Frequency is padded evenly. A kernel and a stride of all bins make it 1-D, over time.
    """

    def __init__(
        self,
        channels: int,
        time: int,
        frequency: int,
        time_stride: int,
        frequency_stride: int,
        precision: str,
        norm: str = "term",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels, self.time, self.frequency = channels, time, frequency
        self.time_stride, self.frequency_stride = time_stride, frequency_stride
        self.precision = precision
        self.norm = norm_layer(norm)

    @property
    def past(self) -> int:
        """Input frames before a step's own that it sees."""
        raise NotImplementedError

    def build(self, shape: tuple[int | None, ...]) -> None:
        kernel = (self.time, self.frequency, shape[-1], self.channels)
        self.kernel = self.add_weight(name="kernel", shape=kernel, initializer="he_normal")
        self.norm.build((None, None, None, self.channels))

    def call(self, x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        """x: shape = (batch, frames, bins, channels); mask: of the output steps."""
        missing = -ops.shape(x)[1] % self.time_stride
        future = self.time - self.time_stride - self.past
        x = ops.pad(
            x,
            (
                (0, 0),
                (self.past, future + missing),
                frequency_padding(x.shape[2], self.frequency, self.frequency_stride),
                (0, 0),
            ),
        )
        kernel, stride = self.kernel, self.frequency_stride
        if x.shape[2] == self.frequency:
            # One position of the kernel: bins become channels. For a kernel of 191 bins, oneDNN
            # asks for up to 16 GB, and TensorFlow ends the process if it does not get them.
            values = x.shape[2] * x.shape[3]
            x = ops.reshape(x, (ops.shape(x)[0], -1, 1, values))
            kernel, stride = ops.reshape(kernel, (self.time, 1, values, self.channels)), 1
        x = ops.conv(
            ops.cast(x, self.precision),
            ops.cast(kernel, self.precision),
            strides=(self.time_stride, stride),
            padding="valid",
            data_format="channels_last",
        )
        return clipped_relu(self.norm(ops.cast(x, "float32"), mask, training=training))


class CausalConvolution(SequenceConvolution):
    """Sees nothing later than its own step.

    Output step k covers input frames up to k * time_stride + time_stride - 1. Beyond the end of a
    recording the input is zero, in a padded batch as in the last chunk of a stream.
    """

    @property
    def past(self) -> int:
        return self.time - self.time_stride


class CentredConvolution(SequenceConvolution):
    """Sees as many frames after its own step's as before, or one more."""

    @property
    def past(self) -> int:
        return (self.time - self.time_stride) // 2


class InputTerm(keras.layers.Layer):
    """What a layer takes from the layer below, normalised as `norm` says.

    "term": B(W x), as in section 3.2 of the paper. "input": W B(x) + b, which has statistics of
    fewer units. "none": W x + b.
    """

    def __init__(self, outputs: int, precision: str, norm: str = "term", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outputs, self.precision = outputs, precision
        self.normalises_input = norm == "input"
        self.norm = norm_layer(norm)

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(
            name="kernel", shape=(shape[-1], self.outputs), initializer="glorot_uniform"
        )
        if self.normalises_input:
            self.bias = self.add_weight(name="bias", shape=(self.outputs,), initializer="zeros")
        self.norm.build((None, None, shape[-1] if self.normalises_input else self.outputs))

    def term(self, x: Tensor, mask: Tensor, training: bool) -> Tensor:
        """x: shape = (batch, steps, inputs). Returns shape = (batch, steps, outputs)."""
        if self.normalises_input:
            x = self.norm(x, mask, training=training)
            return product(x, self.kernel, self.precision) + self.bias
        return self.norm(product(x, self.kernel, self.precision), mask, training=training)


class Connected(InputTerm):
    """A fully connected layer with the clipped rectifier."""

    def call(self, x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        """x: shape = (batch, steps, inputs). Returns shape = (batch, steps, outputs)."""
        return clipped_relu(self.term(x, mask, training))


class Recurrence(InputTerm):
    """Recurrence over time, h_t = f(B(W x_t) + U h_(t-1)): the norm is of the input term only.

    With `both` a second recurrence runs from the end of each recording to its begin, with a U of
    its own and the same input term; the two are summed (section 3 of the paper).
    """

    def __init__(
        self,
        units: int,
        precision: str,
        cell: str = "gru",
        candidate: str = "tanh",
        norm: str = "term",
        both: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__((3 if cell == "gru" else 1) * units, precision, norm, **kwargs)
        self.units, self.cell, self.candidate, self.both = units, cell, candidate, both

    def build(self, shape: tuple[int | None, ...]) -> None:
        super().build(shape)
        # Loss of simple units after six epochs of 1.4 h, three layers both ways: from half the
        # identity 0.94, an orthogonal matrix 1.09, the whole identity, which forgets nothing, 2.8.
        begin = keras.initializers.Identity(0.5) if self.cell == "simple" else "orthogonal"
        for name in ("recurrent", "recurrent_back") if self.both else ("recurrent",):
            shape = (self.units, self.outputs)
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer=begin))

    def call(self, x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        """x: shape = (batch, steps, inputs). Returns shape = (batch, steps, units)."""
        x, mask = ops.transpose(x, (1, 0, 2)), ops.transpose(mask)  # as the loop needs them
        x = self.term(x, mask, training)
        states = self._run(x, self.recurrent, reverse=False)
        if self.both:
            # An input term of zero keeps a state of zero: the way back begins at the last step.
            back = self._run(x * mask[:, :, None], self.recurrent_back, reverse=True)
            states = states + back
        return ops.transpose(states, (1, 0, 2))

    def _run(self, x: Tensor, kernel: Tensor, reverse: bool) -> Tensor:
        initial = ops.zeros((ops.shape(x)[1], self.units))
        kernel = ops.cast(kernel, self.precision)
        if self.cell == "simple":
            return simple(x, initial, kernel, reverse)
        return gru(x, initial, kernel, self.candidate, reverse)


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
    weights = np.full(shape, 0.5 / shape[0], np.float32)
    weights[0] += 1
    return ops.convert_to_tensor(weights, dtype)
