"""`scamp` in a profile's ladder: a refinement that may fail without costing what was found before."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from nightflow.astrometry.distortion import Distortion
from nightflow.astrometry.evidence import Evidence
from nightflow.astrometry.ladder import solve
from nightflow.astrometry.scamp.refinement import refined
from nightflow.astrometry.solution import Quality, Solution
from nightflow.instruments.profile import AstrometrySettings, ScampSettings
from tests.unit.astrometry.processes import all_gone
from tests.unit.astrometry.synthetic import (
    SCALE,
    SHAPE,
    make_request,
    make_stars,
    make_wcs,
    random_request,
    store,
    worst_error,
)

STARS = make_stars(80.0, 10.0, 2.0, 1800)
TRUE = make_wcs(80.0, 10.0, rotation=15.0, distortion=6.0)
LADDER = AstrometrySettings(scale=SCALE, ladder=["previous", "hint", "scamp"])


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory):
    return store(tmp_path_factory.mktemp("catalogs"), STARS)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder in which temporary ones are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let ``scamp`` be a shell script."""
    path = folder / "bin" / "scamp"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")


@pytest.mark.system
def test_a_frame_is_refined(catalogs, temporary: Path) -> None:
    near = make_wcs(80.0004, 10.0002, rotation=15.0, distortion=5.0)
    request = make_request(TRUE, STARS, noise=0.05, header_wcs=near)
    shifted = AstrometrySettings(scale=SCALE, ladder=["header", "scamp"], trust_header="scale_rotation")
    solution = solve(request, catalogs, shifted)
    assert solution.backend == "scamp"
    assert solution.quality is Quality.VERIFIED
    assert ["only a shift" in warning for warning in solution.warnings] == [True]
    # every shift that a pair proposed, times the degrees
    assert solution.hypotheses > 100
    assert worst_error(solution.wcs, TRUE) < 0.5
    assert 0.1 < solution.heldout_rms_arcsec < 0.4
    evidence = solution.evidence
    assert evidence is not None
    assert evidence.heldout_rms_arcsec == solution.heldout_rms_arcsec
    assert evidence.log_false_alarm < -6.0
    # noise of 0.05 px of 3" an axis: less in the middle, more in the corners
    assert 0.1 < evidence.corner_error_arcsec < 1.0
    assert list(temporary.iterdir()) == []


def provisional(wcs) -> Solution:
    """Return what a trusted header makes no claim on."""
    return Solution(
        wcs=wcs,
        backend="header",
        quality=Quality.PROVISIONAL,
        rms_arcsec=1.0,
        heldout_rms_arcsec=float("nan"),
        n_matched=4,
        ra_center=80.0,
        dec_center=10.0,
        scale=SCALE,
        rotation=15.0,
        parity=1,
        catalog="made-up",
        warnings=("header: not verified",),
    )


@pytest.mark.system
def test_what_was_provisional_is_verified(catalogs) -> None:
    request = make_request(TRUE, STARS, noise=0.05)
    off = make_wcs(80.0004, 10.0002, rotation=15.0, distortion=5.0)
    solution = refined(provisional(off), request, catalogs, LADDER)
    assert solution.quality is Quality.VERIFIED
    assert solution.warnings == ("header: not verified",)
    assert worst_error(solution.wcs, TRUE) < 0.5


@pytest.mark.system
def test_what_won_among_many_must_be_as_much_better(catalogs) -> None:
    """A dozen stars prove something of one place, and nothing of the best of 10^15."""
    request = make_request(TRUE, STARS, noise=0.05)
    few = replace(request, x=request.x[:24], y=request.y[:24], flux=request.flux[:24])
    off = make_wcs(80.0001, 10.0, rotation=15.0, distortion=6.0)
    once = refined(provisional(off), few, catalogs, LADDER)
    assert once.quality is Quality.VERIFIED
    often = refined(replace(provisional(off), hypotheses=10**15), few, catalogs, LADDER)
    assert often.quality is Quality.PROVISIONAL
    assert "chance alone would match" in often.warnings[-1]


@pytest.mark.system
def test_stars_of_no_sky_stay_what_they_were(catalogs) -> None:
    request = random_request(3, 200, ra=80.0, dec=10.0)
    solution = refined(provisional(TRUE), request, catalogs, LADDER)
    assert solution.backend == "header"
    assert solution.quality is Quality.PROVISIONAL
    assert solution.warnings[1].startswith("scamp: ")


BENT = make_wcs(80.0, 10.0, rotation=15.0, distortion=1.5)


