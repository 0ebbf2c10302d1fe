"""A checkpoint to a bundle: artefacts, decoder weights, measured figures, members."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from ds2edge.audio_file import read_audio
from ds2edge.bundle import (
    CARD,
    CHECK,
    LANGUAGE_MODEL,
    LEXICON,
    LICENCE,
    PLOT,
    Artefact,
    Bundle,
    Manifest,
    Weights,
    load_bundle,
    shares_weights,
)
from ds2edge.bundle_tools import check_output, save_bundle
from ds2edge.convert.artefacts import Converted, Form, convert_model, log_probs_of
from ds2edge.convert.card import formats_plot, model_card
from ds2edge.convert.footprint import measure_footprint
from ds2edge.convert.parity import check_error_rates, check_gate, difference, more_errors
from ds2edge.decoder import Confidence, Decoder, LogProbs, SearchOptions
from ds2edge.errors import BundleError, ConfigError
from ds2edge.features import FeatureExtractor, FeatureSettings
from ds2edge.language_model import LanguageModel
from ds2edge.progress import track
from ds2edge.text import TokenSet, normalise
from ds2edge.training.checkpoint import Checkpoint, assign
from ds2edge.training.confidence import fit_decoder
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.evaluation.evaluate import recognise
from ds2edge.training.evaluation.listener import model_log_probs
from ds2edge.training.evaluation.prior import label_prior, shifted_bias
from ds2edge.training.evaluation.recognised import LANGUAGE_MODEL as SEARCHED
from ds2edge.training.evaluation.recognised import Scores, score, summary
from ds2edge.training.evaluation.tune import tuned_decoder
from ds2edge.training.network.model import AcousticModel, build_model, token_set

log = logging.getLogger(__name__)

PROBE = Path(__file__).with_name("probe.opus")  # a sentence of LJ Speech, public domain
CHECK_MARGIN = 0.5  # nats; int8 kernels round differently, other models are far off
FLOAT_MARGIN = 0.1


@dataclass(frozen=True)
class Told:
    """What people tell of a bundle."""

    name: str
    notes: str = ""  # Markdown for the model card: data, licences
    licence: str = ""  # of the weights, an SPDX expression
    command: str = ""  # that made it
    language: str = "en"  # see `Manifest.language`


def convert(
    checkpoint: Checkpoint,
    out: Path,
    told: Told,
    form: Form | None = None,
    *,
    language_model: LanguageModel | None = None,
    search: SearchOptions | None = None,
    prior_weight: float = 0.0,
    delay: float = 0.0,
    confidence: Mapping[str, Confidence] | None = None,
    dev: Sequence[Utterance] = (),
    test: Sequence[Utterance] = (),
    force: bool = False,
) -> Bundle:
    """Write a bundle: a folder, or one file if `out` ends in .ds2.

    Args:
        prior_weight: of the label prior over `dev`, divided out by the bias of the output layer.
        confidence: as it was fitted for a model like this one; `dev` fits it anew.
        force: write it, with a warning, where the converted model is not the same model.

    Raises:
        ConfigError: the label prior has no recordings to be measured on, or a format is impossible.
        DataError: the checkpoint or the language model does not fit.
        BundleError: the converted model is not the same model, or `out` holds something else.
    """
    check_output(out)  # now: what follows may take hours
    form = form or Form()
    config = checkpoint.config
    tokens = token_set(config.model)
    if language_model:
        language_model.check_tokens(tokens)
    model = build_model(config.model, config.features)
    assign(model, checkpoint.weights)
    if prior_weight:
        _divide_prior(model, config.features, dev, prior_weight)
    probe = probe_frames(config.features, form.chunk_outputs * config.model.time_stride)
    heard = _features(config.features, form.chunk_outputs * config.model.time_stride, dev[:20])
    converted = convert_model(model, form, heard)
    parity = compare(model, converted, [probe], force)
    decoder = _decoder(tokens, language_model, search or SearchOptions())
    fitted = dict(confidence or {})
    if dev:
        blocks = list(_answers(converted, converted.main, config.features, dev))
        decoder = tuned_decoder(decoder, dev, blocks)
        fitted = _fit_confidence(decoder, dev, blocks)
    accuracy: dict[str, Any] = {}
    if test:
        parity, accuracy = measure(model, converted, config.features, decoder, test, force)
    artefacts, check = _check_member(model, converted, probe)
    manifest = Manifest(
        name=told.name,
        tokens=tokens,
        features=config.features,
        grid=converted.grid,
        artefacts=artefacts,
        decoder=decoder.options,
        language=told.language,
        delay=delay,
        confidence=fitted,
        licence=told.licence,
        language_model=language_model.description if language_model else {},
        training={**_training(checkpoint), "prior_weight": prior_weight},
        accuracy=accuracy,
        parity=_with_footprints(parity, converted, config.features.frame_rate),
    )
    save_bundle(out, manifest, _members(manifest, converted, check, language_model, told))
    return load_bundle(out)


def compare(
    model: AcousticModel,
    converted: Converted,
    recordings: Sequence[np.ndarray[Any, Any]],
    force: bool = False,
) -> dict[str, Any]:
    """Pass the gate, and say by how much; the float32 graph passes it whether it is kept or not.

    Raises:
        BundleError: a difference is over its limit.
    """
    expected = model_log_probs(model, recordings)
    rows: dict[str, Any] = {}
    each: list[Weights] = ["fp32", *(weights for weights in converted.files if weights != "fp32")]
    for weights in each:
        found = difference(list(log_probs_of(converted, weights, recordings)), expected)
        rows[weights] = asdict(found)
        _pass(force, check_gate, weights, found)
    return rows


def _pass(force: bool, check: Callable[..., None], *arguments: Any) -> None:
    try:
        check(*arguments)
    except BundleError as error:
        if not force:
            raise BundleError(f"{error}; --force writes it all the same") from None
        log.warning("%s", error)


def measure(
    model: AcousticModel,
    converted: Converted,
    features: FeatureSettings,
    decoder: Decoder,
    test: Sequence[Utterance],
    force: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Differences and error rates on recordings, of the model and of each artefact.

    Returns: what `Manifest.parity` and `Manifest.accuracy` hold.
    """
    recordings = _features(features, converted.grid.chunk_frames, test)
    parity = compare(model, converted, recordings, force)
    scores = {"model": _scores(decoder, test, "model", model_log_probs(model, recordings))}
    parity["model"] = summary(scores["model"])
    for weights in converted.files:
        answers = log_probs_of(converted, weights, recordings)
        scores[weights] = _scores(decoder, test, weights, answers)
        parity[weights] |= summary(scores[weights])
        parity[weights]["more_errors"] = more = more_errors(scores["model"], scores[weights])
        _pass(force, check_error_rates, weights, more)
    return parity, {"test": summary(scores[converted.main])}


