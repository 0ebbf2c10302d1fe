"""The native lexicon: what it holds, what it refuses, how long it takes to build."""

from __future__ import annotations

import itertools
import time

import pytest
from decoder_inputs import TINY_ARPA, TOKENS, WORDS

from ds2edge import _native
from ds2edge.decoder import Decoder
from ds2edge.errors import DecoderError
from ds2edge.text import TokenSet, english_characters

ENGLISH = _native.Speller(list(english_characters().tokens), 0, 1)


def test_holds_its_words_only() -> None:
    words = ["it", "its", "it's", "a", "zebra"]
    lexicon = _native.Lexicon(words, ENGLISH)
    assert lexicon.size == 5
    assert all(word in lexicon for word in words)
    for other in ["", "i", "itss", "zebr", "zebras", "It", "é", "a zebra", " "]:
        assert other not in lexicon


def test_a_word_twice_is_one() -> None:
    assert _native.Lexicon(["b", "a", "b"], ENGLISH).size == 2


def test_characters_of_any_script() -> None:
    characters = [chr(0x4E00 + i) for i in range(3000)] + ["é", "𝄞"]
    words = ["".join(characters[i : i + 1 + i % 3]) for i in range(0, 3000, 7)] + ["é𝄞"]
    lexicon = _native.Lexicon(words, _native.Speller(["<blank>", " ", *characters], 0, 1))
    assert lexicon.size == len(words)
    assert all(word in lexicon for word in words)
    assert "𝄞" not in lexicon


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "empty"),
        (["a", ""], "word 1 .*is empty"),
        (["naïve"], r"'naïve'.*'ï'"),
        (["a b"], "' '"),
        (["Abc"], "'A'"),
        (["abc\0"], "not a token"),
        ([b"abc"], "must be str"),
        (["\ud800"], "surrogate"),
    ],
)
def test_bad_words(words: list[str], message: str) -> None:
    with pytest.raises(DecoderError, match=message):
        Decoder(english_characters(), words=words)


def test_words_that_the_language_model_does_not_know() -> None:
    strangers = ["b", "l", "la", "bal"]
    with pytest.raises(DecoderError, match=r"does not know 4 of the 7 words.*'b'"):
        Decoder(TOKENS, words=WORDS + strangers, language_model=TINY_ARPA)
    Decoder(TOKENS, words=[*WORDS, "la"], language_model=TINY_ARPA)  # some may be unknown


def test_a_large_lexicon_loads_quickly() -> None:
    tokens = TokenSet(("<blank>", " ", *"abcdefghijklmnopqrst"))
    words = ["".join(w) for w in itertools.product("abcdefghijklmnopqrst"[::-1], repeat=4)][:80_000]
    speller = _native.Speller(list(tokens.tokens), 0, 1)
    start = time.perf_counter()
    lexicon = _native.Lexicon(words, speller)
    assert time.perf_counter() - start < 1.0  # some 0.03 s on an idle core
    assert lexicon.size == 80_000
