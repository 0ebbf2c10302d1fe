"""KenLM models through the native code: scores by hand, and files that are no models."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path

import pytest
from decoder_inputs import TINY_ARPA
from reference_decoder import Arpa

from ds2edge import _native
from ds2edge.decoder import Decoder
from ds2edge.errors import DecoderError
from ds2edge.text import TokenSet, english_characters

MODEL = _native.LanguageModel(str(TINY_ARPA))
CHARACTERS = TokenSet(("<blank>", *map(chr, range(0x4E00, 0x4E64))))


@pytest.mark.parametrize(
    ("words", "log10"),
    [
        ([], -0.5 - 0.6),  # back-off of <s>, </s>
        (["a"], -0.2 - 0.3 - 0.6),  # <s> a; back-off of a, </s>
        (["a", "ab"], -0.2 - 0.4 - 0.3),  # three bigrams
        (["all"], -0.5 - 1.0 - 0.25),  # back-off of <s>, all; all </s>
        (["zebra"], -0.5 - 1.5 - 0.6),  # back-off of <s>, <unk>; </s>
    ],
)
def test_scores_by_hand(words: list[str], log10: float) -> None:
    assert MODEL.score(words) == pytest.approx(log10 * math.log(10), abs=1e-5)
    assert Arpa(TINY_ARPA).sentence(words) == pytest.approx(log10 * math.log(10), abs=1e-9)


def test_order_and_vocabulary() -> None:
    assert MODEL.order == 2
    assert "all" in MODEL
    assert "zebra" not in MODEL


def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    _native.LanguageModel(str(TINY_ARPA))
    assert capfd.readouterr() == ("", "")


ARPA_TEXT = TINY_ARPA.read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needed is a KenLM binary or an ARPA file"),
        (b"garbage\n" * 100, "needed is"),
        (bytes(range(256)) * 64, "needed is"),
        (b"mmap lm http://kheafield.com/code format version 5\n\0", "needed is"),
        (b"mmap lm http://kheafield.com/code format version 5\n\0" + b"\xff" * 4096, "needed is"),
        (ARPA_TEXT[:150].encode(), "needed is"),
        (ARPA_TEXT.replace("-0.8\ta a", "0.8\ta a").encode(), "[Pp]ositive"),
        (ARPA_TEXT.replace("ngram 2=5", "ngram 2=9").encode(), "needed is"),
        (ARPA_TEXT.replace("-1.0\tall", "x\tall").encode(), "needed is"),
        (ARPA_TEXT.replace("\t<s>\t", "\t<x>\t").encode(), "needed is"),
    ],
)
def test_files_that_are_no_model(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "words.binary"
    path.write_bytes(content)
    with pytest.raises(DecoderError, match=message) as raised:
        Decoder(english_characters(), words=["a"], language_model=path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DecoderError, match=r"nothing.*no such file"):
        Decoder(english_characters(), words=["a"], language_model=tmp_path / "nothing")
    with pytest.raises(DecoderError, match="not a regular file"):
        Decoder(english_characters(), words=["a"], language_model=tmp_path)


@pytest.mark.parametrize("count", ["99999999", "0" * 60 + "99999999", "9" * 60])
def test_more_ngrams_than_there_is_room_for(tmp_path: Path, count: str) -> None:
    path = tmp_path / "boasting.arpa"
    path.write_text(f"\\data\\\nngram 1=9\nngram 2={count}\n\n\\1-grams:\n")
    with pytest.raises(DecoderError, match=r"announces 'ngram 2=.*more than it has room for"):
        Decoder(english_characters(), words=["a"], language_model=path)


def test_order_beyond_the_built_one(tmp_path: Path) -> None:
    path = tmp_path / "order7.arpa"
    counts = "".join(f"ngram {n}=1\n" for n in range(1, 8))
    path.write_text(f"\\data\\\n{counts}\n\\1-grams:\n")
    with pytest.raises(DecoderError, match="order 2 to 6"):
        Decoder(english_characters(), words=["a"], language_model=path)


@pytest.mark.parametrize(
    ("known", "others", "belongs"),
    [
        (100, 0, True),
        (60, 90, True),  # of a small text
        (100, 500, True),  # of a large one, in more characters
        (100, 1_000, False),
        (80, 150, False),  # 20 characters are no words, and most words no characters
        (40, 0, False),
    ],
)
def test_a_model_of_words_is_no_model_of_tokens(
    tmp_path: Path, known: int, others: int, belongs: bool
) -> None:
    words = [*CHARACTERS.tokens[1 : known + 1], *(f"w{i}" for i in range(others))]
    unigrams = "\n".join(f"-3\t{word}\t0" for word in ("<unk>", "<s>", "</s>", *words))
    path = tmp_path / "words.arpa"
    path.write_text(
        f"\\data\\\nngram 1={len(words) + 3}\nngram 2=1\n\n\\1-grams:\n{unigrams}\n\n"
        "\\2-grams:\n-1\t<s> </s>\n\n\\end\\\n"
    )
    told = r"has \d+ words .* of the 100 tokens.*; without a lexicon, a model of tokens is needed"
    with nullcontext() if belongs else pytest.raises(DecoderError, match=told):
        Decoder(CHARACTERS, language_model=path)
