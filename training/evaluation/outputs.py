"""What evaluates and tunes alike: a bundle or a checkpoint, its log-probabilities and decoder."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ds2edge.audio_file import read_audio
from ds2edge.bundle import load_bundle
from ds2edge.decoder import Decoder, LogProbs, SearchOptions
from ds2edge.language_model import open_language_model
from ds2edge.pipeline import load_decoder, load_letters
from ds2edge.text import TokenSet
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.evaluation.listener import (
    Listener,
    add_listener_arguments,
    bundle_listener,
    checkpoint_listener,
)
from ds2edge.training.evaluation.recognised import LANGUAGE_MODEL, LETTERS, ModelFacts


@dataclass(frozen=True)
class Recogniser:
    """One model, ready to hear recordings."""

    listener: Listener
    searches: dict[str, Decoder]  # by way of decoding; besides the greedy one

    @property
    def tokens(self) -> TokenSet:
        """Of its outputs."""
        return self.listener.tokens

    def log_probs(self, utterances: Sequence[Utterance]) -> Iterator[LogProbs]:
        """Of each recording, in their order; some are read at a time."""
        together = self.listener.together
        for begin in range(0, len(utterances), together):
            some = utterances[begin : begin + together]
            yield from self.listener.log_probs(
                [read_audio(u.path, self.listener.sample_rate) for u in some]
            )

    @property
    def facts(self) -> ModelFacts:
        """For files and logs."""
        options = [decoder.options for decoder in self.searches.values()]
        return ModelFacts(
            self.listener.name, self.listener.digest, options[-1].plain() if options else {}
        )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and with which language model."""
    add_listener_arguments(parser)
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
    manifest = bundle.manifest
    options = replace(manifest.decoder, **changes)
    if language_model:
        searches = {LANGUAGE_MODEL: language_decoder(language_model, manifest.tokens, options)}
    elif bundle.language_model:
        searches = {LANGUAGE_MODEL: load_decoder(bundle, options)}
    else:
        options = replace(options, beta=changes.get("beta", 0.0))  # no reward for words
        searches = {LETTERS: load_letters(bundle).with_options(options)}
    return Recogniser(bundle_listener(bundle), searches)


def open_checkpoint(path: str, language_model: Path | None, changes: dict[str, Any]) -> Recogniser:
    """See `open_recogniser`."""
    listener = checkpoint_listener(path)
    searches = {}
    if language_model:
        options = replace(SearchOptions(), **changes)
        searches = {LANGUAGE_MODEL: language_decoder(language_model, listener.tokens, options)}
    return Recogniser(listener, searches)


def language_decoder(folder: Path, tokens: TokenSet, options: SearchOptions) -> Decoder:
    """The decoder of a language model of `ds2edge lm`.

    Raises:
        DataError: it is incomplete or of another token set.
    """
    model = open_language_model(folder)
    model.check_tokens(tokens)
    return Decoder(tokens, words=model.words, language_model=model.binary, options=options)
