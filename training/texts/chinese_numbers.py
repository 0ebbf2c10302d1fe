"""Arabic numerals of Chinese text as they are said: 2023年3月15日 is 二零二三年三月十五日.

What is written does not always tell how it is said: 10:30 may be a score. What is meant most often
is taken.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ds2edge.training.texts.traditional import HAN

DIGITS = "零一二三四五六七八九"
PHONE = str.maketrans("0123456789", "零幺二三四五六七八九")  # where one and seven would be confused
LARGEST = 16  # digits of a number that has names; longer ones are read digit by digit
_TENS = ("", "十", "百", "千")
_SCALES = ("", "万", "亿", "万亿")
_MONEY = {"¥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_UNITS = {
    "°c": "摄氏度",
    "°": "度",
    "km/h": "公里每小时",
    "km": "公里",
    "kg": "公斤",
    "cm": "厘米",
    "mm": "毫米",
    "ml": "毫升",
    "m": "米",
}
_POWERS = {"²": "平方", "³": "立方"}
# What two of is 两, not 二; but 二年级, 二分之一, 二次方.
_MEASURES = "个位只条张本次名件块辆岁种年天周分秒瓶杯座家届场步斤口句层倍点小米公元毛千万亿"

Said: TypeAlias = Callable[[re.Match[str]], str]
Rule: TypeAlias = tuple[str, Said]
Compiled: TypeAlias = tuple[re.Pattern[str], Said]


def spell_out(text: str) -> str:
    """The text in form NFKC without Arabic numerals, full-width ones or fractions like ½."""
    text = unicodedata.normalize("NFKC", _replaced(_BEFORE_NFKC, text))
    return _replaced(_RULES, text) if re.search(r"[0-9]", text) else text


def cardinal(digits: str) -> str:
    """How many: 10 is 十, 105 一百零五, 20000 两万; digit by digit where there is no name."""
    digits = digits.lstrip("0") or "0"
    if len(digits) > LARGEST:
        return one_by_one(digits)
    if digits == "0":
        return DIGITS[0]
    ends = range(len(digits), 0, -4)
    groups = [digits[max(0, end - 4) : end] for end in ends][::-1]
    parts: list[str] = []
    gap = False  # a zero is said between what is there
    for number, group in enumerate(groups):
        scale = _SCALES[len(groups) - 1 - number]
        if not int(group):
            gap = True
            continue
        if parts and (gap or group.startswith("0")):
            parts.append(DIGITS[0])
        parts.append(_two(_below_ten_thousand(group), scale) + scale)
        gap = False
    said = "".join(parts)
    return said.removeprefix("一") if said.startswith("一十") else said


def one_by_one(digits: str) -> str:
    """Digit by digit, as years: 2023 is 二零二三."""
    return "".join(DIGITS[int(digit)] for digit in digits)


def decimal(number: str) -> str:
    """Such as 3.14, 1,200 or -5."""
    sign = "负" if number.startswith("-") else ""
    whole, _, rest = number.lstrip("-").replace(",", "").partition(".")
    return sign + cardinal(whole) + (f"点{one_by_one(rest)}" if rest else "")


def _below_ten_thousand(group: str) -> str:
    parts: list[str] = []
    for place, digit in enumerate(group.lstrip("0")):
        power = len(group.lstrip("0")) - 1 - place
        if digit != "0":
            parts.append(_two(DIGITS[int(digit)], _TENS[power]) + _TENS[power])
        elif parts and parts[-1] != DIGITS[0]:
            parts.append(DIGITS[0])
    return "".join(parts).rstrip(DIGITS[0])


def _two(said: str, scale: str) -> str:
    """两千, 两万, but 二百 and 二十."""
    return "两" if said == "二" and scale in ("千", *_SCALES[1:]) else said


def _replaced(rules: Sequence[Compiled], text: str) -> str:
    for pattern, said in rules:
        text = pattern.sub(said, text)
    return text


def _fraction(found: re.Match[str]) -> str:
    """½ is 1/2, and 3½ three and that."""
    parts = unicodedata.normalize("NFKC", found[2]).replace("\u2044", "/")
    return f"{found[1]}又{parts}" if found[1] else parts


def _powers(found: re.Match[str]) -> str:
    """Of a unit or a number: 5m² is 5平方米, 10² 10的2次方."""
    unit, power = found.groups()
    if unit:
        return _POWERS[power] + _UNITS[unit.lower()]
    return f"的{unicodedata.normalize('NFKC', power)}次方"


def _date(found: re.Match[str]) -> str:
    year, month, day = found.groups()
    return f"{one_by_one(year)}年{cardinal(month)}月{cardinal(day)}日"


def _season(found: re.Match[str]) -> str:
    """Two years: 2022/23 and 2022-23 are said alike."""
    first, second = found.groups()
    return one_by_one(first) + ("到" if len(second) == len(first) else "") + one_by_one(second)


def _time(found: re.Match[str]) -> str:
    hour, minute, second = found.groups()
    said = f"{_two(cardinal(hour), '千')}点"
    if int(minute) or second:
        said += ("零" if minute[0] == "0" and int(minute) else "") + f"{cardinal(minute)}分"
    return said + (f"{cardinal(second)}秒" if second else "")


def _phone(found: re.Match[str]) -> str:
    return re.sub("[- ]", "", found[0]).translate(PHONE)


def _percents(found: re.Match[str]) -> str:
    return f"百分之{decimal(found[1])}到百分之{decimal(found[2])}"


def _ratio(found: re.Match[str]) -> str:
    return "比".join(map(cardinal, found[0].split(":")))


def _money(found: re.Match[str]) -> str:
    sign, least, amount, scale = found.groups()
    said = f"{decimal(least[:-1])}到{decimal(amount)}" if least else _amount(amount)
    return said + scale + _MONEY[sign]


def _measured(found: re.Match[str]) -> str:
    return _amount(found[1]) + _UNITS[found[2].lower()]


def _amount(number: str) -> str:
    """Of something: two is 两."""
    return "两" if number == "2" else decimal(number)


def _compiled(*rules: Rule) -> tuple[Compiled, ...]:
    return tuple((re.compile(pattern, re.IGNORECASE), said) for pattern, said in rules)


_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
# After a character a hyphen parts a name and its number, 歼-20, but before degrees and percents,
# and after what a number follows.
_MINUS = rf"(?<![a-z0-9.%{HAN}])-|(?<=[为是于到至和或])-|(?<![a-z0-9.%])-(?=[\d.]+[°度%‰])"
_SIGNED = rf"(?:{_MINUS})(?:{_NUMBER})|{_NUMBER}"
# 5M is no length.
_UNIT = "|".join("(?-i:m)" if unit == "m" else re.escape(unit) for unit in _UNITS)
_DASH = "[-~\u2010-\u2015\u2212\u301c]"
# What may stand between a number and the dash of a range.
_COUNTED = rf"[{_MEASURES}月日号时级度%]|{_UNIT}|公里|公斤|小时|分钟"
_YEAR = r"(?:1[5-9]|20)\d\d"
# A minus: a space before it and none after it. But years, days and times are never negative.
_APART = rf"\s+-(?=\d)(?!{_YEAR}(?!\d)|\d+[点时月日号年:])"
_SERVICES = r"1(?:10|14|19|20|22|23\d\d|00\d\d)|95\d{3}"  # that are called, digit by digit
_BEFORE_NFKC = _compiled(
    (r"\u3007", lambda _: DIGITS[0]),
    (r"(?<=[0-9])\uff0c(?=[0-9])", lambda _: ", "),  # which parts no thousands
    (r"(\d?)([¼-¾⅐-⅞])", _fraction),
    (r"(?<=\d)(km|cm|mm|m)([²³])", _powers),
    ("(?<=[0-9])()([⁰¹²³⁴-⁹]+)", _powers),
    ("㎡", lambda _: "平方米"),
    ("㎥", lambda _: "立方米"),
)
# In their order: what a rule has spelled out is no numeral for those after it.
_RULES = _compiled(
    ("\u2212(?=\\d)", lambda _: "-"),
    (r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?![\d-])日?", _date),
    (rf"(?<=:\d\d)\s*{_DASH}\s*(?=\d{{1,2}}:\d\d)", lambda _: "到"),
    (r"(?<!\d)1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)", _phone),
    (r"(?<!\d)0\d{2,3}[- ]\d{7,8}(?!\d)", _phone),
    (r"(?<!\d)[48]00[- ]\d{3,4}[- ]\d{3,4}(?!\d)", _phone),
    (rf"(?<=[打拨线话])\s*(?:{_SERVICES})(?![\d{_MEASURES}下])", _phone),
    (r"(?<![\d-])\d+(?:-\d+){2,}(?![\d-])", lambda m: one_by_one(m[0].replace("-", ""))),
    (rf"(?<!\d)({_YEAR})(?:/|{_DASH})(\d\d(?:\d\d)?)(?=\s*(?:赛季|学年))", _season),
    (rf"(\d(?:{_COUNTED})?)(?!{_APART})\s*{_DASH}\s*(?=\d)", lambda m: f"{m[1]}到"),
    (rf"(\d(?:{_COUNTED})?)\s*~\s*(?=-\d)", lambda m: f"{m[1]}到"),
    (r"(?<!\d)(\d{4})\s*[到至]\s*(?=\d{4}年)", lambda m: f"{one_by_one(m[1])}到"),
    (r"(?<!\d)(\d{4})(?=年)", lambda m: one_by_one(m[1])),
    (
        rf"(?<![\d.])({_YEAR})到({_YEAR})(?![\d.,{HAN}])",
        lambda m: f"{one_by_one(m[1])}到{one_by_one(m[2])}",
    ),
    (r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])", _time),
    (r"(?<![\d:])\d+(?::\d+)+(?![\d:])", _ratio),
    (rf"({_NUMBER})%?到({_NUMBER})%", _percents),
    (rf"({_SIGNED})\s*%", lambda m: f"百分之{decimal(m[1])}"),
    (rf"({_SIGNED})\s*‰", lambda m: f"千分之{decimal(m[1])}"),
    (rf"([¥$€£])\s*((?:(?:{_NUMBER})到)?)({_NUMBER})([万亿]*)元?", _money),
    (rf"({_SIGNED})\s*({_UNIT})(?![a-z])", _measured),
    (
        r"(?<![\d/])(?!(?:19|20)\d\d/)(\d+)/(\d+)(?![\d/])",
        lambda m: f"{cardinal(m[2])}分之{cardinal(m[1])}",
    ),
    (r"\d+(?:\.\d+){2,}", lambda m: "点".join(map(cardinal, m[0].split(".")))),
    (r"第(\d+)", lambda m: f"第{cardinal(m[1])}"),
    (rf"(?<![\d.])2(?=(?:到\d+)?[{_MEASURES}])(?!(?:到\d+)?(?:年级|分之|次方))", lambda _: "两"),
    (r"(?<!\d)[05-9][05](?=后)", lambda m: one_by_one(m[0])),  # who was born in those years
    (
        rf"(?<=[A-Za-z])\d+|(?<![\d,.])0\d+(?!\.)|(?!\d+0000(?!\d))\d{{9,}}(?![\d{_MEASURES}人美])",
        lambda m: one_by_one(m[0]),
    ),
    (_SIGNED, lambda m: decimal(m[0])),
)
