"""Models on Keras's JAX backend, in a process of its own: `python on_jax.py FOLDER`.

For each NAME.checkpoint in the folder, and the batch in batch.npz, it writes NAME.npz with
log-probabilities, training loss and gradients, what an update did and the weights after it, and
NAME.back, the weights once more. Then it trains tiny.toml on the corpora in the folder, as a whole
and in parts.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiles sooner

import jax
import keras
import numpy as np
from keras import ops

from ds2edge import cli
from ds2edge.commands.interrupt import Interrupt
from ds2edge.training.checkpoint import (
    Checkpoint,
    assign,
    load_checkpoint,
    save_checkpoint,
    variables,
)
from ds2edge.training.config import OptimizerConfig, load_config
from ds2edge.training.data.batches import Batch
from ds2edge.training.loop import Stopped, train
from ds2edge.training.network.model import AcousticModel, build_model
from ds2edge.training.optimizer import build_optimizer
from ds2edge.training.step import build_stepper
from ds2edge.training.train import prepare


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


def update(
    model: AcousticModel, settings: OptimizerConfig, batch: dict[str, Any]
) -> dict[str, Any]:
    optimizer = build_optimizer(settings, [2])
    optimizer.build(model.trainable_variables)
    step = build_stepper(model, optimizer, settings.clip_norm)
    values = Batch(*(batch[name] for name in ("features", "frames", "tokens", "lengths")))
    did = step([values])
    after = {f"after{i:03d}": v for i, v in enumerate(variables(model).values())}
    return {**{f"update_{name}": value for name, value in asdict(did).items()}, **after}


class OnceAsked(Interrupt):
    """Ctrl-C after the first update."""

    asked = True

    def __init__(self) -> None:
        pass


def train_whole_and_in_parts(folder: Path) -> None:
    config, data, parts = folder / "tiny.toml", folder / "corpora", folder / "parts"
    command = ["train", str(config), "--data", str(data)]
    assert cli.main([*command, "--out", str(folder / "whole")]) == 0
    try:
        train(prepare(load_config(config), data, parts), interrupt=OnceAsked())
        raise AssertionError("it was not stopped")
    except Stopped:
        pass
    assert cli.main([*command, "--out", str(parts)]) == 0
    assert cli.main([*command, "--out", str(folder / "none"), "--workers", "2"]) == 2


def main(folder: Path) -> None:
    batch = dict(np.load(folder / "batch.npz"))
    for path in folder.glob("*.checkpoint"):
        kept = load_checkpoint(path)
        model = build_model(kept.config.model, kept.config.features)
        assign(model, kept.weights)
        found = compute(model, batch)
        save_checkpoint(path.with_suffix(".back"), Checkpoint(kept.config, variables(model)))
        if path.stem == "deployed":  # each is slow to compile
            found |= update(model, kept.config.optimizer, batch)
        np.savez(path.with_suffix(".npz"), **found)
    train_whole_and_in_parts(folder)
    assert keras.backend.backend() == "jax"
    assert "tensorflow" not in sys.modules


if __name__ == "__main__":
    main(Path(sys.argv[1]))
