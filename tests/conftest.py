"""What several tests share: recordings, and a tiny model with a bundle of its own."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings

from ds2edge import Bundle, Final, Transcriber, load_bundle
from ds2edge.audio_file import read_audio
from ds2edge.features import FeatureSettings

if TYPE_CHECKING:
    from ds2edge.serving.dispatcher import Dispatcher
    from ds2edge.serving.server import Server
    from ds2edge.training.checkpoint import Checkpoint
    from ds2edge.training.network.model import AcousticModel

# A loaded machine is slow, not wrong.
settings.register_profile("ds2edge", deadline=None)
settings.load_profile("ds2edge")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SPEECH = Path(__file__).parent / "data" / "speech"
FORMAT_3 = Path(__file__).parent / "data" / "bundles" / "format-3.ds2"
RECORDINGS = sorted(p for p in SPEECH.iterdir() if p.suffix in {".mp3", ".opus", ".flac", ".wav"})


def interruptible() -> None:
    """For a child, before it runs: Ctrl-C counts, even if what runs the tests ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def transcriber() -> Transcriber:
    """The embedded English bundle."""
    return Transcriber()


@pytest.fixture(scope="session")
def recording() -> Path:
    """A real recording."""
    return RECORDINGS[0]


@pytest.fixture(scope="session")
def speech(recording: Path) -> np.ndarray[Any, Any]:
    """Some seconds of real speech at 16 kHz."""
    return read_audio(recording, 16_000)[: 16_000 * 4]


@pytest.fixture(scope="session")
def alone(transcriber: Transcriber) -> list[tuple[Final, ...]]:
    """The segments of each of three recordings with a pause, of `contract_inputs.recorded`."""
    from contract_inputs import RATE, recorded

    return [transcriber.transcribe(recorded(i), RATE).segments for i in range(3)]


@pytest.fixture(scope="module")
def dispatcher(transcriber: Transcriber) -> Iterator[Dispatcher]:
    """Of the embedded English bundle."""
    from ds2edge.serving.dispatcher import Dispatcher

    with Dispatcher(transcriber) as dispatcher:
        yield dispatcher


@pytest.fixture(scope="module")
def server(dispatcher: Dispatcher) -> Iterator[Server]:
    """With the limits that it has as it comes."""
    from served import served

    with served(dispatcher) as server:
        yield server


@pytest.fixture
def nothing_fails(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a client does is no error of the server's."""
    yield
    records = caplog.get_records("call")
    assert [record for record in records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def no_hang() -> Iterator[None]:
    """A thread that waits for ever ends the tests and shows where, rather than to hold them up."""
    faulthandler.dump_traceback_later(300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def benchmark_scripts() -> Iterator[None]:
    """Those of benchmarks/ are imported as they import each other, and forgotten afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            patch.setenv(name, "1")
        yield
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DS2EDGE_CACHE", str(folder))
    return folder


def tiny_checkpoint(seed: int) -> Checkpoint:
    """A random model of the deployed form, small, with batch norms that do something."""
    from ds2edge.training.checkpoint import Checkpoint, variables
    from ds2edge.training.config import Convolution, ModelConfig, TrainConfig
    from ds2edge.training.network.model import build_model

    config = TrainConfig(
        name="tiny",
        features=FeatureSettings(bins=20),
        model=ModelConfig(
            convolutions=(
                Convolution(channels=4, time=5, frequency=5, time_stride=3),
                Convolution(channels=4, time=3, frequency=3),
            ),
            layers=2,
            units=48,
            look_ahead=5,
        ),
    )
    model = build_model(config.model, config.features)
    enliven(model, seed, 0.1)
    return Checkpoint(config, variables(model), progress={"epoch": 0, "history": []})


def enliven(model: AcousticModel, seed: int, spread: float) -> None:
    """Weights of which every one does something, those of batch norms too."""
    from keras import ops

    rng = np.random.default_rng(seed)
    for variable in model.variables:
        name, shape = variable.path.rsplit("/", 1)[-1], variable.shape
        if name in ("mean", "beta"):
            variable.assign(rng.normal(0, 0.3, shape))
        elif name in ("variance", "gamma"):
            variable.assign(rng.uniform(0.5, 1.5, shape))
        else:
            variable.assign(ops.convert_to_numpy(variable) + rng.normal(0, spread, shape))


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return tiny_checkpoint(seed=1)


@pytest.fixture(scope="session")
def tiny_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny model, converted; where there is no TensorFlow, as it was for `data/bundles`."""
    if not find_spec("tensorflow"):
        return load_bundle(FORMAT_3)
    from ds2edge.convert.artefacts import Form
    from ds2edge.convert.converter import Told, convert

    form = Form(batches=(1, 2, 4))
    checkpoint = request.getfixturevalue("checkpoint")
    return convert(checkpoint, tmp_path_factory.mktemp("bundles") / "tiny", Told("tiny"), form)
