"""Processes of the server's benchmarks: those of clients, and what Linux tells of any."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from ds2edge.results import Seconds

CLIENTS = 100  # in one process
TICKS = os.sysconf("SC_CLK_TCK")  # in a second

T = TypeVar("T")


class Process:
    """A process as Linux tells of it."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)

    def used(self) -> Seconds:
        """Of processors, since its start."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident(self) -> float:
        """Memory in MB."""
        pages = int((self._folder / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def descriptors(self) -> int:
        """Files and sockets that are open."""
        return len(os.listdir(self._folder / "fd"))

    def threads(self) -> int:
        """That run."""
        return len(os.listdir(self._folder / "task"))


@contextmanager
def running(
    work: Callable[[Connection, T], None], orders: T
) -> Iterator[tuple[Connection, Process]]:
    """A process of clients, with which to talk."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=work, args=(theirs, orders), daemon=True)
    child.start()
    theirs.close()  # so that the end of the process is seen
    assert child.pid
    try:
        yield ours, Process(child.pid)
    finally:
        child.kill()
        child.join()


def shared_out(clients: int) -> Iterator[range]:
    """The numbers of so many clients, process by process."""
    for begin in range(0, clients, CLIENTS):
        yield range(begin, min(clients, begin + CLIENTS))
