"""Which exposures a backfill takes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from nightflow.errors import ConfigurationError
from nightflow.pipeline import backfill as backfill_module
from nightflow.pipeline.backfill import PLANNED, PlannedFile, Selection, planned_files, planned_frames, select
from nightflow.pipeline.register import find_files
from nightflow.pipeline.run import reduce_paths
from nightflow.store.overview import counts
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
    return [
        Path(exposure(reducer, one).path).stem for one in select(reducer, *arguments, **options).exposures
    ]


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
    plan = select(reducer, since=SECOND, force=True)
    files = planned_files(reducer, plan)
    assert files == [
        PlannedFile(str(nights.raw / f"{name}.fits"), "light", "done") for name in ("second", "third")
    ]
    turned = Selection(plan.exposures[::-1], [])
    assert planned_files(reducer, turned) == files[::-1], "in the order of the reduction"


def test_a_dry_run_names_files_that_are_not_received_and_receives_none(nights: Station) -> None:
    reducer = nights.reducer()
    new = nights.frame("new.fits", hours=1.0)
    (nights.raw / "new-copy.fits").write_bytes(new.read_bytes())
    before = counts(reducer.database)

    plan = select(reducer, path=str(nights.raw), dry_run=True)
    assert plan.exposures == [], "nothing has changed for those that are known"
    (file,) = planned_files(reducer, plan)
    assert (Path(file.path).name, file.kind, file.state) == ("new-copy.fits", "unknown", "not yet received")
    (row,) = planned_frames(reducer, plan)
    assert set(row) == set(PLANNED)
    assert (row["file"], row["state"]) == ("new-copy.fits", "not yet received")
    assert plan.summary == (
        "1 exposure would be reduced, 1 of them not yet received; nothing has changed for 3 exposures"
    )

    plan = select(reducer, path=str(nights.raw), force=True, dry_run=True)
    assert [Path(one.path).name for one in planned_files(reducer, plan)] == [
        "first.fits",
        "second.fits",
        "third.fits",
        "new-copy.fits",
    ]
    assert plan.summary == "4 exposures would be reduced, 1 of them not yet received"
    assert counts(reducer.database) == before


@pytest.mark.parametrize("asked", [{"night": FIRST}, {"since": FIRST}, {"camera": "tinycam"}])
def test_of_a_night_or_camera_a_file_that_is_not_received_is_none(nights: Station, asked: dict) -> None:
    folder = nights.raw / "found"
    folder.mkdir()
    nights.frame("found/late.fits", hours=1.0)
    assert select(nights.reducer(), path=str(folder), dry_run=True, **asked) == Selection([], [])
    assert select(nights.reducer(), path=str(folder), **asked) == Selection([], []), "as when it is done"


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_file_that_vanishes_while_others_are_looked_at_is_left_out(
    nights: Station, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    def list_then_lose(paths: list[Path]) -> list[Path]:
        found = find_files(paths)
        (nights.raw / "second.fits").unlink()
        return found

    monkeypatch.setattr(backfill_module, "find_files", list_then_lose)
    assert chosen(nights, path=str(nights.raw), force=True, dry_run=dry_run) == ["first", "third"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_was_moved_is_taken_at_its_new_place(nights: Station, dry_run: bool) -> None:
    elsewhere = nights.root / "elsewhere"
    nights.raw.rename(elsewhere)
    plan = select(nights.reducer(), path=str(elsewhere), force=True, dry_run=dry_run)
    assert (len(plan.exposures), plan.unknown) == (3, [])


@pytest.mark.parametrize("is_received", [True, False])
@pytest.mark.parametrize("named", ["copy.fits", ""])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_duplicate_is_never_taken(nights: Station, is_received: bool, named: str, dry_run: bool) -> None:
    (nights.raw / "copy.fits").write_bytes((nights.raw / "first.fits").read_bytes())
    if is_received:
        reduce_paths(nights.reducer(), [nights.raw])
    expected = [] if named else ["first", "second", "third"]
    assert chosen(nights, path=str(nights.raw / named), force=True, dry_run=dry_run) == expected
