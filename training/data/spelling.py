"""Which tokens texts are spelled with: named on a command line, and what they cannot spell."""

from __future__ import annotations

import argparse
import unicodedata
from collections.abc import Iterable, Sequence

from ds2edge.text import BLANK, TOKEN_SETS, TokenSet, normalise, unaccented, with_tokens
from ds2edge.token_files import find_tokens

NAMED = 20  # tokens in a message


def add_token_arguments(parser: argparse.ArgumentParser, tokens_help: str) -> None:
    """`--tokens` and `--token`, for `given_tokens`."""
    parser.add_argument(
        "--token", action="append", default=[], metavar="CHAR", help="that the model has besides"
    )
    parser.add_argument(
        "--tokens",
        metavar="SET",
        default="english_characters",
        help=f"{', '.join(TOKEN_SETS)}, a file of tokens or a bundle, {tokens_help}",
    )


def given_tokens(given: argparse.Namespace) -> TokenSet:
    """Raises: TextError: there is no such set, or one of `--token` cannot be one."""
    return with_tokens(find_tokens(given.tokens), given.token)


def without_example(tokens: TokenSet, spelled: Iterable[Iterable[int]]) -> list[str]:
    """The tokens that no text has: a model cannot learn them.

    Args:
        spelled: token indices of each text.
    """
    seen = {index for text in spelled for index in text}
    return [token for i, token in enumerate(tokens.tokens) if i != BLANK and i not in seen]


def told_without_example(tokens: TokenSet, missing: Sequence[str]) -> str:
    """For people: how many, and some of them."""
    some = " ".join(map(repr, missing[:NAMED])) + (" ..." if len(missing) > NAMED else "")
    return f"{len(missing):,} of {len(tokens):,} tokens have no training example: {some}"


def reference(text: str, tokens: TokenSet) -> str:
    """What was said, normalised; but what no token stands for stays: it is an error."""
    if unknown := set(unknown_characters(text, tokens)):
        tokens = TokenSet((*tokens.tokens, *sorted(unknown)))
    return normalise(text, tokens)


def unknown_characters(text: str, token_set: TokenSet) -> list[str]:
    """Letters and digits that `normalise` would drop; what is neither is not spoken."""
    characters, known = unaccented(text, token_set), token_set.characters
    return [c for c in characters if c not in known and unicodedata.category(c)[0] in "LN"]
