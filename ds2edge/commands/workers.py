"""Transcribe many files, here or in several processes; what is heard comes in their order.

Processes, not threads: features and search hold Python's lock for half of the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias

from ds2edge.audio import FloatArray
from ds2edge.audio_file import AudioFile, open_audio
from ds2edge.commands.interrupt import Interrupt
from ds2edge.commands.processes import ending, start_process
from ds2edge.commands.recordings import readable
from ds2edge.errors import Ds2edgeError
from ds2edge.options import StreamOptions
from ds2edge.results import Seconds, Transcript
from ds2edge.transcriber import Transcriber

# Called with a file's place among all, from 0, and how much of it was heard just now.
Report: TypeAlias = Callable[[int, Seconds], object]

BLOCK: Seconds = 1.0  # of a file, fed at once
TICK: Seconds = 0.1  # between two looks for Ctrl-C


@dataclass(frozen=True)
class Heard:
    """What became of a recording."""

    path: str
    result: Transcript | Ds2edgeError
    is_whole: bool = True  # False: Ctrl-C came before its end

    @property
    def transcript(self) -> Transcript:
        """What was heard.

        Raises:
            Ds2edgeError: it could not be transcribed.
        """
        if isinstance(self.result, Ds2edgeError):
            raise self.result
        return self.result

    @property
    def seconds(self) -> Seconds:
        """How much of it was heard."""
        return self.result.duration if isinstance(self.result, Transcript) else 0.0


def transcribe_here(
    transcriber: Transcriber,
    paths: Sequence[str],
    options: StreamOptions,
    interrupt: Interrupt,
    report: Report,
) -> Iterator[Heard]:
    """One after the other; after Ctrl-C no further one."""
    for number, path in enumerate(paths):
        if interrupt.asked:
            return
        heard_of_it = partial(report, number)
        yield _transcribe(transcriber, path, options, lambda: interrupt.asked, heard_of_it)


def transcribe_in_processes(
    jobs: int,
    transcriber: Transcriber,
    paths: Sequence[str],
    options: StreamOptions,
    interrupt: Interrupt,
    report: Report,
) -> Iterator[Heard]:
    """As `transcribe_here`, so many at a time. A process that dies fails its file only."""
    left = deque(enumerate(paths))
    heard: dict[int, Heard] = {}  # by number, what waits for those before it
    told = 0
    workers = [_Worker(transcriber, options) for _ in range(min(jobs, len(paths)))]
    try:
        for worker in workers:
            worker.begin(*left.popleft())
        while busy := {worker.connection: worker for worker in workers if worker.is_busy}:
            for connection in wait(busy, TICK):
                worker = busy[connection]  # type: ignore[index] # what was given comes back
                message = worker.receive()
                if isinstance(message, float):
                    report(worker.number, message)
                    continue
                heard[worker.number] = message
                if left:
                    worker.begin(*left.popleft())
            if interrupt.asked:
                left.clear()
                for worker in busy.values():
                    worker.stop()
            while told in heard:
                yield heard.pop(told)
                told += 1
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that transcribes one file after the other."""

    def __init__(self, transcriber: Transcriber, options: StreamOptions) -> None:
        self._arguments = (transcriber, options)
        self._process, self.connection = start_process(_work, *self._arguments)
        self.number, self._path = -1, ""
        self.is_busy = self._stopped = False

    def begin(self, number: int, path: str) -> None:
        """Give it a file; `receive` yields what is heard."""
        if self._process.exitcode is not None:
            self.connection.close()
            self._process, self.connection = start_process(_work, *self._arguments)
        self.number, self._path, self.is_busy = number, path, True
        with suppress(OSError):  # it died just now, which `receive` tells
            self.connection.send(path)

    def receive(self) -> Seconds | Heard:
        """The audio that was heard just now, or what became of the file."""
        try:
            message: Seconds | Heard = self.connection.recv()
        except (EOFError, OSError):
            why = f"{self._path}: the process that transcribed it {ending(self._process)}"
            message = Heard(self._path, Ds2edgeError(why))
        self.is_busy = isinstance(message, float)
        return message

    def stop(self) -> None:
        """Let it answer with what was heard so far."""
        if not self._stopped:
            self._stopped = True
            with suppress(OSError):
                self.connection.send(None)

    def end(self) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.join()


def _work(
    connection: Connection[Any, Any], transcriber: Transcriber, options: StreamOptions
) -> None:
    """In a process of its own: a path comes, seconds and at last what was heard go back."""
    with suppress(EOFError, OSError):  # the other side has ended
        while path := connection.recv():
            # Anything that comes meanwhile means to stop.
            heard = _transcribe(transcriber, path, options, connection.poll, connection.send)
            connection.send(heard)


def _transcribe(
    transcriber: Transcriber,
    path: str,
    options: StreamOptions,
    stopped: Callable[[], bool],
    report: Callable[[Seconds], object],
) -> Heard:
    is_whole = True

    def blocks(file: AudioFile) -> Iterator[FloatArray]:
        nonlocal is_whole
        for block in file.blocks(BLOCK):
            if stopped():
                is_whole = False
                return
            yield block
            report(len(block) / file.sample_rate)

    try:
        with open_audio(readable(path)) as file:
            events = transcriber.events(blocks(file), file.sample_rate, options)
            transcript = Transcript.from_events(events)
    except Ds2edgeError as error:
        return Heard(path, error)
    return Heard(path, transcript, is_whole)
