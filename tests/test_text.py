"""Token sets, normalisation, CTC collapse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2edge.errors import TextError
from ds2edge.text import (
    BLANK_TOKEN,
    TokenSet,
    collapse,
    english_characters,
    mandarin_characters,
    normalise,
    spoken,
    with_tokens,
)

ENGLISH = english_characters()


def test_english_has_the_papers_29_outputs() -> None:
    assert len(ENGLISH) == 29
    assert ENGLISH.tokens[0] == BLANK_TOKEN
    assert ENGLISH.space == 1


@given(st.text(alphabet="abcxyz' ", max_size=30))
def test_encode_and_decode_are_inverse(text: str) -> None:
    assert ENGLISH.decode(ENGLISH.encode(text)) == text


@given(st.text())
def test_normalised_text_can_be_spelled(text: str) -> None:
    spelled = normalise(text, ENGLISH)
    assert ENGLISH.decode(ENGLISH.encode(spelled)) == spelled
    assert normalise(spelled, ENGLISH) == spelled


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Mrs. Quilter's  MANNER,", "mrs quilter's manner"),
        ("caf\u00e9 na\u00efve", "cafe naive"),
        ("don\u2019t 'quote'", "don't 'quote'"),
        ("-- ' --", ""),
    ],
)
def test_normalise(text: str, wanted: str) -> None:
    assert normalise(text, ENGLISH) == wanted


def test_the_zero_of_years_is_a_character() -> None:
    assert normalise("二\u3007二三年", mandarin_characters()) == "二零二三年"
    assert spoken("二\u3007二三年") == "二零二三年"
    assert normalise("二\u3007", with_tokens(mandarin_characters(), "\u3007")) == "二\u3007"


def test_a_phrase_in_another_encoding_is_refused() -> None:
    with pytest.raises(TextError, match="UTF-8"):
        spoken("北京".encode("gb18030").decode(errors="surrogateescape"))


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ([], []),
        ([0, 0], []),
        ([5, 5, 5], [5]),
        ([5, 0, 5], [5, 5]),
        ([0, 5, 6, 6, 0, 6], [5, 6, 6]),
    ],
)
def test_collapse(path: list[int], wanted: list[int]) -> None:
    assert collapse(path) == wanted


def test_unknown_character_is_named() -> None:
    with pytest.raises(TextError, match="'7'"):
        ENGLISH.encode("route 7")


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ((), "the first of them <blank>; got none"),
        (("a", BLANK_TOKEN), "token 0 must be <blank>, got 'a'"),
        ((BLANK_TOKEN, "a", "b", "a"), "must differ, got twice: 'a'$"),
        ((BLANK_TOKEN,), "needs a letter, got <blank> and spaces alone"),
        ((BLANK_TOKEN, " "), "needs a letter"),
        ((BLANK_TOKEN, "a", ""), "one character or more, got ''"),
        ((BLANK_TOKEN, "a", 1), "must be a str .*, got 1"),
    ],
)
def test_bad_token_sets_are_refused(tokens: Any, said: str) -> None:
    with pytest.raises(TextError, match=said):
        TokenSet(tokens)


def test_tokens_of_several_characters_alone_spell_nothing() -> None:
    pairs = TokenSet((BLANK_TOKEN, "ab", "cd"))
    assert normalise("ab\ncd", pairs) == ""
    assert pairs.decode(pairs.encode("cdab")) == "cdab"


def test_digest_tells_token_sets_apart() -> None:
    assert ENGLISH.digest != TokenSet((*ENGLISH.tokens[:-1], "\u00e6")).digest
