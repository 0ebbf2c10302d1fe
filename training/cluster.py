"""Workers of one training run: who they are, how they find each other, and those of one machine.

Worker 0 is the chief. Before TensorFlow's servers start, every worker tells the chief what it was
given, on the port that the chief's server will have: what does not fit is one clear error then,
and no server waits for a worker that never comes.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds2edge.arguments import FAILED, INTERRUPTED, SUCCESS
from ds2edge.errors import ConfigError, WorkerError
from ds2edge.training.snapshot import differences

HELLO = 1 << 20  # bytes of what a worker says of itself, at most
GRACE = 5.0  # seconds for the processes of a run that ends to end, too


@dataclass(frozen=True)
class Cluster:
    """All workers, and which one this process is."""

    addresses: tuple[str, ...]  # host:port of each
    index: int

    def __post_init__(self) -> None:
        for address in self.addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
                raise ConfigError(f"a worker's address is {address!r}, needed host:port")
        if len(set(self.addresses)) < len(self.addresses):
            raise ConfigError(f"two workers have one address: {', '.join(self.addresses)}")
        if not 0 <= self.index < len(self.addresses):
            raise ConfigError(
                f"the worker's index is {self.index}, needed 0 to {len(self.addresses) - 1}: "
                f"there are {len(self.addresses)} addresses"
            )

    def host(self, worker: int) -> str:
        """Name or number of a worker's machine."""
        return self.addresses[worker].rpartition(":")[0].strip("[]")

    def port(self, worker: int) -> int:
        """Port that a worker listens on."""
        return int(self.addresses[worker].rpartition(":")[2])

    def neighbours(self) -> list[int]:
        """The workers of this machine, this one included."""
        mine = self.host(self.index)
        return [i for i in range(len(self.addresses)) if self.host(i) == mine]

    def gone(self) -> list[int]:
        """The other workers that nobody listens for any more."""
        return [i for i in range(len(self.addresses)) if i != self.index and not self._listens(i)]

    def _listens(self, worker: int) -> bool:
        try:
            socket.create_connection((self.host(worker), self.port(worker)), timeout=2.0).close()
        except OSError:
            return False
        return True


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """What a command takes that can have several workers."""
    group = parser.add_argument_group("several workers (TensorFlow only)")
    group.add_argument(
        "--workers", type=int, metavar="N", help="start N workers on this machine [1]"
    )
    group.add_argument(
        "--worker-index",
        type=int,
        metavar="I",
        help="this is worker I of several that are started one by one; worker 0 is the chief",
    )
    group.add_argument(
        "--worker-addresses",
        metavar="HOST:PORT,...",
        help="of all workers, the same list for each [TF_CONFIG, if it is set]",
    )
    group.add_argument(
        "--worker-patience",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="how long to wait for the others at the start [%(default)g]",
    )
    group.add_argument("--parent", action="store_true", help=argparse.SUPPRESS)


def cluster_of(options: argparse.Namespace, environment: Mapping[str, str]) -> Cluster | None:
    """The cluster that arguments, or TF_CONFIG, ask for; None: this process trains alone.

    With `--workers` it is one of this machine, whose ports are free now.

    Raises:
        ConfigError: they contradict each other, or name no cluster.
    """
    index, addresses = options.worker_index, options.worker_addresses
    if options.workers is not None:
        if index is not None or addresses:
            raise ConfigError(
                "--workers starts all workers; --worker-index and --worker-addresses are for "
                "workers that are started one by one"
            )
        if options.workers < 1:
            raise ConfigError(f"--workers needs 1 or more, got {options.workers}")
        if options.workers == 1:
            return None
        return Cluster(tuple(f"127.0.0.1:{port}" for port in _free_ports(options.workers)), 0)
    if (index is None) != (not addresses):
        raise ConfigError("--worker-index and --worker-addresses go together: give both")
    if addresses:
        return Cluster(tuple(addresses.split(",")), index)
    return _from_variable(environment.get("TF_CONFIG", ""))


