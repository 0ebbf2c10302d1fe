"""Arabic numerals of Chinese text as they are said: 2023年3月15日 is 二零二三年三月十五日.

What is written does not always tell how it is said: 10:30 may be a score. What is meant most often
is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

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
# What two of is 两, not 二; but 二年级, 二分之一, 二次方.
_MEASURES = "个位只条张本次名件块辆岁种年天周分秒瓶杯座家届场步斤口句层倍点小米公元毛千万亿"

Rule: TypeAlias = tuple[str, Callable[[re.Match[str]], str]]


def spell_out(text: str) -> str:
    """The text without Arabic numerals; of full-width ones, too, if it is in form NFKC."""
    if not re.search(r"[0-9]", text):
        return text
    for pattern, said in _COMPILED:
        text = pattern.sub(said, text)
    return text


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


def _date(found: re.Match[str]) -> str:
    year, month, day = found.groups()
    return f"{one_by_one(year)}年{cardinal(month)}月{cardinal(day)}日"


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


def _money(found: re.Match[str]) -> str:
    return _amount(found[2]) + found[3] + _MONEY[found[1]]


def _measured(found: re.Match[str]) -> str:
    return _amount(found[1]) + _UNITS[found[2].lower()]


def _amount(number: str) -> str:
    """Of something: two is 两."""
    return "两" if number == "2" else decimal(number)


_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_SIGNED = rf"(?<![a-z0-9.%])-(?:{_NUMBER})|{_NUMBER}"
_UNIT = "|".join(map(re.escape, _UNITS))
# In their order: what a rule has spelled out is no numeral for those after it.
_RULES: tuple[Rule, ...] = (
    (r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?![\d-])日?", _date),
    (r"(?<!\d)(\d{4})\s*[-~到至]\s*(?=\d{4}年)", lambda m: f"{one_by_one(m[1])}到"),
    (r"(?<!\d)(\d{4})(?=年)", lambda m: one_by_one(m[1])),
    (r"(?<=:\d\d)\s*[-~]\s*(?=\d{1,2}:\d\d)", lambda _: "到"),
    (r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])", _time),
    (r"(?<![\d:])(\d+):(\d+)(?![\d:])", lambda m: f"{cardinal(m[1])}比{cardinal(m[2])}"),
    (r"(?<!\d)1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)", _phone),
    (r"(?<!\d)0\d{2,3}-\d{7,8}(?!\d)", _phone),
    (rf"({_NUMBER})%?\s*[-~]\s*({_NUMBER})%", _percents),
    (rf"({_SIGNED})\s*%", lambda m: f"百分之{decimal(m[1])}"),
    (rf"({_SIGNED})\s*‰", lambda m: f"千分之{decimal(m[1])}"),
    (rf"([¥$€£])\s*({_NUMBER})([万亿]*)元?", _money),
    (rf"({_SIGNED})\s*({_UNIT})(?![a-z])", _measured),
    (r"(?<![\d/])(\d{1,3})/(\d{1,3})(?![\d/])", lambda m: f"{cardinal(m[2])}分之{cardinal(m[1])}"),
    (r"\d+(?:\.\d+){2,}", lambda m: "点".join(map(cardinal, m[0].split(".")))),
    (rf"({_NUMBER})\s*[-~]\s*(?=\d)", lambda m: f"{decimal(m[1])}到"),
    (r"第(\d+)", lambda m: f"第{cardinal(m[1])}"),
    (rf"(?<![\d.])2(?=[{_MEASURES}])(?!年级|分之|次方)", lambda _: "两"),
    (r"(?<!\d)[05-9]0(?=后)", lambda m: one_by_one(m[0])),  # who was born in those years
    (r"(?<=[A-Za-z])\d+|(?<![\d,.])0\d+(?!\.)|\d{9,}", lambda m: one_by_one(m[0])),
    (_SIGNED, lambda m: decimal(m[0])),
)
_COMPILED = [(re.compile(pattern, re.IGNORECASE), said) for pattern, said in _RULES]
