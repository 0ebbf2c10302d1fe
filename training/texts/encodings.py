"""Which encoding the bytes of a text are in."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from ds2edge.errors import ConfigError

UTF_8 = "utf-8"
# Of text that is not UTF-8.
GUESSED = ("gb18030", "big5", "shift_jis", "euc_kr", "utf-16-le", "utf-16-be")
WIDE = ("utf-16", "utf-32")  # how the names begin of those in which ASCII has NUL bytes
WESTERN, MOST_ASCII = "cp1252", 0.7  # where more bytes are ASCII
NO_TEXTS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
# Of what texts in these have most: each reads as rare characters in the others' encodings.
FREQUENT = frozenset("的一是不了在有我他这個們說のはをにたが이는을다에")
LEAST = 400  # bytes that tell whether an encoding makes sense
SENSE = 0.01  # share of a text's characters beyond ASCII that are frequent, at least
STRAY = 0.01  # share of control characters that a text may have, at most
PLAIN = 0.05  # share of a text in UTF-16 with NUL bytes that is ASCII or frequent, at least
COMMON = 0.9  # share of a Chinese text's characters beyond ASCII that are common, at least
CHANCE = 8  # so many characters in GB 18030 may be UTF-8 by chance, if all of them are common
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_HAN_ROWS = range(0xB0, 0xD8)  # of GB 2312: the characters of everyday
_SIGN_ROWS = range(0xA1, 0xA4)  # punctuation, full-width digits and letters


def known_encoding(encoding: str) -> str:
    """The name of an encoding that files of text have.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        "".encode(encoding)  # an error for codecs that are of no text, too
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        name = ""
    if not name or name in NO_TEXTS:
        raise ConfigError(f"there is no encoding {encoding!r}; such are utf-8, gb18030")
    return UTF_8 if name == "utf-8-sig" else name


def better_encoding(sample: bytes, encoding: str) -> str:
    """The one in which bytes make sense, if they make none in `encoding`; or empty."""
    if (best := _contradiction(sample, encoding)) or len(sample) < LEAST:
        return best
    if _sense(sample, encoding) >= SENSE:
        return ""
    best = max((n for n in GUESSED if n != encoding), key=lambda name: _sense(sample, name))
    return best if _sense(sample, best) >= SENSE else ""


def guess(sample: bytes, tried: str) -> str:
    """The encoding that a text may be in, in which it has most frequent characters; or empty."""
    for mark, name in MARKS.items():
        if sample.startswith(mark):
            return name
    sure = _sure(sample)
    if sure or b"\0" in sample:
        return sure if sure != tried else ""
    fitting = [name for name in GUESSED if name != tried and _decoded(sample, name)]
    best = max(fitting, key=lambda name: _sense(sample, name), default="")
    if best and _sense(sample, best) >= SENSE:
        return best
    if "gb18030" in fitting and _common_han(sample) >= COMMON:
        return "gb18030"
    if sum(byte < 0x80 for byte in sample) > MOST_ASCII * len(sample):
        return WESTERN if tried != WESTERN else ""
    return "" if best.startswith(WIDE) else best


def _contradiction(sample: bytes, encoding: str) -> str:
    """The encoding that bytes are in beyond doubt, if it is another one; or empty."""
    sure = _sure(sample)
    if sure != UTF_8:
        return "" if encoding == sure or encoding in WIDE or encoding.startswith("utf-32") else sure
    if sample.isascii():  # which most others read in the same way
        return sure if encoding.startswith(WIDE) else ""
    return "" if encoding.startswith("gb") and _by_chance(sample) else sure


def _sure(sample: bytes) -> str:
    """UTF-8, or UTF-16 that NUL bytes tell of: what is read as them is hardly ever another."""
    text = _decoded(sample, UTF_8)
    if text and len(_CONTROL.findall(text)) <= STRAY * len(text):
        return UTF_8
    if b"\0" not in sample:
        return ""
    best = max(("utf-16-le", "utf-16-be"), key=lambda name: _plain(sample, name))
    return best if _plain(sample, best) >= PLAIN else ""


def _by_chance(sample: bytes) -> bool:
    """Whether UTF-8 is a few Chinese characters in GB 18030 as well: \u901a is two of its bytes."""
    few = sum(byte >= 0x80 for byte in sample) <= 2 * CHANCE
    return few and not re.search(rb"[A-Za-z]", sample) and _common_han(sample) == 1


def _sense(sample: bytes, encoding: str) -> float:
    """The share of frequent characters in what bytes beyond ASCII stand for in an encoding."""
    return _share(FREQUENT.__contains__, _beyond_ascii(sample, encoding))


def _plain(sample: bytes, encoding: str) -> float:
    """The share of characters that are frequent, or ASCII."""
    text = _decoded(sample, encoding)
    return _share(lambda c: c in FREQUENT or (c.isascii() and not _CONTROL.match(c)), text)


def _common_han(sample: bytes) -> float:
    """The share of everyday characters in what bytes beyond ASCII stand for in GB 18030.

    Where they are accented letters it is small: what follows them is ASCII or of rare characters.
    """
    text = _beyond_ascii(sample, "gb18030")
    rows = {c: c.encode("gb2312", "ignore")[:1] for c in set(text)}
    if not any(row and row[0] in _HAN_ROWS for row in rows.values()):
        return 0.0
    common = (*_HAN_ROWS, *_SIGN_ROWS)
    return _share(lambda c: rows[c] != b"" and rows[c][0] in common, text)


def _beyond_ascii(sample: bytes, encoding: str) -> str:
    return re.sub(r"[\x00-\x7f]+", "", _decoded(sample, encoding))


def _share(wanted: Callable[[str], bool], text: str) -> float:
    return sum(map(wanted, text)) / max(1, len(text))


def _decoded(sample: bytes, encoding: str) -> str:
    """The text of bytes, whose last character may be cut; empty if they are none."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeError:
        return ""
