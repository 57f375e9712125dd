"""WCS of raw headers, against astropy's own reading of headers that obey the standard."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from nightflow.instruments.amplifiers import Amplifier
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.header_wcs import header_wcs, on_chip

TAN: dict[str, object] = {
    "NAXIS": 2,
    "NAXIS1": 1000,
    "NAXIS2": 800,
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 124.6,
    "CRVAL2": 25.3,
    "CRPIX1": 500.5,
    "CRPIX2": 400.5,
    "CD1_1": -3e-4,
    "CD1_2": 1e-5,
    "CD2_1": 1e-5,
    "CD2_2": 3e-4,
}
SIP: dict[str, object] = {
    **TAN,
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "A_ORDER": 2,
    "B_ORDER": 2,
    "A_2_0": 1e-6,
    "B_0_2": -2e-6,
}
TPV: dict[str, object] = {
    **TAN,
    "CTYPE1": "RA---TPV",
    "CTYPE2": "DEC--TPV",
    "PV1_1": 1.0,
    "PV2_1": 1.0,
    "PV1_7": -0.0055,
    "PV2_4": 8e-4,
}
PIXELS = np.array([[0.0, 0.0], [999.0, 0.0], [0.0, 799.0], [999.0, 799.0], [400.0, 300.0]])


def sky(wcs: WCS | None) -> np.ndarray:
    assert wcs is not None
    return wcs.all_pix2world(PIXELS, 0)


@pytest.mark.parametrize("cards", [TAN, SIP, TPV], ids=["TAN", "SIP", "TPV"])
@pytest.mark.parametrize("as_text", [False, True])
def test_dialects_agree_with_the_standard(cards: dict[str, object], as_text: bool) -> None:
    """Numbers may be text, and the suffix of the distortion may be missing."""
    truth = sky(WCS(fits.Header(cards)))
    loose = {
        key: str(value) if as_text and "CTYPE" not in key and key[:5] != "NAXIS" else value
        for key, value in cards.items()
    }
    loose["CTYPE1"], loose["CTYPE2"] = "RA---TAN", "DEC--TAN"
    np.testing.assert_allclose(sky(header_wcs(fits.Header(cards))), truth, atol=1e-11)
    np.testing.assert_allclose(sky(header_wcs(fits.Header(loose))), truth, atol=1e-11)


def test_distortion_is_not_lost() -> None:
    for cards in (SIP, TPV):
        assert np.abs(sky(header_wcs(fits.Header(cards))) - sky(header_wcs(fits.Header(TAN)))).max() > 1e-5


def test_scale_as_cdelt_and_rotation() -> None:
    cards = {key: value for key, value in TAN.items() if not key.startswith("CD")}
    rotated = fits.Header({**cards, "CDELT1": -3e-4, "CDELT2": 3e-4, "CROTA2": 12.0})
    np.testing.assert_allclose(sky(header_wcs(rotated)), sky(WCS(rotated)), atol=1e-11)


def test_tpv_without_coefficients_is_tan() -> None:
    named = fits.Header({**TAN, "CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"})
    np.testing.assert_allclose(sky(header_wcs(named)), sky(header_wcs(fits.Header(TAN))), atol=1e-12)


def test_size_and_frame_are_kept() -> None:
    wcs = header_wcs(fits.Header({**TAN, "RADECSYS": "FK5", "EQUINOX": "2000.0"}))
    assert wcs is not None
    assert wcs.pixel_shape == (1000, 800)
    assert wcs.wcs.radesys == "FK5"


@pytest.mark.parametrize(
    "changes",
    [
        {"CTYPE1": "Linear Unbinned ADC Pixels"},
        {"CTYPE2": ""},
        {"CRVAL1": "n/a"},
        {"CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0},
    ],
    ids=str,
)
def test_what_is_no_celestial_wcs(changes: dict[str, object]) -> None:
    assert header_wcs(fits.Header({**TAN, **changes})) is None


def test_a_header_without_a_wcs() -> None:
    assert header_wcs(fits.Header()) is None


def chip(**changes: object) -> FrameHeader:
    return FrameHeader(instrument="test", kind=FrameKind.LIGHT, exptime=1.0, shape=(800, 1000), **changes)


def part(name: str, **changes: object) -> Amplifier:
    values = {"data": (slice(5, 400), slice(20, 500)), "place": (slice(0, 395), slice(0, 480)), **changes}
    return Amplifier(name=name, **values)


def test_a_trimmed_chip_starts_where_its_section_does() -> None:
    raw = header_wcs(fits.Header(SIP))
    trimmed = on_chip(raw, chip(trim=(slice(4, 700), slice(30, 900))))
    expected = raw.all_pix2world([[100.0, 100.0]], 0)
    np.testing.assert_allclose(trimmed.all_pix2world([[70.0, 96.0]], 0), expected)
    np.testing.assert_allclose(on_chip(raw, chip()).all_pix2world([[100.0, 100.0]], 0), expected)


@pytest.mark.parametrize("cards", [TAN, SIP, TPV])
@pytest.mark.parametrize("flip_x", [False, True])
@pytest.mark.parametrize("flip_y", [False, True])
def test_an_amplifiers_wcs_becomes_the_chips(cards: dict[str, object], flip_x: bool, flip_y: bool) -> None:
    """Every raw pixel keeps its place on the sky: here that of column 120, row 55."""
    raw = header_wcs(fits.Header(cards))
    amplifier = part("A", place=(slice(400, 795), slice(480, 960)), flip_x=flip_x, flip_y=flip_y)
    x = 959 - 100 if flip_x else 480 + 100
    y = 794 - 50 if flip_y else 400 + 50
    found = on_chip(raw, chip(amplifiers=(amplifier,))).all_pix2world([[x, y]], 0)
    np.testing.assert_allclose(found, raw.all_pix2world([[120.0, 55.0]], 0), atol=1e-9)


def test_amplifiers_with_an_overscan_between_them_have_no_common_wcs() -> None:
    raw = header_wcs(fits.Header(TAN))
    apart = part("B", data=(slice(5, 400), slice(540, 1000)), place=(slice(0, 395), slice(480, 940)))
    assert on_chip(raw, chip(amplifiers=(part("A"), apart))) is None
    beside = part("B", data=(slice(5, 400), slice(500, 980)), place=(slice(0, 395), slice(480, 960)))
    assert on_chip(raw, chip(amplifiers=(part("A"), beside))) is not None
