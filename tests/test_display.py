"""Inverse text normalisation: what is written in figures, and above all what is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2edge import numbers
from ds2edge.display import display

PLAIN = ["cat", "no", "there", "to", "too", "for", "was", "s\u00e9ance", "john's", "'tis", "won"]
NUMBERS = [
    *numbers.BELOW_HUNDRED,
    *numbers.SCALES,
    *numbers.ORDINALS,
    *numbers.DECADES,
    *("hundred", "and", "point", "oh", "a", "m", "p", "am", "pm", "o'clock", "percent", "per"),
    *("cent", "cents", "dollars", "dollar", "pounds", "pence", "the", "of", "in", "on", "between"),
    *("january", "may", "march", "past", "quarter", "half", "second", "i"),
]
CASES = [
    # cardinals
    ("twenty three", "23"),
    ("we saw ten of them", "We saw 10 of them"),
    ("two thousand and five", "2005"),
    ("nine thousand nine hundred ninety nine", "9999"),
    ("ten thousand", "10,000"),
    ("one hundred and twenty thousand", "120,000"),
    ("two hundred and fifty million and one", "250,000,001"),
    ("fifteen hundred and six", "1506"),
    ("a hundred and one dalmatians", "101 dalmatians"),
    ("a hundred thousand people", "100,000 people"),
    ("between ten and twenty", "Between 10 and 20"),
    ("between one hundred and two thousand", "Between 100 and 2000"),
    ("one hundred and two hundred", "100 and 200"),
    ("twenty five cats and thirty dogs", "25 cats and 30 dogs"),
    # ordinals
    ("the twenty first century", "The 21st century"),
    ("his eleventh hour", "His 11th hour"),
    ("the one hundred and third psalm", "The 103rd psalm"),
    ("a thousandth time", "A thousandth time"),
    ("the one thousandth time", "The 1000th time"),
    ("one hundred and five and two hundred", "105 and 200"),
    ("to one hundred five or two hundred fifty", "To 105 or 250"),
    # decimals
    ("pi is three point one four", "Pi is 3.14"),
    ("zero point oh five", "0.05"),
    ("twelve point five million people", "12.5 million people"),
    # digits
    ("one two three four", "1234"),
    ("room five oh two", "Room 502"),
    ("agent zero zero seven", "Agent 007"),
    ("dial nine one one now", "Dial 911 now"),
    ("one two three oh no", "123 oh no"),
    # years
    ("nineteen eighty four", "1984"),
    ("in twenty twenty six", "In 2026"),
    ("in twenty twenty", "In 2020"),
    ("nineteen oh five", "1905"),
    ("in ten sixty six", "In 1066"),
    ("in eighteen fifty", "In 1850"),
    ("nineteen hundred", "1900"),
    ("in the nineteen eighties", "In the 1980s"),
    ("the eighteen hundreds", "The 1800s"),
    ("nineteen o six", "1906"),
    ("about eighteen forty", "About 1840"),
    # times
    ("nine thirty a m", "9:30 a.m."),
    ("at nine oh five pm", "At 9:05 p.m."),
    ("ten o'clock", "10 o'clock"),
    ("nine o'clock", "9 o'clock"),
    ("five p m", "5 p.m."),
    ("at ten am i left", "At 10 a.m. I left"),
    # dates
    ("january the third nineteen eighty", "January 3, 1980"),
    ("born on june second two thousand and one", "Born on June 2, 2001"),
    ("on may first we met", "On May 1 we met"),
    ("december thirty first", "December 31"),
    ("the third of may", "The 3rd of May"),
    ("the twenty second of march nineteen eighty", "The 22nd of March 1980"),
    ("may twenty twenty six", "May 2026"),
    ("monday january the third was cold", "Monday January 3 was cold"),
    ("on january the third we left", "On January 3 we left"),
    ("monday march sixteen nineteen oh eight", "Monday March 16, 1908"),
    ("june twenty one two thousand and six", "June 21, 2006"),
    ("on the fourteenth june", "On the 14th June"),
    # percent and money
    ("five percent", "5%"),
    ("two point five per cent", "2.5%"),
    ("a hundred percent", "100%"),
    ("twenty five dollars", "$25"),
    ("one dollar", "$1"),
    ("five dollars and twenty cents", "$5.20"),
    ("a million dollars", "$1,000,000"),
    ("two point five million dollars", "$2.5 million"),
    ("three pounds and fifty pence", "\u00a33.50"),
    ("that is three pounds fifty", "That is \u00a33.50"),
    ("twelve euros", "\u20ac12"),
    # capital letters
    ("i think i'm late and i'll run", "I think I'm late and I'll run"),
    ("see mr smith and dr jones on monday", "See Mr smith and Dr jones on Monday"),
    ("april's showers on sundays", "April's showers on Sundays"),
    ("in march we march", "In March we march"),
]
TRAPS = [
    "no one was there",
    "one of us",
    "for a second",
    "wait a second or two",
    "a hundred to one",
    "twenty to one",
    "five people",
    "zero",
    "the first and the third",
    "half past nine",
    "half past ten",
    "ten past eleven",
    "quarter to twelve",
    "twenty five to nine",
    "nine thirty",
    "by eleven thirty",
    "ten fifteen minutes",
    "in twenty thirty minutes",
    "twenty twenty vision",
    "ten nine eight",
    "one two",
    "one two hundred",
    "a hundred",
    "several hundred and fifty",
    "two or three hundred",
    "ten to twenty thousand dollars",
    "between two and three hundred",
    "eighty odd thousand",
    "half past three o'clock",
    "a fifteenth of it",
    "half a million dollars",
    "a thirty second delay",
    "one hundredth of a second",
    "that one hundredth part",
    "one third",
    "two and a half",
    "at one point five people left",
    "at this point one may ask",
    "oh one more thing",
    "five double oh seven",
    "it may rain",
    "they march on",
    "they may first march",
    "may the first man speak",
    "which one am i",
    "five dollar bill",
    "to be or not to be",
    "too much for two",
    "the second one",
]


@pytest.mark.parametrize(("said", "wanted"), CASES)
def test_display(said: str, wanted: str) -> None:
    assert display(said) == wanted
    assert display(wanted) == wanted


@pytest.mark.parametrize("said", TRAPS)
def test_what_is_unsure_stays(said: str) -> None:
    wanted = (said[0].upper() + said[1:]).replace(" i ", " I ")
    assert display(said) == (wanted[:-1] + "I" if wanted.endswith(" i") else wanted)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("i may go", "I may go"),
        ("i march on", "I march on"),
        ("i may second that", "I may second that"),
        ("in january the second team lost", "In January the second team lost"),
    ],
)
def test_months_that_are_none(said: str, wanted: str) -> None:
    assert display(said) == wanted


def test_another_language_is_left_alone() -> None:
    assert display("  twenty  three ", "de") == "  twenty  three "
    assert display("cnn的人 i") == "cnn的人 i"


@given(st.text())
def test_any_text_is_changed_in_case_only(text: str) -> None:
    shown = display(text)
    if not set(text.lower().split()) & set(NUMBERS):
        assert shown.lower() == " ".join(text.split()).lower()
        assert display(shown) == shown


@given(st.lists(st.sampled_from(PLAIN)))
def test_plain_words_are_changed_in_case_only(words: list[str]) -> None:
    shown = display(" ".join(words))
    assert shown.lower() == " ".join(words)
    assert shown[1:] == " ".join(words)[1:]
    assert display(shown) == shown


@given(st.lists(st.sampled_from([*NUMBERS, *PLAIN])))
def test_other_words_are_kept_in_order(words: list[str]) -> None:
    shown = display(" ".join(words)).lower().split()
    assert [w for w in shown if w in PLAIN] == [w for w in words if w in PLAIN]


@given(st.lists(st.sampled_from(NUMBERS)))
def test_no_number_is_lost(words: list[str]) -> None:
    """Words never vanish without figures in their place."""
    shown = display(" ".join(words)).lower()
    assert any(c.isdigit() for c in shown) or shown.split() == words


@given(st.integers(0, 10**12 - 1), st.booleans())
def test_every_cardinal(value: int, british: bool) -> None:
    wanted = f"{value:,}" if value >= 10_000 else str(value)
    assert display(f"about {spell(value, british)} percent") == f"About {wanted}%"
    if value > 9:
        assert display(f"all {spell(value, british)} cats") == f"All {wanted} cats"


@given(st.integers(1100, 2099), st.booleans())
def test_every_year(value: int, british: bool) -> None:
    century, rest = divmod(value, 100)
    middle = " oh " if rest < 10 else " "
    halves = spell(century, british) + middle + spell(rest, british)
    said = halves if rest and century < 21 else spell(value, british)
    assert display(f"in january {said}") == f"In January {value}"


@given(st.integers(10, 999), st.booleans())
def test_every_ordinal(value: int, british: bool) -> None:
    *words, last = spell(value, british).split()
    made_of = {cardinal: ordinal for ordinal, cardinal in numbers.ORDINALS.items()}
    if last == "two":
        return  # "thirty second" may be a time
    said = " ".join([*words, made_of[last]])
    shown = display(f"the {said} day").split()[1]
    assert shown[:-2] == str(value)
    assert shown[-2:] == {"one": "st", "three": "rd"}.get(last, "th")


@pytest.mark.parametrize(
    "phrase",
    [
        "one ",
        "oh one ",
        "one oh ",
        "hundred and ",
        "hundred and one ",
        "may ",
        "march the first ",
        "five dollars ",
        "a thousand ",
        "one point ",
        "ten to ",
        "between one hundred and ",
        "nineteen ",
        "first of may ",
        "ten or ",
        "march one nineteen ",
    ],
)
def test_time_grows_with_the_text_only(phrase: str) -> None:
    """Twenty thousand words in a row; a grammar that looks back would take minutes."""
    begin = time.perf_counter()
    display("one " + phrase * 20_000)
    assert time.perf_counter() - begin < 5


SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen "
    "fourteen fifteen sixteen seventeen eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def spell(value: int, british: bool) -> str:
    """`value` in words, written down independently of the grammar."""
    if value < 20:
        return SMALL.split()[value]
    if value < 100:
        return TENS.split()[value // 10 - 2] + (
            " " + spell(value % 10, british) if value % 10 else ""
        )
    for size, name in (
        (10**9, "billion"),
        (10**6, "million"),
        (1000, "thousand"),
        (100, "hundred"),
    ):
        if value >= size:
            said, rest = f"{spell(value // size, british)} {name}", value % size
            link = " and " if british and rest < 100 else " "
            return said + link + spell(rest, british) if rest else said
    raise AssertionError(value)
