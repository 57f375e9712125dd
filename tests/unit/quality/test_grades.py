from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from nightflow.instruments.quality_settings import QualitySettings
from nightflow.quality.grades import FrameMeasures, Grade, Graded, Night, grade

BOUNDS = QualitySettings()
GOOD = FrameMeasures(
    mjd_mid=61100.5, object="M 67", exptime=60.0, fwhm_px=3.0, scale=1.2, ellipticity=0.05, trailing=0.02,
    sky=600.0, n_sources=400, zero_point=22.0, zp_catalog="tycho2",
)  # fmt: skip


def others(n: int = 10, **changes: Any) -> list[FrameMeasures]:
    return [replace(GOOD, mjd_mid=61100.0 + 0.1 * number, **changes) for number in range(n)]


def graded(bounds: QualitySettings = BOUNDS, n: int = 10, **changes: Any) -> Graded:
    """Return the grade of one frame among good ones."""
    frame = replace(GOOD, **changes)
    return grade(frame, Night([*others(n), frame]), bounds)


def test_a_good_frame_is_good_and_nothing_is_said() -> None:
    assert graded() == Graded(Grade.GOOD, "")


@pytest.mark.parametrize(
    ("changes", "expected", "reason"),
    [
        ({"fwhm_px": 4.1}, "good", ""),
        ({"fwhm_px": 4.5}, "fair", "fwhm: 1.50 times the night's median; fair above 1.4"),
        ({"fwhm_px": 5.5}, "bad", "fwhm: 1.83 times the night's median; bad above 1.8"),
        ({"ellipticity": 0.2}, "good", ""),
        ({"ellipticity": 0.3}, "fair", "ellipticity: 0.30; fair above 0.2"),
        ({"trailing": 0.31}, "bad", "trailing: 0.31 in one direction; bad above 0.3"),
        ({"sky": 1500.0}, "fair", "sky: 2.5 times the night's darkest; fair above 2"),
        ({"sky": 1500.0, "exptime": 150.0}, "good", ""),
        (
            {"n_sources": 150},
            "bad",
            "stars_lost: 62% of the best frames' stars are not there; bad above 0.5",
        ),
        ({"n_sources": 150, "object": "M 34"}, "good", ""),
        (
            {"zero_point": 21.6},
            "bad",
            "transparency: 0.40 mag below the night's clearest; fair above 0.3; "
            "zero_point_jump: 0.40 mag off the frames next in time; bad above 0.3",
        ),
        ({"zero_point": 20.0, "zp_catalog": "gaia"}, "good", ""),
    ],
)
def test_each_rule_has_its_bounds(changes: dict[str, Any], expected: str, reason: str) -> None:
    assert graded(**changes) == Graded(Grade(expected), reason)


def test_a_rule_can_be_switched_off_and_moved() -> None:
    assert graded(QualitySettings(sky=False), sky=6000.0).grade == Grade.GOOD
    assert graded(QualitySettings(fwhm_arcsec=(2.0, 3.0))).reason == 'fwhm_arcsec: 3.60"; bad above 3'


def test_bounds_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="must not be above"):
        QualitySettings(sky=(5.0, 2.0))
    with pytest.raises(ValidationError):
        QualitySettings(sky=(0.0, 2.0))


def test_three_frames_are_no_night_to_compare_with() -> None:
    assert graded(n=2, fwhm_px=9.0, sky=9e3, n_sources=1, zero_point=10.0) == Graded(Grade.GOOD, "")
    assert graded(n=3, fwhm_px=9.0).grade == Grade.BAD


def test_what_was_not_measured_is_not_judged() -> None:
    most = dict.fromkeys(("scale", "ellipticity", "trailing", "sky", "n_sources", "zero_point", "zp_catalog"))
    assert graded(**most) == Graded(Grade.GOOD, "")
    nothing = graded(**most, fwhm_px=None)
    assert nothing.grade == Grade.UNKNOWN
    assert "no star's shape is known" in nothing.reason


def test_clouds_that_thicken_slowly_are_no_jump_but_dim() -> None:
    fading = [
        replace(GOOD, mjd_mid=61100.0 + 0.01 * number, zero_point=22.0 - 0.05 * number)
        for number in range(20)
    ]
    night = Night(fading)
    reasons = [grade(frame, night, BOUNDS).reason for frame in fading]
    assert not any("jump" in reason for reason in reasons[2:-2])
    assert "transparency" in reasons[-1]
    assert not reasons[3]


def test_a_sky_below_zero_is_not_judged() -> None:
    frames = others(sky=-5.0)
    assert grade(frames[0], Night(frames), BOUNDS).grade == Grade.GOOD
