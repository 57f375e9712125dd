"""A file is recognised by its headers alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from nightflow.errors import FrameHeld, FrameRejected, RetryLater
from nightflow.instruments.header import FrameKind
from nightflow.instruments.registry import load_profiles
from nightflow.pipeline import identify as identify_module
from nightflow.pipeline.identify import check_calibration, identify_file, read_frame
from tests.unit.pipeline.station import SHAPE, Station


@pytest.fixture
def profiles(station: Station):
    return load_profiles(station.root / "cameras")


def test_camera_kind_and_readouts(station: Station, profiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identify_module, "read_readouts", None)  # no pixel is read
    found = identify_file(station.frame("a.fits", chips=2), profiles)
    assert (found.profile.name, found.kind, found.title) == ("tinycam", FrameKind.LIGHT, "a.fits M 67 V")
    assert [(header.detector, header.hdu, header.shape) for header in found.headers] == [
        ("chip0", 1, SHAPE),
        ("chip1", 2, SHAPE),
    ]


def test_a_bias_is_titled_by_its_kind(station: Station, profiles) -> None:
    found = identify_file(station.frame("b.fits", "bias", OBJECT="", FILTER=""), profiles)
    assert found.title == "b.fits bias"


def test_pixels_come_with_their_header(station: Station, profiles) -> None:
    path = station.frame("a.fits", chips=2)
    found = identify_file(path, profiles)
    frame = read_frame(path, found.headers[1])
    np.testing.assert_array_equal(frame.data, fits.getdata(path, 2))
    assert (frame.unit, frame.data.dtype, frame.header.detector) == ("adu", np.float32, "chip1")
    assert frame.raw_header["CHIP"] == "chip1"


def test_data_that_are_not_those_that_were_written_are_told_with_the_frame(
    station: Station, profiles
) -> None:
    path = station.frame("a.fits", chips=2)
    with fits.open(path) as hdus:
        hdus.writeto(path, overwrite=True, checksum=True)
    assert all(header.warnings == () for header in identify_file(path, profiles).headers)
    content = bytearray(path.read_bytes())
    content[-2000] ^= 8
    path.write_bytes(content)
    one, two = identify_file(path, profiles).headers
    assert one.warnings == ()
    assert "HDU 2: its data sum to" in two.warnings[0]


def test_a_cube_is_no_readout(station: Station, profiles) -> None:
    path = station.frame("cube.fits")
    with fits.open(path) as hdus:
        hdus[1].data = np.zeros((3, 8, 8), np.int16)
        hdus.writeto(path, overwrite=True)
    with pytest.raises(FrameRejected, match=r"cube\.fits: HDU 1: an image of 3 axes; a readout has two"):
        identify_file(path, profiles)


def test_more_pixels_than_the_settings_allow(station: Station, profiles) -> None:
    path, pixels = station.frame("large.fits"), math.prod(SHAPE)
    shape = f"{SHAPE[1]} x {SHAPE[0]}"
    assert identify_file(path, profiles, max_pixels=pixels).kind is FrameKind.LIGHT
    with pytest.raises(
        FrameRejected, match=rf"HDU 1: {shape} is {pixels} pixels, max_pixels = {pixels - 1} in"
    ):
        identify_file(path, profiles, max_pixels=pixels - 1)


def test_an_unknown_camera_is_held(station: Station, profiles) -> None:
    path = station.frame("x.fits", INSTRUME="somebody's", EXPTIME="")
    with pytest.raises(FrameHeld, match=r"x\.fits: no camera profile fits; it holds INSTRUME"):
        identify_file(path, [profile for profile in profiles if profile.name == "tinycam"])


def test_a_file_that_is_not_there(station: Station, profiles) -> None:
    with pytest.raises(RetryLater, match=r"gone\.fits"):
        identify_file(station.raw / "gone.fits", profiles)


@pytest.mark.parametrize("value", [np.nan, 7.0])
def test_a_calibration_frame_without_content_is_refused(station: Station, profiles, value: float) -> None:
    path = station.frame("flat.fits", "flat")
    with fits.open(path) as hdus:
        hdus[1].data = np.full(SHAPE, value, np.float32)
        hdus.writeto(path, overwrite=True)
    with pytest.raises(FrameRejected, match=r"flat\.fits"):
        check_calibration(path, identify_file(path, profiles))


AMPLIFIERS = """
name = "tinyquad"
extends = "tinycam"
recognise = { INSTRUME = "^tinyquad$" }
[keywords]
detector = "CHIP"
amplifier = "AMP"
trim = "DATASEC"
overscan = "BIASSEC"
chip_section = "DETSEC"
gain = "GAIN"
pedestal = "PEDESTAL"
[detector]
amplifiers = "header"
"""


def two_amplifiers(station: Station, *planes: np.ndarray) -> Path:
    """Write a chip of two HDUs of 4 x 6 pixels; the second one reads from the right and holds a pedestal."""
    (station.root / "cameras" / "tinyquad.toml").write_text(AMPLIFIERS)
    template = station.frame("template.fits", "light", INSTRUME="tinyquad")
    with fits.open(template) as hdus:
        primary = hdus[0].copy()
    template.unlink()
    sections = ("[11:14,1:4]", "[18:15,1:4]")
    amplifiers = [
        fits.ImageHDU(
            plane,
            fits.Header(
                {"CHIP": "c", "AMP": f"a{number}", "DETSEC": section, "PEDESTAL": 100 * number}
                | {"DATASEC": "[1:4,1:4]", "BIASSEC": "[5:6,1:4]", "INSTRUME": "tinyquad"}
            ),
        )
        for number, (plane, section) in enumerate(zip(planes, sections, strict=True))
    ]
    fits.HDUList([primary, *amplifiers]).writeto(station.raw / "quad.fits")
    return station.raw / "quad.fits"


def test_the_hdus_of_a_chip_are_one_frame(station: Station) -> None:
    """Unsigned counts in one HDU, signed ones in the other: neither wraps round."""
    unsigned = np.arange(24, dtype=np.uint16).reshape(4, 6) + 65500
    signed = np.arange(24, dtype=np.int16).reshape(4, 6) - 5
    path = two_amplifiers(station, unsigned, signed)
    found = identify_file(path, load_profiles(station.root / "cameras"))
    (header,) = found.headers
    assert (header.detector, header.hdu, header.hdus, header.shape) == ("c", 1, (1, 2), (8, 6))
    assert [one.pedestal for one in header.amplifiers] == [0.0, 100.0]
    assert [one.saturation for one in header.amplifiers] == [65535.0, 32767.0]
    frame = read_frame(path, header)
    np.testing.assert_array_equal(frame.data, np.vstack([unsigned.astype(float), signed.astype(float)]))
    assert header.amplifiers[1].on_chip(frame.data)[0].tolist() == [-2, -3, -4, -5]


def test_an_amplifier_without_content_is_refused(station: Station) -> None:
    path = two_amplifiers(station, np.arange(24, dtype=np.int16).reshape(4, 6), np.full((4, 6), 9, np.int16))
    found = identify_file(path, load_profiles(station.root / "cameras"))
    for check in (lambda: read_frame(path, found.headers[0]), lambda: check_calibration(path, found)):
        with pytest.raises(FrameRejected, match=r"quad\.fits: HDU 2: constant"):
            check()


def test_sections_that_make_no_chip_hold_the_file_by_name(station: Station) -> None:
    path = two_amplifiers(station, *[np.arange(24, dtype=np.int16).reshape(4, 6)] * 2)
    fits.setval(path, "DETSEC", value="[12:15,1:4]", ext=2)
    with pytest.raises(FrameHeld, match=r"quad\.fits: camera tinyquad: chip 'c': the places .* overlap"):
        identify_file(path, load_profiles(station.root / "cameras"))
