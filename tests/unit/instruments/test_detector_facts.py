"""Gain, noise, saturation, regions and binning."""

from __future__ import annotations

from typing import Any

import pytest
from astropy.io import fits

from nightflow.errors import FrameHeld
from nightflow.instruments.detector_facts import (
    binning_of,
    conversion_of,
    region_of,
    saturation_of,
    steps_done,
)
from tests.unit.instruments.profiles import profile, reader

KEYWORDS: dict[str, Any] = {
    "gain": "GAIN",
    "read_noise": "RDNOISE",
    "saturation": "SATURATE",
    "overscan": "BIASSEC",
    "binning": "CCDSUM",
    "binning_x": "XBINNING",
    "binning_y": "YBINNING",
    "calibrated": "CALSTAT",
}


def test_the_profile_wins_over_a_gain_that_is_an_index() -> None:
    conversion = conversion_of(
        reader({"GAIN": 1}, KEYWORDS), profile(detector={"gain": 1.8, "read_noise": 9.5})
    )
    assert (conversion.gain, conversion.read_noise, conversion.gain_known) == (1.8, 9.5, True)


def test_gain_and_noise_of_the_header() -> None:
    conversion = conversion_of(reader({"GAIN": "1.5", "RDNOISE": 8.0}, KEYWORDS), profile())
    assert (conversion.gain, conversion.read_noise, conversion.gain_known) == (1.5, 8.0, True)


@pytest.mark.parametrize("noise", [None, -3, "low"])
def test_an_unknown_read_noise_is_said(noise: object) -> None:
    one = reader({"GAIN": 1.5} | ({} if noise is None else {"RDNOISE": noise}), KEYWORDS)
    conversion = conversion_of(one, profile())
    assert (conversion.read_noise, conversion.read_noise_known) == (0.0, False)
    assert "read noise unknown" in one.warnings[-1]


def test_a_read_noise_of_nothing_is_not_known() -> None:
    """Unless the profile says so: headers hold a 0 where nobody filled it in."""
    one = reader({"GAIN": 1.5, "RDNOISE": 0.0}, KEYWORDS)
    assert not conversion_of(one, profile()).read_noise_known
    assert any("discarded: outside 0.01 to 10000" in warning for warning in one.warnings)
    assert conversion_of(
        reader({"GAIN": 1.5}, KEYWORDS), profile(detector={"read_noise": 0})
    ).read_noise_known


@pytest.mark.parametrize("gain", [None, 0, -1, "high"])
def test_an_unknown_gain_is_said(gain: object) -> None:
    one = reader({} if gain is None else {"GAIN": gain}, KEYWORDS)
    conversion = conversion_of(one, profile())
    assert (conversion.gain, conversion.gain_known) == (1.0, False)
    assert any("gain unknown: 1 electron per ADU assumed" in warning for warning in one.warnings)


@pytest.mark.parametrize(
    ("sense", "value", "subtract"), [("add", -100, 100.0), ("", 100, 100.0), ("add", 0, 0.0)]
)
def test_pedestal_is_what_is_to_be_subtracted(sense: str, value: int, subtract: float) -> None:
    """SBFITSEXT says what to add to each pixel to get back to zero: -100 where 100 were added."""
    keywords = {"pedestal": {"keys": ["PEDESTAL"], "sense": sense}}
    assert conversion_of(reader({"PEDESTAL": value}, keywords), profile()).pedestal == subtract


@pytest.mark.parametrize(
    ("cards", "level"),
    [
        ({"BITPIX": 16, "BZERO": 32768}, 65535.0),
        ({"BITPIX": 16}, 32767.0),
        ({"BITPIX": 8}, 255.0),
        ({"BITPIX": -32}, 65535.0),
        ({"BITPIX": 16, "SATURATE": 46000.0}, 46000.0),
    ],
)
def test_saturation(cards: dict[str, object], level: float) -> None:
    one = reader(cards, KEYWORDS)
    assert saturation_of(one, profile(), fits.Header(cards)) == level
    assert len(one.warnings) == (1 if cards["BITPIX"] == -32 else 0)


