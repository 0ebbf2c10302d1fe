"""`ds2edge data tokens TEXT... -o FILE`: the tokens that spell a text, by coverage."""

from __future__ import annotations

import argparse
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds2edge.errors import ConfigError, DataError
from ds2edge.text import APOSTROPHES, BLANK_TOKEN, SPACE_TOKEN, TokenSet, normalise
from ds2edge.token_files import write_tokens
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.data.spelling import NAMED, told_without_example, without_example
from ds2edge.training.files import refuse_folder
from ds2edge.training.texts.prepare import (
    add_preparation_arguments,
    given_preparation,
    prepared_sentences,
)
from ds2edge.training.texts.traditional import ScriptCheck
from ds2edge.writing import is_unspaced

EXAMPLES = """\
examples:
  ds2edge data tokens novels.txt.xz -o zh.tokens --numerals zh
      the characters that make up 99.95 % of the text, and a to z
  ds2edge data tokens *.txt -o zh.tokens --simplify --most 6000 --examples speech/*/manifest.tsv
      at most so many; which of them no recording of split train has
  ds2edge data tokens romane.txt -o de.tokens --coverage 0.9999
      of a script with spaces: a space, an apostrophe if words have one, the letters

a configuration names the file: model.tokens = "zh.tokens", beside it, or train --tokens zh.tokens;
so do --tokens of lm, evaluate and others.
"""


LETTERS_OF_A_WORD = 5  # about, in scripts that write spaces


@dataclass(frozen=True)
class Chosen:
    """A token set, and what it leaves out of the text."""

    tokens: TokenSet
    characters: int  # of the text, spaces not counted
    left_out: Counter[str]

    @property
    def coverage(self) -> float:
        """Share of the text's characters that it spells."""
        return 1 - self.left_out.total() / max(1, self.characters)


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "tokens",
        help="the tokens that spell a text, by coverage",
        description="List the characters of texts, the most frequent ones, as a model's tokens.",
        epilog=EXAMPLES,
    )
    add_preparation_arguments(parser)
    parser.add_argument(
        "--coverage",
        type=float,
        default=0.9995,
        metavar="SHARE",
        help="of the text's characters that are to be spelled, 0 to 1 [%(default)g]",
    )
    parser.add_argument(
        "--most", type=int, default=7000, metavar="N", help="at most so many [%(default)s]"
    )
    parser.add_argument(
        "--letters",
        default=string.ascii_lowercase,
        metavar="CHARS",
        help="that are tokens in any case [a to z]",
    )
    parser.add_argument(
        "--space",
        action=argparse.BooleanOptionalAction,
        help="words have spaces between them [found out: whether there are more words of such "
        "scripts than characters of others]",
    )
    parser.add_argument(
        "--traditional", action="store_true", help="traditional Chinese characters are wanted"
    )
    parser.add_argument(
        "--examples",
        nargs="+",
        type=Path,
        default=[],
        metavar="MANIFEST",
        help="say which tokens the texts of its split train lack",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Returns: the exit code."""
    if not 0 < options.coverage <= 1 or options.most < 1:
        raise ConfigError(
            "--coverage needs more than 0, 1 at most, and --most 1 or more; "
            f"got {options.coverage:g} and {options.most}"
        )
    refuse_folder(options.output)
    examples = [u.text for manifest in options.examples for u in read_manifest(manifest, "train")]
    script = ScriptCheck(known=options.letters)
    counts = Counter[str]()
    for sentence in prepared_sentences(options.texts, given_preparation(options)):
        script.see(sentence)
        counts.update(characters(sentence))
    names = ", ".join(map(str, options.texts))
    if not counts:
        raise DataError(f"no letters in {names}")
    if not options.traditional:
        script.check(names)
    chosen = choose(counts, options.coverage, options.most, options.letters, options.space)
    write_tokens(options.output, chosen.tokens)
    print(
        f"{options.output}: {len(chosen.tokens):,} tokens, which spell {chosen.coverage:.3%} of "
        f"{chosen.characters:,} characters"
    )
    if chosen.left_out:
        some = " ".join(c for c, _ in chosen.left_out.most_common(NAMED))
        print(f"left out: {len(chosen.left_out):,} characters, the most frequent: {some}")
    if options.examples:
        print(_examples(chosen.tokens, examples))
    return 0


def characters(sentence: str) -> Iterable[str]:
    """What could be a token: letters, and apostrophes inside of words."""
    lower = unicodedata.normalize("NFC", sentence.lower()).translate(APOSTROPHES)
    apostrophes = re.findall(r"(?<=\w)'(?=\w)", lower)
    return [*("'" for _ in apostrophes), *(c for c in lower if _is_letter(c))]


def choose(
    counts: Counter[str],
    coverage: float,
    most: int,
    letters: str = "",
    spaced: bool | None = None,
) -> Chosen:
    """The most frequent characters, until they cover enough.

    Args:
        counts: of characters in the text.
        coverage: share of the text, 0..1.
        most: characters, at most.
        letters: that are chosen in any case.
        spaced: a space is a token, too; None: where there are more words of scripts that write
            spaces than characters of others.
    """
    if spaced is None:
        unspaced = sum(n for c, n in counts.items() if is_unspaced(c))
        spaced = (counts.total() - unspaced) / LETTERS_OF_A_WORD > unspaced
    if not spaced:  # foreign names alone have it
        counts = Counter({c: n for c, n in counts.items() if c != "'"})
    total, covered = counts.total(), sum(counts[letter] for letter in set(letters))
    taken = set(letters)
    for character, count in counts.most_common():
        if covered >= coverage * total or len(taken) >= most:
            break
        if character not in taken:
            taken.add(character)
            covered += count
    space = (SPACE_TOKEN,) if spaced else ()
    tokens = TokenSet((BLANK_TOKEN, *space, *sorted(taken)))
    left_out = Counter({c: n for c, n in counts.items() if c not in taken})
    return Chosen(tokens, total, left_out)


def _is_letter(character: str) -> bool:
    category = unicodedata.category(character)
    # Signs that are no accents, as Indian vowels; accents belong to the letter before.
    return category[0] == "L" or (category[0] == "M" and not unicodedata.combining(character))


def _examples(tokens: TokenSet, texts: Iterable[str]) -> str:
    spelled = (tokens.encode(normalise(text, tokens)) for text in texts)
    missing = without_example(tokens, spelled)
    return told_without_example(tokens, missing) if missing else "all tokens have an example"
