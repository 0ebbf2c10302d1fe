"""Token sets in files: UTF-8, one token a line, in the order of the model's outputs::

    <blank>
    <space>
    a
    ...

`ds2edge data tokens` writes them; configurations and `--tokens` name them.
"""

from __future__ import annotations

import os
from pathlib import Path

from ds2edge.errors import TextError
from ds2edge.text import BLANK_TOKEN, SPACE_TOKEN, TOKEN_SETS, TokenSet, unspelled

SPACE_NAME = "<space>"  # editors take spaces at the end of a line away


def read_tokens(path: Path) -> TokenSet:
    """The token set of a file.

    Raises:
        TextError: it cannot be read, or is no list of tokens; the message has the line.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except OSError as error:
        raise TextError(f"cannot read tokens {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is no file of tokens: it is not UTF-8 ({error.reason})") from None
    _check_lines(path, lines)
    try:
        tokens = TokenSet(tuple(SPACE_TOKEN if line == SPACE_NAME else line for line in lines))
    except TextError as error:
        raise TextError(f"{path} is no file of tokens: {error}") from None
    _check_spelling(path, tokens)
    return tokens


def _check_lines(path: Path, lines: list[str]) -> None:
    if not lines:
        raise TextError(f"{path} is empty: needed one token a line, the first {BLANK_TOKEN}")
    if lines[0] != BLANK_TOKEN:
        raise TextError(f"{path}, line 1: needed {BLANK_TOKEN}, got {lines[0]!r}")
    before: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            raise TextError(f"{path}, line {number}: needed a token, got an empty line")
        if line != line.strip():
            raise TextError(f"{path}, line {number}: needed a token without spaces, got {line!r}")
        if line in before:
            raise TextError(
                f"{path}, line {number}: {line!r} is there already, in line {before[line]}; take "
                "one of them out"
            )
        before[line] = number


def _check_spelling(path: Path, tokens: TokenSet) -> None:
    for number, token in enumerate(tokens.tokens[1:], 2):
        if reason := unspelled(token, tokens):
            raise TextError(
                f"{path}, line {number}: token {token!r} is in no text once it is normalised: "
                f"{reason}; take the line out"
            )


def write_tokens(path: Path, tokens: TokenSet) -> None:
    """Write the file of a token set, and the folders to it; `read_tokens` is the inverse.

    Raises:
        TextError: there is a folder at its place.
        OSError: it cannot be written.
    """
    if path.is_dir():
        raise TextError(f"cannot write tokens {path}: it is a folder; give the path of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    names = (SPACE_NAME if token == SPACE_TOKEN else token for token in tokens.tokens)
    part.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    os.replace(part, path)


def find_tokens(name: str, folder: Path = Path()) -> TokenSet:
    """The token set of a name: one that ds2edge has, a file, a bundle's folder or .ds2 file.

    Args:
        folder: that paths are relative to.

    Raises:
        TextError: there is no such token set.
        BundleError: a bundle cannot be used.
    """
    if name in TOKEN_SETS:
        return TOKEN_SETS[name]()
    path = folder / name
    if path.is_dir() or path.suffix == ".ds2":
        from ds2edge.bundle import load_bundle

        return load_bundle(path).manifest.tokens
    if not path.is_file():
        known = ", ".join(TOKEN_SETS)
        raise TextError(f"no token set {name!r}: needed {known}, a file of tokens, or a bundle")
    return read_tokens(path)
