"""Files that are whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ds2edge.errors import DataError

npy: Any = np.lib.format  # some versions of NumPy have no types for it


@contextmanager
def partial_file(path: Path, sync: bool = True) -> Iterator[IO[bytes]]:
    """A new file to write; it takes the place of `path` when all of it is there.

    A kill leaves the old file as it was; so does an error, and then nothing else is left.

    Args:
        sync: wait until it is on the disk, so that a loss of power leaves the old file, too.

    Raises:
        OSError: it cannot be written, as on a full disk; the error names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(part)):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise
    if sync:
        _sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder to this process while it is entered; a kill frees it, too.

    Raises:
        DataError: another process has it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"another process is training in {folder}; wait for it, or give another --out"
            ) from None
        yield
    finally:
        os.close(handle)


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Wait until no other process has a folder in this way, then have it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Make the new name last, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
