"""What a profile may say of amplifiers, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from nightflow.config import describe_validation
from nightflow.instruments.amplifier_settings import LinearitySettings, setting_for
from nightflow.instruments.profile import CameraProfile
from tests.unit.instruments.profiles import profile

ONE = {"name": "A", "data": "[1:10,1:20]", "chip": "[1:10,1:20]"}


def fault(**detector: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        profile(detector=detector)
    return describe_validation(caught.value, CameraProfile)


def test_an_unknown_key_of_an_amplifier_names_its_neighbour() -> None:
    message = fault(amplifiers=[ONE | {"overscann": "[1:2,1:3]"}])
    assert "unknown key" in message
    assert "did you mean overscan?" in message
    assert "header" not in message


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        ({"amplifiers": "headers"}, "Input should be 'header'"),
        ({"amplifiers": [ONE, ONE]}, "two amplifiers of one chip have the same name"),
        ({"amplifiers": [ONE | {"hdu": 2}]}, "counts the HDUs of a chip from 1 without a gap"),
        ({"amplifiers": [ONE | {"data": "1:10"}]}, "not a FITS section"),
        ({"amplifiers": [ONE | {"corner": "left"}]}, "lower_left"),
        ({"crosstalk": {"all": [[0, 1e-3]]}}, "a row for each amplifier"),
        ({"crosstalk": {"all": [[1e-3, 0], [0, 0]]}}, "0 on the diagonal"),
        ({"crosstalk": {"all": [[0, 0.5], [0, 0]]}}, "0.1 or more"),
        ({"linearity": {"all": {}}}, "give either polynomial"),
        ({"linearity": {"all": {"polynomial": [1.0]}}}, "needs maximum"),
        ({"linearity": {"all": {"polynomial": [1, -1e-4], "maximum": 6e4}}}, "does not grow"),
        ({"linearity": {"all": {"table": [[0, 0]]}}}, "two rows or more"),
        ({"linearity": {"all": {"table": [[0, 0], [10, 12], [20, 12]]}}}, "must grow"),
        (
            {"linearity": {"all": {"table": [[0, 0], [1, 1]], "polynomial": [1.0], "maximum": 5}}},
            "give either",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(detector: dict[str, Any], words: str) -> None:
    assert words in fault(**detector)


def test_the_same_name_on_two_chips_is_fine() -> None:
    tables = [ONE | {"detector": chip} for chip in ("CCD1", "CCD2")]
    assert len(profile(detector={"amplifiers": tables}).detector.amplifiers) == 2


def test_the_closest_setting_wins() -> None:
    settings = {"all": 1, "CCD1": 2, "A": 3, "CCD1 A": 4}
    assert setting_for(settings, "CCD1", "A") == 4
    assert setting_for(settings, "CCD2", "A") == 3
    assert setting_for(settings, "CCD1", "B") == 2
    assert setting_for(settings, "CCD2", "B") == 1
    assert setting_for({}, "CCD2", "B") is None


def test_a_curve_is_a_polynomial_or_a_table() -> None:
    assert LinearitySettings(polynomial=[1.0, 2e-7], maximum=6e4).table == []
    assert LinearitySettings(table=[(0, 0), (10, 10.5)]).polynomial == []
