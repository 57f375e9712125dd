from __future__ import annotations

import pytest

from nightflow.instruments.header import FrameHeader, FrameKind, Site
from nightflow.instruments.profile import PhotometrySettings
from nightflow.simulate import atmosphere
from nightflow.sources.scintillation import scintillation


def header(**changes: object) -> FrameHeader:
    values = {
        "exptime": 60.0,
        "airmass": 1.4,
        "aperture": 0.5,
        "site": Site(latitude=40.0, longitude=10.0, height=800.0),
    }
    return FrameHeader(instrument="test", kind=FrameKind.LIGHT, shape=(10, 10), **(values | changes))  # type: ignore[arg-type]


def test_it_is_youngs_number() -> None:
    """By the simulator, which has the formula of 1967: 7 % less, and the airmass to the 1.75."""
    expected = atmosphere.scintillation(0.5, 1.4, 800.0, 60.0)
    assert scintillation(header(), PhotometrySettings()) == pytest.approx(expected, rel=0.08)


def test_the_profile_wins_and_scales() -> None:
    usual = scintillation(header(), PhotometrySettings())
    larger = scintillation(header(), PhotometrySettings(telescope_aperture=4.0))
    assert larger == pytest.approx(usual * 8.0 ** (-2 / 3))
    assert scintillation(header(), PhotometrySettings(scintillation=1.5)) == pytest.approx(1.5 * usual)


@pytest.mark.parametrize("unknown", [{"aperture": None}, {"airmass": None}, {"exptime": 0.0}])
def test_what_is_not_known_is_not_made_up(unknown: dict[str, object]) -> None:
    assert scintillation(header(**unknown), PhotometrySettings()) == 0.0
