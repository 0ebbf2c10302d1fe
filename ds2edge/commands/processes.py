"""Processes that a command starts for itself: of one thread each, and deaf to Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

# What NumPy's linear algebra asks for its number of threads, when it is loaded.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start_process(
    run: Callable[..., None], *arguments: Any
) -> tuple[SpawnProcess, Connection[Any, Any]]:
    """Call `run(connection, *arguments)` in a new interpreter.

    Returns: the process, and the other end of its connection. Whichever side ends first, the other
    one sees the end of the connection.
    """
    context = multiprocessing.get_context("spawn")  # a model does not survive fork()
    ours, theirs = context.Pipe()
    process = context.Process(target=run, args=(theirs, *arguments), daemon=True)
    with _one_thread(), _without_interrupts():
        process.start()
    theirs.close()
    return process, ours


def ending(process: SpawnProcess) -> str:
    """How a process ended, which it did or is about to do: "was killed by SIGKILL"."""
    process.join()
    code = process.exitcode or 0
    if code >= 0:
        return f"ended with exit code {code}"
    hint = "; was memory short?" if -code == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"


@contextmanager
def _one_thread() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that starts here inherits that Ctrl-C, which every process of a terminal gets, is
    blocked: the one that started it decides what happens. Here it arrives at the end."""
    resource_tracker.ensure_running()  # starting it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
