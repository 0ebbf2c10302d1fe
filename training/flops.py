"""How many floating point operations a model needs, counted from its configuration.

Those of its products and convolutions, a multiplication and an addition as two, on all steps, also
those that are padding. What is done element by element, CTC and the optimiser are left out: they
are few operations, however long they take. What is computed twice to save memory counts once.
"""

from __future__ import annotations

from ds2edge.training.config import ModelConfig
from ds2edge.training.network.model import token_set

PARTS = ("convolutions", "recurrence", "output")


def forward_flops(config: ModelConfig, bins: int, frames: int) -> dict[str, float]:
    """Operations of each of `PARTS` for one recording of so many frames of so many bins."""
    first, others, inputs, steps = _convolutions(config, bins, frames)
    gates = (3 if config.cell == "gru" else 1) * config.units
    directions = 2 if config.direction == "both" else 1
    recurrence = 0
    for _ in range(config.layers):
        recurrence += inputs * gates + directions * config.units * gates
        inputs = config.units
    output = 0 if directions == 2 else config.units * (config.look_ahead + 1)
    if config.connected:
        output += inputs * config.connected
        inputs = config.connected
    output += inputs * len(token_set(config))
    return {
        "convolutions": 2.0 * (first + others),
        "recurrence": 2.0 * steps * recurrence,
        "output": 2.0 * steps * output,
    }


def training_flops(config: ModelConfig, bins: int, frames: int) -> dict[str, float]:
    """The same with gradients: each product has one of its inputs and one of its weights.

    Features need no gradient, so the first convolution has only the second.
    """
    first, *_ = _convolutions(config, bins, frames)
    flops = {part: 3 * value for part, value in forward_flops(config, bins, frames).items()}
    flops["convolutions"] -= 2.0 * first
    return flops


def _convolutions(config: ModelConfig, bins: int, frames: int) -> tuple[int, int, int, int]:
    """Multiplications of the first convolution and of the rest; outputs of the last, its steps."""
    counts, channels, steps = [], 1, frames
    for layer in config.convolutions:
        kernel, stride = (
            (layer.frequency, layer.frequency_stride) if layer.frequency else (bins, bins)
        )
        steps, bins = -(-steps // layer.time_stride), -(-bins // stride)
        counts.append(steps * bins * layer.channels * layer.time * kernel * channels)
        channels = layer.channels
    return counts[0], sum(counts[1:]), bins * channels, steps
