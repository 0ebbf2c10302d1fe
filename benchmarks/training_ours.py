"""One training step of ds2edge: a worker of training_speed.py."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import Any

import numpy as np
from worker import serve


def on_gpu() -> bool:
    """Whether JAX is here and has a GPU: its backend is then the faster one."""
    if not importlib.util.find_spec("jax"):
        return False
    import jax

    return bool(jax.default_backend() == "gpu")


def main() -> None:
    spec = json.loads(sys.argv[1])
    gpu = on_gpu()
    os.environ.setdefault("KERAS_BACKEND", "jax" if gpu else "tensorflow")
    # Imported late: Keras looks at its environment once.
    import keras

    from ds2edge.plain_values import from_dict
    from ds2edge.training.config import TrainConfig
    from ds2edge.training.data.batches import Batch
    from ds2edge.training.loop import build_state, configure_threads
    from ds2edge.training.memory import keep_memory
    from ds2edge.training.step import build_stepper

    config: Any = from_dict(TrainConfig, spec["config"], "")
    configure_threads()
    keep_memory()
    keras.utils.set_random_seed(1)
    state = build_state(config, [1000])
    step = build_stepper(state.objective, state.optimizer, config.optimizer.clip_norm)
    rng = np.random.default_rng(0)
    frames = np.array(spec["frames"], np.int32)
    features = rng.normal(size=(len(frames), frames.max(), spec["bins"])).astype(np.float32)
    lengths = np.array(spec["lengths"], np.int32)
    tokens = rng.integers(1, spec["tokens"], (len(lengths), lengths.max())).astype(np.int32)
    batch = Batch(features, frames, tokens, lengths)
    for _ in range(2):
        step([batch])
    told = {"settings": keras.backend.backend(), "parameters": state.model.count_params()}
    told |= {"device": "gpu" if gpu else "cpu", "version": f"keras {keras.__version__}"}
    serve(lambda: step([batch]).loss, **told)


if __name__ == "__main__":
    main()
