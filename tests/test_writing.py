"""Where spaces stand, what error rates count, how wide text is; letters and characters to words."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2edge.errors import MissingExtraError
from ds2edge.results import Alternative, Final, Transcript, Word, join_letters, join_words
from ds2edge.segmentation import Cut, load_jieba, segmented, to_words
from ds2edge.subtitles import cues
from ds2edge.training.evaluation.metrics import (
    Piece,
    align,
    character_error_rate,
    word_error_rate,
)
from ds2edge.writing import cells, join, units


def spoken(text: str, start: float = 0.0, each: float = 0.25, confidence: float = 0.5) -> Final:
    """A segment of one character after the other."""
    words = tuple(
        Word(c, start + i * each, start + (i + 1) * each, confidence) for i, c in enumerate(text)
    )
    return Final(0, words, start, start + each * len(text))


def texts(words: tuple[Word, ...]) -> list[str]:
    return [word.text for word in words]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["open", "the", "door"], "open the door"),
        (["打", "开", "门"], "打开门"),
        (["看", "cnn", "的", "人"], "看cnn的人"),
        (["это", "да"], "это да"),
        (["한국", "사람"], "한국 사람"),  # Korean writes spaces
        (["ありがとう", "ございます"], "ありがとうございます"),
        (["สวัสดี", "ครับ"], "สวัสดีครับ"),
        ([], ""),
    ],
)
def test_spaces_stand_where_the_script_writes_them(words: list[str], wanted: str) -> None:
    assert join(words) == wanted


@given(st.text("ab é今天ก\u0301 "))
def test_units_are_all_of_the_text(text: str) -> None:
    assert "".join(units(text)) == "".join(text.split())


def test_the_mixed_error_rate_counts_characters_and_latin_words() -> None:
    wanted, said = ["用google搜索", "打开 wi fi"], ["用goggle搜", "打开 wi fi"]
    mixed = word_error_rate(wanted, said)
    assert (mixed.errors, mixed.length) == (2, 4 + 4)
    letters = character_error_rate(wanted, said)
    assert (letters.errors, letters.length) == (2, 9 + 8)
    assert align(wanted[0], said[0]) == [
        Piece("用", "用"),
        Piece("google", "goggle"),
        Piece("搜", "搜"),
        Piece("索", ""),
    ]


def test_english_word_errors_are_as_they_were() -> None:
    assert word_error_rate(["the cat sat"], ["the cad sat"]).rate == 1 / 3


def test_columns() -> None:
    assert [cells(text) for text in ("abc", "今天", "e\u0301", "", "一a")] == [3, 4, 1, 0, 3]
    assert cells("\u0e17\u0e35\u0e48") == 1  # Thai: a vowel and a tone above a consonant


def test_letters_become_words() -> None:
    words = spoken("看cnn的a").words
    joined = join_letters(words)
    assert texts(joined) == ["看", "cnn", "的", "a"]
    assert (joined[1].start, joined[1].end, joined[1].confidence) == (0.25, 1.0, 0.5)
    assert join_words(joined) == "看cnn的a"


@given(st.text("ab今天", max_size=12), st.text("ab今天", max_size=4))
def test_letters_that_may_go_on_are_not_a_word_yet(begun: str, more: str) -> None:
    stable = join_letters(spoken(begun).words, more=True)
    assert join_letters(spoken(begun + more).words)[: len(stable)] == stable


def test_letters_after_a_pause_are_another_word() -> None:
    words = (*spoken("ok").words, *spoken("tv", start=0.9).words)
    assert texts(join_letters(words)) == ["oktv"]
    words = (*spoken("ok").words, *spoken("tv", start=1.2).words)
    assert texts(join_letters(words)) == ["ok", "tv"]


def test_unknown_words_are_no_letters() -> None:
    words = (*spoken("a").words, Word("<unk>", 1.0, 2.0, 0.1), *spoken("b").words)
    assert texts(join_letters(words)) == ["a", "<unk>", "b"]


def in_words(segment: Final, cut: Cut) -> Final:
    return replace(segment, words=to_words(segment.words, cut))


def by_two(text: str) -> list[str]:
    return [text[i : i + 2] for i in range(0, len(text), 2)]


def test_characters_become_words() -> None:
    made = in_words(spoken("今天天气", confidence=0.25), by_two)
    assert texts(made.words) == ["今天", "天气"]
    assert made.words[1] == Word("天气", 0.5, 1.0, pytest.approx(0.25))
    assert made.text == "今天天气"


def test_other_readings_are_of_words_too() -> None:
    other = Alternative(spoken("今天田七").words, -1.0)
    heard = replace(spoken("今天天气"), alternatives=(other,))
    (segment,) = segmented(Transcript((heard,), 1.0), by_two).segments
    assert [texts(one.words) for one in segment.alternatives] == [["今天", "田七"]]


def test_no_word_goes_over_a_pause_or_into_another_script() -> None:
    segment = spoken("今天cnn来")
    apart = (*spoken("今").words, *spoken("天来", start=0.6).words)
    assert texts(in_words(Final(0, join_letters(segment.words), 0, 2), by_two).words) == [
        "今天",
        "cnn",
        "来",
    ]
    assert texts(in_words(Final(0, apart, 0, 2), by_two).words) == ["今", "天来"]


@given(st.text("ab今天气好 ", max_size=20), st.integers(1, 4))
def test_segmentation_keeps_the_text(text: str, size: int) -> None:
    segment = Final(0, join_letters(spoken(text.replace(" ", "")).words), 0.0, 9.0)
    made = in_words(segment, lambda t: [t[i : i + size] for i in range(0, len(t), size)])
    assert made.text == segment.text
    assert (made.start, made.end) == (segment.start, segment.end)


def test_jieba_knows_words(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]):
    pytest.importorskip("jieba")
    with caplog.at_level(logging.DEBUG):
        made = segmented(Transcript((spoken("我们去北京大学"),), 2.0))
    assert texts(made.words) == ["我们", "去", "北京大学"]
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_without_jieba_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    load_jieba.cache_clear()
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ds2edge\[zh\]'"):
        segmented(Transcript((spoken("今天"),), 1.0))


def test_subtitles_of_characters() -> None:
    text = "今天的天气真的很好我们一起去公园里散步看花吧因为明天就要下雨了"
    (cue, *more) = cues([spoken(text, each=0.2)])
    assert not more
    assert "".join(cue.lines) == text
    assert len(cue.lines) == 2
    assert all(cells(line) <= 42 for line in cue.lines)


@pytest.mark.parametrize(
    "lines",
    [  # lines of the same length would part these characters
        ("我们今天下午一起去看了他买的", "新书店里有意思的书吧好好呢"),
        ("昨天晚上他跟我们大家都住", "在那里最小最旧最破烂旅馆当中"),
    ],
)
def test_characters_stay_with_those_they_belong_to(lines: tuple[str, str]) -> None:
    """的 with what is before it, 在 with what follows."""
    (cue,) = cues([spoken("".join(lines), each=0.2)])
    assert cue.lines == lines


def test_subtitles_break_between_words_not_inside() -> None:
    sentence = "今天 的 天气 真的 很 好 我们 一起 去 公园 里 散步 看花 然后 回家"
    words = sentence.split()
    (cue,) = cues([in_words(spoken("".join(words), each=0.2), lambda _: words)])
    upper, lower = cue.lines
    assert upper + lower == "".join(words)
    assert lower.startswith(tuple(words))
    assert len(upper) in [sum(map(len, words[:i])) for i in range(len(words))]
