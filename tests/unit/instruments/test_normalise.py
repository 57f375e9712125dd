"""Whole headers of several dialects through the generic camera, and what is held."""

from __future__ import annotations

from pathlib import Path

import pytest
from astropy.io import fits
from astropy.time import Time

from nightflow.errors import FrameHeld, FrameRejected
from nightflow.instruments.header import FrameHeader, FrameKind, Site
from nightflow.instruments.normalise import normalise
from nightflow.instruments.registry import load_profiles, recognise
from tests.unit.instruments.profiles import profile

BASE: dict[str, object] = {"BITPIX": 16, "BZERO": 32768, "IMAGETYP": "Light Frame", "EXPTIME": 60.0}
PROFILES = load_profiles()


def read(cards: dict[str, object], **changes: object) -> FrameHeader:
    header = fits.Header({**cards, **changes})
    return normalise(header, recognise([header], PROFILES), hdu=0, shape=(1024, 1056), path=Path("a.fits"))


MAXIM = {
    **BASE,
    "DATE-OBS": "2012-05-05T03:04:05.67",
    "OBJECT": "M 67",
    "FILTER": "Red",
    "OBJCTRA": "08 51 18.0",
    "OBJCTDEC": "+11 48 00",
    "CCD-TEMP": -20.1,
    "EGAIN": 1.3,
    "XBINNING": 2,
    "YBINNING": 2,
    "SITELAT": "31 40 48",
    "SITELONG": "-110 52 48",
    "PEDESTAL": -100,
    "CALSTAT": "",
    "SWCREATE": "MaxIm DL 6",
}


def test_maxim() -> None:
    frame = read(MAXIM)
    assert (frame.instrument, frame.kind, frame.object, frame.filter) == (
        "generic",
        FrameKind.LIGHT,
        "M 67",
        "Red",
    )
    assert frame.mjd_mid == pytest.approx(Time("2012-05-05T03:04:35.67").mjd, abs=1e-9)
    assert (frame.ra, frame.dec) == pytest.approx((132.825, 11.8))
    assert (frame.gain, frame.pedestal, frame.binning, frame.ccd_temp) == (1.3, 100.0, (2, 2), -20.1)
    assert frame.site == Site(latitude=pytest.approx(31.68), longitude=pytest.approx(-110.88))
    assert frame.bias_included
    assert not frame.read_noise_known
    assert len(frame.warnings) == 1
    assert "read noise unknown" in frame.warnings[0]
    assert frame.airmass is not None


def test_maxim_after_its_own_calibration() -> None:
    frame = read(MAXIM, CALSTAT="BDF")
    assert frame.steps_done == ("bias", "dark", "flat")
    assert not frame.bias_included
    assert frame.warnings[1:] == ("the camera program has already done: bias, dark, flat (CALSTAT = BDF)",)


def test_thesky_counts_longitudes_westwards() -> None:
    frame = read(MAXIM, SWCREATE="TheSkyX Version 10.5.0", SITELONG="+71 29 06.00", SITELAT="+42 36 36.00")
    assert frame.site is not None
    assert (frame.site.latitude, frame.site.longitude) == pytest.approx((42.61, -71.485))


def test_nina() -> None:
    """NINA's GAIN is the driver's setting; EGAIN is in electrons."""
    cards: dict[str, object] = {
        **BASE,
        "IMAGETYP": "LIGHT",
        "DATE-OBS": "2024-01-02T03:04:05.678",
        "GAIN": 100,
        "EGAIN": 0.25,
        "RA": 132.8,
        "DEC": 11.8,
        "FILTER": "L",
        "CCD-TEMP": -10,
        "READOUTM": "High Gain",
        "ROTATOR": 12.5,
        "SITELAT": 48.0,
        "SITELONG": 11.0,
        "SITEELEV": 520.0,
        "BAYERPAT": "RGGB",
    }
    frame = read(cards)
    assert (frame.gain, frame.gain_setting, frame.readout_mode) == (0.25, "100", "High Gain")
    assert (frame.bayer, frame.rotator) == ("RGGB", 12.5)
    assert frame.site == Site(latitude=48.0, longitude=11.0, height=520.0)
    without = read({key: value for key, value in cards.items() if key != "EGAIN"})
    assert not without.gain_known
    assert "gain unknown" in without.warnings[0]


def test_lco() -> None:
    frame = read(
        {
            "BITPIX": 16,
            "BZERO": 32768,
            "OBSTYPE": "EXPOSE",
            "EXPTIME": 30.0,
            "DATE-OBS": "2022-07-01T05:06:07.089",
            "MJD-OBS": 59761.2125820,
            "FILTER": "rp",
            "GAIN": 1.6,
            "RDNOISE": 11.0,
            "SATURATE": 46000.0,
            "CCDATEMP": -100.0,
            "CCDSUM": "2 2",
            "BIASSEC": "UNKNOWN",
            "TRIMSEC": "[1:1024,1:1024]",
            "RA": "17:04:10.5",
            "DEC": "+36:38:52",
            "LATITUDE": -30.1673833,
            "LONGITUD": -70.8047889,
            "HEIGHT": 2198.0,
            "OBJECT": "N/A",
        }
    )
    assert (frame.kind, frame.gain, frame.read_noise, frame.saturation) == (
        FrameKind.LIGHT,
        1.6,
        11.0,
        46000.0,
    )
    assert (frame.overscan, frame.trim) == (None, (slice(0, 1024), slice(0, 1024)))
    assert frame.binning == (2, 2)
    assert frame.object == ""
    assert frame.ra == pytest.approx(256.04375)


