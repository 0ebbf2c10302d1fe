"""The outputs of the paper: characters, bigrams, Mandarin characters."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2edge.decoder import Decoder, greedy
from ds2edge.text import (
    BLANK,
    BLANK_TOKEN,
    TokenSet,
    english_bigrams,
    english_characters,
    mandarin_characters,
    normalise,
)

ALL = [english_characters(), english_bigrams(), mandarin_characters()]
BIGRAMS, MANDARIN = ALL[1:]


@pytest.mark.parametrize(("tokens", "size"), [(ALL[0], 29), (BIGRAMS, 758), (MANDARIN, 6790)])
def test_sizes(tokens: TokenSet, size: int) -> None:
    assert len(tokens) == size
    assert tokens.tokens[BLANK] == BLANK_TOKEN


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("the cat sat", ["th", "e", " ", "ca", "t", " ", "sa", "t"]),
        ("it's o'clock", ["it", "'s", " ", "o'", "cl", "oc", "k"]),
        ("a", ["a"]),
        ("", []),
    ],
)
def test_bigrams_begin_anew_at_each_word(text: str, wanted: list[str]) -> None:
    assert [BIGRAMS.tokens[i] for i in BIGRAMS.encode(text)] == wanted
    assert BIGRAMS.decode(BIGRAMS.encode(text)) == text


@given(st.text(alphabet="abxyz' ", max_size=30))
def test_bigrams_spell_what_characters_spell(text: str) -> None:
    encoded = BIGRAMS.encode(text)
    assert BIGRAMS.decode(encoded) == text
    assert len(encoded) == sum((len(word) + 1) // 2 for word in text.split(" ")) + text.count(" ")


def test_mandarin_is_gb_2312() -> None:
    hanzi = MANDARIN.tokens[27:]
    assert len(hanzi) == 6763
    assert (hanzi[0], hanzi[-1]) == ("啊", "齄")
    assert all(len(c.encode("gb2312")) == 2 for c in hanzi)
    assert MANDARIN.space is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("北京\uff0c你好\uff01", "北京你好"),
        ("北京 你好", "北京你好"),
        ("看 \uff23\uff2e\uff2e News 的人 3 个", "看cnnnews的人个"),
        ("中國", "中"),  # traditional
        ("'", ""),
    ],
)
def test_mandarin_is_normalised_without_spaces(text: str, wanted: str) -> None:
    assert normalise(text, MANDARIN) == wanted


@pytest.mark.parametrize("tokens", ALL, ids=len)
@given(data=st.data())
def test_normalised_text_can_be_spelled(tokens: TokenSet, data: st.DataObject) -> None:
    other = st.sampled_from("aZé9 '\u2019-\uff0c你國\uff46⼀\u0301") | st.characters()
    some = other | st.sampled_from(tokens.tokens[1:])
    text = data.draw(st.lists(some, max_size=20).map("".join))
    spelled = normalise(text, tokens)
    assert tokens.decode(tokens.encode(spelled)) == spelled
    assert normalise(spelled, tokens) == spelled


@pytest.mark.parametrize(
    ("tokens", "text", "words"),
    [
        (BIGRAMS, "the cat sat", ["the", "cat", "sat"]),
        (MANDARIN, "北京你好好", ["北", "京", "你", "好", "好"]),
    ],
    ids=["bigrams", "mandarin"],
)
def test_decoder_hears_the_tokens(tokens: TokenSet, text: str, words: list[str]) -> None:
    path = [token for index in tokens.encode(text) for token in (index, BLANK)]
    log_probs = np.full((len(path), len(tokens)), -20, np.float32)
    log_probs[range(len(path)), path] = 0
    assert greedy(log_probs, tokens) == text
    found = Decoder(tokens).decode([log_probs])[0][0]
    assert [word.text for word in found.words] == words


def test_a_set_that_was_used_is_still_plain_data() -> None:
    BIGRAMS.encode("used")
    assert pickle.loads(pickle.dumps(BIGRAMS)) == BIGRAMS == TokenSet(BIGRAMS.tokens)
    assert hash(BIGRAMS) == hash(TokenSet(BIGRAMS.tokens))
