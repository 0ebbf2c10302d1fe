"""Batches: recordings of like length together, augmented, padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ds2edge.training.config import AugmentConfig, DataConfig
from ds2edge.training.data.feature_cache import FeatureCache
from ds2edge.training.data.manifest import Utterance


@dataclass(frozen=True)
class Batch:
    """Recordings padded to one length."""

    features: npt.NDArray[np.float32]  # shape = (batch, frames, bins), zero beyond the end
    frames: npt.NDArray[np.int32]  # valid frames, shape = (batch,)
    tokens: npt.NDArray[np.int32]  # shape = (batch, longest text), blank beyond the end
    lengths: npt.NDArray[np.int32]  # valid tokens, shape = (batch,)
    # With a teacher: its log-probabilities, shape = (batch, steps, tokens), zero beyond the end,
    # and 1 for each recording whose text counts, 0 for the others.
    teacher: npt.NDArray[np.float32] | None = None
    labelled: npt.NDArray[np.float32] | None = None
    others: int = 0  # what the parts of it weigh that other workers have

    @property
    def weight(self) -> int:
        """How many its loss is a mean over: all tokens and the end of each text."""
        return int(self.lengths.sum()) + len(self.lengths)


@dataclass(frozen=True)
class Recordings:
    """Utterances with their tokens and, for each way of changing them, their features."""

    utterances: list[Utterance]
    tokens: list[list[int]]
    features: list[FeatureCache]  # one for each change
    repeats: npt.NDArray[np.int64]  # how often an epoch sees each utterance; 0: left out
    unlabelled: frozenset[int] = frozenset()  # whose tokens are what the teacher hears
    teacher: Sequence[FeatureCache] = ()  # log-probabilities, for each change; empty: no teacher


@dataclass(frozen=True)
class Pick:
    """What of the recordings a batch holds."""

    recordings: npt.NDArray[np.int64]  # shape = (batch,)
    changes: npt.NDArray[np.int64]  # index of the change that each is seen with
    places: npt.NDArray[np.int64]  # in the epoch: recordings in order, each as often as it repeats


def plan_epoch(
    recordings: Recordings, data: DataConfig, frame_rate: float, seed: int, epoch: int
) -> list[Pick]:
    """The batches of an epoch: every recording as often as it repeats, each time changed as drawn.

    The same for the same seed and epoch. They come in random order; in the first epoch by their
    longest recording, shortest first, if the data ask for it (SortaGrad, section 3.3 of the paper).
    """
    rng = np.random.default_rng([seed, epoch])
    index = np.repeat(np.arange(len(recordings.utterances)), recordings.repeats)
    change = rng.integers(len(recordings.features), size=len(index))
    lengths = np.stack([c.lengths for c in recordings.features])[change, index]
    groups = bucket(lengths, data.batch_seconds * frame_rate, data.batch_size, rng)
    if epoch or not data.sorta_grad:
        rng.shuffle(groups)
    else:
        groups.sort(key=lambda group: lengths[group].max())
    return [Pick(index[group], change[group], np.array(group)) for group in groups]


def make_batch(
    recordings: Recordings,
    pick: Pick,
    augment: AugmentConfig,
    rng: np.random.Generator,
    rows: Sequence[int] | None = None,
    heard: Sequence[npt.NDArray[np.float32]] | None = None,
) -> Batch:
    """Features and tokens of a batch, masked.

    Args:
        rows: which of its recordings this worker has; None: all of them. The masks are those of
            the whole batch. Of no recording at all, the batch is one of silence without a step.
        heard: features of those rows, where they are others than the recordings' own.
    """
    picked = list(zip(pick.recordings.tolist(), pick.changes.tolist(), strict=True))
    bins = recordings.features[0].frames.shape[1]
    counts = [recordings.features[change].count(i) for i, change in picked]
    masks = [draw_masks(count, bins, augment, rng) for count in counts]
    rows = range(len(picked)) if rows is None else rows
    chosen = [picked[row] for row in rows]
    if heard is None:
        heard = [recordings.features[change][i] for i, change in chosen]
    frames = [mask(one, masks[row]) for row, one in zip(rows, heard, strict=True)]
    weight = sum(len(recordings.tokens[i]) + 1 for i, _ in picked)
    if not chosen:
        return nothing(recordings, weight)
    batch = pad(frames, [recordings.tokens[i] for i, _ in chosen])
    batch = replace(batch, others=weight - batch.weight)
    if not recordings.teacher:
        return batch
    labelled = [i not in recordings.unlabelled for i, _ in chosen]
    return replace(
        batch,
        teacher=padded([recordings.teacher[change][i] for i, change in chosen]),
        labelled=np.array(labelled, np.float32),
    )


def plain_batches(recordings: Recordings, data: DataConfig, frame_rate: float) -> Iterator[Batch]:
    """Every recording that is used once, in order, not augmented."""
    used = np.flatnonzero(recordings.repeats)
    longest = recordings.features[0].lengths[used].max()
    size = max(1, int(data.batch_seconds * frame_rate // longest))
    for begin in range(0, len(used), size):
        some = used[begin : begin + size].tolist()
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
    return mask(frames, draw_masks(count, bins, settings, rng))


def draw_masks(
    count: int, bins: int, settings: AugmentConfig, rng: np.random.Generator
) -> list[tuple[slice, slice]]:
    """Stripes to be masked in so many frames; of each the frames and the bins."""
    everything, stripes = slice(None), []
    for _ in range(settings.frequency_masks):
        width = int(rng.integers(settings.frequency_width + 1))
        start = int(rng.integers(max(1, bins - width)))
        stripes.append((everything, slice(start, start + width)))
    for _ in range(settings.time_masks):
        width = int(rng.integers(int(settings.time_width * count) + 1))
        start = int(rng.integers(max(1, count - width)))
        stripes.append((slice(start, start + width), everything))
    return stripes


def mask(
    frames: npt.NDArray[np.float32], stripes: Sequence[tuple[slice, slice]]
) -> npt.NDArray[np.float32]:
    """Stripes set to zero, in place."""
    for stripe in stripes:
        frames[stripe] = 0
    return frames


def nothing(recordings: Recordings, others: int) -> Batch:
    """What a worker has of a batch with fewer recordings than workers: its loss is zero."""
    bins = recordings.features[0].frames.shape[1]
    batch = replace(pad([np.zeros((1, bins), np.float32)], [[]]), frames=np.zeros(1, np.int32))
    if recordings.teacher:
        silence = np.zeros((1, 1, recordings.teacher[0].frames.shape[1]), np.float32)
        batch = replace(batch, teacher=silence, labelled=np.zeros(1, np.float32))
    return replace(batch, others=others - batch.weight)


def pad(frames: Sequence[npt.NDArray[np.float32]], tokens: Sequence[Sequence[int]]) -> Batch:
    """One batch of recordings of different length; padding is zero, the blank for tokens."""
    lengths = np.array([len(f) for f in frames], np.int32)
    token_lengths = np.array([len(t) for t in tokens], np.int32)
    texts = np.zeros((len(tokens), max(1, token_lengths.max())), np.int32)
    for i, t in enumerate(tokens):
        texts[i, : len(t)] = t
    return Batch(padded(frames), lengths, texts, token_lengths)


def padded(rows: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Sequences of vectors in one array, shape = (sequences, longest, size), zero at the end."""
    whole = np.zeros((len(rows), max(map(len, rows)), rows[0].shape[1]), np.float32)
    for i, row in enumerate(rows):
        whole[i, : len(row)] = row
    return whole
