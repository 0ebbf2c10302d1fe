"""How text is written: where spaces stand between words, and how wide characters are.

Scripts differ in that, not languages: a text may mix them, as Chinese with Latin words in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# Han, kana, Bopomofo, their punctuation and full-width forms; Thai, Lao, Burmese, Khmer.
_UNSPACED = (
    "\u2e80-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
    "\U00020000-\U0003ffff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_UNIT = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


def is_unspaced(character: str) -> bool:
    """Whether its script writes no spaces between words."""
    return _IS_UNSPACED.match(character) is not None


def stands_apart(before: str, after: str) -> bool:
    """Whether a space is written between two words."""
    return not (is_unspaced(before[-1:]) or is_unspaced(after[:1]))


def join(texts: Iterable[str]) -> str:
    """Words as they are written one after the other: open the door, but 打开门, 看cnn的人."""
    texts = list(texts)
    spaced = " ".join(texts)
    if not _IS_UNSPACED.search(spaced):
        return spaced
    parts: list[str] = []
    for text in texts:
        if parts and stands_apart(parts[-1], text):
            parts.append(" ")
        parts.append(text)
    return "".join(parts)


def units(text: str) -> list[str]:
    """What error rates count: words, and each character of scripts that write no spaces."""
    return _UNIT.findall(text)


def cells(text: str) -> int:
    """Columns that a terminal or a line of subtitles needs for it; a Han character takes two."""
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):  # accents, Thai vowels above or below
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
