"""What is held for a profile or a WCS is taken up when there is something new for it, and not before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nightflow.catalogs.importer import import_catalog
from nightflow.errors import NoSolution
from nightflow.pipeline.held import SOLVED_AGAIN, HeldAgain
from nightflow.store.models import State
from tests.unit.pipeline.station import PROFILE, START, Station, exposure, reduced, steps_of_straw

NOW = START + timedelta(days=1)


def add_index_file(station: Station) -> None:
    folder = station.root / "index-files"
    folder.mkdir()
    (folder / "index-4107.fits").write_bytes(b"")


def add_catalog(station: Station) -> None:
    stars = station.root / "stars.csv"
    stars.write_text("ra,dec,V\n132.8,11.8,9.5\n132.9,11.9,10.5\n")
    import_catalog(stars, "mine", station.root / "catalogs")


def mend_profile(station: Station) -> None:
    station.set_profile(PROFILE.replace("gain = 2.0", "gain = 2.1"))


@pytest.mark.parametrize("mend", [add_index_file, add_catalog, mend_profile])
def test_what_has_no_wcs_is_tried_with_what_is_new(
    station: Station, monkeypatch: pytest.MonkeyPatch, mend: object
) -> None:
    steps_of_straw(monkeypatch, solve=NoSolution("few stars"))
    reducer = station.reducer()
    held = reduced(reducer, station.frame("light.fits"))
    assert exposure(reducer, held.exposure_id).waits_for == "wcs"
    assert HeldAgain(reducer).queue(NOW) == 0
    mend(station)  # type: ignore[operator]
    later = station.reducer()
    assert HeldAgain(later).queue(NOW) == 1
    assert exposure(later, held.exposure_id).state == State.RECEIVED
    # Tried again in vain, with all that there is: that is that.
    assert reduced(later, station.raw / "light.fits").state == State.HELD
    assert HeldAgain(later).queue(NOW) == 0


def test_calibrations_solve_no_frame(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    steps_of_straw(monkeypatch, solve=NoSolution("few stars"))
    reducer = station.reducer()
    reduced(reducer, station.frame("light.fits"))
    for path in station.calibrations("bias"):
        reduced(reducer, path)
    assert HeldAgain(station.reducer()).queue(NOW) == 0


def test_frames_of_long_ago_are_left_without_a_wcs(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    steps_of_straw(monkeypatch, solve=NoSolution("few stars"))
    reducer = station.reducer()
    reduced(reducer, station.frame("light.fits"))
    add_index_file(station)
    assert HeldAgain(reducer).queue(START + SOLVED_AGAIN + timedelta(hours=1)) == 0
    assert HeldAgain(reducer).queue(START + SOLVED_AGAIN - timedelta(hours=1)) == 1


def test_what_no_profile_knew_is_tried_with_a_new_one(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_of_straw(monkeypatch)
    reducer = station.reducer()
    held = reduced(reducer, station.frame("light.fits", INSTRUME="newcam", EXPTIME=None, SHUTTER=30.0))
    assert exposure(reducer, held.exposure_id).waits_for == "profile"
    assert HeldAgain(reducer).queue(NOW) == 0
    new = PROFILE.replace("tinycam", "newcam").replace('"EXPTIME"', '"SHUTTER"')
    (station.root / "cameras" / "newcam.toml").write_text(new)
    later = station.reducer()
    assert HeldAgain(later).queue(NOW) == 1
    assert reduced(later, station.raw / "light.fits").state == State.DONE


def test_nothing_is_queued_over_and_over_for_a_worker_with_other_profiles(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_of_straw(monkeypatch, solve=NoSolution("few stars"))
    old, path = station.reducer(), station.frame("light.fits")
    reduced(old, path)
    mend_profile(station)
    look = HeldAgain(station.reducer())
    assert look.queue(NOW) == 1
    reduced(old, path)
    assert look.queue(NOW) == 0
