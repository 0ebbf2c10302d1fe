"""Work on many items in processes of its own, in order, a bounded number ahead."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import connection, forkserver, get_context, parent_process
from typing import TypeVar

from ds2edge.errors import ConfigError, DataError

AHEAD = 64  # items that are read before they are needed
NICENESS = 10  # of processes that stand aside
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")

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


def worker_processes(jobs: int | None = None, aside: bool = False) -> ProcessPoolExecutor:
    """Processes for `in_order`; None: as many as cores that are ours. They end when this one does.

    Args:
        aside: they have only what time others leave.
    """
    # Not forked: the parent may hold TensorFlow's threads.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _one_blas_thread():
            forkserver.ensure_running()  # what it forks will not hear Ctrl-C, the parent's affair
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return ProcessPoolExecutor(
        jobs or available_cores(), get_context("forkserver"), _begin, (aside,)
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


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """For what starts meanwhile: there is a process for each core, and more threads would spin."""
    new = {name: "1" for name in BLAS_THREADS if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


def _begin(aside: bool) -> None:
    if aside:
        os.nice(NICENESS)
        # Training waits for its slowest thread: the nice ones held it up by half, these do not.
        with suppress(AttributeError, OSError):  # not Linux, or forbidden
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    # A parent that is killed tells nobody: its processes would wait for work for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent
    connection.wait([parent.sentinel])
    os._exit(1)
