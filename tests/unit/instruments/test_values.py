"""Header values as cameras write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.instruments.values import (
    MAXIMUM_TEXT,
    parse_angle,
    parse_binning,
    parse_dec,
    parse_exposure,
    parse_number,
    parse_ra,
    parse_section,
    parse_temperature,
    parse_text,
)

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text("0123456789+-.:eE hdms°", max_size=20),
)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        ("3", 3.0),
        (" +62.592 ", 62.592),
        ("-0.0003073728745725", -0.0003073728745725),
        ("1.5D3", 1500.0),
        (".5", 0.5),
        ("2.07 e-/ADU", 2.07),
        ("0.019 mm", 0.019),
        ("", None),
        ("   ", None),
        ("08:18", None),
        ("abc", None),
        (True, None),
        (None, None),
        (math.nan, None),
        (math.inf, None),
        ("1e999", None),
    ],
)
def test_numbers(value: object, number: float | None) -> None:
    assert parse_number(value) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_its_own_text(number: float) -> None:
    assert parse_number(repr(number)) == number


@given(anything)
def test_no_parser_raises_or_returns_what_is_not_finite(value: object) -> None:
    for parse in (parse_number, parse_angle, parse_ra, parse_dec, parse_temperature, parse_exposure):
        result = parse(value)
        assert result is None or math.isfinite(result)
    assert parse_section(value) is None or isinstance(value, str)
    binning = parse_binning(value)
    assert binning is None or min(binning) > 0


@pytest.mark.parametrize(
    ("value", "unit", "celsius"),
    [
        (-19.977, "", -19.977),
        ("11 C", "", 11.0),
        ("44 C", "K", 44.0),
        ("271.0", "K", -2.15),
        ("271.0 K", "", -2.15),
        (-1.0, "K", None),
        ("53.3 F", "", 11.8333),
        ("-40", "F", -40.0),
        ("cold", "", None),
    ],
)
def test_temperatures(value: object, unit: str, celsius: float | None) -> None:
    assert parse_temperature(value, unit) == (None if celsius is None else pytest.approx(celsius, abs=1e-4))


@pytest.mark.parametrize(
    ("value", "unit", "seconds"),
    [
        ("060.00", "", 60.0),
        (1500, "ms", 1.5),
        ("1500 ms", "", 1.5),
        ("2 min", "", 120.0),
        (5, "us", 5e-6),
        ("-3", "", -3.0),
        ("3 parsec", "", None),
        ("", "", None),
    ],
)
def test_exposures(value: object, unit: str, seconds: float | None) -> None:
    assert parse_exposure(value, unit) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("value", "degrees"),
    [
        ("+42 36 36.00", 42.61),
        ("+71 29 06.00", 71.485),
        ("-8:49:28.5", -(8 + 49 / 60 + 28.5 / 3600)),
        ("-0:02:07.03", -(2 / 60 + 7.03 / 3600)),
        ("-00 00 36", -0.01),
        ("+46:46.15", 46.769166667),
        ("12°30'00\"", 12.5),
        ("12d30m00s", 12.5),
        ("25 20", 25.333333333),
        (40.11, 40.11),
        ("40.11", 40.11),
        ("10:61:00", None),
        ("10:00:61", None),
        ("10:59:60.0", 11.0),
        ("ten", None),
    ],
)
def test_angles(value: object, degrees: float | None) -> None:
    assert parse_dec(value) == (None if degrees is None else pytest.approx(degrees, abs=1e-9))


@given(
    st.sampled_from(["", "+", "-"]),
    st.integers(0, 359),
    st.integers(0, 59),
    st.integers(0, 59999),
    st.sampled_from([":", " "]),
)
def test_sexagesimal_against_whole_milliseconds(
    sign: str, whole: int, minutes: int, milliseconds: int, separator: str
) -> None:
    seconds = f"{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    text = sign + separator.join([f"{whole:02d}", f"{minutes:02d}", seconds])
    expected = ((whole * 60 + minutes) * 60_000 + milliseconds) / 3_600_000
    angle = parse_angle(text)
    assert angle == pytest.approx(-expected if sign == "-" else expected, abs=1e-12)
    assert angle is not None
    assert math.copysign(1.0, angle) == (-1.0 if sign == "-" else 1.0)


@pytest.mark.parametrize(
    ("value", "unit", "degrees"),
    [
        ("08:18:29.9", "", 124.6245833333),
        ("21 38 21.9984", "", 324.59166),
        ("31.312099", "", 31.312099),
        (31.312099, "", 31.312099),
        (2.0, "hour", 30.0),
        ("2.0", "hour", 30.0),
        ("02 00 00", "hour", 30.0),
        ("12h30m00s", "", 187.5),
        ("210d30m00s", "", 210.5),
        (654.4759999, "", 654.4759999),
    ],
)
def test_right_ascensions(value: object, unit: str, degrees: float) -> None:
    assert parse_ra(value, unit) == pytest.approx(degrees, abs=1e-9)


def test_section_of_the_overscan() -> None:
    assert parse_section("[1025:1056,1:1024]") == (slice(0, 1024), slice(1024, 1056))
    assert parse_section(" 1388:1432 , 1:1370 ") == (slice(0, 1370), slice(1387, 1432))


@pytest.mark.parametrize(
    "text", ["", "UNKNOWN", "[1:2]", "[0:5,1:2]", "[1:10:2,1:2]", "[a:b,c:d]", "[-1:3,1:2]"]
)
def test_no_section(text: str) -> None:
    assert parse_section(text) is None


@given(*[st.integers(1, 10**6)] * 4)
def test_section_holds_the_pixels_it_names(x1: int, x2: int, y1: int, y2: int) -> None:
    region = parse_section(f"[{x1}:{x2},{y1}:{y2}]")
    assert region is not None
    rows, columns = region
    assert columns.stop - columns.start == abs(x2 - x1) + 1
    assert rows.stop - rows.start == abs(y2 - y1) + 1
    assert columns.start + 1 == min(x1, x2)
    assert rows.stop == max(y1, y2)


@pytest.mark.parametrize(
    ("value", "binning"),
    [
        ("3 3", (3, 3)),
        ("2x1", (2, 1)),
        ("2,2", (2, 2)),
        (2, (2, 2)),
        (2.0, (2, 2)),
        ("2", (2, 2)),
        ("2.0", (2, 2)),
        (-2, (2, 2)),
        ("0 0", None),
        ("", None),
        ("x", None),
        (True, None),
    ],
)
def test_binnings(value: object, binning: tuple[int, int] | None) -> None:
    assert parse_binning(value) == binning


@pytest.mark.parametrize("blank", [None, "", "  ", "N/A", "unknown", "UNDEFINED", math.nan])
def test_blank_texts(blank: object) -> None:
    assert parse_text(blank) == ""


def test_text_is_one_short_printable_line() -> None:
    assert parse_text("a\x00b\r\n c\x1b[31m") == "a b c [31m"
    assert len(parse_text("x" * 10_000)) == MAXIMUM_TEXT


@given(st.text())
def test_text_never_holds_control_characters(text: str) -> None:
    result = parse_text(text)
    assert result.isprintable()
    assert len(result) <= MAXIMUM_TEXT