def probe_frames(features: FeatureSettings, chunk_frames: int) -> np.ndarray[Any, Any]:
    """Frames of a recorded sentence, to compare on where there is no other recording."""
    samples = read_audio(PROBE, features.sample_rate)
    return FeatureExtractor(features, chunk_frames).extract(samples)


def _scores(
    decoder: Decoder, test: Sequence[Utterance], name: str, answers: Iterable[LogProbs]
) -> Scores:
    answers = track(answers, f"decoding {name}", len(test))
    return score(recognise(test, answers, decoder.tokens, {SEARCHED: decoder}))


def _with_footprints(
    parity: dict[str, Any], converted: Converted, frame_rate: float
) -> dict[str, Any]:
    """The rows with size, speed and memory of each artefact."""
    rows = {name: dict(row) for name, row in parity.items()}
    for weights, content in converted.files.items():
        share = shares_weights(weights)
        rows[weights] |= asdict(
            measure_footprint(content, converted.form, converted.grid, frame_rate, share)
        )
    return rows


def _divide_prior(
    model: AcousticModel, features: FeatureSettings, dev: Sequence[Utterance], weight: float
) -> None:
    """Shift the bias of the output layer: see `ds2edge.training.evaluation.prior`."""
    if not dev:
        raise ConfigError("the label prior is measured on recordings: --prior-weight needs --dev")
    prior = label_prior(model_log_probs(model, _features(features, model.config.time_stride, dev)))
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


def _answers(
    converted: Converted,
    weights: Weights,
    features: FeatureSettings,
    utterances: Sequence[Utterance],
) -> Iterator[LogProbs]:
    recordings = _features(features, converted.grid.chunk_frames, utterances)
    return log_probs_of(converted, weights, recordings)


def _features(
    settings: FeatureSettings, chunk_frames: int, utterances: Sequence[Utterance]
) -> list[np.ndarray[Any, Any]]:
    """Frames of every utterance on the runtime's grid."""
    extractor = FeatureExtractor(settings, chunk_frames)
    return [extractor.extract(read_audio(u.path, settings.sample_rate)) for u in utterances]


def _check_member(
    model: AcousticModel, converted: Converted, probe: np.ndarray[Any, Any]
) -> tuple[tuple[Artefact, ...], bytes]:
    """The artefacts, and the test chunk that each has to reproduce when it is loaded."""
    grid = converted.grid
    # From the middle of the sentence: some chunks and a part, so that the end is compared, too.
    begin = min(len(probe) // 3, 60)
    frames = probe[begin : begin + 3 * grid.chunk_frames + grid.time_stride + 1]
    (expected,) = model_log_probs(model, [frames])
    artefacts = []
    for weights in converted.files:
        (found,) = log_probs_of(converted, weights, [frames])
        margin = CHECK_MARGIN if weights.startswith("int8") else FLOAT_MARGIN
        off = float(np.abs(found - expected).max())
        artefacts.append(
            Artefact(
                f"{weights}.tflite",
                weights,
                converted.form,
                (1,) if weights == "int8-static" else converted.batches,
                round(off + margin, 3),
            )
        )
    file = io.BytesIO()
    np.savez_compressed(file, features=frames, log_probs=expected)
    return tuple(artefacts), file.getvalue()


def _members(
    manifest: Manifest,
    converted: Converted,
    check: bytes,
    language_model: LanguageModel | None,
    told: Told,
) -> dict[str, bytes | Path]:
    members: dict[str, bytes | Path] = {
        **{artefact.file: converted.files[artefact.weights] for artefact in manifest.artefacts},
        CHECK: check,
        CARD: model_card(manifest, told.notes, told.command).encode(),
        LICENCE: f"Licence of these weights: {told.licence or 'none given'}\n".encode(),
    }
    if len(manifest.artefacts) > 1:
        members[PLOT] = formats_plot(manifest)
    if language_model:
        members[LANGUAGE_MODEL] = language_model.binary
        if language_model.words is not None:
            members[LEXICON] = language_model.lexicon
    return members
