"""The graph of a model of both directions: one signature for each layer, for a chunk of its steps.

Such a model hears a whole recording before it answers. `ds2edge.whole` takes the recording through
layer after layer, chunk by chunk, so that shapes are fixed and every step of a recurrence is
unrolled, as in the step graph. It reads off the shapes what it has to know of the model.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ds2edge.convert.fold import (
    FoldedConvolution,
    FoldedDense,
    FoldedRecurrence,
    fold_layers,
    fold_output,
)
from ds2edge.convert.step_graph import convolve, shared, tflite_of, traced, unrolled
from ds2edge.training.network.model import AcousticModel

CHUNK_STEPS = 16  # of each layer; more are a larger graph


def layer_graph_to_tflite(model: AcousticModel, chunk_steps: int = CHUNK_STEPS) -> bytes:
    """The graph of a model of both directions as a float32 TFLite model.

    Its signatures, each for `chunk_steps` steps of its output and with one matrix of weights:

    - `convolution0`, ...: `frames`, shape = (1, chunk_steps * stride, bins, channels), and those
      `before` and `after` them, as many as it sees; to `steps`, which are the next one's frames
    - `kernel0`, ...: of a recurrence, `steps`, shape = (chunk_steps, inputs), to its input terms
    - `recurrent0`, `recurrent_back0`, ...: those terms as `steps`, and the `state` that the way on
      or back begins with, shape = (1, units); to the states, as `steps`, and the last `state`
    - `connected`, if there is such a layer: `steps` to `steps`
    - `head`: `steps` to `steps` of logits, shape = (chunk_steps, tokens)
    """
    convolutions, recurrences, incoming = fold_layers(model)
    connected, head = shared(list(fold_output(model, incoming)))
    convolutions, recurrences = shared(convolutions), shared(recurrences)
    signatures = {}
    for i, (convolution, layer) in enumerate(zip(convolutions, model.convolutions, strict=True)):
        signatures[f"convolution{i}"] = _convolution(convolution, layer.past, chunk_steps)
    for i, recurrence in enumerate(recurrences):
        signatures[f"kernel{i}"] = _product(recurrence, chunk_steps)
        signatures[f"recurrent{i}"] = _states(recurrence, chunk_steps, back=False)
        signatures[f"recurrent_back{i}"] = _states(recurrence, chunk_steps, back=True)
    if connected:
        signatures["connected"] = _product(connected, chunk_steps, tf.nn.relu6)
    signatures["head"] = _product(head, chunk_steps)
    return tflite_of(tf.Module(), signatures)


def _convolution(layer: FoldedConvolution, past: int, steps: int) -> Any:
    rest = (layer.bins, layer.kernel.shape[2])
    lengths = {
        "before": past,
        "frames": steps * layer.strides[0],
        "after": layer.context - past,
    }

    def outputs(inputs: dict[str, Any]) -> dict[str, Any]:
        window = [inputs[name] for name in lengths if name in inputs]
        return {"steps": convolve(layer, tf.concat(window, axis=1))}

    return traced(outputs, {name: (1, n, *rest) for name, n in lengths.items() if n})


def _product(
    layer: FoldedRecurrence | FoldedDense, steps: int, activation: Any = tf.identity
) -> Any:
    def outputs(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"steps": activation(tf.matmul(inputs["steps"], layer.kernel) + layer.bias)}

    return traced(outputs, {"steps": (steps, layer.kernel.shape[0])})


def _states(layer: FoldedRecurrence, steps: int, back: bool) -> Any:
    def states(inputs: dict[str, Any]) -> dict[str, Any]:
        found, last = unrolled(layer, inputs["steps"], inputs["state"], back)
        return {"steps": found, "state": last}

    return traced(
        states, {"steps": (steps, layer.bias.shape[0]), "state": (1, layer.recurrent.shape[0])}
    )
