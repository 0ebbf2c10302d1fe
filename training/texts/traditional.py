"""Traditional characters among simplified ones: found, refused, converted by OpenCC."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeAlias

from ds2edge.errors import DataError, MissingExtraError

Convert: TypeAlias = Callable[[str], str]

MOST = 0.01  # of the Han characters of a simplified text; names and quotations have some
FEW = 10  # so many are none too many in a short text, if
MOST_OF_FEW = 0.1  # of its Han characters at most are traditional
HAN = "\u3400-\u4dbf\u4e00-\u9fff"
REMEDY = "convert it: ds2edge data text --simplify"


@cache
def traditional_characters() -> frozenset[str]:
    """Those of Big5 that GB 2312, which is simplified, has not."""
    return frozenset(
        c
        for c in map(chr, range(0x4E00, 0xA000))
        if c.encode("big5", "ignore") and not c.encode("gb2312", "ignore")
    )


@cache
def load_opencc() -> Convert:
    """What turns traditional characters to simplified ones.

    Raises:
        MissingExtraError: OpenCC is not installed.
    """
    try:
        import opencc
    except ModuleNotFoundError:
        raise MissingExtraError(
            "traditional to simplified needs the package opencc: pip install 'ds2edge[zh]'"
        ) from None
    convert: Convert = opencc.OpenCC("t2s").convert
    return convert


class ScriptCheck:
    """Counts the Han characters of a text, and the traditional ones that nobody asked for."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known`: characters that are wanted, traditional or not."""
        self.han, self.traditional = 0, Counter[str]()
        unwanted = "".join(traditional_characters().difference(known))
        self._find = re.compile(f"[{unwanted}]" if unwanted else "(?!)").findall
        self._find_han = re.compile(f"[{HAN}]").findall

    def see(self, text: str) -> None:
        """Count those of a text more."""
        self.han += len(self._find_han(text))
        self.traditional.update(self._find(text))

    def check(self, name: object) -> None:
        """Refuse a text that is in traditional characters.

        Raises:
            DataError: it is.
        """
        count = self.traditional.total()
        if count <= max(MOST * self.han, min(FEW, MOST_OF_FEW * self.han)):
            return
        most = ", ".join(c for c, _ in self.traditional.most_common(5))
        raise DataError(
            f"{name} has traditional characters, {count / self.han:.0%} of all (such as {most}), "
            f"which the tokens have not; {REMEDY}"
        )
