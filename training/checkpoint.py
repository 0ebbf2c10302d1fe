"""Checkpoints: one .npz file with the configuration, the variables and the state of training."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from ds2edge.errors import DataError
from ds2edge.plain_values import from_dict
from ds2edge.training.config import TrainConfig

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A model at some moment of its training."""

    config: TrainConfig
    weights: dict[str, npt.NDArray[Any]]  # of evaluation: averaged ones, where averaging is on
    training: dict[str, npt.NDArray[Any]] = field(default_factory=dict)  # what resuming needs
    progress: dict[str, Any] = field(default_factory=dict)  # epoch, history, best figure


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write to a temporary file first: a kill leaves the old checkpoint whole."""
    meta = {
        "format": FORMAT,
        "config": checkpoint.config.as_dict(),
        "progress": checkpoint.progress,
    }
    arrays: dict[str, Any] = {f"weights/{k}": v for k, v in checkpoint.weights.items()}
    arrays |= {f"training/{k}": v for k, v in checkpoint.training.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, meta=np.array(json.dumps(meta)), **arrays)
    os.replace(part, path)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DataError: no such file, not a checkpoint, truncated, or of a newer format.
    """
    try:
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta")))
    except FileNotFoundError:
        raise DataError(f"no checkpoint {path}") from None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a whole checkpoint: {error}") from None
    if meta.get("format") != FORMAT:
        raise DataError(f"{path} has checkpoint format {meta.get('format')}, needed {FORMAT}")

    def group(prefix: str) -> dict[str, npt.NDArray[Any]]:
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    config = from_dict(TrainConfig, meta["config"])
    return Checkpoint(config, group("weights/"), group("training/"), meta["progress"])


def variables(owner: Any) -> dict[str, Any]:
    """Values of all variables of a model or an optimiser, by name."""
    kind = "model" if isinstance(owner, keras.Model) else "optimizer"
    return {
        f"{kind}/{i:03d}/{v.path}": ops.convert_to_numpy(v) for i, v in enumerate(owner.variables)
    }


def assign(owner: Any, values: dict[str, Any]) -> None:
    """Give the variables of a model or an optimiser their values.

    Raises:
        DataError: a value is missing or of another shape.
    """
    kind = "model" if isinstance(owner, keras.Model) else "optimizer"
    # By position: Keras numbers some names anew in every process.
    ordered = [values[name] for name in sorted(values) if name.startswith(f"{kind}/")]
    needed = [tuple(variable.shape) for variable in owner.variables]
    found = [value.shape for value in ordered]
    if found != needed:
        raise DataError(f"the checkpoint's {kind} has shapes {found}, needed {needed}")
    for variable, value in zip(owner.variables, ordered, strict=True):
        variable.assign(value)
