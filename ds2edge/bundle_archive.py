"""A bundle in one file, unpacked: once into the cache, all of it plain files."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
import zlib
from pathlib import Path

from ds2edge.cache import cache_folder
from ds2edge.errors import BundleError

LARGEST_MEMBER = 2**31  # bytes; an archive that claims more is refused
AGAIN = "get the bundle again or convert the checkpoint again"


def unpack(path: Path) -> tuple[Path, bool]:
    """Folder with the archive's members, unpacked once into the cache, keyed by hash.

    Returns: the folder, and whether it was unpacked just now.

    Raises:
        BundleError: the file cannot be read, or is no whole archive of plain files.
    """
    try:
        key = file_digest(path)[:32]
    except OSError as error:
        raise BundleError(f"cannot read bundle {path}: {error.strerror}") from None
    target = cache_folder() / "bundles" / key
    if target.is_dir():
        return target, False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as temporary:
            _extract(path, Path(temporary) / "new")
            (Path(temporary) / "new").rename(target)
    except OSError:
        if target.is_dir():  # another process was faster
            return target, True
        # A cache that is full or unwritable costs the unpacking each time, no more.
        target = Path(tempfile.mkdtemp(prefix="ds2edge-"))
        atexit.register(shutil.rmtree, target, ignore_errors=True)
        _extract(path, target / "new")
        return target / "new", True
    return target, True


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extract(path: Path, folder: Path) -> None:
    """Write the members of an archive, all of them plain files, into a new folder."""
    import zipfile  # late: whoever has a folder does not need it

    folder.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                plain = Path(entry.filename).name == entry.filename and entry.filename != ".."
                if not plain or entry.file_size > LARGEST_MEMBER:
                    raise BundleError(f"{path}: member {entry.filename!r} is no plain, sane file")
                (folder / entry.filename).write_bytes(archive.read(entry))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{path} is not a whole .ds2 bundle: {error}; {AGAIN}") from None
