"""Files that are whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from ds2edge.errors import ConfigError, DataError
from ds2edge.plain_values import from_dict

T = TypeVar("T")

log = logging.getLogger(__name__)
npy: Any = np.lib.format  # some versions of NumPy have no types for it


def refuse_folder(path: Path) -> None:
    """Tell before long work that nothing can be written to `path`.

    Raises:
        ConfigError: it is a folder.
    """
    if path.is_dir():
        raise ConfigError(f"cannot write {path}: it is a folder; give the path of a file")


@contextmanager
def partial_file(path: Path, sync: bool = True) -> Iterator[IO[bytes]]:
    """A new file to write; it takes the place of `path` when all of it is there.

    A kill leaves the old file as it was; so does an error, and then nothing else is left.

    Args:
        sync: wait until it is on the disk, so that a loss of power leaves the old file, too.

    Raises:
        ConfigError: `path` is a folder.
        OSError: it cannot be written, as on a full disk; the error names `path`.
    """
    refuse_folder(path)
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


def write_npz(file: IO[bytes], arrays: Mapping[str, Any]) -> None:
    """As np.savez, which leaves an archive open when the disk is full."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, np.asarray(array), allow_pickle=False)


def write_header(file: IO[bytes], rows: int, columns: int) -> None:
    """The start of an .npy file of float16; its length does not depend on `rows`."""
    kind = npy.dtype_to_descr(np.dtype(np.float16))
    header = {"descr": kind, "fortran_order": False, "shape": (rows, columns)}
    npy.write_array_header_1_0(file, header)


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed had begun to write; nobody else's files.

    Whoever calls has the folder alone.
    """
    for part in folder.glob("*.part"):
        if re.search(r"\.\d+\.part$", part.name) and part.is_file():
            part.unlink()


def file_state(path: str | Path) -> tuple[int, int]:
    """Size and time: of a recording that is made louder in place only the time is another.

    Of none that is there, zeros.
    """
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def read_json(
    path: Path, kind: type[T], number: int, made_by: str, others: Sequence[str] = ()
) -> T:
    """A dataclass in a file of JSON beside the number of its format.

    Args:
        made_by: the command that writes such files, for a message.
        others: keys that are passed over.

    Raises:
        DataError: the file is missing, damaged or something else.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or values.pop("format", None) != number:
            raise ConfigError(f"needed a file of format {number}")
        return from_dict(kind, {k: v for k, v in values.items() if k not in others})
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, ConfigError) as error:
        raise DataError(f"{path} is not from `{made_by}`: {error}") from None


@contextmanager
def locked(
    folder: Path, doing: str = "training in", remedy: str = "give another --out"
) -> Iterator[None]:
    """Keep a folder to this process while it is entered; a kill frees it, too.

    Args:
        doing: what the other process is `doing` in the folder, for the message.

    Raises:
        DataError: another process has it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"another process is {doing} {folder}; wait for it, or {remedy}"
            ) from None
        yield
    finally:
        os.close(handle)


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Wait until no other process has a folder in this way, then have it.

    What a process that was killed had begun to write is removed.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("waiting for another process that writes to %s", folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        remove_parts(folder)
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
