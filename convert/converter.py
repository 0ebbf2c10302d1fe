"""A checkpoint to a bundle: step graphs, decoder weights, measured figures, members."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from ds2edge.audio_file import read_audio
from ds2edge.bundle import (
    ARCHIVE,
    CARD,
    CHECK,
    LANGUAGE_MODEL,
    LEXICON,
    LICENCE,
    MODEL,
    Bundle,
    Manifest,
    StepGrid,
    check_replaceable,
    load_bundle,
    pack_bundle,
    write_bundle,
)
from ds2edge.convert.card import model_card
from ds2edge.convert.parity import check_gate, difference, graph_log_probs, probe_frames
from ds2edge.convert.step_graph import build_step_graph, to_tflite
from ds2edge.decoder import Confidence, Decoder, LogProbs, SearchOptions
from ds2edge.errors import ConfigError, DataError
from ds2edge.features import FeatureExtractor, FeatureSettings
from ds2edge.progress import track
from ds2edge.text import TokenSet, normalise
from ds2edge.training.checkpoint import Checkpoint, assign
from ds2edge.training.confidence import fit_decoder
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.evaluation.evaluate import measured
from ds2edge.training.evaluation.listener import model_log_probs
from ds2edge.training.evaluation.prior import label_prior, shifted_bias
from ds2edge.training.evaluation.tune import tuned_decoder
from ds2edge.training.language_model import LanguageModel
from ds2edge.training.network.model import AcousticModel, build_model, token_set

CHUNK_OUTPUTS = 4  # of one step: larger is a little faster and answers later
CHECK_TOLERANCE = 0.5  # nats; processors' int8 kernels round differently, other models are far off


@dataclass(frozen=True)
class Converted:
    """The step graphs of one checkpoint."""

    grid: StepGrid
    float32: bytes
    int8: bytes


def convert(
    checkpoint: Checkpoint,
    out: Path,
    *,
    name: str,
    language_model: LanguageModel | None = None,
    search: SearchOptions | None = None,
    prior_weight: float = 0.0,
    delay: float = 0.0,
    confidence: Mapping[str, Confidence] | None = None,
    dev: Sequence[Utterance] = (),
    test: Sequence[Utterance] = (),
    notes: str = "",
    licence: str = "",
    command: str = "",
) -> Bundle:
    """Write a bundle: a folder, or one file if `out` ends in .ds2.

    Args:
        prior_weight: of the label prior over `dev`, divided out by the bias of the output layer.
        confidence: as it was fitted for a model like this one; `dev` fits it anew.

    Raises:
        ConfigError: the label prior has no recordings to be measured on.
        DataError: the checkpoint or the language model does not fit.
        BundleError: the converted model is not the same model, or `out` holds something else.
    """
    if out.suffix != ARCHIVE:
        check_replaceable(out)  # now: what follows may take hours
    config = checkpoint.config
    tokens = token_set(config.model)
    if language_model and language_model.description.get("tokens") != tokens.digest:
        raise DataError(f"{language_model.folder} was built for another token set than the model's")
    model = build_model(config.model, config.features)
    assign(model, checkpoint.weights)
    if prior_weight:
        _divide_prior(model, config.features, dev, prior_weight)
    converted = convert_model(model)
    probe = probe_frames(converted.grid, config.features.size)
    parity = compare(model, converted, [probe])
    accuracy: dict[str, Any] = {}
    decoder = _decoder(tokens, language_model, search or SearchOptions())
    fitted = dict(confidence or {})
    if dev:
        blocks = _int8_log_probs(converted, config.features, dev)
        decoder = tuned_decoder(decoder, dev, blocks)
        fitted = _fit_confidence(decoder, dev, blocks)
    if test:
        parity, accuracy = measure(model, converted, config.features, decoder, test)
    manifest = Manifest(
        name=name,
        tokens=tokens,
        features=config.features,
        grid=converted.grid,
        decoder=decoder.options,
        delay=delay,
        confidence=fitted,
        licence=licence,
        language_model=language_model.description if language_model else {},
        training={**_training(checkpoint), "prior_weight": prior_weight},
        accuracy=accuracy,
        parity=parity,
    )
    members: dict[str, bytes | Path] = {
        MODEL: converted.int8,
        CHECK: _check_member(converted, probe),
        CARD: model_card(manifest, notes, command).encode(),
        LICENCE: f"Licence of these weights: {licence or 'none given'}\n".encode(),
    }
    if language_model:
        members[LANGUAGE_MODEL] = language_model.binary
        if language_model.words is not None:
            members[LEXICON] = language_model.lexicon
    return _write(out, manifest, members)


def convert_model(model: AcousticModel, chunk_outputs: int = CHUNK_OUTPUTS) -> Converted:
    """Both step graphs of a model."""
    graph = build_step_graph(model, chunk_outputs)
    contents = []
    for quantise in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            contents.append(to_tflite(graph, folder, quantise))
    return Converted(graph.grid, *contents)


def compare(
    model: AcousticModel, converted: Converted, recordings: Sequence[np.ndarray[Any, Any]]
) -> dict[str, Any]:
    """Pass the gate, and say by how much.

    Raises:
        BundleError: a difference is over its limit.
    """
    expected = model_log_probs(model, recordings)
    of_float, of_int8 = (
        difference(list(graph_log_probs(graph, converted.grid, recordings)), expected)
        for graph in (converted.float32, converted.int8)
    )
    check_gate(of_float, of_int8)
    return {"float32": asdict(of_float), "int8": asdict(of_int8)}


def measure(
    model: AcousticModel,
    converted: Converted,
    features: FeatureSettings,
    decoder: Decoder,
    test: Sequence[Utterance],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Differences and error rates on recordings: of the model, the float and the int8 graph."""
    recordings = _features(features, converted.grid, test)
    parity = compare(model, converted, recordings)
    rows = {
        "model": model_log_probs(model, recordings),
        "float32": graph_log_probs(converted.float32, converted.grid, recordings),
        "int8": graph_log_probs(converted.int8, converted.grid, recordings),
    }
    figures = {
        row: measured(decoder, test, track(blocks, f"decoding {row}", len(test)))
        for row, blocks in rows.items()
    }
    for row, values in figures.items():
        parity.setdefault(row, {}).update(values)
    return parity, {"test": figures["int8"]}


