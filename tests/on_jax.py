"""Models on Keras's JAX backend, in a process of its own: `python on_jax.py FOLDER`.

For each NAME.checkpoint in the folder, and the batch in batch.npz, it writes NAME.npz with
log-probabilities, training loss and gradients, and NAME.back, the weights once more.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiles sooner

import jax
import keras
import numpy as np
from keras import ops

from ds2edge.training.checkpoint import (
    Checkpoint,
    assign,
    load_checkpoint,
    save_checkpoint,
    variables,
)
from ds2edge.training.network.model import AcousticModel, build_model


def compute(model: AcousticModel, batch: dict[str, Any]) -> dict[str, Any]:
    inputs = {name: batch[name] for name in ("features", "frames")}
    targets = {name: batch[name] for name in ("tokens", "lengths")}

    def loss(trained: Any, other: Any) -> Any:
        logits, _ = model.stateless_call(trained, other, inputs, training=True)
        return model.compute_loss(inputs, targets, logits)

    @jax.jit
    def everything(trained: Any, other: Any) -> Any:
        logits, _ = model.stateless_call(trained, other, inputs)
        return ops.log_softmax(logits), *jax.value_and_grad(loss)(trained, other)

    trained = [variable.value for variable in model.trainable_variables]
    other = [variable.value for variable in model.non_trainable_variables]
    log_probs, found, gradients = everything(trained, other)
    named = {f"gradient{i:03d}": gradient for i, gradient in enumerate(gradients)}
    return {"log_probs": log_probs, "loss": found, **named}


def main(folder: Path) -> None:
    batch = dict(np.load(folder / "batch.npz"))
    for path in folder.glob("*.checkpoint"):
        kept = load_checkpoint(path)
        model = build_model(kept.config.model, kept.config.features)
        assign(model, kept.weights)
        np.savez(path.with_suffix(".npz"), **compute(model, batch))
        save_checkpoint(path.with_suffix(".back"), Checkpoint(kept.config, variables(model)))
    assert keras.backend.backend() == "jax"
    assert "tensorflow" not in sys.modules  # where there is none, it works too


if __name__ == "__main__":
    main(Path(sys.argv[1]))
