"""Token sets and text normalisation.

A token set lists what the acoustic model can output. Token 0 is always the CTC blank.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ds2edge.errors import TextError

BLANK = 0  # index of the CTC blank in every token set
BLANK_TOKEN = "<blank>"
SPACE_TOKEN = " "

_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'"})


@dataclass(frozen=True)
class TokenSet:
    """An ordered set of tokens; an acoustic model's output has one column for each."""

    tokens: tuple[str, ...]  # tokens[0] is the blank

    def __post_init__(self) -> None:
        if not self.tokens or self.tokens[BLANK] != BLANK_TOKEN:
            raise TextError(f"token 0 must be {BLANK_TOKEN!r}, got {self.tokens[:1]!r}")
        if len(set(self.tokens)) != len(self.tokens):
            twice = sorted({t for t in self.tokens if self.tokens.count(t) > 1})
            raise TextError(f"tokens must differ, got twice: {twice}")

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def space(self) -> int | None:
        """Index of the space token; None for scripts that write no spaces."""
        return self.tokens.index(SPACE_TOKEN) if SPACE_TOKEN in self.tokens else None

    @property
    def digest(self) -> str:
        """SHA-256 of the tokens: what a model and a decoder must agree on."""
        return hashlib.sha256("\n".join(self.tokens).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Token indices of `text`.

        From the left, the longest token that lets the rest be spelled: the non-overlapping
        n-grams of the paper (section 3.6), of which single characters are the plain case.

        Raises:
            TextError: a part of the text cannot be spelled with the tokens.
        """
        index = {token: i for i, token in enumerate(self.tokens) if i != BLANK}
        longest = max(map(len, index))
        lengths: list[int] = [0] * len(text)  # of the token at each place, 0: none is possible
        for at in reversed(range(len(text))):
            for length in range(min(longest, len(text) - at), 0, -1):
                rest = at + length == len(text) or lengths[at + length]
                if rest and text[at : at + length] in index:
                    lengths[at] = length
                    break
        if text and not lengths[0]:
            spelled = next((i for i, length in enumerate(lengths) if length), len(text))
            raise TextError(
                f"{text[spelled - 1]!r} in {text!r} is not in the token set; "
                "normalise the text first"
            )
        indices, at = [], 0
        while at < len(text):
            indices.append(index[text[at : at + lengths[at]]])
            at += lengths[at]
        return indices

    def decode(self, indices: Iterable[int]) -> str:
        """Text of token indices; blanks are left out, repeats are kept."""
        return "".join(self.tokens[i] for i in indices if i != BLANK)


def english_characters() -> TokenSet:
    """Blank, space, apostrophe, a to z: the paper's 29 English outputs."""
    return TokenSet((BLANK_TOKEN, SPACE_TOKEN, "'", *"abcdefghijklmnopqrstuvwxyz"))


def normalise(text: str, tokens: TokenSet) -> str:
    """Spell `text` with the token set: lower case, no accents, punctuation as spaces.

    Characters without a counterpart in the set become word boundaries; digits are not
    spelled out.
    """
    text = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES)).lower()
    text = "".join(c for c in text if not unicodedata.combining(c))
    known = "".join(re.escape(token) for token in tokens.tokens[1:] if len(token) == 1)
    text = re.sub(f"[^{known}]+", " ", text)
    return " ".join(word for word in text.split() if word.strip("'"))


def spoken(phrase: str) -> str:
    """A phrase as words are recognised: lower case, single spaces. Nothing else is changed.

    Raises:
        TextError: it is no text.
    """
    if not isinstance(phrase, str):
        raise TextError(f"a phrase must be a str, got {phrase!r}")
    return " ".join(phrase.translate(_APOSTROPHES).lower().split())


def collapse(indices: Sequence[int]) -> list[int]:
    """CTC's many-to-one map: merge repeats, then drop blanks (Graves et al. 2006)."""
    return [
        token
        for previous, token in zip([BLANK, *indices], indices, strict=False)
        if token not in (previous, BLANK)
    ]
