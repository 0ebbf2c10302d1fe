"""Archives to folders: nothing outside of the folder, nothing half-written that looks whole.

Members are written one by one, each beside its place and then moved into it, below `NAME.part`;
that becomes `NAME` when all of them are there. Links become second names of the files they point
to: no link is ever followed.
"""

from __future__ import annotations

import bz2
import calendar
import gzip
import json
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ds2edge.errors import DataError
from ds2edge.progress import SecondsBar

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
MARK = ".ds2edge-unpacked"  # in a folder that is whole: which archive it is of
BLOCK = 1 << 20  # bytes
LATEST = 1 << 33  # seconds since 1970, that a file system takes as a time
MOST_HOPS = 40  # from link to link, as the kernel has it


@dataclass(frozen=True)
class Member:
    """One of an archive."""

    name: str
    size: int  # bytes
    time: float  # when it was changed, seconds since 1970
    link: str | None = None  # the member, by its path in the archive, that it is another name of
    data: Any = None  # opens what is in it; None: a folder, or a link


class DamagedError(Exception):
    """An archive that is cut short or has other bytes than it should."""


class NoRoomError(Exception):
    """An archive that has more in it than the disk can take."""


class RefusedError(Exception):
    """An archive that would write where it must not."""


def looks_packed(path: Path | str) -> bool:
    """Whether a file's name is one of an archive."""
    return str(path).lower().endswith(SUFFIXES)


def whole(archive: Path, folder: Path) -> bool:
    """Whether a folder is what `unpack` made of the archive as it is now."""
    try:
        return (folder / MARK).read_text() == _identity(archive)
    except OSError:
        return False


def unpack(archive: Path, folder: Path, nested: str = "") -> None:
    """Unpack into a folder; interrupted or killed, the same call goes on.

    Args:
        nested: pattern of the members that are archives; they are unpacked where they lie.

    Raises:
        DataError: the archive is damaged, has a member that would lie outside, or needs more
            space than there is on the disk.
        OSError: it cannot be read, or a member not be written.
    """
    if whole(archive, folder):
        return
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    try:
        with SecondsBar([archive.stat().st_size], f"unpacking {archive.name}") as bar:
            _write_members(archive, part, bar)
        for inner in _nested(part, nested):
            _write_members(inner, inner.parent)
            inner.unlink()
    except RefusedError as error:
        shutil.rmtree(part)
        raise DataError(f"{archive} is refused, and nothing of it was kept: {error}") from None
    except DamagedError as error:
        shutil.rmtree(part)
        raise DataError(f"{archive} is damaged or cut short ({error}); download it again") from None
    except NoRoomError as error:  # what is written stays: there may soon be room for more
        raise DataError(
            f"{archive} cannot be unpacked: {error}; free some, and run the same command again"
        ) from None
    os.sync()  # a loss of power must not leave empty files in a folder that says it is whole
    (part / MARK).write_text(_identity(archive))
    if folder.exists():  # of another archive with that name
        shutil.rmtree(folder)
    part.rename(folder)


def _identity(archive: Path) -> str:
    status = archive.stat()
    return json.dumps([archive.name, status.st_size, status.st_mtime_ns])


def _nested(folder: Path, pattern: str) -> list[Path]:
    if not pattern:
        return []
    return sorted(path for path in folder.rglob("*") if fnmatch(str(path), pattern))


def _write_members(archive: Path, folder: Path, bar: SecondsBar | None = None) -> None:
    """Write what is not there yet; of two members with one name the last stays, as with tar."""
    written: set[str] = set()
    links: dict[str, str] = {}
    done = 0
    with archive.open("rb") as raw:
        for member in _readable(_members(raw, folder)):
            name = _inside(member.name, "a member")
            path = folder / name
            try:
                if member.link is not None:
                    links[name] = _inside(member.link, f"what {member.name!r} points to")
                elif member.data is None:
                    path.mkdir(parents=True, exist_ok=True)
                elif name in written or not _is_there(path, member):
                    _write(path, member, folder)
                    links.pop(name, None)
                if member.data is not None:
                    written.add(name)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise DamagedError(f"{member.name!r} is a file and a folder in it") from None
            if bar:
                bar.report(0, raw.tell() - done)
                done = raw.tell()
    for name in links:
        _link(folder, name, links)


def _is_there(path: Path, member: Member) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_size, int(found.st_mtime)) == (member.size, int(member.time))


