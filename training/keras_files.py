"""Models in Keras's own files: .keras, which says how it is built, and .weights.h5, which does not.

Keras's loader builds whatever class a file names. Here only numbers are read: the settings key by
key, as from TOML, and each variable by its place in the file and its shape.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import h5py
import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from ds2edge.errors import ConfigError, DataError, TextError
from ds2edge.features import FeatureSettings
from ds2edge.plain_values import from_dict
from ds2edge.training.checkpoint import (
    BROKEN,
    Checkpoint,
    assign,
    check_fit,
    check_numbers,
    load_checkpoint,
    variable_name,
    variables,
)
from ds2edge.training.config import ModelConfig, TrainConfig, load_config
from ds2edge.training.network.model import AcousticModel, build_model, token_set

T = TypeVar("T")

KERAS, WEIGHTS = ".keras", ".weights.h5"
CLASS = keras.saving.get_registered_name(AcousticModel)
LARGEST = {"config.json": 2**20, "model.weights.h5": 2**31}  # bytes of members of a .keras file
NOT_OF_THE_MODEL = ("optimizer/", "metrics/", "compile_metrics/")  # of one that was compiled


def open_checkpoint(path: Path, config: Path | None = None) -> Checkpoint:
    """A model in any of the files that hold one: .npz of `ds2edge train`, .keras or .weights.h5.

    Args:
        config: TOML of `ds2edge train`, for weights alone; None: that of the same name beside them.

    Raises:
        DataError: there is no such file, it is damaged, or what is in it does not fit.
        ConfigError: the configuration is missing, wrong, or given to a file that has its own.
    """
    if not path.is_file():
        raise DataError(f"no checkpoint {path}")
    if path.suffix == ".h5":
        return load_model_file(path, load_config(config or _beside(path)))
    if config:
        raise ConfigError(
            f"{path} has the configuration of its model in it, got {config} besides; "
            f"only weights alone, {WEIGHTS}, need one"
        )
    return load_model_file(path) if path.suffix == KERAS else load_checkpoint(path)


def open_model(path: str | Path, config: str | Path | None = None) -> AcousticModel:
    """The same as a Keras model, which `save("FILE.keras")` writes.

    Raises:
        DataError, ConfigError: as `open_checkpoint`.
    """
    checkpoint = open_checkpoint(Path(path), Path(config) if config else None)
    model = build_model(checkpoint.config.model, checkpoint.config.features)
    assign(model, checkpoint.weights)
    return model


def load_model_file(path: Path, config: TrainConfig | None = None) -> Checkpoint:
    """The checkpoint in a .keras file or, with its configuration, in a file of weights.

    Raises:
        DataError: there is no such file, it is damaged, holds another class of model, or lacks a
            variable, has one more, or one of another shape or with values that are no numbers.
    """
    if config:
        content = _reading(path, path.read_bytes)
        remedy = "give the configuration that it was trained with"
    else:
        settings, content = _reading(path, lambda: _members(path))
        config = _config(path, settings)
        remedy = "save it again with the ds2edge that is installed"
    found = _reading(path, lambda: _read_weights(content))
    model = build_model(config.model, config.features)
    places = _places(model)
    names = {place: variable_name(variable) for place, variable in places.items()}
    order = [*(place for place in places if place in found), *sorted(found.keys() - places.keys())]
    check_fit(
        str(path),
        [(names.get(place, place), found[place].shape) for place in order],
        [(names[place], tuple(variable.shape)) for place, variable in places.items()],
        remedy,
    )
    check_numbers(str(path), {names[place]: found[place] for place in places})
    for place, variable in places.items():
        variable.assign(found[place])
    return Checkpoint(config, variables(model), progress={"history": []})


def _beside(path: Path) -> Path:
    """The configuration of the same name."""
    found = path.with_name(path.name.removesuffix(".h5").removesuffix(".weights") + ".toml")
    if not found.is_file():
        raise ConfigError(
            f"{path} holds weights alone, and there is no {found}: give the configuration that "
            "they were trained with, --config FILE"
        )
    return found


def _reading(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except (*BROKEN, RuntimeError) as error:
        kind = KERAS if path.suffix == KERAS else "HDF5"
        raise DataError(f"{path} is not a whole {kind} file: {error}; save it again") from None


def _members(path: Path) -> tuple[Any, bytes]:
    """Settings and weights in a .keras file, which is a zip file."""
    with zipfile.ZipFile(path) as archive:
        for name, most in LARGEST.items():
            if archive.getinfo(name).file_size > most:
                raise ValueError(f"its {name} has more than {most} bytes")
        settings, content = (archive.read(name) for name in LARGEST)
    return json.loads(settings), content


def _config(path: Path, settings: Any) -> TrainConfig:
    """What a model was built with.

    Raises:
        DataError: it is of another class, or was built in a way that this ds2edge does not know.
    """
    found = settings.get("registered_name") if isinstance(settings, dict) else None
    if found != CLASS:
        raise DataError(
            f"{path} holds a model of class {found or _class_name(settings)}, needed {CLASS}: "
            "ds2edge converts its own models alone"
        )
    try:
        values = settings["config"]
        model = from_dict(ModelConfig, values["model"], "model.")
        token_set(model)
        return TrainConfig(path.stem, FeatureSettings.from_dict(values["features"]), model)
    except (KeyError, TypeError, ConfigError, TextError) as error:
        raise DataError(f"{path} is of another version of ds2edge: {error}") from None


def _class_name(settings: Any) -> str:
    return str(settings.get("class_name")) if isinstance(settings, dict) else "unknown"


def _places(model: AcousticModel) -> dict[str, Any]:
    """The variables of a model by the places where Keras writes them.

    Only Keras knows: hence it writes them, each filled with its own number. Afterwards the model
    has no weights worth having.
    """
    weights = [v for v in model.variables if _is_float(v.dtype)]  # not the state of dropout
    for number, variable in enumerate(weights):
        variable.assign(ops.full(variable.shape, number, variable.dtype))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"numbers{WEIGHTS}"
        model.save_weights(path)
        with h5py.File(path, "r") as file:
            numbers = {place: int(values[()].flat[0]) for place, values in _datasets(file).items()}
    places = {number: place for place, number in numbers.items()}
    return {places[number]: variable for number, variable in enumerate(weights)}


def _read_weights(content: bytes) -> dict[str, npt.NDArray[np.float32]]:
    """The variables in an HDF5 file, by their places."""
    with h5py.File(io.BytesIO(content), "r") as file:
        found = _datasets(file)
        if sum(values.nbytes for values in found.values()) > LARGEST["model.weights.h5"]:
            raise ValueError("its variables are larger than any model's")
        return {place: values[()].astype(np.float32) for place, values in found.items()}


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """The variables of floating point, by their places. Links to other files are not followed."""
    found = {}

    def collect(place: str, values: Any) -> None:
        inside = isinstance(values, h5py.Dataset) and not (values.external or values.is_virtual)
        if inside and _is_float(values.dtype) and not place.startswith(NOT_OF_THE_MODEL):
            found[place] = values

    file.visititems(collect)
    return found


def _is_float(kind: Any) -> bool:
    return np.issubdtype(np.dtype(kind), np.floating)
