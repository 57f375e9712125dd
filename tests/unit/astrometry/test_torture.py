"""Hard star lists and hard frames through the ladder: how many are solved, and how well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from nightflow.astrometry.ladder import solve
from nightflow.astrometry.solution import Quality
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.soak import keep_figures
from tests.unit.astrometry.synthetic import SCALE
from tests.unit.astrometry.torture import KINDS, Case, build, corner_error
from tests.unit.astrometry.torture_frames import build_frame

SETTINGS = AstrometrySettings(scale=SCALE, ladder=["previous", "hint"])
EACH, FEW = 20, 2
FRAMES_EACH = 4
LEAST_USABLE = 8
SOLVED = 0.995
RMS, CORNER = 0.1, 0.2
FALSE = 5.0
"""Pixels: a corner farther off is another place."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a list; lengths in pixels."""

    case: str
    usable: int
    refusal: str = ""
    rms_excess: float = 0.0
    corner: float = 0.0

    @property
    def solved(self) -> bool:
        return not self.refusal


def outcome(case: Case) -> Outcome:
    name = f"{case.kind} {case.seed}"
    try:
        solution = solve(case.request, case.catalogs, SETTINGS)
    except NoSolution as refusal:
        return Outcome(case=name, usable=case.usable, refusal="; ".join(map(str, refusal.rungs)))
    assert solution.quality is Quality.VERIFIED
    return Outcome(
        case=name,
        usable=case.usable,
        rms_excess=solution.rms_arcsec / solution.scale - case.noise,
        corner=corner_error(solution, case.truth),
    )


def false(outcomes: list[Outcome]) -> list[Outcome]:
    """Return what was solved to another place, however few stars there were."""
    return [o for o in outcomes if o.solved and o.corner > FALSE]


def check(outcomes: list[Outcome]) -> None:
    assert false(outcomes) == []
    counted = [o for o in outcomes if o.usable >= LEAST_USABLE]
    solved = [o for o in counted if o.solved]
    assert len(solved) >= SOLVED * len(counted), [o for o in counted if not o.solved]
    assert [o for o in solved if o.rms_excess > RMS or o.corner > CORNER] == []


def summary(outcomes: list[Outcome]) -> dict[str, object]:
    """Return the figures of a whole run; lengths in pixels, ``rms_excess`` beyond the centroid noise."""
    counted = [o for o in outcomes if o.usable >= LEAST_USABLE]
    solved = [o for o in counted if o.solved]
    return {
        "made": len(outcomes),
        f"with_{LEAST_USABLE}_usable_stars": len(counted),
        "of_these_solved": len(solved),
        "false": len(false(outcomes)),
        "worst_corner": max((o.corner for o in solved), default=0.0),
        "worst_rms_excess": max((o.rms_excess for o in solved), default=0.0),
        "unsolved": {o.case: o.refusal for o in counted if not o.solved},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_of_each(kind):
    check([outcome(build(kind, seed)) for seed in range(FEW)])


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_all(request):
    outcomes = [outcome(build(kind, seed)) for kind in KINDS for seed in range(EACH)]
    keep_figures(request, "astrometry_soak.json", summary(outcomes))
    assert len(outcomes) >= 300
    assert np.mean([o.usable >= LEAST_USABLE for o in outcomes]) > 0.95
    check(outcomes)


@pytest.mark.parametrize("kind", ["sparse", "distorted", "satellite", "planet", "everything"])
def test_a_handful_of_whole_frames(kind):
    check([outcome(build_frame(kind, 0))])


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_all_whole_frames(request):
    outcomes = [outcome(build_frame(kind, seed)) for kind in KINDS for seed in range(FRAMES_EACH)]
    keep_figures(request, "astrometry_soak.json", summary(outcomes))
    assert len(outcomes) >= 60
    assert np.mean([o.usable >= LEAST_USABLE for o in outcomes]) > 0.95
    check(outcomes)


def test_the_lists_are_as_hard_as_they_claim():
    """The lists are inputs: were they easy, the rates above would say nothing."""
    assert build("sparse", 0).usable == 8
    distorted = build("distorted", 0).truth
    x, y = np.array([0.0, 999.0]), np.array([0.0, 799.0])
    bent = SkyCoord(*distorted.all_pix2world(x, y, 0), unit="deg")
    straight = SkyCoord(*distorted.wcs_pix2world(x, y, 0), unit="deg")
    # 3 % of 640 pixels
    assert bent.separation(straight).arcsec / SCALE == pytest.approx([19.2, 19.2], rel=0.2)
