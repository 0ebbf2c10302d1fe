"""What evaluates and tunes alike: a bundle or a checkpoint, its log-probabilities and decoder."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ds2edge.acoustic import captured_stderr, log_softmax
from ds2edge.audio_file import read_audio
from ds2edge.bundle import MANIFEST, load_bundle
from ds2edge.decoder import Decoder, LogProbs, SearchOptions
from ds2edge.errors import DataError
from ds2edge.features import FeatureExtractor
from ds2edge.pipeline import load_decoder, load_letters, load_pipeline
from ds2edge.text import TokenSet
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.evaluation.recognised import LANGUAGE_MODEL, LETTERS, ModelFacts
from ds2edge.training.language_model import open_language_model

if TYPE_CHECKING:
    from ds2edge.training.network.model import AcousticModel

FloatArray: TypeAlias = npt.NDArray[np.float32]

BATCH = 16
WINDOW = 4 * BATCH  # recordings of which the log-probabilities are held at a time


@dataclass(frozen=True)
class Recogniser:
    """One model, ready to hear recordings."""

    name: str
    digest: str  # SHA-256 of the bundle's manifest or of the checkpoint
    tokens: TokenSet
    log_probs: Callable[[Sequence[Utterance]], Iterator[LogProbs]]  # of each, in their order
    searches: dict[str, Decoder]  # by way of decoding; besides the greedy one

    @property
    def facts(self) -> ModelFacts:
        """For files and logs."""
        options = [decoder.options for decoder in self.searches.values()]
        return ModelFacts(self.name, self.digest, options[-1].plain() if options else {})


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and with which language model."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    model.add_argument("--checkpoint", metavar="FILE", help="best.npz of `ds2edge train` instead")
    parser.add_argument(
        "--language-model", type=Path, metavar="FOLDER", help="of `ds2edge lm` [the bundle's own]"
    )
    parser.add_argument("--beam", type=int, help="hypotheses kept")


def open_recogniser(
    model: str, language_model: Path | None = None, changes: dict[str, Any] | None = None
) -> Recogniser:
    """A bundle by its name, folder or .ds2 file, or a checkpoint by its .npz file.

    Args:
        language_model: folder of `ds2edge lm`; None: the bundle's own, a checkpoint has none.
        changes: of the search options.

    Raises:
        BundleError, DataError: the model or the language model cannot be read or do not fit.
        DecoderError: an option cannot be used.
    """
    open_it = open_checkpoint if Path(model).suffix == ".npz" else open_bundle
    return open_it(model, language_model, changes or {})


def open_bundle(name: str, language_model: Path | None, changes: dict[str, Any]) -> Recogniser:
    """See `open_recogniser`."""
    bundle = load_bundle(name)
    manifest, pipeline = bundle.manifest, load_pipeline(bundle)
    options = replace(manifest.decoder, **changes)
    rate = manifest.features.sample_rate

    def log_probs(utterances: Sequence[Utterance]) -> Iterator[LogProbs]:
        return (pipeline.log_probs(read_audio(u.path, rate)) for u in utterances)

    if language_model:
        searches = {LANGUAGE_MODEL: language_decoder(language_model, manifest.tokens, options)}
    elif bundle.language_model:
        searches = {LANGUAGE_MODEL: load_decoder(bundle, options)}
    else:
        options = replace(options, beta=changes.get("beta", 0.0))  # no reward for words
        searches = {LETTERS: load_letters(bundle).with_options(options)}
    digest = file_digest(bundle.folder / MANIFEST)
    return Recogniser(manifest.name, digest, manifest.tokens, log_probs, searches)


def open_checkpoint(path: str, language_model: Path | None, changes: dict[str, Any]) -> Recogniser:
    """See `open_recogniser`."""
    with captured_stderr():  # only here is TensorFlow needed; it tells of the machine
        from ds2edge.training.checkpoint import assign, load_checkpoint
        from ds2edge.training.data.feature_cache import OFFLINE_CHUNK
        from ds2edge.training.network.model import build_model, token_set

    checkpoint = load_checkpoint(path)
    config = checkpoint.config
    model, tokens = build_model(config.model, config.features), token_set(config.model)
    assign(model, checkpoint.weights)
    rate = config.features.sample_rate

    def log_probs(utterances: Sequence[Utterance]) -> Iterator[LogProbs]:
        extractor = FeatureExtractor(config.features, OFFLINE_CHUNK)
        for begin in range(0, len(utterances), WINDOW):
            some = utterances[begin : begin + WINDOW]
            frames = [extractor.extract(read_audio(u.path, rate)) for u in some]
            yield from model_log_probs(model, frames)

    searches = {}
    if language_model:
        options = replace(SearchOptions(), **changes)
        searches = {LANGUAGE_MODEL: language_decoder(language_model, tokens, options)}
    name = f"{config.name} ({Path(path).name})"
    return Recogniser(name, file_digest(Path(path)), tokens, log_probs, searches)


def language_decoder(folder: Path, tokens: TokenSet, options: SearchOptions) -> Decoder:
    """The decoder of a language model of `ds2edge lm`.

    Raises:
        DataError: it is incomplete or of another token set.
    """
    model = open_language_model(folder)
    if model.description.get("tokens") != tokens.digest:
        raise DataError(f"{folder} was built for another token set than the model's")
    return Decoder(tokens, words=model.words, language_model=model.binary, options=options)


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


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
