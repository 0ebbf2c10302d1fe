"""Weights as XNNPACK packs them, kept from one load to the next and shared between processes.

XNNPACK trusts the file that it is given: with another model's it computes that model's weights, a
truncated one it may read beyond the end. Hence the name tells model, runtime and processor, and
what the content has to be; and XNNPACK itself never writes into the folder.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from ds2edge.cache import cache_folder

KEPT = 16  # files, those that were used last
IN_MEMORY = ":memory"  # XNNPACK's name for a cache without a file


@contextmanager
def weight_cache(model: Path, runtime: str) -> Iterator[str]:
    """What to give XNNPACK as the path of its cache, for as long as it takes to load and run.

    That is the file of an earlier load; else one in memory, of which a copy is kept in the end,
    if it can be.

    Args:
        runtime: its name and version.
    """
    folder = cache_folder() / "weights"
    stem = _key(model, runtime)
    if found := _find(folder, stem):
        yield str(found)
        return
    if not hasattr(os, "memfd_create"):
        yield IN_MEMORY
        return
    with os.fdopen(os.memfd_create("ds2edge-weights"), "rb") as file:
        yield f"/proc/self/fd/{file.fileno()}"
        with suppress(OSError):  # a full or unwritable folder costs the packing each time, no more
            _keep(folder, stem, file.read())


def _key(model: Path, runtime: str) -> str:
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f"{runtime} {_processor()}".encode())
    return digest.hexdigest()[:32]


def _find(folder: Path, stem: str) -> Path | None:
    """The file of this key whose content is what its name says."""
    for path in folder.glob(f"{stem}-*.xnnpack"):
        with suppress(OSError):
            if path.stat().st_size and _name(stem, path.read_bytes()) == path.name:
                with suppress(OSError):  # it may be someone else's
                    path.touch()  # used now
                return path
            path.unlink()  # damaged
    return None


def _keep(folder: Path, stem: str, content: bytes) -> None:
    if not content:
        return
    folder.mkdir(parents=True, exist_ok=True)
    # Several processes may come here at once: each renames a whole file of its own.
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".part-", delete=False) as part:
        try:
            part.write(content)
            part.flush()
            os.replace(part.name, folder / _name(stem, content))
        except OSError:
            os.unlink(part.name)
            raise
    files = sorted(folder.glob("*.xnnpack"), key=lambda path: path.stat().st_mtime)
    for old in files[:-KEPT]:
        old.unlink(missing_ok=True)


def _name(stem: str, content: bytes) -> str:
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:32]}.xnnpack"


@cache
def _processor() -> str:
    """What the packing depends on: the processor's kind and instructions."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        kinds = ("model name", "flags", "Features", "CPU part", "CPU implementer")
        return "\n".join(sorted({line for line in lines if line.startswith(kinds)}))
    import platform  # late: Linux does not need it

    return f"{platform.machine()} {platform.processor()}"
