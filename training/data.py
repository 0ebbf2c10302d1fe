"""Batches: recordings of like length together, augmented, padded."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ds2edge.errors import DataError
from ds2edge.features import FeatureSettings
from ds2edge.text import TokenSet, normalise
from ds2edge.training.config import AugmentConfig, Corpus, DataConfig, ModelConfig
from ds2edge.training.feature_cache import Change, FeatureCache, cached_features
from ds2edge.training.loss import alignable
from ds2edge.training.manifest import Utterance, read_manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Recordings padded to one length."""

    features: npt.NDArray[np.float32]  # shape = (batch, frames, bins), zero beyond the end
    frames: npt.NDArray[np.int32]  # valid frames, shape = (batch,)
    tokens: npt.NDArray[np.int32]  # shape = (batch, longest text), blank beyond the end
    lengths: npt.NDArray[np.int32]  # valid tokens, shape = (batch,)


@dataclass(frozen=True)
class Recordings:
    """Utterances with their tokens and, for each way of changing them, their features."""

    utterances: list[Utterance]
    tokens: list[list[int]]
    features: list[FeatureCache]  # one for each change
    repeats: npt.NDArray[np.int64]  # how often an epoch sees each utterance


def read_corpora(
    root: Path, corpora: Sequence[Corpus], split: str, longest: float
) -> tuple[list[Utterance], npt.NDArray[np.int64]]:
    """Utterances of a split of several corpora, and how often each is to be seen.

    Raises:
        DataError: a manifest is missing or malformed, or nothing is left.
    """
    utterances: list[Utterance] = []
    repeats: list[int] = []
    for corpus in corpora:
        manifest = read_manifest(root / corpus.folder / "manifest.tsv", split)
        kept = [u for u in manifest if u.seconds <= longest]
        if len(kept) < len(manifest):
            dropped = len(manifest) - len(kept)
            log.warning("%s: left out %d longer than %g s", corpus.folder, dropped, longest)
        utterances += kept
        repeats += [corpus.repeat] * len(kept)
    if not utterances:
        raise DataError(f"no recording of split {split!r} in {[c.folder for c in corpora]}")
    return utterances, np.array(repeats)


def load_recordings(
    utterances: Sequence[Utterance],
    repeats: npt.NDArray[np.int64],
    features: FeatureSettings,
    changes: Sequence[Change],
    token_set: TokenSet,
    model: ModelConfig,
    cache: Path,
) -> Recordings:
    """Compute or open the features; leave out what CTC cannot align at the highest speed."""
    caches = [cached_features(utterances, features, change, cache) for change in changes]
    tokens = [token_set.encode(normalise(u.text, token_set)) for u in utterances]
    shortest = np.min([c.lengths for c in caches], axis=0)
    keep = np.array(
        [
            frames > 0 and alignable(t, -(-int(frames) // model.time_stride))
            for t, frames in zip(tokens, shortest, strict=True)
        ]
    )
    for index in np.flatnonzero(~keep & (shortest > 0)).tolist():
        log.warning("left out, too short for its text: %s", utterances[index].path)
    return Recordings(list(utterances), tokens, caches, np.where(keep, repeats, 0))


def training_batches(
    recordings: Recordings,
    data: DataConfig,
    augment: AugmentConfig,
    frame_rate: float,
    rng: np.random.Generator,
    sort: bool = False,
) -> Iterator[Batch]:
    """One epoch: every recording as often as it repeats, at a drawn speed and gain, masked.

    Batches come in random order, or with `sort` shortest first (SortaGrad, section 3.3).
    """
    index = np.repeat(np.arange(len(recordings.utterances)), recordings.repeats)
    change = rng.integers(len(recordings.features), size=len(index))
    lengths = np.stack([c.lengths for c in recordings.features])[change, index]
    groups = bucket(lengths, data.batch_seconds * frame_rate, data.batch_size, rng)
    if not sort:
        rng.shuffle(groups)
    for group in groups:
        frames = [recordings.features[change[i]][index[i]] for i in group]
        frames = [spec_augment(f, augment, rng) for f in frames]
        yield pad(frames, [recordings.tokens[index[i]] for i in group])


def plain_batches(recordings: Recordings, data: DataConfig, frame_rate: float) -> Iterator[Batch]:
    """Every recording once, in order, not augmented."""
    size = max(1, int(data.batch_seconds * frame_rate // recordings.features[0].lengths.max()))
    for begin in range(0, len(recordings.utterances), size):
        some = range(begin, min(begin + size, len(recordings.utterances)))
        yield pad([recordings.features[0][i] for i in some], [recordings.tokens[i] for i in some])


def bucket(
    lengths: npt.NDArray[np.int64], budget: float, size: int, rng: np.random.Generator
) -> list[list[int]]:
    """Group by like length, so that little is padded: shortest group first.

    A group holds at most `size` recordings and `budget` frames, padding included.
    """
    jitter = rng.uniform(0.9, 1.1, size=len(lengths))  # other neighbours in every epoch
    groups: list[list[int]] = [[]]
    longest = 0
    for i in np.argsort(lengths * jitter, kind="stable"):
        longest = max(longest, int(lengths[i]))
        if groups[-1] and (len(groups[-1]) == size or longest * (len(groups[-1]) + 1) > budget):
            groups.append([])
            longest = int(lengths[i])
        groups[-1].append(int(i))
    return groups


def spec_augment(
    frames: npt.NDArray[np.float32], settings: AugmentConfig, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Mask stripes of frequency and time with zeros, the mean; in place (arXiv 1904.08779)."""
    count, bins = frames.shape
    for _ in range(settings.frequency_masks):
        width = int(rng.integers(settings.frequency_width + 1))
        start = int(rng.integers(max(1, bins - width)))
        frames[:, start : start + width] = 0
    for _ in range(settings.time_masks):
        width = int(rng.integers(int(settings.time_width * count) + 1))
        start = int(rng.integers(max(1, count - width)))
        frames[start : start + width] = 0
    return frames


def pad(frames: Sequence[npt.NDArray[np.float32]], tokens: Sequence[Sequence[int]]) -> Batch:
    """One batch of recordings of different length; padding is zero, the blank for tokens."""
    lengths = np.array([len(f) for f in frames], np.int32)
    token_lengths = np.array([len(t) for t in tokens], np.int32)
    features = np.zeros((len(frames), lengths.max(), frames[0].shape[1]), np.float32)
    padded = np.zeros((len(tokens), max(1, token_lengths.max())), np.int32)
    for i, (f, t) in enumerate(zip(frames, tokens, strict=True)):
        features[i, : len(f)] = f
        padded[i, : len(t)] = t
    return Batch(features, lengths, padded, token_lengths)
