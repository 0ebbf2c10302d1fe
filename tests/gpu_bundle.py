"""A bundle with all kinds of weights, for the tests of GPUs and delegates."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ds2edge.acoustic import run_chunks
from ds2edge.backends import as_backend
from ds2edge.bundle import CHECK, LEXICON, Artefact, Bundle, Manifest, write_bundle
from ds2edge.decoder import SearchOptions
from ds2edge.runtimes.interpreter import load_litert
from ds2edge.runtimes.stderr import captured_stderr

if TYPE_CHECKING:
    from ds2edge.training.checkpoint import Checkpoint

TOLERANCES = {"int8": 2.0, "fp16": 0.1, "fp32": 1e-3}


def write_gpu_bundle(
    checkpoint: Checkpoint, folder: Path, frames: np.ndarray, like: Bundle | None = None
) -> Bundle:
    """The checkpoint as a bundle whose test chunk are these frames.

    Args:
        like: has all but the acoustic model; None: the bundle hears letters alone.
    """
    from ds2edge.convert.artefacts import Form, convert_model
    from ds2edge.training.checkpoint import assign
    from ds2edge.training.network.model import build_model, token_set

    config = checkpoint.config
    model = build_model(config.model, config.features)
    assign(model, checkpoint.weights)
    form = Form(("int8", "fp16", "fp32"), batches=(1, 2))
    converted = convert_model(model, form)
    artefacts = tuple(
        Artefact(f"{name}.tflite", name, converted.form, form.batches, TOLERANCES[name])
        for name in form.formats
    )
    members: dict[str, bytes | Path] = {
        f"{name}.tflite": content for name, content in converted.files.items()
    }
    if like:
        manifest = replace(like.manifest, artefacts=artefacts, grid=converted.grid)
        for path in filter(None, (like.language_model, like.folder / LEXICON)):
            members[path.name] = path
    else:
        manifest = Manifest(
            name="letters",
            tokens=token_set(config.model),
            features=config.features,
            grid=converted.grid,
            artefacts=artefacts,
            decoder=SearchOptions(),
        )
    folder.mkdir()
    (folder.parent / "fp32.tflite").write_bytes(converted.float32)
    with captured_stderr():
        runtime = load_litert(folder.parent / "fp32.tflite")
        backend = as_backend(converted.form, runtime, converted.grid)
        log_probs = run_chunks(backend, frames, converted.grid.chunk_frames)
    return write_bundle(folder, manifest, {**members, CHECK: _check(frames, log_probs)})


def with_check(bundle: Bundle, folder: Path, shift: float) -> Bundle:
    """The same with another stored answer, `shift` nats off."""
    with np.load(bundle.check) as stored:
        frames, log_probs = stored["features"], stored["log_probs"]
    members: dict[str, bytes | Path] = {n: bundle.folder / n for n in bundle.manifest.members}
    members[CHECK] = _check(frames, log_probs + np.float32(shift))
    return write_bundle(folder, bundle.manifest, members)


def _check(frames: np.ndarray, log_probs: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, features=frames, log_probs=log_probs)
    return file.getvalue()
