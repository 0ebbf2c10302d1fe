"""Recordings of any length to log-probabilities, piece by piece, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ds2edge.audio import FloatArray, SampleInput
from ds2edge.audio_file import open_audio
from ds2edge.endpoint import Level
from ds2edge.errors import AudioError
from ds2edge.results import Seconds
from ds2edge.training.evaluation.listener import Listener, open_listener
from ds2edge.training.processes import AHEAD, in_order, worker_processes

# A recording is heard in pieces as long as what models are trained on, cut where it is quietest.
SHORTEST, LONGEST = 10.0, 20.0  # s
QUIET = 0.3  # s, over which loudness is taken
BLOCK = 10.0  # s that are read at a time
PAUSE = 0.15  # s of quiet that are no part of a word; the closure of a "t" is shorter
PAUSE_COST = 1.0  # nats for each output in which a word goes on in a pause

Scores: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Piece: TypeAlias = tuple[Scores, list[float]]  # and the mean square of each output's samples


@dataclass(frozen=True)
class Heard:
    """What an alignment needs to know of a recording."""

    # Log-probabilities less the highest of their output, shape = (outputs, columns + 1); the last
    # column is the blank's once more, less `PAUSE_COST` in a pause.
    scores: Scores
    loud: Mask  # whether there is more than silence where an output hears, shape = (outputs,)


def hear(
    path: Path,
    model: str,
    columns: Sequence[int],
    folder: Path,
    jobs: int = 1,
    heard: Callable[[Seconds], None] = lambda seconds: None,
) -> Heard:
    """A recording of any length.

    The scores lie in a file that is gone with them, so that memory does not grow with the
    recording.

    Args:
        columns: the tokens that are asked for, the blank first.
        folder: for that file.
        jobs: processes that hear a piece each; 1: this one alone.
        heard: told how many seconds more are done.

    Raises:
        AudioError: the recording is missing, damaged or without samples.
        OSError: the folder cannot be written, or the disk is full.
    """
    listener = open_listener(model)
    work = partial(_hear_piece, model, list(columns))
    level = Level()
    late = round(listener.delay / listener.step)  # outputs by which the model is behind
    loud, pause = bytearray(late), bytearray(late)
    with tempfile.TemporaryFile(dir=folder) as file:
        for scores, powers in _each(work, pieces(path, listener), jobs):
            first = len(loud) - late
            for power in powers:
                level.hear(power, listener.step)
                loud.append(level.since > 0)
                pause.append(not level.since and level.quiet >= PAUSE)
            cost = PAUSE_COST * np.frombuffer(pause, np.uint8)[first : first + len(scores)]
            inner = scores[:, :1] - cost[:, None]
            try:
                file.write(np.hstack([scores, inner]).astype(np.float32).tobytes())
                file.flush()
            except OSError as error:  # which knows no name
                raise OSError(error.errno, error.strerror, str(folder)) from None
            heard(len(scores) * listener.step)
        outputs = len(loud) - late
        scores = np.memmap(file, np.float32, "r", shape=(outputs, len(columns) + 1))
        return Heard(scores, np.frombuffer(loud, np.bool_)[:outputs])


def pieces(path: Path, listener: Listener) -> Iterator[FloatArray]:
    """The samples of a recording, cut where it is quiet; all but the last are whole outputs long.

    Raises: AudioError.
    """
    rate, step = listener.sample_rate, listener.step_samples
    longest, shortest = round(LONGEST * rate), round(SHORTEST * rate)
    left, some = np.zeros(0, np.float32), False
    for block in _blocks(path, rate):
        left = np.concatenate([left, block])
        while len(left) > longest:
            cut = shortest + _quietest(left[shortest:longest], rate)
            cut -= cut % step
            yield left[:cut]
            left, some = left[cut:], True
    if len(left):
        yield left
    elif not some:
        raise AudioError(f"{path} is too short: it has no sample at {rate} Hz")


def _blocks(path: Path, rate: int) -> Iterator[FloatArray]:
    with open_audio(path) as file:
        converter = SampleInput(file.sample_rate, rate)
        for block in file.blocks(BLOCK):
            yield converter.convert(block)
        yield converter.finish()


def _quietest(samples: FloatArray, rate: int) -> int:
    """The middle of the quietest stretch."""
    width = round(QUIET * rate)
    energy = np.cumsum(np.square(samples, dtype=np.float64))
    return width // 2 + int(np.argmin(energy[width:] - energy[:-width]))


def _each(
    work: Callable[[FloatArray], Piece], items: Iterator[FloatArray], jobs: int
) -> Iterator[Piece]:
    if jobs == 1:
        yield from map(work, items)
        return
    with worker_processes(jobs) as pool:
        yield from in_order(pool, work, items, "hears recordings", ahead=min(2 * jobs, AHEAD))


def _hear_piece(model: str, columns: list[int], samples: FloatArray) -> Piece:
    listener = open_listener(model)
    (log_probs,) = listener.log_probs([samples])
    scores = log_probs - log_probs.max(axis=1, keepdims=True)
    whole = np.zeros(len(scores) * listener.step_samples, np.float32)
    whole[: len(samples)] = samples
    powers = np.square(whole).reshape(len(scores), -1).mean(axis=1)
    return np.ascontiguousarray(scores[:, columns], np.float32), powers.tolist()
