"""Check sums: of lists that lie with a download, and those published for well-known ones."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ds2edge.errors import DataError
from ds2edge.progress import SecondsBar
from ds2edge.training.importing.entries import read_lines

ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}  # by the digits of a sum
LISTS = re.compile(r"(md5|sha1|sha256)sums?(\.txt)?|.+\.(md5|sha1|sha256)", re.IGNORECASE)
LINE = re.compile(r"\\?(?P<sum>[0-9a-fA-F]{32,64})(\s+\*?(?P<name>.+?))?\s*")
BSD_LINE = re.compile(r"\w+ ?\((?P<name>.+)\) ?= ?(?P<sum>[0-9a-fA-F]{32,64})\s*")

PUBLISHED = {
    "dev-clean.tar.gz": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other.tar.gz": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean.tar.gz": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other.tar.gz": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100.tar.gz": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360.tar.gz": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500.tar.gz": "d1a0fd59409feb2c614ce4d30c387708",
    "data_aishell.tgz": "2f494334227864a8a8fec932999db9d8",
    "data_thchs30.tgz": "2d2252bde5c8429929e1841d4cb95e90",
    "VCTK-Corpus-0.92.zip": "8a6ba2946b36fcbef0212cad601f4bfa",
    "LJSpeech-1.1.tar.bz2": "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
}


def check_archive(archive: Path) -> None:
    """Compare an archive with the lists beside it, and with what is published for its name.

    Raises:
        DataError: it has another sum.
    """
    for path in sorted(archive.parent.iterdir()):
        if LISTS.fullmatch(path.name) and path.is_file():
            for name, promised in _listed(path):
                if name == archive.name:
                    _check_shown(archive, promised, str(path))
    if published := PUBLISHED.get(archive.name):
        _check_shown(archive, published, "what is published for that name")


def listed_files(paths: Sequence[str]) -> Iterator[tuple[Path, str, Path]]:
    """Of the files of a corpus those that a list among them names: file, its sum, the list."""
    there = set(paths)
    for path in map(Path, paths):
        if LISTS.fullmatch(path.name):
            for name, promised in _listed(path):
                if str(file := path.parent / name) in there:
                    yield file, promised, path


def check_file(
    path: Path, promised: str, source: str, tell: Callable[[int], object] = lambda _: None
) -> None:
    """Compare a file with its sum; `tell` hears how many bytes more are read.

    Raises:
        DataError: it has another sum than is promised by `source`.
    """
    algorithm = ALGORITHMS[len(promised)]
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            tell(len(block))
    found = digest.hexdigest()
    if found != promised.lower():
        raise DataError(
            f"{path} is damaged or another file: its {algorithm.upper()} is {found}, by {source} "
            f"{promised.lower()}; download it again, or rename it if it is another one"
        )


def _check_shown(path: Path, promised: str, source: str) -> None:
    with SecondsBar([path.stat().st_size], f"checking {path.name}") as bar:
        check_file(path, promised, source, lambda size: bar.report(0, size))


def _listed(path: Path) -> Iterator[tuple[str, str]]:
    """Names and sums of a list; lines that are none are left out."""
    for line in read_lines(path):
        found = BSD_LINE.fullmatch(line) or LINE.fullmatch(line)
        if found and len(found["sum"]) in ALGORITHMS:
            # `a.tgz.md5` may hold the sum alone.
            name = found["name"] or path.with_suffix("").name
            yield name.removeprefix("./"), found["sum"]
