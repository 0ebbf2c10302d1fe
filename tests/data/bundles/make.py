"""Make the bundle that tests/test_bundle_command.py keeps of a format: once, when it is new.

    PYTHONPATH=tests python -P tests/data/bundles/make.py

Its weights are random. Beside it: the log-probabilities that it gave for two seconds of speech.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np
from conftest import RECORDINGS
from language_model_folder import write_language_model

from ds2edge.audio_file import read_audio
from ds2edge.bundle import FORMAT, PLOT
from ds2edge.bundle_tools import save_bundle
from ds2edge.convert.artefacts import Form
from ds2edge.convert.converter import Told, convert
from ds2edge.features import FeatureSettings
from ds2edge.language_model import open_language_model
from ds2edge.pipeline import load_pipeline
from ds2edge.training.checkpoint import Checkpoint, variables
from ds2edge.training.config import Convolution, ModelConfig, TrainConfig
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.network.model import build_model

out = Path(__file__).with_name(f"format-{FORMAT}.ds2")
config = TrainConfig(
    "tiny",
    FeatureSettings(bins=12),
    ModelConfig((Convolution(4, time=5, frequency=5, time_stride=3),), layers=1, units=16),
)
keras.utils.set_random_seed(1)
model = build_model(config.model, config.features)
for variable in model.weights:
    variable.assign_add(np.random.default_rng(1).normal(0, 0.2, variable.shape))
for layer in (*model.convolutions, *model.recurrences):
    layer.norm.variance.assign(np.full(layer.norm.variance.shape, 0.7))
spoken = [Utterance(path, 3.0, "some words", "x", "test") for path in RECORDINGS[:2]]
with tempfile.TemporaryDirectory() as folder:
    bundle = convert(
        Checkpoint(config, variables(model)),
        Path(folder) / "bundle",
        Told(f"format {FORMAT}", "Random weights, for tests.", "CC0-1.0"),
        Form(("int8", "fp32"), chunk_outputs=2, batches=(1, 2)),
        language_model=open_language_model(write_language_model(Path(folder) / "lm")),
        dev=spoken[:1],
        test=spoken,
        force=True,  # of random weights the roundings weigh more
    )
    names = [name for name in bundle.manifest.members if name != PLOT]
    save_bundle(out, bundle.manifest, {name: bundle.folder / name for name in names})
    samples = read_audio(RECORDINGS[0], 16_000)[: 2 * 16_000]
    log_probs = load_pipeline(bundle).log_probs(samples)
np.savez_compressed(out.with_suffix(".npz"), log_probs=log_probs)
print(f"{out}: {out.stat().st_size} bytes")
