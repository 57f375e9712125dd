"""Each piece of evidence refuses a solution alone: the sky is right but for one thing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightflow.astrometry.accept import verified
from nightflow.astrometry.plate import plate_from_wcs
from nightflow.astrometry.solution import Quality, Solution, SolveRequest
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.synthetic import SCALE, SHAPE, make_request, make_stars, make_wcs

SETTINGS = AstrometrySettings(scale=SCALE)
WCS = make_wcs(80.0, 10.0, rotation=15.0)
STARS = make_stars(80.0, 10.0, 2.0, 3000)


def solve(
    request: SolveRequest, settings: AstrometrySettings = SETTINGS, *, hypotheses: int = 1000
) -> Solution:
    return verified(
        plate_from_wcs(WCS, SHAPE), request, settings, STARS, backend="hint", start_radius=5.0,
        hypotheses=hypotheses,
    )  # fmt: skip


def right(**changes: object) -> SolveRequest:
    return make_request(WCS, STARS, noise=0.1, fakes=0.2, **changes)  # type: ignore[arg-type]


def refusal(request: SolveRequest, *arguments: AstrometrySettings, **options: int) -> list[str]:
    """Return the objections to a solution, each a phrase."""
    with pytest.raises(NoSolution) as refused:
        solve(request, *arguments, **options)
    return str(refused.value).removeprefix("candidate refused: ").split(", ")


def test_nothing_is_wrong_with_the_rest() -> None:
    solution = solve(right())
    assert solution.quality is Quality.VERIFIED
    evidence = solution.evidence
    assert evidence is not None
    assert evidence.scale == pytest.approx(SCALE, rel=1e-4)
    assert evidence.n_matched == solution.n_matched <= evidence.n_expected
    assert evidence.heldout_rms_arcsec == solution.heldout_rms_arcsec
    assert evidence.heldout_rms_arcsec == pytest.approx(0.1 * np.sqrt(2.0) * SCALE, rel=0.2)
    assert evidence.log_false_alarm < -20.0
    assert evidence.chance_matches < 5.0
    assert len(solution.stars or ()) == solution.n_matched


def test_the_scale_of_another_camera_alone() -> None:
    found = refusal(replace(right(), scale=1.06 * SCALE, scale_tolerance=0.05))
    assert len(found) == 1
    assert "off the camera's" in found[0]


def test_too_few_of_those_expected_alone() -> None:
    """Nineteen of twenty detections are no stars, and the catalogue could match them all."""
    request = make_request(WCS, STARS, noise=0.1, complete=0.09, fakes=0.95)
    found = refusal(request)
    assert len(found) == 1
    assert "expected stars matched" in found[0]


def test_chance_alone() -> None:
    """Seven right stars won among more candidates than seven stars can speak against."""
    request = right()
    request = replace(request, **{name: getattr(request, name)[:10] for name in ("x", "y", "flux")})
    assert solve(request).n_matched >= 6
    found = refusal(request, hypotheses=10**14)
    assert len(found) >= 1
    assert all("chance alone" in one or "limit -6)" in one for one in found)


def test_stars_left_out_alone() -> None:
    found = refusal(right(), replace_settings(maximum_rms=0.3))
    assert len(found) == 2
    assert "left-out stars scatter by 0.4" in found[0]
    assert 'limit 0.30"' in found[1]


def replace_settings(**changes: float) -> AstrometrySettings:
    return SETTINGS.model_copy(update=changes)
