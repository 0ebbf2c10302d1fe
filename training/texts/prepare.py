"""Text as people write it to text as it is said: width, script, numerals, a sentence a line."""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ds2edge.text import TokenSet
from ds2edge.training.texts import chinese_numbers
from ds2edge.training.texts.encodings import UTF_8
from ds2edge.training.texts.lines import read_lines
from ds2edge.training.texts.traditional import ScriptCheck, load_opencc

NUMERALS: dict[str, Callable[[str], str]] = {"zh": chinese_numbers.spell_out}
# Where a sentence ends. A full stop may also end an abbreviation (Mr. Brown, e.g. this, am 3. Mai):
# three letters before it and no small one after it are needed.
_NOT_SMALL = r"(?![a-z\u00df-\u00ff])"
# Marks that close a quotation in one language and open it in another: what follows tells.
_CLOSING = (
    r"(?:[\u201c\u2018\u2019\u00ab\u00bb\u2039\u203a\"']|\s[\u00bb\u203a])"
    r"(?=[\s,;:!?)]|\.(?!\.)|$)"
)
_END = re.compile(
    rf"(?<=[\u3002!?;])(?![\u3002!?;\u201d\u300d)]|{_CLOSING})|(?<=\w{{3}}\.) {_NOT_SMALL}"
    rf"|(?<=[!?]\u201c) {_NOT_SMALL}"
)


@dataclass(frozen=True)
class Preparation:
    """What is done to a text besides Unicode's form NFKC, which makes full width half width."""

    encoding: str = UTF_8
    simplify: bool = False  # traditional characters to simplified ones, by OpenCC
    numerals: str = ""  # of `NUMERALS`: the language in which they are spelled out

    def __call__(self, line: str) -> str:
        """A line, prepared."""
        if self.simplify:
            line = load_opencc()(line)
        if self.numerals:
            line = NUMERALS[self.numerals](line)
        return " ".join(unicodedata.normalize("NFKC", line).split())


def add_preparation_arguments(parser: argparse.ArgumentParser) -> None:
    """Texts, the file that is made of them, and what `given_preparation` asks for."""
    parser.add_argument("texts", metavar="TEXT", nargs="+", type=Path, help="plain, or .xz or .gz")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--encoding", default=UTF_8, help="of the texts [%(default)s]")
    add_script_arguments(parser)


def add_script_arguments(parser: argparse.ArgumentParser) -> None:
    """The same without the encoding."""
    parser.add_argument(
        "--simplify",
        action="store_true",
        help="traditional Chinese characters to simplified ones (needs ds2edge[zh])",
    )
    parser.add_argument(
        "--numerals",
        choices=NUMERALS,
        default="",
        help="spell numbers, dates and times out in this language [they stay]",
    )


def given_preparation(given: argparse.Namespace) -> Preparation:
    """Raises: MissingExtraError: OpenCC is asked for and not installed."""
    if given.simplify:
        load_opencc()
    return Preparation(given.encoding, given.simplify, given.numerals)


def prepared_sentences(texts: Sequence[Path], preparation: Preparation) -> Iterator[str]:
    """The sentences of texts; empty ones are left out.

    Raises:
        DataError: a text cannot be read.
    """
    for path in texts:
        for line in read_lines(path, preparation.encoding):
            yield from filter(None, map(str.strip, _END.split(preparation(line))))


def checked_lines(path: Path, tokens: TokenSet) -> Iterator[str]:
    """The lines of a text for a token set.

    Raises:
        DataError: it cannot be read; or it is in traditional characters that the tokens lack.
    """
    if tokens.space is not None:
        yield from read_lines(path)
        return
    script = ScriptCheck(known=tokens.tokens)
    for line in read_lines(path):
        script.see(line)
        yield line
    script.check(path)
