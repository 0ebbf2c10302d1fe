"""Lines of text files, and what is told where one cannot be read."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ds2edge.errors import DataError
from ds2edge.training.texts.encodings import UTF_8, better_encoding, guess, known_encoding

DAMAGED = (OSError, EOFError, lzma.LZMAError, zlib.error)
SAMPLE = 1_000_000  # bytes that the guess is made of


def read_lines(path: Path, encoding: str = UTF_8) -> Iterator[str]:
    """The lines of a text file, plain or compressed (.xz, .gz).

    Raises:
        ConfigError: there is no such encoding.
        DataError: it cannot be read, or is in another encoding.
    """
    encoding = known_encoding(encoding)
    try:
        if encoding != UTF_8:
            _check_sense(path, encoding)
        # A mark at the beginning, as some editors write it, is no part of the text.
        known = "utf-8-sig" if encoding == UTF_8 else encoding
        with _open(path) as file, io.TextIOWrapper(file, known) as lines:
            yield from lines
    except UnicodeError as error:
        reason = getattr(error, "reason", error)  # of UTF-16 without its mark there is none
        hint = _hint(path, guess(_sample(path), encoding))
        raise DataError(f"cannot read text {path} as {encoding}: {reason}{hint}") from None
    except DAMAGED as error:
        raise DataError(f"cannot read text {path}: {error}") from None


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".xz":
        return lzma.open(path)
    if path.suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]
    return path.open("rb")


def _check_sense(path: Path, encoding: str) -> None:
    """Refuse what an encoding reads, but as characters that nobody writes."""
    if better := better_encoding(_sample(path), encoding):
        raise DataError(f"{path} makes no sense as {encoding}{_hint(path, better)}")


def _hint(path: Path, guessed: str) -> str:
    if not guessed:
        return ""
    return f"; it reads as {guessed}: ds2edge data text {path} --encoding {guessed} -o FILE"


def _sample(path: Path) -> bytes:
    """The first piece of a text that is not all ASCII, else its last one; empty if damaged."""
    sample = b""
    try:
        with _open(path) as file:
            while piece := file.read(SAMPLE):
                sample = piece
                if not piece.isascii() or b"\0" in piece:
                    break
    except DAMAGED:
        return b""
    return sample