def _from_variable(text: str) -> Cluster | None:
    """As TensorFlow reads it: {"cluster": {"worker": [...]}, "task": {"type": .., "index": ..}}."""
    if not text:
        return None
    try:
        values = json.loads(text)
        jobs, task = values["cluster"], values["task"]
        chiefs, workers = list(jobs.get("chief", [])), list(jobs.get("worker", []))
        index = int(task["index"]) + (len(chiefs) if task["type"] == "worker" else 0)
        if task["type"] not in ("chief", "worker") or not set(jobs) <= {"chief", "worker"}:
            raise ValueError("only jobs and tasks of type chief and worker train here")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"TF_CONFIG names no worker and its cluster: {error!r}") from None
    return Cluster((*chiefs, *workers), index) if len(chiefs + workers) > 1 else None


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        servers = [socket.create_server(("", 0)) for _ in range(count)]
        return [stack.enter_context(server).getsockname()[1] for server in servers]


# ---- coming together


def meet(
    cluster: Cluster,
    settings: dict[str, Any],
    patience: float,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Wait until all workers are there, and see that they have the same settings.

    Args:
        settings: plain values.
        patience: seconds to wait for the others.
        check: called again and again while the chief waits.

    Raises:
        WorkerError: a worker did not come or cannot be reached, a port is in use, two workers have
            one index, or other settings or addresses.
    """
    hello = {"index": cluster.index, "addresses": cluster.addresses, "settings": settings}
    hello = json.loads(json.dumps(hello))
    with _listen(cluster) as server:
        if cluster.index == 0:
            problem = _welcome(cluster, server, hello, patience, check)
    if cluster.index:
        problem = _introduce(cluster, hello, patience)
    if problem:
        raise WorkerError(problem)


def _listen(cluster: Cluster) -> socket.socket:
    port = cluster.port(cluster.index)
    try:
        return socket.create_server(("", port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        reason = "in use" if error.errno == errno.EADDRINUSE else "not ours to open"
        raise WorkerError(
            f"port {port} of this machine, worker {cluster.index}'s, is {reason}; give another one"
        ) from None


def _welcome(
    cluster: Cluster,
    server: socket.socket,
    own: dict[str, Any],
    patience: float,
    check: Callable[[], None],
) -> str:
    """The chief's side. Returns what is wrong, which all that came are told, too."""
    deadline = time.monotonic() + patience
    with ExitStack() as stack:
        came: set[int] = set()
        told: list[socket.socket] = []
        problem = ""
        while len(came) < len(cluster.addresses) - 1 and not problem:
            check()
            server.settimeout(min(0.5, max(0.001, deadline - time.monotonic())))
            try:
                connection = stack.enter_context(closing(server.accept()[0]))
            except TimeoutError:
                if time.monotonic() < deadline:
                    continue
                missing = [i for i in range(1, len(cluster.addresses)) if i not in came]
                names = ", ".join(f"worker {i} ({cluster.addresses[i]})" for i in missing)
                problem = f"{names} did not come within {patience:g} s; start it, or see that it "
                problem += f"can reach {cluster.addresses[0]}"
                break
            try:
                connection.settimeout(2.0)
                hello = json.loads(_line(connection))
                number, problem = hello["index"], _misfit(own, hello, came)
            except (OSError, ValueError, KeyError, TypeError):  # somebody else, or too slow
                connection.close()  # so that a worker knocks again
                continue
            came.add(number)
            told.append(connection)
        server.close()  # before anybody is told to go on: the port is TensorFlow's now
        for connection in told:
            with suppress(OSError):  # it went away; TensorFlow will say so
                connection.sendall(json.dumps(problem).encode() + b"\n")
    return problem


def _misfit(own: dict[str, Any], hello: dict[str, Any], came: set[int]) -> str:
    number = hello["index"]
    if number in came:
        return f"two workers have the index {number}; give each its own"
    if hello["addresses"] != own["addresses"]:
        return (
            f"worker {number} was given the addresses {','.join(hello['addresses'])}, worker 0 "
            f"{','.join(own['addresses'])}; give both the same"
        )
    apart = differences(own["settings"], hello["settings"])
    shown = "; ".join(f"{each:.200}" for each in apart[:3])
    shown = shown.replace(" there and ", " for worker 0 and ").replace(" here", f" for {number}")
    return f"worker {number} has another configuration than worker 0 ({shown})" if apart else ""


def _introduce(cluster: Cluster, hello: dict[str, Any], patience: float) -> str:
    """The side of all others. Returns what is wrong."""
    deadline = time.monotonic() + patience
    chief = f"worker 0 ({cluster.addresses[0]})"
    while True:
        try:
            place = (cluster.host(0), cluster.port(0))
            with socket.create_connection(place, timeout=2.0) as connection:
                connection.settimeout(patience + GRACE)  # the chief may wait that long for others
                connection.sendall(json.dumps(hello).encode() + b"\n")
                return str(json.loads(_line(connection)))
        except socket.gaierror as error:
            return f"{chief} cannot be reached: {error.strerror}"
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                reason = getattr(error, "strerror", None) or "no answer"
                return f"{chief} cannot be reached within {patience:g} s: {reason}"
            time.sleep(0.1)


def _line(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as file:
        return file.readline(HELLO)


# ---- workers of this machine


class LocalWorkers:
    """Processes that the chief starts, with its own command line; a context manager.

    What they say is in worker-I.log. They do not hear Ctrl-C, which is the chief's to hear, and end
    when it ends, however that happens.
    """

    def __init__(self, cluster: Cluster, arguments: Sequence[str], folder: Path) -> None:
        """`arguments`: of the command `ds2edge`, `--workers` among them."""
        own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        own.add_argument("--workers")
        self.arguments = own.parse_known_args(arguments)[1]
        self.cluster, self.folder = cluster, folder
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self._ended: list[int] = []  # in this order
        self._news = threading.Condition()

    def __enter__(self) -> LocalWorkers:
        for index in range(1, len(self.cluster.addresses)):
            command = [sys.executable, "-P", "-m", "ds2edge.cli", *self.arguments, "--parent"]
            command += ["--worker-index", str(index)]
            command += ["--worker-addresses", ",".join(self.cluster.addresses)]
            with self.log(index).open("wb") as file:
                self.processes[index] = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=file, stderr=file, process_group=0
                )
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            assert process.stdin
            process.stdin.close()  # what tells them that this process ends
        for process in self.processes.values():
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, index: int) -> Path:
        """What a worker says."""
        return self.folder / f"worker-{index}.log"

    def watch(self, tell: Callable[[str], None]) -> None:
        """Call `tell` when a process ends with a failure, from another thread."""

        def wait(index: int) -> None:
            code = self.processes[index].wait()
            with self._news:
                self._ended.append(index)
                self._news.notify_all()
            if code not in (SUCCESS, INTERRUPTED):  # stopped, as this process is, or will be
                tell(self.how_ended(index))

        for index in self.processes:
            threading.Thread(target=wait, args=(index,), daemon=True).start()

    def check(self) -> None:
        """See that all are there.

        Raises:
            WorkerError: one has ended.
        """
        for index, process in self.processes.items():
            if process.poll() is not None:
                raise WorkerError(self.how_ended(index))

    def culprit(self, seconds: float = 3.0) -> str:
        """How the first process ended that did, within so many seconds; empty: none did."""
        with self._news:
            self._news.wait_for(lambda: self._ended, seconds)
            return self.how_ended(self._ended[0]) if self._ended else ""

    def how_ended(self, index: int) -> str:
        """In words, of a process that has ended."""
        code = self.processes[index].wait()
        if code < 0:
            hint = "; was memory short?" if -code == signal.SIGKILL else ""
            return f"worker {index} was killed by {signal.Signals(-code).name}{hint}"
        said = self.log(index).read_text(encoding="utf-8", errors="replace").splitlines()
        last = said[-1].removeprefix("ds2edge: ") if said else f"exit code {code}"
        return f"worker {index} failed: {last} ({self.log(index)})"


def end_with_parent() -> None:
    """End this process as soon as the one is gone that started it, and holds its standard input."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(FAILED)

    threading.Thread(target=wait, daemon=True).start()
