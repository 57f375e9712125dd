"""Which frames of a camera share a distortion, and which stars they are judged by."""

from __future__ import annotations

import pytest
from astropy.io import fits

from nightflow.astrometry.plate import plate_from_wcs
from nightflow.astrometry.scamp.chosen import chosen_stars, ldac_chip
from nightflow.astrometry.scamp.frames import ChipFrame, Exposure
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.synthetic import SCALE, SHAPE, make_request, make_stars, make_wcs

STARS = make_stars(80.0, 10.0, 1.2, 900)
SETTINGS = AstrometrySettings(scale=SCALE)


def turns(*rotations: float, filter_name: str = "r") -> list[str]:
    """Return what SCAMP is told of the camera on frames at these position angles."""
    exposures, plates = [], {}
    for number, rotation in enumerate(rotations):
        wcs = make_wcs(80.0, 10.0, rotation=rotation)
        chip = ChipFrame(name="", request=make_request(wcs, STARS), start=wcs)
        exposures.append(Exposure(name=f"frame{number}", chips=(chip,), filter=filter_name))
        plates[f"frame{number}", ""] = plate_from_wcs(wcs, SHAPE)
    given = chosen_stars(exposures, plates, STARS, SETTINGS)
    return [ldac_chip(one, fits.Header()).header["QRUNID"] for (one,) in given]


@pytest.mark.parametrize("first", [0.1, 359.8, 90.0, 179.9])
def test_a_camera_turned_alike_is_one_at_any_angle(first: float) -> None:
    same, wobbled, flipped, flipped_too = turns(first, first - 0.4, first + 179.8, first - 179.8)
    assert same == wobbled
    assert flipped == flipped_too
    assert same != flipped


def test_a_long_name_of_a_filter_hides_no_turn() -> None:
    upright, flipped = turns(0.0, 180.0, filter_name="narrow " * 10)
    assert upright != flipped