def _divide_prior(
    model: AcousticModel, features: FeatureSettings, dev: Sequence[Utterance], weight: float
) -> None:
    """Shift the bias of the output layer: see `ds2edge.training.evaluation.prior`."""
    if not dev:
        raise ConfigError("the label prior is measured on recordings: --prior-weight needs --dev")
    stride = model.config.time_stride
    grid = StepGrid(CHUNK_OUTPUTS * stride, stride, model.config.look_ahead)
    prior = label_prior(model_log_probs(model, _features(features, grid, dev)))
    bias = np.asarray(ops.convert_to_numpy(model.head_bias), np.float32)
    model.head_bias.assign(shifted_bias(bias, prior, weight))


def _fit_confidence(
    decoder: Decoder, dev: Sequence[Utterance], blocks: Sequence[LogProbs]
) -> dict[str, Confidence]:
    """For the words of the language model, and for those without it."""
    wanted = [normalise(utterance.text, decoder.tokens) for utterance in dev]
    letters = Decoder(decoder.tokens, options=replace(decoder.options, beta=0.0))
    fitted = {
        "language_model": fit_decoder(decoder, wanted, blocks),
        "letters": fit_decoder(letters, wanted, blocks),
    }
    return {name: one for name, one in fitted.items() if one}


def _training(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the model learned from, and how it went."""
    config, history = checkpoint.config, checkpoint.progress.get("history", [])
    return {
        "corpora": [corpus.folder for corpus in config.data.train],
        "epochs": checkpoint.progress.get("epoch"),
        "dev_cer": history[-1]["dev_cer"] if history else None,
        "config": {k: v for k, v in config.as_dict().items() if k != "features"},
        "history": history,
    }


def _decoder(
    tokens: TokenSet, language_model: LanguageModel | None, options: SearchOptions
) -> Decoder:
    if language_model is None:
        return Decoder(tokens, options=options)
    words = language_model.words
    return Decoder(tokens, words=words, language_model=language_model.binary, options=options)


def _int8_log_probs(
    converted: Converted, features: FeatureSettings, utterances: Sequence[Utterance]
) -> list[LogProbs]:
    recordings = _features(features, converted.grid, utterances)
    return list(graph_log_probs(converted.int8, converted.grid, recordings))


def _features(
    settings: FeatureSettings, grid: StepGrid, utterances: Sequence[Utterance]
) -> list[np.ndarray[Any, Any]]:
    """Frames of every utterance on the runtime's grid."""
    extractor = FeatureExtractor(settings, grid.chunk_frames)
    return [extractor.extract(read_audio(u.path, settings.sample_rate)) for u in utterances]


def _check_member(converted: Converted, frames: np.ndarray[Any, Any]) -> bytes:
    """The test chunk that every runtime has to reproduce when it loads the bundle."""
    (log_probs,) = graph_log_probs(converted.int8, converted.grid, [frames])
    file = io.BytesIO()
    np.savez(file, features=frames, log_probs=log_probs, tolerance=CHECK_TOLERANCE)
    return file.getvalue()


def _write(out: Path, manifest: Manifest, members: dict[str, bytes | Path]) -> Bundle:
    if out.suffix != ARCHIVE:
        return write_bundle(out, manifest, members)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        return load_bundle(pack_bundle(write_bundle(Path(folder) / "b", manifest, members), out))
