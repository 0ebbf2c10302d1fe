"""Features of many recordings and transcripts for the filter; what was heard before is kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from ds2edge.audio_file import read_audio
from ds2edge.errors import AudioError
from ds2edge.training.construction.kept_work import kept_work, recording_key
from ds2edge.training.construction.transcript_filter import Features, features_of
from ds2edge.training.data.manifest import Utterance, refuse_shards
from ds2edge.training.evaluation.listener import open_listener


def filter_features(
    utterances: Sequence[Utterance], texts: Sequence[str], model: str, jobs: int
) -> Features:
    """What the filter sees of each recording and its transcript, in processes.

    Args:
        texts: normalised; what cannot be read or has no text is as unlikely as can be.

    Raises:
        DataError: the recordings are in shards.
    """
    refuse_shards(utterances)
    items = list(zip(utterances, texts, strict=True))
    keys = [recording_key(*item) for item in items]
    shared = f"{open_listener(model).digest} {utterances[0].manifest}"
    return np.array(kept_work(partial(_features, model), items, keys, "filter", shared, jobs))


def _features(model: str, item: tuple[Utterance, str]) -> list[float]:
    utterance, text = item
    listener = open_listener(model)
    samples = np.zeros(0, np.float32)
    with suppress(AudioError):
        samples = read_audio(utterance.path, listener.sample_rate)
    (log_probs,) = listener.log_probs([samples])
    return features_of(log_probs, listener.tokens.encode(text), text)
