"""Token sets and text normalisation.

A token set lists what the acoustic model can output. Token 0 is always the CTC blank.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from ds2edge.errors import TextError

BLANK = 0  # index of the CTC blank in every token set
BLANK_TOKEN = "<blank>"
SPACE_TOKEN = " "
NAMED = 5  # tokens in a message

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# All of them are one token.
APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'"})
_ZERO = str.maketrans({"\u3007": "\u96f6"})  # of years in Chinese: a numeral, read as the character


@dataclass(frozen=True)
class TokenSet:
    """An ordered set of tokens; an acoustic model's output has one column for each."""

    tokens: tuple[str, ...]  # tokens[0] is the blank

    def __post_init__(self) -> None:
        if not self.tokens:
            raise TextError(f"a token set needs tokens, the first of them {BLANK_TOKEN}; got none")
        if self.tokens[BLANK] != BLANK_TOKEN:
            raise TextError(f"token 0 must be {BLANK_TOKEN}, got {self.tokens[BLANK]!r}")
        different = set(self.tokens)
        if wrong := [t for t in different if not isinstance(t, str) or not t]:
            raise TextError(f"a token must be a str of one character or more, got {wrong[0]!r}")
        if different <= {BLANK_TOKEN, SPACE_TOKEN}:
            raise TextError(f"a token set needs a letter, got {BLANK_TOKEN} and spaces alone")
        if len(different) != len(self.tokens):
            twice = [repr(t) for t, times in Counter(self.tokens).items() if times > 1]
            raise TextError(f"tokens must differ, got twice: {', '.join(twice[:NAMED])}")

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
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
        index, longest = self._index, self._longest
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

    def words(self, text: str) -> list[str]:
        """The words of a normalised text; where no spaces are written, its tokens."""
        if self.space is not None:
            return text.split()
        if self._longest == 1:
            return list(text)
        return [self.tokens[i] for i in self.encode(text)]

    def join(self, words: Iterable[str]) -> str:
        """The inverse of `words`."""
        return (" " if self.space is not None else "").join(words)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens) if i != BLANK}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._index))

    @cached_property
    def characters(self) -> frozenset[str]:
        """The tokens of one character."""
        return frozenset(token for token in self._index if len(token) == 1)

    @cached_property
    def _accented(self) -> frozenset[str]:
        """Tokens of one character that `normalise` would otherwise take apart."""
        return frozenset(token for token in self.characters if _unaccented(token) != token)

    @cached_property
    def _others(self) -> re.Pattern[str]:
        """Characters that no token of one character stands for."""
        known = "".join(map(re.escape, self.characters))
        return re.compile(f"[^{known}]+" if known else "(?s:.+)")


@cache
def english_characters() -> TokenSet:
    """Blank, space, apostrophe, a to z: the paper's 29 English outputs."""
    return TokenSet((BLANK_TOKEN, SPACE_TOKEN, "'", *_LETTERS))


@cache
def english_bigrams() -> TokenSet:
    """The 29 of `english_characters`, and all pairs of letters and apostrophe: 758 outputs.

    Words are spelled in pairs from their first letter on, an odd last letter alone (section 3.5
    of the paper): "the cat sat" is th, e, space, ca, t, space, sa, t.
    """
    parts = "'" + _LETTERS
    pairs = (a + b for a in parts for b in parts)
    return TokenSet((*english_characters().tokens, *pairs))


@cache
def mandarin_characters() -> TokenSet:
    """Blank, a to z, the 6,763 characters of GB 2312: 6,790 outputs, no space among them.

    That is simplified Chinese; of traditional characters only those that it shares.
    """
    # Rows 16 to 87; row 55 ends five places early.
    rows = (bytes((row, place)) for row in range(0xB0, 0xF8) for place in range(0xA1, 0xFF))
    hanzi = (code.decode("gb2312", errors="ignore") for code in rows)
    return TokenSet((BLANK_TOKEN, *_LETTERS, *filter(None, hanzi)))


TOKEN_SETS = {
    "english_characters": english_characters,
    "english_bigrams": english_bigrams,
    "mandarin_characters": mandarin_characters,
}


def with_tokens(tokens: TokenSet, characters: Iterable[str]) -> TokenSet:
    """A set with characters more, as of another language or digits.

    Raises:
        TextError: one is no letter in lower case nor digit, or is there already.
    """
    characters = [unicodedata.normalize("NFC", character) for character in characters]
    for character in characters:
        if len(character) != 1 or not character.isalnum() or character != character.lower():
            raise TextError(
                f"a token more must be one letter in lower case or one digit, got {character!r}"
            )
    return TokenSet((*tokens.tokens, *characters))


def unaccented(text: str, tokens: TokenSet) -> str:
    """Lower case and no accents, but for the characters that the token set has with theirs."""
    if own := tokens._accented:
        text = unicodedata.normalize("NFC", text).lower()
        return "".join(c if c in own else _unaccented(c) for c in text)
    return _unaccented(text)


def unspelled(token: str, tokens: TokenSet) -> str:
    """Why no text has a token of the set in it once it is normalised; empty: it can have it."""
    spelled = unaccented(token.translate(APOSTROPHES), tokens)
    if spelled != token:
        return f"it becomes {spelled!r}"
    lacking = [character for character in token if character not in tokens.characters]
    return f"{lacking[0]!r} is left out, for it is no token itself" if lacking else ""


def normalise(text: str, tokens: TokenSet) -> str:
    """Spell `text` with the token set: lower case, no accents, punctuation as spaces.

    Accents stay where the token set has them. Characters without a counterpart in the set become
    word boundaries; digits are not spelled out. A set without a space has no word boundaries: what
    is left is joined.
    """
    text = unaccented(text.translate(APOSTROPHES), tokens)
    words = tokens._others.sub(" ", text).split()
    return tokens.join(word for word in words if word.strip("'"))


def _unaccented(text: str) -> str:
    text = unicodedata.normalize("NFKD", text.translate(_ZERO)).lower()
    return "".join(c for c in text if not unicodedata.combining(c))


def spoken(phrase: str) -> str:
    """A phrase as words are recognised: lower case, half width, single spaces.

    Raises:
        TextError: it is no text.
    """
    if not isinstance(phrase, str):
        raise TextError(f"a phrase must be a str, got {phrase!r}")
    if re.search("[\ud800-\udfff]", phrase):  # what a command line has that is not UTF-8
        raise TextError(f"a phrase must be UTF-8, got {phrase!r}")
    phrase = unicodedata.normalize("NFKC", phrase.translate(APOSTROPHES | _ZERO))
    return " ".join(phrase.lower().split())


def collapse(indices: Sequence[int]) -> list[int]:
    """CTC's many-to-one map: merge repeats, then drop blanks (Graves et al. 2006)."""
    return [
        token
        for previous, token in zip([BLANK, *indices], indices, strict=False)
        if token not in (previous, BLANK)
    ]
