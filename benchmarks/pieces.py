"""CTC or a recurrent layer on TensorFlow or JAX: a worker of ctc.py and recurrence.py."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from worker import serve

Function = Callable[..., Any]


def ctc(variant: str) -> Function:
    """Losses of logits, steps, tokens and lengths, whose last two are NumPy's."""
    if variant == "optax":
        import optax

        def of_optax(logits: Any, steps: Any, tokens: Any, lengths: Any) -> Any:
            padding = [
                (np.arange(width)[None] >= n[:, None]).astype("f4")
                for width, n in ((logits.shape[1], steps), (tokens.shape[1], lengths))
            ]
            return optax.ctc_loss(logits, padding[0], tokens, padding[1])

        return of_optax
    if variant == "keras":
        from keras import ops

        return lambda logits, steps, tokens, lengths: ops.ctc_loss(
            tokens, logits, lengths, steps, mask_index=0
        )
    if variant == "tensorflow dense":
        import tensorflow as tf

        return lambda logits, steps, tokens, lengths: tf.nn.ctc_loss(
            tokens, logits, lengths, steps, logits_time_major=False, blank_index=0
        )
    from ds2edge.training.network.loss import ctc_loss

    return ctc_loss


def recurrence(variant: str, given: dict[str, Any]) -> Function:
    """States of inputs, kernel and recurrent matrix."""
    from keras import layers, ops

    if variant == "keras":
        layer = layers.GRU(given["recurrent"].shape[0], return_sequences=True, use_bias=False)
        layer.build(given["x"].shape)
        layer.set_weights([given["kernel"], given["recurrent"]])
        return lambda x, *_: layer(x)
    from ds2edge.training.network.recurrent import gru

    def ours(x: Any, kernel: Any, recurrent: Any) -> Any:
        x = ops.transpose(x, (1, 0, 2))
        initial = ops.zeros((x.shape[1], recurrent.shape[0]))
        return ops.transpose(gru(ops.matmul(x, kernel), initial, recurrent), (1, 0, 2))

    return ours


def on_tensorflow(
    function: Function, trained: list[Any], others: list[Any], upstream: Any
) -> Function:
    """A step: the value, and the gradient of the first of `trained`."""
    import tensorflow as tf

    variables = [tf.Variable(value) for value in trained]

    def step(*others: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = function(*map(tf.convert_to_tensor, variables), *others)
        gradients = tape.gradient(value, variables, upstream)
        return value, *[tf.convert_to_tensor(g) for g in gradients if g is not None]

    compiled = tf.function(step, autograph=False)
    return lambda: [x.numpy() for x in compiled(*others)]


def on_jax(function: Function, trained: list[Any], others: list[Any], upstream: Any) -> Function:
    """The same."""
    import jax

    def step(*trained: Any) -> Any:
        value, back = jax.vjp(lambda *t: function(*t, *others), *trained)
        return value, *back(jax.numpy.ones_like(value) if upstream is None else upstream)

    compiled, placed = jax.jit(step), [jax.device_put(value) for value in trained]
    return lambda: [np.asarray(x) for x in compiled(*placed)]


def main() -> None:
    spec = json.loads(sys.argv[1])
    given = dict(np.load(spec["given"]))
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(spec["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(1)
        build = on_tensorflow
    else:
        build = on_jax
    if spec["piece"] == "ctc":
        function, trained = ctc(spec["variant"]), [given["logits"]]
        others, upstream = [given[k] for k in ("steps", "tokens", "lengths")], None
    else:
        function, others = recurrence(spec["variant"], given), []
        trained, upstream = [given[k] for k in ("x", "kernel", "recurrent")], given["upstream"]
        if spec["variant"] == "keras" and build is on_tensorflow:
            trained = trained[:1]  # its weights are variables of its own, which the tape sees
    run = build(function, trained, others, upstream)
    for _ in range(2):
        value, gradient, *_ = run()
    np.savez(spec["found"], value=value, gradient=gradient)
    serve(lambda: float(np.sum(run()[0][-1])))


if __name__ == "__main__":
    main()
