"""English number words to values: the tables and grammars of `ds2edge.display`.

`run_end` finds a run of number words. Each of the other grammars reads a whole run, in lower
case, and answers None if the run is anything else, so "one two hundred" has no value rather
than a guessed one.
"""

from __future__ import annotations

_UNITS = "zero one two three four five six seven eight nine"
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_DECADES = "hundreds tens twenties thirties forties fifties sixties seventies eighties nineties"
_ORDINALS = """
    first second third fourth fifth sixth seventh eighth ninth
    tenth eleventh twelfth thirteenth fourteenth fifteenth
    sixteenth seventeenth eighteenth nineteenth
    twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth
    hundredth thousandth millionth billionth trillionth
"""

UNITS = {word: value for value, word in enumerate(_UNITS.split())}
TEENS = {word: value for value, word in enumerate(_TEENS.split(), start=10)}
TENS = {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
BELOW_HUNDRED = {**UNITS, **TEENS, **TENS}
HUNDRED = "hundred"
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
ZEROS = {"oh": 0, "o": 0}  # among digits only
DIGITS = {**UNITS, **ZEROS}
DECADES = {word: 10 * value for value, word in enumerate(_DECADES.split())}  # 00 to 90
_BETWEEN = ("or", "to", "and")  # two numbers
ORDINALS = dict(
    zip(_ORDINALS.split(), [*BELOW_HUNDRED, HUNDRED, *SCALES][1:], strict=True)
)  # "first": "one"


def word_at(said: list[str], at: int) -> str:
    """The word at a place, "" outside the text."""
    return said[at] if 0 <= at < len(said) else ""


def run_end(said: list[str], at: int) -> int:
    """Where the run of number words that begins at a place ends; `at` itself if none does."""
    if not _begins_run(said, at):
        return at
    end = at + 1
    while end < len(said) and said[end - 1] not in ORDINALS and _goes_on(said, end):
        end += 1
    while said[end - 1] in ZEROS or said[end - 1] == "point":
        end -= 1
    return end


def _begins_run(said: list[str], at: int) -> bool:
    word = word_at(said, at)
    if word == "a":  # "a hundred", but not "half a million"
        return is_large(word_at(said, at + 1)) and word_at(said, at - 1) not in ("half", "of")
    return word in BELOW_HUNDRED or word in ORDINALS or is_large(word)


def _goes_on(said: list[str], at: int) -> bool:
    """Whether the word at a place, after a number word, belongs to the same run."""
    word, following = said[at], word_at(said, at + 1)
    if word == "and":
        return is_large(said[at - 1]) and (following in BELOW_HUNDRED or following in ORDINALS)
    if word == "point":
        return following in DIGITS or following in BELOW_HUNDRED
    return word in DIGITS or word in BELOW_HUNDRED or word in ORDINALS or is_large(word)


def is_large(word: str) -> bool:
    return word == HUNDRED or word in SCALES


def cardinal(words: list[str]) -> int | None:
    """The value of "seven", "a hundred and twenty thousand", "fifteen hundred"."""
    if words == ["zero"]:
        return 0
    if words[:1] == ["a"]:
        words = ["one", *words[1:]]
    total, at, smallest = 0, 0, 10**15  # the smallest scale so far
    while at < len(words):
        if total and words[at] == "and":  # "two thousand and five"
            value, at = _below_hundred(words, at + 1)
            return total + value if value and at == len(words) else None
        value, at = _group(words, at)
        if not value or (value > 999 and total):
            return None
        if at == len(words):
            return total + value
        scale = SCALES.get(words[at], smallest)
        if scale >= smallest or value > 999:
            return None
        total, at, smallest = total + value * scale, at + 1, scale
    return total or None


def _group(words: list[str], at: int) -> tuple[int, int]:
    """The number up to 9999 that begins at a place ("two hundred and five"), and its end."""
    value, at = _below_hundred(words, at)
    if not value or words[at : at + 1] != [HUNDRED]:
        return value, at
    begin = at + 2 if words[at + 1 : at + 2] == ["and"] else at + 1
    rest, end = _below_hundred(words, begin)
    return (100 * value + rest, end) if rest else (100 * value, at + 1)


def _below_hundred(words: list[str], at: int) -> tuple[int, int]:
    """The number 1..99 that begins at a place, and its end; 0 if there is none."""
    word = words[at] if at < len(words) else ""
    if word not in TENS:
        return BELOW_HUNDRED.get(word, 0), at + 1
    unit = UNITS.get(words[at + 1], 0) if at + 1 < len(words) else 0
    return TENS[word] + unit, at + 2 if unit else at + 1


def ordinal(words: list[str]) -> int | None:
    """The value of "first", "twenty first", "one hundred and fifth"."""
    if not words or words[-1] not in ORDINALS:
        return None
    return cardinal([*words[:-1], ORDINALS[words[-1]]])


def decimal(words: list[str]) -> str | None:
    """The figures of "three point one four"; of "two point five million" with the last word."""
    if "point" not in words:
        return None
    point = words.index("point")
    whole, digits, scale = cardinal(words[:point]), words[point + 1 :], ""
    if digits and digits[-1] in SCALES:
        scale = " " + digits.pop()
    if whole is None or not digits or not all(word in DIGITS for word in digits):
        return None
    return f"{grouped(whole)}.{_figures(digits)}{scale}"


def digit_string(words: list[str]) -> str | None:
    """The figures of three or more digits said one by one: "nine oh five"."""
    if len(words) < 3 or not all(word in DIGITS for word in words):
        return None
    return _figures(words)


def _figures(words: list[str]) -> str:
    return "".join(str(DIGITS[word]) for word in words)


def clock(words: list[str]) -> str | None:
    """The figures of a time: "nine" 9, "nine thirty" 9:30, "nine oh five" 9:05."""
    hour, minutes = BELOW_HUNDRED.get(words[0], 0), _two_figures(words[1:])
    if not 1 <= hour <= 12:
        return None
    if len(words) == 1:
        return str(hour)
    return f"{hour}:{minutes:02}" if minutes is not None and minutes < 60 else None


def year(words: list[str], sure: bool) -> int | None:
    """The value of a year said in two halves: "nineteen eighty four", "nineteen oh five".

    Unless it is `sure` from what stands around that a year is meant, halves that may be two
    numbers or a time are refused: "twenty twenty", "eighteen fifty", "eleven forty five".
    """
    century, rest = BELOW_HUNDRED.get(words[0], 0), _two_figures(words[1:])
    if rest is None or not 10 <= century <= 20:
        return None
    if century in (19, 20):
        clear = century == 19 or len(words) == 3 or words[1] in TEENS
    else:
        clear = century > 12 and len(words) == 3
    return 100 * century + rest if sure or clear else None


def _two_figures(words: list[str]) -> int | None:
    """1..9 from "oh five", 10..99 from "ten", "thirty", "thirty five"."""
    if len(words) == 2 and words[0] in ZEROS:
        return UNITS.get(words[1]) or None
    value, end = _below_hundred(words, 0)
    return value if value > 9 and end == len(words) else None


def share_scale(said: list[str], at: int, end: int) -> bool:
    """Whether a run is one of the two in "two or three hundred", "ten to twenty thousand".

    Also "eighty odd thousand".
    """
    large = any(map(is_large, said[at:end]))
    if large and word_at(said, at - 1) in _BETWEEN:
        first = at - 2  # of "twenty five or"
        if word_at(said, first) in UNITS and word_at(said, first - 1) in TENS:
            first -= 1
        before = word_at(said, first - 1)
        larger = is_large(before) or (before == "and" and is_large(word_at(said, first - 2)))
        return word_at(said, first) in BELOW_HUNDRED and not larger
    if large or word_at(said, end) not in _BETWEEN:
        return word_at(said, end) == "odd"
    return any(map(is_large, said[end + 1 : run_end(said, end + 1)]))


def are_on_clock(said: list[str], at: int, end: int) -> bool:
    """Both numbers of "ten past eleven" and "twenty to ten", and odds like "fifty to one"."""
    value = cardinal(said[at:end])
    if value is None:
        return False
    before, after = word_at(said, at - 1), word_at(said, end)
    if (after == "past" and value < 30) or (before == "past" and value <= 12):
        return True
    if after == "to" and run_end(said, end + 1) == end + 2:
        hour = BELOW_HUNDRED.get(word_at(said, end + 1), 99)
        return hour < value and (hour == 1 or (hour <= 12 and value < 30))
    if before == "to" and value <= 12:
        last = BELOW_HUNDRED.get(word_at(said, at - 2), 0)
        minutes = last + TENS.get(word_at(said, at - 3), 0)
        return word_at(said, at - 2) == "quarter" or value < minutes < 30
    return False


def grouped(value: int) -> str:
    """Figures, with separators from 10,000 up."""
    return f"{value:,}" if value >= 10_000 else str(value)


def with_ending(value: int) -> str:
    """The figures of an ordinal: 1st, 12th, 23rd."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    teen = value % 100 in (11, 12, 13)
    return grouped(value) + ("th" if teen else endings.get(value % 10, "th"))