def test_saturation_of_the_profile_wins() -> None:
    cards: dict[str, object] = {"BITPIX": 16, "SATURATE": 60000}
    assert (
        saturation_of(reader(cards, KEYWORDS), profile(detector={"saturation": 4095}), fits.Header(cards))
        == 4095
    )


def test_regions() -> None:
    one = reader({"BIASSEC": "[61:70,1:40]"}, KEYWORDS)
    assert region_of(one, "overscan", None, (40, 70)) == (slice(0, 40), slice(60, 70))
    assert region_of(one, "overscan", "[1:5,1:40]", (40, 70)) == (slice(0, 40), slice(0, 5))
    assert region_of(one, "trim", None, (40, 70)) is None


def test_a_region_of_the_header_that_does_not_fit_is_left_out_aloud() -> None:
    one = reader({"BIASSEC": "[1025:1056,1:1024]"}, KEYWORDS)
    assert region_of(one, "overscan", None, (512, 512)) is None
    assert "BIASSEC = '[1025:1056,1:1024]' discarded" in one.warnings[0]


def test_a_region_of_the_profile_that_does_not_fit_holds_the_frame() -> None:
    with pytest.raises(
        FrameHeld, match=r"detector.overscan = \[1025:1056,1:1024\] does not fit 512 x 500 pixels"
    ):
        region_of(reader({}, KEYWORDS), "overscan", "[1025:1056,1:1024]", (500, 512))


@pytest.mark.parametrize(
    ("cards", "binning"),
    [
        ({"CCDSUM": "3 3"}, (3, 3)),
        ({"XBINNING": 2, "YBINNING": "1"}, (2, 1)),
        ({"XBINNING": -2, "YBINNING": -2}, (2, 2)),
        ({}, (1, 1)),
        ({"CCDSUM": "", "XBINNING": 4}, (4, 1)),
        ({"XBINNING": 0}, (1, 1)),
    ],
)
def test_binnings(cards: dict[str, object], binning: tuple[int, int]) -> None:
    assert binning_of(reader(cards, KEYWORDS)) == binning


@pytest.mark.parametrize(
    ("letters", "steps"),
    [
        ("", ()),
        ("B", ("bias",)),
        ("BDF", ("bias", "dark", "flat")),
        ("D", ("bias", "dark")),
        ("F", ("flat",)),
        ("M", ()),
        ("Z", ("bias",)),
        ("bdm", ("bias", "dark")),
        ("B, F", ("bias", "flat")),
    ],
)
def test_steps_that_the_camera_program_has_done(letters: str, steps: tuple[str, ...]) -> None:
    one = reader({"CALSTAT": letters}, KEYWORDS)
    assert steps_done(one) == steps
    assert len(one.warnings) == bool(steps)


@pytest.mark.parametrize("text", ["UNCALIBRATED", "BIAS", "none yet", "BDX", 4, False])
def test_other_text_says_nothing_of_steps(text: object) -> None:
    one = reader({"CALSTAT": text}, KEYWORDS)
    assert steps_done(one) == ()
    assert one.warnings == [f"calibrated: CALSTAT = '{text}' discarded: cannot be read"]


def test_the_headers_own_gain_is_kept_beside_that_of_the_profile() -> None:
    cards: dict[str, object] = {"GAIN": 4.95, "RDNOISE": "none"}
    alone = conversion_of(reader(cards, KEYWORDS), profile())
    assert (alone.gain, alone.header_gain) == (4.95, 4.95)
    silent = reader(cards, KEYWORDS)
    both = conversion_of(silent, profile(detector={"gain": 2.3, "read_noise": 5.0}))
    assert (both.gain, both.header_gain) == (2.3, 4.95)
    assert (both.read_noise, both.header_read_noise) == (5.0, None)
    assert silent.warnings == []
