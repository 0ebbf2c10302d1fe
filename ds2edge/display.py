"""Inverse text normalisation: what the recogniser spells, as a reader expects it written::

    display("on january third i paid twenty five dollars")
    # "On January 3 I paid $25"

Inverse text normalisation is what speech recognition calls this (normalisation is what text
undergoes before it trains a model, see `ds2edge.text`). It is a small, fixed grammar; what it
is unsure of stays in words:

- A run of number words is written in figures only if the whole run is one number, ordinal,
  year, time or string of digits.
- zero to nine, first to ninth, "a hundred" and two digits one after the other stay, unless a
  unit, a date or a time of day shows what they are.
- Dates keep the order in which they are spoken: "January 3, 1980" (without the "the" before
  the day), "the 3rd of May 1980".
- "twenty second" is an ordinal only next to a month. Pounds are money only with pence.
- Capital letters: the first word, "I", weekdays, months, Mr, Mrs, Dr. "may" and "march" are
  months only next to a day or year or after words like "in" and "of".
- No punctuation but what these formats have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ds2edge import numbers
from ds2edge.numbers import is_large, run_end, word_at
from ds2edge.writing import is_unspaced

Reading: TypeAlias = tuple[str, int]  # what is written, and where the words it stands for end

_MONTH_WORDS = (
    "january february march april may june july august september october november december"
)
_MONTHS = frozenset(_MONTH_WORDS.split())
_VERBS = frozenset(["march", "may"])  # that are months, too
_WEEKDAYS = frozenset(
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
)
_TITLES = frozenset(["mr", "mrs", "dr"])

# Words that make sure of the kind of what follows them.
_BEFORE_MONTH = frozenset(["in", "of", "since", "until", "during", "early", "late"])
_BEFORE_DAY = _WEEKDAYS | {"on", "by", "since", "until", "from", "before", "after"}
_BEFORE_YEAR = _MONTHS | {"in", "year"}
_BEFORE_LATE_YEAR = _BEFORE_MONTH | _BEFORE_DAY | {"about", "around", "till"}
_BEFORE_DECADE = frozenset(["the", "early", "late", "mid"])
_DURATIONS = frozenset(["seconds", "minutes", "hours", "days", "weeks", "months", "years"])

_HALVES_OF_DAY = {("a", "m"): "a.m.", ("p", "m"): "p.m.", ("am",): "a.m.", ("pm",): "p.m."}
_SIGNS = {"dollars": "$", "euros": "\u20ac", "pounds": "\u00a3"}
_PLURALS = {"dollar": "dollars", "euro": "euros", "pound": "pounds"}
_CENTS = {
    "dollars": ("cent", "cents"),
    "euros": ("cent", "cents"),
    "pounds": ("penny", "pence"),
}


def display(text: str, language: str = "en") -> str:
    """Recognised text with figures and capital letters, single spaces between words.

    Text in a language that has no grammar in `GRAMMARS` is returned as it is. Never raises; takes
    time in proportion to the text.
    """
    grammar = GRAMMARS.get(language)
    return grammar(text) if grammar else text


def _english(text: str) -> str:
    words = text.split()
    if any(map(is_unspaced, text)):  # Latin words in Chinese, say, have no capital to begin with
        return " ".join(words)
    said = [word.lower() for word in words]
    shown: list[str] = []
    at = 0
    while at < len(words):
        end = run_end(said, at)
        reading = _read(said, at, end) if end > at else _date(said, at)
        if reading:
            written, at = reading
            shown.append(written)
        elif end > at:
            shown += words[at:end]
            at = end
        else:
            shown.append(_with_capital(words[at], said, at))
            at += 1
    return " ".join([*map(_capital, shown[:1]), *shown[1:]])


# ---- What a run stands for


def _read(said: list[str], at: int, end: int) -> Reading | None:
    """The reading of a run with the units after it; None if it stays in words."""
    run = said[at:end]
    if numbers.share_scale(said, at, end):
        return None
    if run.count("and") == 1 and (word_at(said, at - 1) == "between" or _is_two(run)):
        return _number(said, at, at + run.index("and"))
    for read in (_percent, _money, _time_of_day, _decade, _ordinal, _number):
        reading = read(said, at, end)
        if reading:
            return reading
    return None


def _is_two(run: list[str]) -> bool:
    """Whether the "and" in a run is between two numbers: "one hundred and two hundred"."""
    return run[-1] not in numbers.ORDINALS and "point" not in run and numbers.cardinal(run) is None


def _amount(said: list[str], at: int, end: int) -> str | None:
    """The figures of a cardinal or decimal."""
    run = said[at:end]
    if "point" in run:
        at_one_point = run[:2] == ["one", "point"] and word_at(said, at - 1) == "at"
        return None if at_one_point else numbers.decimal(run)
    value = numbers.cardinal(run)
    return None if value is None else numbers.grouped(value)


def _percent(said: list[str], at: int, end: int) -> Reading | None:
    amount = _amount(said, at, end)
    if amount and word_at(said, end) == "percent":
        return f"{amount}%", end + 1
    if amount and said[end : end + 2] == ["per", "cent"]:
        return f"{amount}%", end + 2
    return None


def _money(said: list[str], at: int, end: int) -> Reading | None:
    """Such as "twenty five dollars", "three pounds and fifty pence", "a million euros"."""
    amount, unit = _amount(said, at, end), word_at(said, end)
    if amount == "1":
        unit = _PLURALS.get(unit, unit)
    if not amount or unit not in _SIGNS:
        return None
    cents_at = end + 2 if word_at(said, end + 1) == "and" else end + 1
    cents_end = run_end(said, cents_at)
    cents = numbers.cardinal(said[cents_at:cents_end]) or 0
    if 1 <= cents <= 99 and "." not in amount:
        written = f"{_SIGNS[unit]}{amount}.{cents:02}"
        if word_at(said, cents_end) in _CENTS[unit]:
            return written, cents_end + 1
        if cents > 9 and cents_at == end + 1 and cents_end == len(said):  # "three pounds fifty"
            return written, cents_end
    return None if unit == "pounds" else (_SIGNS[unit] + amount, end + 1)


def _time_of_day(said: list[str], at: int, end: int) -> Reading | None:
    """Such as "nine thirty a m", "five pm", "ten o'clock"."""
    time = numbers.clock(said[at:end])
    if time is None:
        return None
    if word_at(said, end) == "o'clock":
        if end > at + 1 or word_at(said, at - 1) == "past":  # "half past three o'clock"
            return None
        return f"{time} o'clock", end + 1
    for length in (1, 2):
        half = _HALVES_OF_DAY.get(tuple(said[end : end + length]))
        question = said[end : end + 2] == ["am", "i"] and word_at(said, at - 1) != "at"
        if half and not question:  # "which one am i"
            return f"{time} {half}", end + length
    return None


def _decade(said: list[str], at: int, end: int) -> Reading | None:
    """Such as "the nineteen eighties"."""
    century = numbers.BELOW_HUNDRED.get(said[at], 0)
    decade = numbers.DECADES.get(word_at(said, end))
    if end > at + 1 or decade is None or not 13 <= century <= 20:
        return None
    if century not in (18, 19) and word_at(said, at - 1) not in _BEFORE_DECADE:
        return None
    return f"{century}{decade:02}s", end + 1


def _ordinal(said: list[str], at: int, end: int) -> Reading | None:
    value = numbers.ordinal(said[at:end])
    if value is None:
        return None
    if word_at(said, end) == "of" and word_at(said, end + 1) in _MONTHS and value <= 31:
        return numbers.with_ending(value), end
    before, after = word_at(said, at - 1), word_at(said, end)
    fraction = before == "a" and after == "of"  # "a tenth of"
    if is_large(numbers.ORDINALS[said[end - 1]]):  # "one hundredth of", "one hundredth part"
        fraction = after == "of" or (said[at] == "one" and before != "the" and end == at + 2)
    if value < 10 or fraction or said[end - 1] == "second":
        return None
    return numbers.with_ending(value), end


def _number(said: list[str], at: int, end: int) -> Reading | None:
    """A run without a unit."""
    run = said[at:end]
    if (end == at + 1 and run[0] in numbers.UNITS) or (end == at + 2 and run[0] == "a"):
        return None
    if numbers.are_on_clock(said, at, end):
        return None
    year = numbers.year(run, _is_surely_year(said, at, end))
    figures = str(year) if year else numbers.digit_string(run) or _amount(said, at, end)
    return (figures, end) if figures else None


def _is_surely_year(said: list[str], at: int, end: int) -> bool:
    before = word_at(said, at - 1)
    if word_at(said, end) in _DURATIONS:  # "in twenty thirty minutes"
        return False
    late = numbers.BELOW_HUNDRED.get(said[at], 0) > 12  # "by eleven thirty" is a time
    return before in _BEFORE_YEAR or (late and before in _BEFORE_LATE_YEAR)


# ---- Dates


def _date(said: list[str], at: int) -> Reading | None:
    """A month with its day and year: "january third", "january the third nineteen eighty"."""
    month, before = said[at], word_at(said, at - 1)
    if month not in _MONTHS:
        return None
    the = word_at(said, at + 1) == "the"
    day_at = at + 2 if the else at + 1
    end = run_end(said, day_at)
    if not the and (day_and_year := _day_and_year(said[day_at:end])):
        return f"{month.capitalize()} {day_and_year}", end
    day = numbers.ordinal(said[day_at:end])
    if day is None or day > 31 or word_at(said, end) == "of":
        return None
    year_end = run_end(said, end)
    year = _year_of_date(said[end:year_end])
    if year:
        return f"{month.capitalize()} {day}, {year}", year_end
    if before not in _BEFORE_DAY:
        if the and end < len(said):  # "in january the third team"
            return None
        if month in _VERBS and day < 10 and not the:  # "i may first"
            return None
        if before == "in":  # "in january first"
            return None
    return f"{month.capitalize()} {day}", end


def _day_and_year(run: list[str]) -> str | None:
    """The figures of "sixteen nineteen oh eight", if the run is not a year by itself."""
    for length in (1, 2):
        day, year = numbers.cardinal(run[:length]), _year_of_date(run[length:])
        if day and year and day <= 31 and not _year_of_date(run):
            return f"{day}, {year}"
    return None


def _year_of_date(run: list[str]) -> int | None:
    """The year that a run after a month or day is; "two thousand" may be another number."""
    if not run:
        return None
    value = numbers.cardinal(run)
    if value and (1800 <= value < 2000 or 2000 < value < 2100):
        return value
    return numbers.year(run, sure=True)


# ---- Capital letters


def _with_capital(word: str, said: list[str], at: int) -> str:
    """A word that is not a number, with a capital if it has one wherever it stands."""
    key = said[at].removesuffix("'s")
    if key == "i" or key.startswith("i'") or key in _TITLES:
        return _capital(word)
    if key.removesuffix("s") in _WEEKDAYS:
        return _capital(word)
    if key in _MONTHS and (key not in _VERBS or _is_month(said, at)):
        return _capital(word)
    return word


def _is_month(said: list[str], at: int) -> bool:
    """Whether "may" or "march" is a month where it stands."""
    if word_at(said, at - 1) in _BEFORE_MONTH:
        return True
    return _year_of_date(said[at + 1 : run_end(said, at + 1)]) is not None


def _capital(word: str) -> str:
    """`word` with a capital first letter, where only the case tells the two apart."""
    upper = word[:1].upper()
    return upper + word[1:] if upper.lower() == word[:1] else word


GRAMMARS: dict[str, Callable[[str], str]] = {"en": _english}
