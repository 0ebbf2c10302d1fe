"""Lines of text files, and what is told where one cannot be read."""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ds2edge.errors import ConfigError, DataError

UTF_8 = "utf-8"
# Of text that is not UTF-8.
GUESSED = ("gb18030", "big5", "shift_jis", "euc_kr", "utf-16-le", "utf-16-be")
WESTERN, MOST_ASCII = "cp1252", 0.7  # where more bytes are ASCII
# Of what texts in these have most: each reads as rare characters in the others' encodings.
FREQUENT = frozenset("的一是不了在有我他这個們說のはをにたが이는을다에")
LEAST = 400  # bytes that tell whether an encoding makes sense
SENSE = 0.01  # share of a text's characters that are frequent, at least
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
DAMAGED = (OSError, EOFError, lzma.LZMAError, zlib.error)
SAMPLE = 1_000_000  # bytes that the guess is made of


def read_lines(path: Path, encoding: str = UTF_8) -> Iterator[str]:
    """The lines of a text file, plain or compressed (.xz, .gz).

    Raises:
        ConfigError: there is no such encoding.
        DataError: it cannot be read, or is in another encoding.
    """
    try:
        "".encode(encoding)
    except LookupError:  # of codecs that are of no text, too
        raise ConfigError(f"there is no encoding {encoding!r}; such are utf-8, gb18030") from None
    encoding = codecs.lookup(encoding).name
    try:
        if encoding != UTF_8:
            _check_sense(path, encoding)
        # A mark at the beginning, as some editors write it, is no part of the text.
        known = "utf-8-sig" if encoding == UTF_8 else encoding
        with _open(path) as file, io.TextIOWrapper(file, known) as lines:
            yield from lines
    except UnicodeError as error:
        reason = getattr(error, "reason", error)  # of UTF-16 without its mark there is none
        raise DataError(
            f"cannot read text {path} as {encoding}: {reason}{_hint(path, _guess(path, encoding))}"
        ) from None
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
    sample = _sample(path)
    if len(sample) < LEAST or _sense(sample, encoding) >= SENSE:
        return
    others = [name for name in GUESSED if name != encoding]
    best = max(others, key=lambda name: _sense(sample, name))
    if _sense(sample, best) >= SENSE:
        raise DataError(f"{path} makes no sense as {encoding}{_hint(path, best)}")


def _guess(path: Path, tried: str) -> str:
    """The encoding that a text may be in, in which it has most frequent characters; or empty."""
    sample = _sample(path)
    for mark, name in MARKS.items():
        if sample.startswith(mark):
            return name
    if sum(byte < 0x80 for byte in sample) > MOST_ASCII * len(sample):
        return WESTERN
    fitting = [name for name in GUESSED if name != tried and _decoded(sample, name)]
    return max(fitting, key=lambda name: _sense(sample, name), default="")


def _hint(path: Path, guessed: str) -> str:
    if not guessed:
        return ""
    return f"; it reads as {guessed}: ds2edge data text {path} --encoding {guessed} -o FILE"


def _sample(path: Path) -> bytes:
    """The beginning of a text; empty if it is damaged."""
    try:
        with _open(path) as file:
            return file.read(SAMPLE)
    except DAMAGED:
        return b""


def _sense(sample: bytes, encoding: str) -> float:
    """The share of frequent characters in what bytes stand for in an encoding."""
    text = _decoded(sample, encoding)
    return sum(map(FREQUENT.__contains__, text)) / max(1, len(text))


def _decoded(sample: bytes, encoding: str) -> str:
    """The text of bytes, whose last character may be cut; empty if they are none."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeError:
        return ""
