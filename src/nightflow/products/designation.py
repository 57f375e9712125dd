"""What a body is called by the Minor Planet Center: numbers, provisional designations, names of our own.

Packed forms: minorplanetcenter.net/iau/info/PackedDes.html.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date

__all__ = ["Designation", "designation"]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LAST_LETTERED = 619_999
_LAST_NUMBER = 15_396_335
_CENTURIES = {18: "I", 19: "J", 20: "K", 21: "L"}
_NUMBER = re.compile(r"\(?(\d{1,8})\)?(?:\s+\D.*)?", re.DOTALL)
_PROVISIONAL = re.compile(r"((1[89]|20|21)\d\d) ?([A-HJ-Y])([A-HJ-Z])(\d{0,3})", re.ASCII)
_SURVEY = re.compile(r"(\d{4}) (P-L|T-[123])", re.ASCII)
_COMET = re.compile(r"([CPDXAI])/((1[89]|20|21)\d\d) ([A-HJ-Y])(\d{1,2})", re.ASCII)
_LABEL = re.compile(r"N(\d{4})(\d\d)(\d\d)-(\d{1,4})", re.ASCII)
_FIRST_EXTENDED = 620
_ORDER_LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
_SHORT = 7
_EPOCH = date(2000, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Designation:
    """How reports name a body.

    Attributes
    ----------
    packed : str
        Columns 1 to 12 of the 80-column format.
    element : {"permID", "provID", "trkSub"}
        Of ADES.
    value : str
        That of the element.
    """

    packed: str
    element: str
    value: str


def designation(name: str) -> Designation:
    """Return how reports name a body.

    A number counts before what follows it: "5945", "(5945)", "(5945) Roachapproach". What is neither a number
    nor a provisional designation gets a name of seven letters and digits that stands for it.

    Parameters
    ----------
    name : str
        Any text.
    """
    text = name.strip()
    number = _NUMBER.fullmatch(text)
    if number and 0 < int(number[1]) <= _LAST_NUMBER and not _is_provisional(text):
        return Designation(
            packed=f"{_packed_number(int(number[1])):<12}", element="permID", value=str(int(number[1]))
        )
    if comet := _COMET.fullmatch(text):
        kind, year, _, half_month, order = comet.groups()
        packed = f"    {kind}{_year(year)}{half_month}{int(order):02d}0"
        return Designation(packed=packed, element="provID", value=text)
    if _is_provisional(text):
        return Designation(packed=f"     {_packed_provisional(text)}", element="provID", value=_spaced(text))
    short = _short(text)
    return Designation(packed=f"     {short:<7}", element="trkSub", value=short)


def _is_provisional(text: str) -> bool:
    return bool(_PROVISIONAL.fullmatch(text) or _SURVEY.fullmatch(text))


def _spaced(text: str) -> str:
    return text if text[4] == " " else f"{text[:4]} {text[4:]}"


def _packed_number(number: int) -> str:
    if number <= _LAST_LETTERED:
        return f"{_DIGITS[number // 10000]}{number % 10000:04d}"
    rest, out = number - _LAST_LETTERED - 1, ""
    for _ in range(4):
        rest, digit = divmod(rest, 62)
        out = _DIGITS[digit] + out
    return f"~{out}"


def _packed_provisional(text: str) -> str:
    if survey := _SURVEY.fullmatch(text):
        return f"{survey[2][0]}{survey[2][2]}S{survey[1]}"
    match = _PROVISIONAL.fullmatch(text)
    assert match is not None
    cycle = int(match[5] or 0)
    if cycle >= _FIRST_EXTENDED:
        return _packed_extended(match, cycle)
    return f"{_year(match[1])}{match[3]}{_DIGITS[cycle // 10]}{cycle % 10}{match[4]}"


def _packed_extended(match: re.Match[str], cycle: int) -> str:
    """Return the form for half-months of more than 15,500 objects: an underscore, the year, base 62."""
    second = _ORDER_LETTERS.index(match[4])
    rest, out = (cycle - _FIRST_EXTENDED) * len(_ORDER_LETTERS) + second, ""
    for _ in range(4):
        rest, digit = divmod(rest, 62)
        out = _DIGITS[digit] + out
    return f"_{_DIGITS[int(match[1]) % 100]}{match[3]}{out}"


def _year(year: str) -> str:
    return f"{_CENTURIES[int(year[:2])]}{year[2:]}"


def _short(text: str) -> str:
    """Return seven letters and digits that no other name here has, or hardly any."""
    if label := _LABEL.fullmatch(text):
        year, month, day, number = (int(one) for one in label.groups())
        days = (date(year, month, day) - _EPOCH).days
        if 0 <= days < 36**3:
            return f"N{_base36(days):0>3}{_base36(number):0>3}"
    plain = re.sub(r"[^A-Za-z0-9]", "", text)
    if 0 < len(plain) <= _SHORT and plain == text:
        return plain
    digest = hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return f"{plain[:3]:x<3}{_base36(int.from_bytes(digest, 'big'))[-4:]}"


def _base36(value: int) -> str:
    out = ""
    while value:
        value, digit = divmod(value, 36)
        out = _DIGITS[digit] + out
    return out or "0"
