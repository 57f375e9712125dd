from __future__ import annotations

from typing import Any

import pytest

from nightflow.report.verdicts import judge_night


def row(**changes: Any) -> dict[str, Any]:
    good = {
        "kind": "light", "state": "done", "detector": "1", "filter": "V", "zp_catalog": "tycho2",
        "fwhm_px": 3.0, "ellipticity": 0.05, "zp": 22.0, "wcs_quality": "verified",
    }  # fmt: skip
    return good | changes


def night(**changes: Any) -> str:
    """Return the verdict on one frame among ten good ones."""
    return judge_night([row(**changes), *(row() for _ in range(10))])[0]


def test_a_good_frame_passes() -> None:
    assert night() == ""


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"fwhm_px": 5.3}, ""),
        ({"fwhm_px": 5.5}, "fwhm: 5.5 px, the night's median is 3.0"),
        ({"ellipticity": 0.35}, ""),
        ({"ellipticity": 0.4}, "ellipticity: 0.40, more than 0.35"),
        ({"zp": 21.3}, ""),
        ({"zp": 21.0}, "transparency: 1.00 mag below the night's median"),
        ({"zp": None}, "zero point: none"),
        ({"wcs_quality": "none", "zp": None}, "wcs: none; zero point: none"),
        ({"wcs_quality": "provisional"}, ""),
        (
            {"state": "held", "wcs_quality": None, "zp": None, "fwhm_px": None, "ellipticity": None},
            "state: held",
        ),
    ],
)
def test_each_rule_has_its_bound(changes: dict[str, Any], verdict: str) -> None:
    assert night(**changes) == verdict


def test_a_frame_is_compared_with_its_own_filter_only() -> None:
    rows = [row(filter="B", zp=20.0, fwhm_px=6.0), *(row() for _ in range(10))]
    assert judge_night(rows) == [""] * 11


def test_calibrations_need_to_be_done_and_no_more() -> None:
    nothing = dict.fromkeys(("fwhm_px", "ellipticity", "zp", "wcs_quality", "zp_catalog"))
    assert judge_night([row(kind="bias", **nothing), row(kind="flat", state="rejected", **nothing)]) == [
        "",
        "state: rejected",
    ]


def test_a_night_without_frames_has_no_verdicts() -> None:
    assert judge_night([]) == []