def test_iraf() -> None:
    frame = read(
        {
            "BITPIX": 16,
            "BZERO": 32768,
            "IMAGETYP": "object",
            "EXPTIME": 10,
            "DATE-OBS": "1999-05-13",
            "UT": "02:03:04",
            "BIASSEC": "[1025:1056,1:1024]",
            "DATASEC": "[1:1024,1:1024]",
            "GAIN": 2.2,
            "RDNOISE": 7.0,
            "FILTER": "V",
        }
    )
    assert frame.date_obs == "1999-05-13T02:03:04.000"
    assert frame.overscan == (slice(0, 1024), slice(1024, 1056))
    assert frame.gain == 2.2


def test_a_solved_header_gives_the_hint() -> None:
    cards = {key: value for key, value in MAXIM.items() if not key.startswith("OBJCT")}
    solved = read(cards, CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=132.8, CRVAL2=11.8)
    assert (solved.ra, solved.dec) == (132.8, 11.8)
    linear = read(cards, CTYPE1="LINEAR", CTYPE2="LINEAR", CRVAL1=1.0, CRVAL2=1.0)
    assert (linear.ra, linear.dec) == (None, None)


def test_only_light_frames_have_an_airmass() -> None:
    assert read(MAXIM, IMAGETYP="Flat Field").airmass is None


def test_filters_are_translated() -> None:
    one = profile(
        keywords={"filter": "FILTER", "exptime": "EXPTIME", "date_obs": "DATE-OBS"},
        kinds={"light": [{}]},
        filters={"Red": "R", "3": "V"},
    )
    for written, ours in [("Red", "R"), ("RED", "R"), (3, "V"), ("3.0", "V"), ("Ha", "Ha")]:
        header = fits.Header({**MAXIM, "FILTER": written})
        assert normalise(header, one, hdu=0, shape=(10, 10)).filter == ours


def test_a_light_without_an_exposure_time_is_held_and_says_what_was_looked_for() -> None:
    header = fits.Header({key: value for key, value in MAXIM.items() if key != "EXPTIME"})
    generic = next(one for one in PROFILES if one.name == "generic")
    expected = (
        r"a\.fits: camera generic: a light without an exposure time: EXPTIME is absent, EXPOSURE is.*mend"
    )
    with pytest.raises(FrameHeld, match=expected):
        normalise(header, generic, hdu=0, shape=(10, 10), path=Path("a.fits"))


def test_a_light_without_a_time_is_held() -> None:
    with pytest.raises(
        FrameHeld, match=r"a light without a time: DATE-OBS = 'yesterday'.*mend keywords\.date_obs"
    ):
        read(MAXIM, **{"DATE-OBS": "yesterday"})


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("DATE-OBS", "20000-01-01T00:00:00"),
        ("DATE-OBS", "-0100-01-01T00:00:00"),
        ("MJD-OBS", 1e9),
        ("MJD-OBS", -1e9),
    ],
)
def test_a_light_of_no_calendar_is_rejected(keyword: str, value: object) -> None:
    cards = {"IMAGETYP": "light", "EXPTIME": 10.0, keyword: value}
    generic = next(one for one in PROFILES if one.name == "generic")
    with pytest.raises(FrameRejected, match=rf"{keyword} = '{value}' is outside the years 1 to 9999"):
        normalise(fits.Header(cards), generic, hdu=0, shape=(10, 10))
    cards |= {"MJD-AVG": 61100.0}
    assert normalise(fits.Header(cards), generic, hdu=0, shape=(10, 10)).mjd_mid == 61100.0


def test_no_range_of_a_profile_is_wider_than_the_calendar() -> None:
    rule = {"keys": ["MJD-OBS"], "format": "mjd", "range": [-1e12, 1e12]}
    one = profile(keywords={"exptime": "EXPTIME", "date_obs": rule}, kinds={"light": [{}]})
    with pytest.raises(FrameRejected, match=r"MJD-OBS = '1000000000\.0'"):
        normalise(fits.Header({"EXPTIME": 1.0, "MJD-OBS": 1e9}), one, hdu=0, shape=(10, 10))


def test_a_bias_needs_neither() -> None:
    generic = next(one for one in PROFILES if one.name == "generic")
    frame = normalise(fits.Header({"IMAGETYP": "zero", "BITPIX": 16}), generic, hdu=0, shape=(10, 10))
    assert (frame.kind, frame.exptime, frame.mjd_mid) == (FrameKind.BIAS, 0.0, None)
    assert any("taken as 0 s for a bias" in warning for warning in frame.warnings)
    assert any("no time in the header" in warning for warning in frame.warnings)


def test_an_unknown_kind_is_held() -> None:
    with pytest.raises(FrameHeld, match=r"cannot tell bias, dark, flat or light: IMAGETYP = 'FOCUS'"):
        read(MAXIM, IMAGETYP="FOCUS")


def test_text_of_the_header_cannot_break_a_message() -> None:
    with pytest.raises(FrameHeld) as error:
        read(MAXIM, IMAGETYP="'; DROP TABLE frame; -- <script>" * 2)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500