def stiff(corner_rms: float = 1.5) -> Solution:
    """Return what a rung would say of `BENT` that left out its distortion."""
    evidence = Evidence(
        n_matched=70,
        n_expected=75,
        rms_arcsec=0.8,
        heldout_rms_arcsec=0.8,
        chance_matches=0.1,
        log_false_alarm=-100.0,
        scale=SCALE,
        shear=0.0,
        corner_rms_arcsec=corner_rms,
        n_corner=7,
        corner_errors_arcsec=(0.1,) * 4,
    )
    return replace(
        provisional(make_wcs(80.0, 10.0, rotation=15.0)),
        quality=Quality.VERIFIED,
        heldout_rms_arcsec=0.8,
        backend="hint",
        evidence=evidence,
    )


@pytest.mark.system
def test_a_clear_gain_is_taken(catalogs) -> None:
    request = make_request(BENT, STARS, noise=0.05)
    solution = refined(stiff(), request, catalogs, LADDER)
    assert solution.backend == "scamp"
    assert worst_error(stiff().wcs, BENT) > 4.0
    assert worst_error(solution.wcs, BENT) < 0.9


@pytest.mark.system
def test_corners_may_not_get_worse(catalogs) -> None:
    request = make_request(BENT, STARS, noise=0.05)
    solution = refined(stiff(corner_rms=0.01), request, catalogs, LADDER)
    assert solution.backend == "hint"
    assert "corners would be good to" in solution.warnings[-1]


@pytest.mark.system
def test_as_good_is_not_better(catalogs) -> None:
    """Our own fit of all stars, and SCAMP's of four fifths of them, whatever each says of its scatter."""
    solution = solve(make_request(TRUE, STARS, noise=0.05), catalogs, LADDER)
    assert solution.backend == "hint"
    assert "no clear gain" in solution.warnings[-1]
    lucky = replace(solution, heldout_rms_arcsec=9.0)
    assert refined(lucky, make_request(TRUE, STARS, noise=0.05), catalogs, LADDER).backend == "hint"


def test_a_lent_distortion_is_not_thrown_away(catalogs, tmp_path: Path, monkeypatch) -> None:
    pretend(tmp_path, monkeypatch, f"touch {tmp_path}/asked")
    lent = Distortion(
        shape=SHAPE, parity=1, order=3, a=(0.0,) * 7, b=(0.0,) * 7, n_frames=9, scatter_px=0.02, error_px=0.01
    )
    solution = refined(replace(stiff(), lent=lent), make_request(BENT, STARS), catalogs, LADDER)
    assert solution.lent is lent
    assert "9 frames lent their distortion" in solution.warnings[-1]
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("exit 1", "scamp failed with status 1"),
        ("kill -KILL $$", "scamp was ended by SIGKILL"),
        ("exit 0", "wrote no frame.head"),
    ],
)
def test_what_was_found_stands_where_scamp_fails(
    catalogs, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    pretend(tmp_path, monkeypatch, does)
    solution = solve(make_request(TRUE, STARS), catalogs, LADDER)
    assert solution.backend == "hint"
    assert solution.quality is Quality.VERIFIED
    assert [said in warning for warning in solution.warnings] == [True]
    assert list(temporary.iterdir()) == []


def test_a_hung_scamp_costs_its_time_and_nothing_else(
    catalogs, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    pretend(tmp_path, monkeypatch, f"trap '' TERM; sleep 60 & echo $$ $! > {pids}; wait")
    hasty = LADDER.model_copy(update={"scamp": ScampSettings(time_limit=0.7)})
    started = time.monotonic()
    solution = solve(make_request(TRUE, STARS), catalogs, hasty)
    assert time.monotonic() - started < 10.0
    assert solution.backend == "hint"
    assert "did not end" in solution.warnings[0]
    assert all_gone(pids)
    assert list(temporary.iterdir()) == []


def test_no_temporary_folder_is_a_warning(catalogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    solution = solve(make_request(TRUE, STARS), catalogs, LADDER)
    assert solution.backend == "hint"
    assert "no temporary folder" in solution.warnings[0]


def test_an_absent_scamp_is_a_warning(catalogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    solution = solve(make_request(TRUE, STARS), catalogs, LADDER)
    assert solution.backend == "hint"
    assert "scamp is not installed" in solution.warnings[0]


def test_scamp_alone_is_no_ladder() -> None:
    with pytest.raises(ValidationError, match="name one before it"):
        AstrometrySettings(ladder=["scamp"])
