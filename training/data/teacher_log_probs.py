"""What a teacher hears in every recording, on disk: computed once, then memory-mapped.

A pass of the teacher costs several times what a student's update does, and its answer is the same
in every epoch. So it is asked once for each recording and speed, about what is not masked: only
the student's input is, by SpecAugment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ds2edge.errors import ConfigError
from ds2edge.progress import track
from ds2edge.text import collapse
from ds2edge.training.checkpoint import Checkpoint, assign, weights_digest
from ds2edge.training.config import TrainConfig
from ds2edge.training.data.batches import Recordings
from ds2edge.training.data.feature_cache import Change, FeatureCache, cache_name
from ds2edge.training.evaluation.listener import model_log_probs
from ds2edge.training.files import partial_file, taking_turns, write_header, write_npz
from ds2edge.training.network.model import AcousticModel, build_model, token_set
from ds2edge.training.snapshot import differences
from ds2edge.training.workers import this_worker

PART = 256  # recordings in a part: what a kill may cost

TeacherLogProbs = FeatureCache  # its frames are log-probabilities, shape = (all steps, tokens)


def taught_by(config: TrainConfig, teacher: Checkpoint) -> TrainConfig:
    """The configuration of a student of this teacher: the features are the teacher's.

    Raises:
        ConfigError: teacher and student cannot be compared step by step.
    """
    ours, theirs = config.model, teacher.config.model
    if token_set(ours) != token_set(theirs):
        raise ConfigError(
            f"the teacher has {len(token_set(theirs))} tokens ({theirs.tokens}), the student other "
            f"{len(token_set(ours))} ({ours.tokens}): give both the same model.tokens"
        )
    if ours.time_stride != theirs.time_stride:
        raise ConfigError(
            f"the teacher has an output for each {theirs.time_stride} frames, the student for each "
            f"{ours.time_stride}: give both the same time_stride of model.convolutions"
        )
    given, wanted = teacher.config.features, config.features
    if not wanted.mean:  # to be measured: the teacher's will do
        given = replace(given, mean=(), deviation=())
    if apart := differences(given.as_dict(), wanted.as_dict(), "features."):
        shown = [f"{each:.100}" for each in apart[:3]]  # of numbers for each bin, the first
        raise ConfigError(
            f"the teacher hears other features than the student ({'; '.join(shown)}): there is the "
            "teacher; give the student the same [features], without mean and deviation"
        )
    distill = replace(config.distill, teacher=weights_digest(teacher))
    return replace(config, features=teacher.config.features, distill=distill)


def with_teacher(
    recordings: Recordings, teacher: Checkpoint, changes: Sequence[Change], cache: Path
) -> Recordings:
    """Recordings with what the teacher says of them, from the cache or computed.

    The text of an unlabelled recording becomes what the teacher hears in it. It tells how much the
    recording weighs in a batch, nothing more.
    """
    digest = weights_digest(teacher)
    model = build_model(teacher.config.model, teacher.config.features)
    assign(model, teacher.weights)
    model.compile(jit_compile=False)  # XLA would compile a graph for every length
    found: dict[int, TeacherLogProbs] = {}
    for place in range(len(changes)):  # several workers begin with different ones
        number = (place + this_worker().index) % len(changes)
        change = changes[number]
        found[number] = _cached(recordings, number, change, teacher, model, digest, cache)
    tokens = list(recordings.tokens)
    for i in recordings.unlabelled:
        tokens[i] = collapse(found[0][i].argmax(-1).tolist())
    return replace(recordings, tokens=tokens, teacher=[found[i] for i in range(len(changes))])


def _cached(
    recordings: Recordings,
    number: int,
    change: Change,
    teacher: Checkpoint,
    model: AcousticModel,
    digest: str,
    cache: Path,
) -> TeacherLogProbs:
    features = recordings.features[number]
    name = cache_name(recordings.utterances, teacher.config.features, change)
    folder = cache / f"{digest}-{name}"
    steps_path, starts_path = folder / "steps.npy", folder / "starts.npy"
    if not starts_path.exists():  # written last: its presence says that both are whole
        folder.mkdir(parents=True, exist_ok=True)
        with taking_turns(folder):  # another worker may be at it
            if not starts_path.exists():
                parts = list(_parts(features, model, folder, f"teacher, {change}"))
                _join(parts, steps_path, starts_path)
    return TeacherLogProbs(np.load(steps_path, mmap_mode="r"), np.load(starts_path))


def _parts(
    features: FeatureCache, model: AcousticModel, folder: Path, doing: str
) -> Iterator[Path]:
    """Files of the log-probabilities of so many recordings each; those that are there are kept."""
    begins = range(0, len(features), PART)
    for begin in track(begins, doing, len(begins)):
        part = folder / f"{begin}.npz"
        if not part.exists():
            some = range(begin, min(begin + PART, len(features)))
            heard = [i for i in some if features.lengths[i]]
            log_probs: dict[int, npt.NDArray[Any]] = dict.fromkeys(
                some, np.zeros((0, model.tokens), np.float16)
            )
            for i, block in zip(
                heard, model_log_probs(model, [features[i] for i in heard]), strict=True
            ):
                log_probs[i] = block.astype(np.float16)
            with partial_file(part) as file:
                lengths = np.array([len(log_probs[i]) for i in some], np.int64)
                steps = np.concatenate([log_probs[i] for i in some])
                write_npz(file, {"steps": steps, "lengths": lengths})
        yield part


def _join(parts: Sequence[Path], steps_path: Path, starts_path: Path) -> None:
    lengths: list[int] = []
    tokens = 0
    for part in parts:
        with np.load(part) as file:
            lengths += file["lengths"].tolist()
            tokens = file["steps"].shape[1]
    with partial_file(steps_path) as target:
        write_header(target, sum(lengths), tokens)
        for part in parts:
            with np.load(part) as file:
                target.write(file["steps"].tobytes())
    with partial_file(starts_path) as target:
        np.save(target, np.cumsum([0, *lengths]))
    for part in parts:
        part.unlink()
