from __future__ import annotations

from typing import Any

import pytest

from nightflow.report.verdicts import judge_night


def row(**changes: Any) -> dict[str, Any]:
    good = {
        "kind": "light", "state": "done", "zp": 22.0, "wcs_quality": "verified", "grade": "good",
        "grade_reason": "",
    }  # fmt: skip
    return good | changes


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, ""),
        ({"grade": "fair", "grade_reason": "sky: 2.5 times"}, ""),
        ({"grade": "bad", "grade_reason": "sky: 5.5 times"}, "grade: bad (sky: 5.5 times)"),
        ({"zp": None}, "zero point: none"),
        ({"wcs_quality": "none", "zp": None}, "wcs: none; zero point: none"),
        ({"wcs_quality": "provisional"}, ""),
        ({"state": "held", "wcs_quality": None, "zp": None, "grade": None}, "state: held"),
    ],
)
def test_each_rule_has_its_say(changes: dict[str, Any], verdict: str) -> None:
    assert judge_night([row(**changes)]) == [verdict]


def test_calibrations_need_to_be_done_and_no_more() -> None:
    nothing = dict.fromkeys(("zp", "wcs_quality", "grade", "grade_reason"))
    assert judge_night([row(kind="bias", **nothing), row(kind="flat", state="rejected", **nothing)]) == [
        "",
        "state: rejected",
    ]


def test_a_night_without_frames_has_no_verdicts() -> None:
    assert judge_night([]) == []
