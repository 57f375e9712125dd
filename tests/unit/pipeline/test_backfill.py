"""Which exposures a backfill takes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from nightflow.errors import ConfigurationError
from nightflow.pipeline.backfill import PlannedFile, planned_files, planned_frames, select
from nightflow.pipeline.run import reduce_paths
from tests.unit.pipeline.station import PROFILE, Station, exposure, steps_of_straw

FIRST, SECOND, THIRD = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)


@pytest.fixture
def nights(station: Station, monkeypatch: pytest.MonkeyPatch) -> Station:
    """One light in each of three nights; the second one past midnight, UTC."""
    steps_of_straw(monkeypatch)
    for name, hours in {"first": 0.0, "second": 28.0, "third": 48.0}.items():
        station.frame(f"{name}.fits", hours=hours)
    reduce_paths(station.reducer(), [station.raw])
    return station


def chosen(station: Station, *arguments, **options) -> list[str]:
    reducer = station.reducer()
    return [Path(exposure(reducer, one).path).stem for one in select(reducer, *arguments, **options)]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, ["first", "second", "third"]),
        ({"night": SECOND}, ["second"]),
        ({"since": SECOND}, ["second", "third"]),
        ({"until": SECOND}, ["first", "second"]),
        ({"since": SECOND, "until": SECOND}, ["second"]),
        ({"since": date(2026, 3, 4)}, []),
        ({"night": date(1999, 1, 1)}, []),
    ],
)
def test_nights_are_named_by_their_evening(nights: Station, bounds: dict, expected: list[str]) -> None:
    assert chosen(nights, **bounds, force=True) == expected


def test_nothing_without_a_change(nights: Station) -> None:
    assert chosen(nights) == []


def test_what_has_changed_within_the_nights(nights: Station) -> None:
    nights.set_profile(PROFILE.replace("gain = 2.0", "gain = 2.2"))
    assert chosen(nights, since=SECOND) == ["second", "third"]


def test_the_site_decides_what_an_evening_is(nights: Station) -> None:
    """Where clocks are ten hours ahead, 02:00 UTC is noon: a new night begins."""
    nights.set_profile(PROFILE + "[site]\nlatitude = -30.0\nlongitude = 150.0\n")
    reducer = nights.reducer()
    reduce_paths(reducer, [nights.raw], force=True)
    assert chosen(nights, night=FIRST, force=True) == ["first"]
    assert chosen(nights, night=SECOND, force=True) == []
    assert chosen(nights, night=THIRD, force=True) == ["second", "third"]


def test_a_path_brings_in_what_is_new(nights: Station) -> None:
    folder = nights.raw / "found"
    folder.mkdir()
    nights.frame("found/late.fits", hours=1.0)
    assert chosen(nights, path=str(folder)) == ["late"]


def test_garbage_has_no_night(nights: Station) -> None:
    (nights.raw / "empty.fits").write_bytes(b"")
    assert chosen(nights, path=str(nights.raw)) == ["empty"]
    assert "empty" not in chosen(nights, since=date(2000, 1, 1), force=True)
    assert "empty" in chosen(nights, force=True)


def test_a_path_that_is_not_there(nights: Station) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        chosen(nights, path=str(nights.raw / "nowhere"))


def test_a_camera_by_the_name_of_its_profile(nights: Station) -> None:
    assert chosen(nights, SECOND, camera="tinycam", force=True) == ["second", "third"]
    with pytest.raises(ConfigurationError, match=r"camera 'tiny'.*there are .*tinycam"):
        chosen(nights, camera="tiny")


def test_a_plan_names_the_files(nights: Station) -> None:
    reducer = nights.reducer()
    rows = planned_frames(reducer, select(reducer, night=SECOND, force=True))
    assert [(row["file"], row["kind"], row["night"], row["state"]) for row in rows] == [
        ("second.fits", "light", "2026-03-02", "done")
    ]
    ids = select(reducer, since=SECOND, force=True)
    files = planned_files(reducer, ids)
    assert files == [
        PlannedFile(str(nights.raw / f"{name}.fits"), "light", "done") for name in ("second", "third")
    ]
    assert planned_files(reducer, ids[::-1]) == files[::-1], "in the order of the reduction"
