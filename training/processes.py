"""Work on many items in processes of its own, in order, a bounded number ahead."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, forkserver, get_context, parent_process
from typing import TypeVar

from ds2edge.errors import ConfigError, DataError

AHEAD = 64  # items that are read before they are needed

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def add_jobs_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """The argument --jobs.

    Args:
        what: there are so many of.
    """
    parser.add_argument(
        "--jobs",
        type=int,
        default=available_cores(),
        metavar="N",
        help=f"{what} [%(default)s, the number of cores]",
    )


def check_jobs(jobs: int) -> None:
    """Raises: ConfigError: there are none."""
    if jobs < 1:
        raise ConfigError(f"--jobs needs 1 or more, got {jobs}")


def worker_processes(jobs: int | None = None, niceness: int = 0) -> ProcessPoolExecutor:
    """Processes for `in_order`; None: as many as cores that are ours. They end when this one does.

    Args:
        niceness: by which they stand back behind others.
    """
    # Not forked: the parent may hold TensorFlow's threads.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()  # and what it forks will not hear Ctrl-C, which is the parent's
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return ProcessPoolExecutor(
        jobs or available_cores(), get_context("forkserver"), _begin, (niceness,)
    )


def in_order(
    pool: Executor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    doing: str,
    ahead: int = AHEAD,
) -> Generator[Result]:
    """As `pool.map`, which would read all items at once: of audio, whole hours.

    Args:
        doing: what a process of the pool does, for a message: "computes features".

    Raises:
        DataError: a process was killed.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            f"a process that {doing} was killed; was memory short? Run the command again"
        ) from None
    finally:
        for future in waiting:
            future.cancel()


def _begin(niceness: int) -> None:
    os.nice(niceness)
    # A parent that is killed tells nobody: its processes would wait for work for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent
    connection.wait([parent.sentinel])
    os._exit(1)
