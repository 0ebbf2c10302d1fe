"""Features of many recordings and transcripts for the filter; what was heard before is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from ds2edge.audio_file import read_audio
from ds2edge.cache import cache_folder
from ds2edge.errors import AudioError
from ds2edge.progress import track
from ds2edge.training.construction.transcript_filter import Features, features_of
from ds2edge.training.data.manifest import Utterance, refuse_shards
from ds2edge.training.evaluation.listener import open_listener
from ds2edge.training.files import file_state, taking_turns
from ds2edge.training.journal import Journal
from ds2edge.training.processes import in_order, worker_processes


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
    whole = f"{open_listener(model).digest} {utterances[0].manifest}"
    keys = [_key(u, text) for u, text in zip(utterances, texts, strict=True)]
    # A folder for each manifest and model: nobody waits for another corpus.
    folder = cache_folder() / "filter" / hashlib.sha256(whole.encode()).hexdigest()[:20]
    folder.mkdir(parents=True, exist_ok=True)
    with taking_turns(folder), Journal(folder / "features.jsonl") as known:
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            items = ((utterances[i], texts[i]) for i in new)
            with worker_processes(min(jobs, len(new))) as pool:
                found = in_order(pool, partial(_features, model), items, "hears recordings")
                for i, values in zip(new, track(found, "listening", len(new)), strict=True):
                    known.add(keys[i], values)
        return np.array([known[key] for key in keys])


def _features(model: str, item: tuple[Utterance, str]) -> list[float]:
    utterance, text = item
    listener = open_listener(model)
    samples = np.zeros(0, np.float32)
    with suppress(AudioError):
        samples = read_audio(utterance.path, listener.sample_rate)
    (log_probs,) = listener.log_probs([samples])
    return features_of(log_probs, listener.tokens.encode(text), text)


def _key(utterance: Utterance, text: str) -> str:
    """Tells a recording, as it is now, and its transcript from all others."""
    whole = json.dumps([str(utterance.path.resolve()), *file_state(utterance.path), text])
    return hashlib.sha256(whole.encode()).hexdigest()[:24]
