"""Pseudo-labels: what a model hears in recordings without transcripts, and how sure it is.

A model that learns from what it hears itself learns of voices and rooms that nobody transcribed
(D.-H. Lee, 2013; for speech with a language model: J. Kahn et al., arXiv 1909.09116), as long as
the labels it is least sure of are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from ds2edge.audio_file import read_audio
from ds2edge.bundle_archive import file_digest
from ds2edge.errors import AudioError, ConfigError
from ds2edge.language_model import open_language_model
from ds2edge.training.construction.kept_work import kept_work, recording_key
from ds2edge.training.data.manifest import Utterance, refuse_shards
from ds2edge.training.evaluation.listener import open_listener
from ds2edge.training.evaluation.outputs import Recogniser, open_recogniser


@dataclass(frozen=True)
class Search:
    """How to listen."""

    model: str  # a bundle by its name, folder or .ds2 file, or a checkpoint by its .npz file
    language_model: str = ""  # folder of `ds2edge lm`; "": the bundle's own
    beam: int = 2048  # hypotheses kept; nobody waits


@dataclass(frozen=True)
class PseudoLabel:
    """Of one recording."""

    text: str  # "" where nothing was heard, or the recording cannot be read
    score: float  # of the search, a letter; the higher, the surer


def pseudo_labels(utterances: Sequence[Utterance], search: Search, jobs: int) -> list[PseudoLabel]:
    """What is heard in each recording; an interrupted run goes on.

    Raises:
        BundleError, DataError: the model or the language model cannot be read or do not fit, or the
            recordings are in shards.
        ConfigError: a checkpoint without a language model.
        DecoderError: the beam cannot be used.
    """
    refuse_shards(utterances)
    _recogniser(search)  # refused here, rather than in a process
    keys = [recording_key(utterance) for utterance in utterances]
    shared = f"{search} {_digests(search)} {utterances[0].manifest}"
    found = kept_work(partial(_hear, search), utterances, keys, "pseudo-labels", shared, jobs)
    return [PseudoLabel(*values) for values in found]


def surest(labels: Sequence[PseudoLabel], share: float) -> list[int]:
    """Which recordings to keep, in their order: so many of those in which something was heard."""
    heard = [i for i, label in enumerate(labels) if label.text]
    heard.sort(key=lambda i: labels[i].score, reverse=True)
    return sorted(heard[: round(share * len(heard))])


def _digests(search: Search) -> str:
    """Of the model and the language model, which may have changed under the same name."""
    digests = [open_listener(search.model).digest]
    if search.language_model:
        digests.append(file_digest(open_language_model(Path(search.language_model)).binary))
    return " ".join(digests)


def _hear(search: Search, utterance: Utterance) -> tuple[str, float]:
    recogniser = _recogniser(search)
    samples = np.zeros(0, np.float32)
    with suppress(AudioError):
        samples = read_audio(utterance.path, recogniser.listener.sample_rate)
    (decoder,) = recogniser.searches.values()
    ((best, *_),) = decoder.decode(recogniser.listener.log_probs([samples]))
    return best.text, best.score / max(1, len(best.text))


@cache
def _recogniser(search: Search) -> Recogniser:
    folder = Path(search.language_model) if search.language_model else None
    found = open_recogniser(search.model, folder, {"beam": search.beam})
    if not found.searches:
        raise ConfigError(f"{search.model} needs --language-model, a folder of `ds2edge lm`")
    return found
