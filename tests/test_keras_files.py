"""Models in Keras's own files: what is in them is read, what does not fit is named."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from ds2edge.errors import ConfigError, DataError, Ds2edgeError
from ds2edge.features import FeatureSettings
from ds2edge.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, variables
from ds2edge.training.config import Convolution, ModelConfig, TrainConfig
from ds2edge.training.keras_files import open_checkpoint, open_model
from ds2edge.training.network.model import AcousticModel, build_model

FEATURES = FeatureSettings(kind="log_mel", bins=8, horizon_frames=300.0)
SMALL = ModelConfig(
    convolutions=(Convolution(2, 3, 3, 2, 2), Convolution(2, 3, 3, 1, 2)),
    layers=2,
    units=4,
    look_ahead=2,
)
RESEARCH = replace(
    SMALL, direction="both", cell="simple", norm="none", connected=3, dropout=0.0, layers=1
)
TOML = """
[features]
bins = 8
horizon_frames = 300.0
[model]
layers = 2
units = 4
look_ahead = 2
convolutions = [
    { channels = 2, time = 3, frequency = 3, time_stride = 2 },
    { channels = 2, time = 3, frequency = 3 },
]
"""


def lively(config: ModelConfig) -> AcousticModel:
    """A model of which no two variables are equal."""
    rng = np.random.default_rng(1)
    model = build_model(config, FEATURES)
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.fixture(scope="module")
def model() -> AcousticModel:
    return lively(SMALL)


@pytest.fixture(scope="module")
def saved(model: AcousticModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the model in every kind of file."""
    folder = tmp_path_factory.mktemp("saved")
    model.save(folder / "small.keras")
    model.save_weights(folder / "small.weights.h5")
    (folder / "small.toml").write_text(TOML)
    config = TrainConfig("small", FEATURES, SMALL)
    save_checkpoint(folder / "small.npz", Checkpoint(config, variables(model)))
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "saved"))


def refusal(path: Path, config: Path | None = None, kind: type[Ds2edgeError] = DataError) -> str:
    with pytest.raises(kind) as raised:
        open_checkpoint(path, config)
    assert str(path) in str(raised.value)
    return str(raised.value)


def assert_same(checkpoint: Checkpoint, model: AcousticModel) -> None:
    assert checkpoint.config.model == model.config
    assert checkpoint.config.features == model.features
    values = [v for v in checkpoint.weights.values() if v.dtype == np.float32]
    wanted = [ops.convert_to_numpy(v) for v in model.weights]
    assert len(values) == len(wanted)
    assert all(map(np.array_equal, values, wanted))


@pytest.mark.parametrize("config", [SMALL, RESEARCH], ids=["deployed", "research"])
def test_a_keras_file_holds_weights_configuration_and_features(
    config: ModelConfig, tmp_path: Path
) -> None:
    model = lively(config)
    model.compile(optimizer="adam")  # what training leaves in the file is passed over
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "a.keras")
    assert_same(open_checkpoint(tmp_path / "a.keras"), model)


def test_keras_itself_reads_the_file(model: AcousticModel, saved: Path) -> None:
    inputs = {"features": ops.ones((1, 12, 8)), "frames": ops.full((1,), 11, dtype="int32")}
    loaded = keras.models.load_model(saved / "small.keras")
    assert isinstance(loaded, AcousticModel)
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def test_weights_need_their_configuration(model: AcousticModel, folder: Path) -> None:
    weights, config = folder / "small.weights.h5", folder / "small.toml"
    assert_same(open_checkpoint(weights), model)
    assert_same(open_checkpoint(weights, config.rename(folder / "other.toml")), model)
    assert f"no {config}: give the configuration" in refusal(weights, kind=ConfigError)


def test_a_checkpoint_becomes_a_keras_file(model: AcousticModel, saved: Path) -> None:
    assert_same(open_checkpoint(saved / "small.npz"), model)
    assert_same(
        Checkpoint(TrainConfig("", FEATURES, SMALL), variables(open_model(saved / "small.npz"))),
        model,
    )


@pytest.mark.parametrize("name", ["small.keras", "small.npz"])
def test_a_second_configuration_is_refused(saved: Path, name: str) -> None:
    assert "weights alone" in refusal(saved / name, saved / "small.toml", ConfigError)


def remove(file: h5py.File) -> None:
    del file["layers/recurrence_1"]


def add(file: h5py.File) -> None:
    file["layers/recurrence_2/vars/0"] = np.ones((2, 3), np.float32)


def reshape(file: h5py.File) -> None:
    del file["vars/0"]
    file["vars/0"] = np.ones((5, 29), np.float32)


def give_outputs(file: h5py.File) -> None:
    del file["vars/1"]
    file["vars/1"] = np.ones(35, np.float32)


def spoil(file: h5py.File) -> None:
    file["layers/recurrence/vars/1"][1, :2] = np.nan, -np.inf


def count(file: h5py.File) -> None:
    del file["vars/1"]
    file["vars/1"] = np.ones(29, np.int32)


