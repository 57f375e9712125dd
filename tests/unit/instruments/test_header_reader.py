"""Reading headers by the rules of a profile."""

from __future__ import annotations

from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from nightflow.instruments.header_reader import HeaderReader, card_value, matches, quoted
from tests.unit.instruments.profiles import profile, reader


def test_the_first_keyword_that_says_something_wins() -> None:
    keywords = {"filter": ["FILTNAME", "FILTER"]}
    assert reader({"FILTNAME": "V", "FILTER": "R"}, keywords).text("filter") == "V"
    assert reader({"FILTNAME": "  ", "FILTER": "R"}, keywords).text("filter") == "R"
    assert reader({"FILTER": "unknown"}, keywords).text("filter") == ""
    assert reader({}, keywords).text("object") == ""


def test_a_value_is_the_answer_where_no_keyword_is() -> None:
    keywords = {"gain": {"keys": ["GAIN"], "value": 2.5}}
    assert reader({"GAIN": "1.5"}, keywords).number("gain") == 1.5
    assert reader({}, keywords).number("gain") == 2.5
    fixed = {"gain": {"keys": ["GAIN"], "value": 2.5, "fixed": True}}
    assert reader({"GAIN": 1.5}, fixed).number("gain") == 2.5


def test_what_cannot_be_read_is_discarded_aloud_and_the_next_tried() -> None:
    one = reader({"RA": 654.476, "OBJCTRA": 324.6}, {"ra": ["RA", "OBJCTRA"]})
    assert one.number("ra", within=(0.0, 360.0)) == 324.6
    assert one.warnings == ["ra: RA = '654.476' discarded: outside 0 to 360"]
    two = reader({"EXPTIME": "long"}, {"exptime": "EXPTIME"})
    assert two.number("exptime") is None
    assert two.warnings == ["exptime: EXPTIME = 'long' discarded: not a number that can be read"]


def test_the_range_of_a_rule_wins() -> None:
    keywords = {"gain": {"keys": ["GAIN"], "range": [0.1, 20.0]}}
    assert reader({"GAIN": 120}, keywords).number("gain", within=(0.0, 500.0)) is None


def test_fallbacks_and_conditions() -> None:
    keywords = {
        "longitude": {
            "keys": ["SITELONG"],
            "sense": "west",
            "when": {"SWCREATE": "^thesky"},
            "fallback": ["SITELONG", "LONG-OBS"],
        }
    }
    found = next(reader({"SITELONG": 71.5, "SWCREATE": "TheSkyX 10"}, keywords).candidates("longitude"))
    assert found.rule.sense == "west"
    found = next(reader({"SITELONG": -71.5, "SWCREATE": "MaxIm"}, keywords).candidates("longitude"))
    assert found.rule.sense == ""
    assert reader({"LONG-OBS": -71.5}, keywords).number("longitude") == -71.5


def test_a_guess_is_said() -> None:
    one = reader({"JD": 2450000.5}, {"date_obs": {"keys": ["JD"], "guess": "taken as the start"}})
    assert one.number("date_obs") == 2450000.5
    assert one.warnings == ["JD = '2450000.5': taken as the start"]


def test_the_primary_header_stands_behind() -> None:
    chip, primary = fits.Header({"GAIN": 2.0}), fits.Header({"GAIN": 1.0, "OBJECT": "M 67"})
    one = HeaderReader(chip, profile(keywords={"gain": "GAIN", "object": "OBJECT"}), primary)
    assert (one.number("gain"), one.text("object")) == (2.0, "M 67")


def test_looked_for_names_every_keyword_and_what_it_holds() -> None:
    keywords = {"exptime": {"keys": ["EXPTIME", "EXPOSURE"], "fallback": ["ITIME"]}}
    one = reader({"EXPOSURE": "long"}, keywords)
    assert one.looked_for("exptime") == "EXPTIME is absent, EXPOSURE = 'long', ITIME is absent"
    assert one.looked_for("gain") == "the profile maps no keyword to it"


def test_values_that_fits_does_not_allow() -> None:
    text = "RA      = 12:34:56.7 / hours".ljust(80) + "DEC     = +10:00".ljust(80) + "END".ljust(80)
    broken = fits.Header.fromstring(text)
    assert card_value(broken, "RA") == "12:34:56.7"
    assert card_value(broken, "DEC") == "+10:00"
    assert card_value(broken, "OBJECT") is None


def test_expressions() -> None:
    assert matches("^nickel", "Nickel Direct Camera")
    assert matches(".", 3)
    assert not matches(".*", None)


@given(st.text())
def test_a_quoted_value_is_short_and_printable(text: str) -> None:
    result = quoted(text)
    assert result.isprintable()
    assert len(result) < 100
