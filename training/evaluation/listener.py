"""A bundle or a checkpoint without its decoder: samples to log-probabilities."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ds2edge.acoustic import log_softmax
from ds2edge.audio import FloatArray
from ds2edge.bundle import MANIFEST, Bundle, load_bundle
from ds2edge.bundle_archive import file_digest
from ds2edge.decoder import LogProbs
from ds2edge.features import FeatureExtractor, FeatureSettings
from ds2edge.pipeline import load_pipeline
from ds2edge.results import Seconds
from ds2edge.runtimes.stderr import captured_stderr
from ds2edge.text import TokenSet

if TYPE_CHECKING:
    from ds2edge.training.network.model import AcousticModel

BATCH = 16  # recordings that a checkpoint hears at once
TOGETHER = 4 * BATCH  # that it is given, so that those of like length can be together


@dataclass(frozen=True)
class Listener:
    """What hears recordings."""

    name: str
    digest: str  # SHA-256 of the bundle's manifest or of the checkpoint
    tokens: TokenSet
    sample_rate: int  # Hz
    step_samples: int  # from one output to the next
    delay: Seconds  # from what is spoken to the output that says so
    # Of whole recordings, mono at that rate; each has shape = (outputs, tokens).
    log_probs: Callable[[Sequence[FloatArray]], list[LogProbs]]
    together: int = 1  # recordings that it is best given at a time

    @property
    def step(self) -> Seconds:
        """From one output to the next."""
        return self.step_samples / self.sample_rate


def add_listener_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    model.add_argument("--checkpoint", metavar="FILE", help="best.npz of `ds2edge train` instead")


@cache
def open_listener(model: str) -> Listener:
    """A bundle by its name, folder or .ds2 file, or a checkpoint by its .npz file.

    Raises:
        BundleError, DataError: the model cannot be read.
    """
    if Path(model).suffix == ".npz":
        return checkpoint_listener(model)
    return bundle_listener(load_bundle(model))


def bundle_listener(bundle: Bundle) -> Listener:
    """The acoustic model of a bundle, recordings one by one."""
    manifest, pipeline = bundle.manifest, load_pipeline(bundle)
    return Listener(
        manifest.name,
        file_digest(bundle.folder / MANIFEST),
        manifest.tokens,
        manifest.features.sample_rate,
        _step(manifest.features, manifest.grid.time_stride),
        manifest.delay,
        lambda recordings: [pipeline.log_probs(samples) for samples in recordings],
    )


def checkpoint_listener(path: str) -> Listener:
    """The model of a checkpoint, several recordings at once."""
    with captured_stderr():  # only here is TensorFlow needed; it tells of the machine
        from ds2edge.training.checkpoint import assign, load_checkpoint
        from ds2edge.training.data.feature_cache import OFFLINE_CHUNK
        from ds2edge.training.network.model import build_model, token_set

    checkpoint = load_checkpoint(path)
    config = checkpoint.config
    model = build_model(config.model, config.features)
    assign(model, checkpoint.weights)

    def log_probs(recordings: Sequence[FloatArray]) -> list[LogProbs]:
        extractor = FeatureExtractor(config.features, OFFLINE_CHUNK)
        return model_log_probs(model, [extractor.extract(samples) for samples in recordings])

    return Listener(
        f"{config.name} ({Path(path).name})",
        file_digest(Path(path)),
        token_set(config.model),
        config.features.sample_rate,
        _step(config.features, config.model.time_stride),
        0.0,
        log_probs,
        TOGETHER,
    )


def model_log_probs(model: AcousticModel, recordings: Sequence[FloatArray]) -> list[LogProbs]:
    """A checkpoint's own answer, whole recordings at once; frames have shape (frames, bins)."""
    from keras import ops

    from ds2edge.training.data.batches import pad
    from ds2edge.training.network.model import output_lengths

    order = np.argsort([len(frames) for frames in recordings])
    found: dict[int, LogProbs] = {}
    for begin in range(0, len(order), BATCH):
        group = order[begin : begin + BATCH].tolist()
        batch = pad([recordings[i] for i in group], [[]] * len(group))
        inputs = {"features": batch.features, "frames": batch.frames}
        logits = ops.convert_to_numpy(model.predict_on_batch(inputs))
        for i, row, frames in zip(group, logits, batch.frames, strict=True):
            found[i] = log_softmax(row[: output_lengths(int(frames), model.config)])
    return [found[i] for i in range(len(recordings))]


def _step(features: FeatureSettings, time_stride: int) -> int:
    return features.hop * time_stride
