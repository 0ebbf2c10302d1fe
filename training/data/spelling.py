"""Which tokens texts are spelled with: named on a command line, and what they cannot spell."""

from __future__ import annotations

import argparse
import unicodedata

from ds2edge.text import TOKEN_SETS, TokenSet, unaccented, with_tokens


def add_token_arguments(parser: argparse.ArgumentParser, tokens_help: str) -> None:
    """`--tokens` and `--token`, for `given_tokens`."""
    parser.add_argument(
        "--token", action="append", default=[], metavar="CHAR", help="that the model has besides"
    )
    parser.add_argument(
        "--tokens", choices=TOKEN_SETS, default="english_characters", help=tokens_help
    )


def given_tokens(given: argparse.Namespace) -> TokenSet:
    """Raises: TextError: one of `--token` cannot be one."""
    return with_tokens(TOKEN_SETS[given.tokens](), given.token)


def unknown_characters(text: str, token_set: TokenSet) -> list[str]:
    """Letters and digits that `normalise` would drop; what is neither is not spoken."""
    known = {token for token in token_set.tokens[1:] if len(token) == 1}
    characters = unaccented(text, token_set)
    return [c for c in characters if unicodedata.category(c)[0] in "LN" and c not in known]
