"""Corpora to recordings: what manifests promise is checked before hours are spent on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ds2edge.errors import ConfigError
from ds2edge.features import FeatureSettings
from ds2edge.text import TokenSet, normalise
from ds2edge.training.config import Corpus, ModelConfig
from ds2edge.training.data.batches import Recordings
from ds2edge.training.data.feature_cache import (
    Change,
    cached_features,
    known_lengths,
    unreadable,
)
from ds2edge.training.data.left_out import LeftOut
from ds2edge.training.data.manifest import (
    SLACK,
    Utterance,
    lengths_agree,
    manifest_path,
    read_manifest,
)
from ds2edge.training.data.spelling import unknown_characters
from ds2edge.training.evaluation.split import refuse_test_split
from ds2edge.training.network.loss import alignable


@dataclass(frozen=True)
class Corpora:
    """What a split of some corpora has to train on, by their manifests."""

    split: str
    utterances: list[Utterance]
    repeats: npt.NDArray[np.int64]  # how often each is to be seen, shape = (utterances,)
    left_out: LeftOut
    unlabelled: frozenset[int] = frozenset()  # those whose text is not used


def read_corpora(
    root: Path, corpora: Sequence[Corpus], split: str, longest: float, token_set: TokenSet
) -> Corpora:
    """Read the manifests of a split and leave out what they alone rule out.

    In a corpus without any text, as one of noise, silence is what there is to learn; elsewhere an
    empty text is an omission. Of an unlabelled corpus the text does not count.

    Args:
        longest: seconds.

    Raises:
        ConfigError: there is no corpus, or the split is for testing.
        DataError: a manifest is missing or malformed, or has nothing that can be used.
    """
    if not corpora:
        raise ConfigError(f"the configuration names no corpus in data.{split}")
    given: list[Utterance] = []
    used: list[Utterance] = []
    repeats: list[int] = []
    unlabelled: set[int] = set()
    left_out = LeftOut()
    for corpus in corpora:
        of = corpus.split or split
        refuse_test_split(of, "training")
        manifest = read_manifest(manifest_path(root / corpus.folder), of)
        if corpus.unlabelled:
            manifest = [replace(utterance, text="") for utterance in manifest]
        wordless = not any(utterance.text.strip() for utterance in manifest)
        kept = [u for u in manifest if _usable(u, longest, token_set, wordless, left_out)]
        if corpus.unlabelled:
            unlabelled |= set(range(len(used), len(used) + len(kept)))
        given, used = given + manifest, used + kept
        repeats += [corpus.repeat] * len(kept)
    left_out.check(given, used)
    return Corpora(split, used, np.array(repeats), left_out, frozenset(unlabelled))


def load_recordings(
    corpora: Corpora,
    features: FeatureSettings,
    changes: Sequence[Change],
    token_set: TokenSet,
    cache: Path,
    longest: float,
    model: ModelConfig | None = None,
    lengths_alone: bool = False,
) -> Recordings:
    """Compute or open the features; what turns out not to be usable gets no repeats.

    What is left out, by manifest or by recording, is summed up in one warning.

    Args:
        longest: seconds of a recording, at normal speed.
        model: whose loss is to align the texts, at the highest speed; None: nothing aligns them.
        lengths_alone: the frames are not needed.

    Raises:
        DataError: of a manifest nothing is left.
    """
    utterances, left_out = corpora.utterances, corpora.left_out
    total = len(utterances) + len(left_out.omissions)
    if lengths_alone:
        caches = known_lengths(utterances, features, changes, cache)
    else:
        caches = [cached_features(utterances, features, change, cache) for change in changes]
    tokens = [token_set.encode(normalise(u.text, token_set)) for u in utterances]
    shortest = np.min([c.lengths for c in caches], axis=0)
    seconds = caches[0].lengths * changes[0].speed / features.frame_rate
    keep = np.zeros(len(utterances), bool)
    for i, utterance in enumerate(utterances):
        steps = _steps(int(shortest[i]), model) if model else 0
        apart = f"{utterance.seconds:.2f} s in the manifest, {seconds[i]:.2f} s in the recording"
        if not shortest[i]:
            reason = unreadable(utterance, features) or "no frame"
            left_out.add(utterance, "that cannot be read", reason)
        elif not lengths_agree(utterance.seconds, float(seconds[i])):
            left_out.add(utterance, "not as long as the manifest says", apart)
        elif seconds[i] > longest + SLACK:
            left_out.add(utterance, f"longer than {longest:g} s", apart)
        elif model and not alignable(tokens[i], steps):
            detail = f"{len(tokens[i])} tokens in {steps} steps"
            left_out.add(utterance, "too short for its text", detail)
        else:
            keep[i] = True
    left_out.report(corpora.split, total)
    left_out.check(utterances, [utterances[i] for i in np.flatnonzero(keep)])
    repeats = np.where(keep, corpora.repeats, 0)
    return Recordings(list(utterances), tokens, caches, repeats, corpora.unlabelled)


def _steps(frames: int, model: ModelConfig) -> int:
    """Output steps with which CTC can align tokens."""
    return max(0, -(-frames // model.time_stride) - model.silent)


def _usable(
    utterance: Utterance, longest: float, token_set: TokenSet, wordless: bool, left_out: LeftOut
) -> bool:
    if not os.path.isfile(utterance.file):
        left_out.add(utterance, "without a file")
    elif utterance.seconds > longest:
        left_out.add(utterance, f"longer than {longest:g} s", f"{utterance.seconds:.2f} s")
    elif unknown := unknown_characters(utterance.text, token_set):
        left_out.add(utterance, "that cannot be spelled", repr(utterance.text), unknown)
    elif not wordless and not normalise(utterance.text, token_set):
        left_out.add(utterance, "without text")
    else:
        return True
    return False