def _write(path: Path, member: Member, folder: Path) -> None:
    """Beside its place, then into it: what has its name is whole."""
    _fits(member.size, f"its member {member.name!r}", folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder / ".member"
    with unfinished.open("wb") as target:
        for block in _readable(_blocks(member)):
            target.write(block)
    os.utime(unfinished, (member.time, member.time))
    os.replace(unfinished, path)


def _blocks(member: Member) -> Iterator[bytes]:
    with member.data() as source:
        while block := source.read(BLOCK):
            yield block


def _link(folder: Path, name: str, links: dict[str, str]) -> None:
    """A second name for the file, or for each file of the folder, that a link points to."""
    target, hops = links[name], 0
    while target in links and hops < MOST_HOPS:  # a link may point to a link
        target, hops = links[target], hops + 1
    source, path = folder / target, folder / name
    if source.is_file():
        files = [(source, path)]
    elif source == path or source in path.parents or not source.is_dir():
        return  # it points to nothing, or to what it is in
    else:
        files = [(file, path / file.relative_to(source)) for file in sorted(source.rglob("*"))]
    for file, other in files:
        if file.is_file() and not (other.exists() and other.samefile(file)):
            other.parent.mkdir(parents=True, exist_ok=True)
            other.unlink(missing_ok=True)
            try:
                os.link(file, other)
            except OSError:  # a file system without hard links
                shutil.copy2(file, other)


def _inside(name: str, what: str) -> str:
    """A member's name, made plain.

    Raises:
        RefusedError: it leads out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise RefusedError(f"{what}, {name!r}, lies outside of the folder")
    return str(path)


def _readable(items: Iterator[Any]) -> Iterator[Any]:
    """The same, with every complaint of the libraries about the data as `DamagedError`."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except OSError as error:
            if error.errno:  # the disk's complaint, not the library's
                raise
            raise DamagedError(error) from None
        except (
            tarfile.TarError,
            zipfile.BadZipFile,
            EOFError,
            zlib.error,
            lzma.LZMAError,
        ) as error:
            raise DamagedError(error) from None
        except (RuntimeError, NotImplementedError, ValueError) as error:  # a password, a method
            raise DamagedError(error) from None
        yield item


def _members(raw: IO[bytes], folder: Path) -> Iterator[Member]:
    start = raw.read(6)
    raw.seek(0)
    if start.startswith(b"PK"):
        yield from _zipped(raw, folder)
        return
    openers: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
    opener = next((opener for magic, opener in openers.items() if start.startswith(magic)), None)
    stream = opener(raw) if opener else raw
    with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK, tarinfo=_Header) as tar:
        for header in tar:
            tar.members.clear()  # type: ignore[attr-defined] # it would keep them all
            yield _of_tar(tar, header)
    while stream.read(BLOCK):  # the check sum is behind the end
        pass


class _Header(tarfile.TarInfo):
    """tarfile takes damage behind the first member for the end; here that is a block of zeros."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(tar)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":
                raise
            raise tarfile.ReadError(f"{error} at byte {tar.offset}") from None


def _of_tar(tar: tarfile.TarFile, header: tarfile.TarInfo) -> Member:
    link = None
    if header.issym():
        link = _pointed(header.name, header.linkname)
    elif header.islnk():
        link = header.linkname
    elif not header.isreg() and not header.isdir():
        raise RefusedError(f"its member {header.name!r} is neither a file nor a folder nor a link")
    data = (lambda: tar.extractfile(header)) if header.isreg() else None
    time = min(max(0, header.mtime), LATEST)
    return Member(header.name, header.size, time, link, data)


def _zipped(raw: IO[bytes], folder: Path) -> Iterator[Member]:
    with zipfile.ZipFile(raw) as zipped:
        members = zipped.infolist()
        there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        _fits(sum(info.file_size for info in members) - there, "it", folder)
        for info in members:
            kind = stat.S_IFMT(info.external_attr >> 16)
            link, data = None, None
            if kind == stat.S_IFLNK:
                link = _pointed(info.filename, zipped.read(info).decode(errors="replace"))
            elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise RefusedError(f"its member {info.filename!r} is neither a file nor a folder")
            elif not info.is_dir():
                data = _opener(zipped, info)
            yield Member(info.filename, info.file_size, _time(info), link, data)


def _time(info: zipfile.ZipInfo) -> float:
    try:
        return calendar.timegm((*info.date_time, 0, 0, 0))
    except ValueError:  # month 0: it is not told
        return 0


def _opener(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    return lambda: zipped.open(info)


def _pointed(name: str, target: str) -> str:
    """What a symbolic link points to, by its path in the archive.

    Raises:
        RefusedError: it leads out of the archive.
    """
    parts = [] if target.startswith("/") else list(PurePosixPath(name).parent.parts)
    for part in PurePosixPath(target).parts:
        if part == "..":
            if not parts:
                raise RefusedError(f"{name!r} points to {target!r}, outside of the folder")
            parts.pop()
        else:
            parts.append(part)
    return str(PurePosixPath(*parts))


def _fits(size: int, what: str, folder: Path) -> None:
    """Raises: NoRoomError: the disk has no place for so many bytes."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise NoRoomError(
            f"{what} takes {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are left in {folder}"
        )
