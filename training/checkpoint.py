"""Checkpoints: one .npz file with the configuration, the variables and the state of training."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from ds2edge.errors import ConfigError, DataError
from ds2edge.plain_values import from_dict
from ds2edge.training.config import TrainConfig
from ds2edge.training.files import partial_file, write_npz

FORMAT = 2  # 1 stands only at the end of an epoch
NAMED = 3  # variables in a message, at most
BROKEN = (OSError, EOFError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class Checkpoint:
    """A model at some moment of its training."""

    config: TrainConfig
    weights: dict[str, npt.NDArray[Any]]  # of evaluation: averaged ones, where averaging is on
    training: dict[str, npt.NDArray[Any]] = field(default_factory=dict)  # what resuming needs
    progress: dict[str, Any] = field(default_factory=dict)  # epoch, history, best figure


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the old one stays until the new one is whole and on the disk.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    meta = {
        "format": FORMAT,
        "config": checkpoint.config.as_dict(),
        "progress": checkpoint.progress,
    }
    arrays: dict[str, Any] = {"meta": np.array(json.dumps(meta))}
    arrays |= {f"weights/{k}": v for k, v in checkpoint.weights.items()}
    arrays |= {f"training/{k}": v for k, v in checkpoint.training.items()}
    with partial_file(path) as file:
        write_npz(file, arrays)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DataError: no such file, not a checkpoint, truncated, of a newer format, or with weights
            that are no numbers.
    """
    try:
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta")))
        number, values, progress = meta["format"], meta["config"], meta["progress"]
    except FileNotFoundError:
        raise DataError(f"no checkpoint {path}") from None
    except BROKEN as error:
        # NumPy takes what is no archive for a pickle, and advises to load it.
        reason = "it is no archive of arrays" if "pickle" in str(error) else error
        raise DataError(f"{path} is not a whole checkpoint: {reason}") from None
    if number not in range(1, FORMAT + 1):
        raise DataError(f"{path} has checkpoint format {number}, needed: {FORMAT} or older")
    try:
        config = from_dict(TrainConfig, values)
    except ConfigError as error:
        raise DataError(f"{path} is of another version of ds2edge: {error}") from None

    def group(prefix: str) -> dict[str, npt.NDArray[Any]]:
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    weights = group("weights/")
    check_numbers(str(path), {_short(name): value for name, value in weights.items()})
    return Checkpoint(config, weights, group("training/"), progress)


def check_numbers(whose: str, weights: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse weights that no model computes with.

    Args:
        whose: file that they are from, for the message.

    Raises:
        DataError: one is NaN or infinite.
    """
    for name, value in weights.items():
        if np.issubdtype(value.dtype, np.floating) and not (finite := np.isfinite(value)).all():
            raise DataError(
                f"{whose}: {np.size(finite) - finite.sum()} of the {np.size(finite)} weights of "
                f"{name} are NaN or infinite; take an earlier checkpoint"
            )


def weights_digest(checkpoint: Checkpoint) -> str:
    """Short hash of a model: its configuration and weights, whatever they are called."""
    config = checkpoint.config
    digest = hashlib.sha256(json.dumps([asdict(config.model), config.features.as_dict()]).encode())
    for _, value in sorted(checkpoint.weights.items()):
        if np.issubdtype(value.dtype, np.floating):  # not the state of dropout
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:16]


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
    names = [name for name in sorted(values) if name.startswith(f"{kind}/")]
    found = [(_short(name), values[name].shape) for name in names]
    needed = [(variable_name(v), tuple(v.shape)) for v in owner.variables]
    check_fit(f"the checkpoint's {kind}", found, needed)
    for variable, name in zip(owner.variables, names, strict=True):
        variable.assign(values[name])


def check_fit(
    whose: str,
    found: Sequence[tuple[str, tuple[int, ...]]],
    needed: Sequence[tuple[str, tuple[int, ...]]],
    remedy: str = "it is of another architecture",
) -> None:
    """Compare variables, by name and shape, with those that a model has, in the same order.

    Args:
        whose: what they were found in, for the message; and what it says in the end.

    Raises:
        DataError: one is missing, or is too many, or is of another shape.
    """
    names, wanted = Counter(name for name, _ in found), Counter(name for name, _ in needed)
    problems = []
    if missing := wanted - names:
        problems.append(f"lacks {_listed(missing)}")
    if extra := names - wanted:
        problems.append(f"has {_listed(extra)}, which the model has not")
    if problems:
        raise DataError(f"{whose} {'; it '.join(problems)}: {remedy}")
    for (name, shape), (_, needs) in zip(found, needed, strict=True):
        if shape == needs:
            continue
        if name in ("head", "head_bias") and shape[:-1] == needs[:-1]:
            raise DataError(
                f"{whose} has {shape[-1]} outputs, the token set of its configuration has "
                f"{needs[-1]}: it is of another token set"
            )
        raise DataError(f"{whose} has {name} of shape {shape}, needed {needs}: {remedy}")


def _listed(names: Counter[str]) -> str:
    first, more = list(names)[:NAMED], len(names) - NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def variable_name(variable: Any) -> str:
    """`recurrence0/kernel`: without what Keras numbers anew in every process."""
    return _short(f"//{variable.path}")


def _short(name: str) -> str:
    """The same of a key of `variables`."""
    path = re.sub(r"_\d+(?=[/_]|$)", "", name.split("/", 2)[2])
    return path.removeprefix("acoustic_model/")