def link(file: h5py.File) -> None:
    """What is in another file of this machine."""
    del file["vars/1"]
    file["vars/1"] = h5py.ExternalLink(str(Path(file.filename).with_name("small.h5")), "vars/1")


def read_elsewhere(file: h5py.File) -> None:
    """Bytes of any file of this machine."""
    other = Path(file.filename).with_name("any")
    other.write_bytes(bytes(4 * 29))
    del file["vars/1"]
    file.create_dataset("vars/1", (29,), np.float32, external=[(str(other), 0, 4 * 29)])


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            remove,
            "lacks recurrence1/kernel, recurrence1/recurrent, recurrence1/norm/gamma and 3 more",
        ),
        (add, "has layers/recurrence_2/vars/0, which the model has not"),
        (reshape, "has head of shape (5, 29), needed (4, 29)"),
        (give_outputs, "has 35 outputs, the token set of its configuration has 29"),
        (spoil, "2 of the 48 weights of recurrence0/recurrent are NaN or infinite"),
        (count, "lacks head_bias"),
        (link, "lacks head_bias"),
        (read_elsewhere, "lacks head_bias"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    folder: Path, damage: Callable[[h5py.File], None], named: str
) -> None:
    path = folder / "small.weights.h5"
    shutil.copy(path, folder / "small.h5")
    with h5py.File(path, "r+") as file:
        damage(file)
    assert named in refusal(path)


def change_keras(path: Path, **changes: Any) -> None:
    """Write the settings of a .keras file anew."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    settings = {**json.loads(content["config.json"]), **changes}
    content["config.json"] = json.dumps(settings).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def test_another_class_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    other = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    other.save(tmp_path / "other.keras")
    assert "class Sequential, needed ds2edge>AcousticModel" in refusal(tmp_path / "other.keras")


def test_nothing_in_a_keras_file_is_executed(folder: Path, tmp_path: Path) -> None:
    """Not even where Keras would deserialise what stands in the place of a value."""
    code = {
        "class_name": "__lambda__",
        "config": {"value": "open('made', 'w')"},
    }
    path = folder / "small.keras"
    change_keras(path, config={"model": {"units": code}, "features": FEATURES.as_dict()})
    assert "model.units needs" in refusal(path)
    change_keras(path, module="os", class_name="system", registered_name="system")
    assert "class system" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": {"model": {"unit": 4}, "features": {}}}, "unknown key 'model.unit'"),
        ({"config": {"model": {}}}, "'features'"),
        ({"config": {"model": {"extra_tokens": ["ab"]}, "features": {}}}, "got 'ab'"),
        ({"config": None}, "of another version"),
    ],
)
def test_settings_of_another_version_are_refused(
    folder: Path, changes: dict[str, Any], named: str
) -> None:
    change_keras(folder / "small.keras", **changes)
    assert named in refusal(folder / "small.keras")


@pytest.mark.parametrize("name", ["small.keras", "small.weights.h5", "small.npz"])
def test_files_that_are_not_whole_are_refused(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no model at all" * 100):
        path.write_bytes(damaged)
        assert "not a whole" in refusal(path)
    path.unlink()
    assert "no checkpoint" in refusal(path)


def test_a_keras_file_without_weights_is_refused(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    assert "model.weights.h5" in refusal(folder / "a.keras")


def test_a_checkpoint_of_nan_is_refused(saved: Path, tmp_path: Path) -> None:
    good = load_checkpoint(saved / "small.npz")
    name = next(name for name in good.weights if name.endswith("recurrence1/kernel"))
    bad = {**good.weights, name: np.full_like(good.weights[name], np.inf)}
    save_checkpoint(tmp_path / "bad.npz", replace(good, weights=bad))
    message = refusal(tmp_path / "bad.npz")
    assert "48 of the 48 weights of recurrence1/kernel are NaN or infinite" in message


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda w: w.pop("row/kernel"), "lacks row/kernel: "),
        (lambda w: w.update({"more/kernel": np.ones(2)}), "has more/kernel, which"),
        (lambda w: w.update(head=np.ones((3, 29))), "head of shape (3, 29), needed (4, 29)"),
        (lambda w: w.update(head=np.ones((4, 30))), "has 30 outputs, the token set"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named(
    saved: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    good = load_checkpoint(saved / "small.npz")
    prefixes = {name.split("/", 3)[3]: name for name in good.weights if "seed" not in name}
    weights = {own: good.weights[name] for own, name in prefixes.items()}
    change(weights)
    values = {
        prefixes.get(own, f"model/999/acoustic_model/{own}"): value
        for own, value in weights.items()
    }
    seeds = {name: value for name, value in good.weights.items() if "seed" in name}
    save_checkpoint(tmp_path / "bad.npz", replace(good, weights={**values, **seeds}))
    with pytest.raises(DataError) as raised:
        open_model(tmp_path / "bad.npz")
    assert named in str(raised.value)
