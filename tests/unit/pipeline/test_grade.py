from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.pipeline.grade import grade_night, graded, record_verdicts
from nightflow.report.night_table import with_verdicts
from nightflow.store.database import Database
from nightflow.store.frames import settle_frame
from nightflow.store.models import State
from nightflow.store.overview import frame_rows
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, add_frame, columns, record, stars

NOW = datetime(2026, 3, 2, tzinfo=UTC)
PROFILE = CameraProfile(name="testcam")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'store.sqlite'}") as opened:
        opened.upgrade()
        yield opened


def _reduce(database: Database, number: int, **measures: Any) -> str | None:
    """Append a frame as the chain does; return its grade."""
    mjd = MJD + 0.01 * number
    frame_id = add_frame(database, f"{number}.fits", mjd_mid=mjd)
    header = FrameHeader(
        instrument="testcam", kind=FrameKind.LIGHT, object="M 67", filter="V", exptime=30.0, mjd_mid=mjd,
        shape=(100, 120),
    )  # fmt: skip
    values = {"fwhm_px": 3.0, "ellipticity": 0.05, "sky": 300.0, "n_sources": 50, "wcs_quality": "verified"}
    work: Any = SimpleNamespace(measured=object(), header=header, frame_id=frame_id, profile=PROFILE)
    judged = graded(record(f"plan-{number}", **(values | measures)), work, database)
    append(database, frame_id, judged, columns(*stars(5), mjd=mjd), now=NOW)
    settle_frame(database, frame_id, State.DONE, "")
    return judged.grade


def test_a_frame_is_graded_against_the_night_so_far(database: Database) -> None:
    assert _reduce(database, 0, sky=3000.0) == "good"
    assert [_reduce(database, number) for number in range(1, 5)] == ["good"] * 4
    assert _reduce(database, 5, sky=3000.0) == "bad"
    assert _reduce(database, 6, ellipticity=0.25) == "fair"


def test_the_end_of_the_night_has_the_last_word_and_writes_it_once(database: Database) -> None:
    _reduce(database, 0, sky=3000.0)
    for number in range(1, 5):
        _reduce(database, number)
    rows = with_verdicts(grade_night(frame_rows(database), {"testcam": PROFILE}))
    assert [row["grade"] for row in rows] == ["bad", *["good"] * 4]
    assert [row["verdict"] for row in rows] == ["fail", *["pass"] * 4]
    assert rows[0]["why"] == "grade: bad (sky: 10.0 times the night's darkest; bad above 5)"
    assert record_verdicts(database, rows) == 5
    assert record_verdicts(database, rows) == 0
    assert [row["grade"] for row in frame_rows(database)] == ["bad", *["good"] * 4]


def test_a_frame_without_a_measurable_star_is_judged_by_the_rest(database: Database) -> None:
    for number in range(4):
        _reduce(database, number)
    assert _reduce(database, 5, n_sources=2, fwhm_px=None, ellipticity=None) == "bad"
    rows = with_verdicts(grade_night(frame_rows(database), {"testcam": PROFILE}))
    assert (rows[-1]["grade"], rows[-1]["verdict"]) == ("bad", "fail")
    assert "stars_lost: 96%" in rows[-1]["grade_reason"]


def test_a_frame_of_which_nothing_is_known_does_not_pass(database: Database) -> None:
    assert _reduce(database, 0, n_sources=0, fwhm_px=None, ellipticity=None, sky=None) == "unknown"
    (row,) = with_verdicts(grade_night(frame_rows(database), {"testcam": PROFILE}))
    assert row["verdict"] == "fail"
    assert row["why"].endswith("grade: unknown (no star's shape is known, and too few frames of the night "
                               "are there to compare with)")  # fmt: skip


def test_the_bounds_are_the_cameras(database: Database) -> None:
    _reduce(database, 0, ellipticity=0.3)
    rows = frame_rows(database)
    strict = CameraProfile.model_validate({"name": "testcam", "quality": {"ellipticity": [0.1, 0.2]}})
    tolerant = CameraProfile.model_validate({"name": "testcam", "quality": {"ellipticity": False}})
    assert [grade_night(rows, {"testcam": one})[0]["grade"] for one in (strict, tolerant, PROFILE)] == [
        "bad", "good", "fair",
    ]  # fmt: skip
    assert grade_night(rows, {})[0]["grade"] == "fair"


def test_calibrations_and_what_was_rejected_have_no_grade(database: Database) -> None:
    add_frame(database, "bias.fits", kind=FrameKind.BIAS)
    add_frame(database, "light.fits")
    assert [row["grade"] for row in grade_night(frame_rows(database), {})] == [None, None]
