"""What is held for a profile or a WCS is taken up when there is something new for it, and not before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from nightflow.catalogs.importer import import_catalog
from nightflow.errors import NoSolution
from nightflow.pipeline.held import SOLVED_AGAIN, HeldAgain
from nightflow.pipeline.reducer import Reducer
from nightflow.store.frames import frames_of
from nightflow.store.models import State
from tests.unit.pipeline.station import (
    PROFILE,
    START,
    Station,
    entered,
    exposure,
    reduced,
    steps_of_straw,
)

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


class TestAnotherCameraHasTaken:
    """The file was recognised by one profile, and is now by another, which names its chips otherwise."""

    @pytest.fixture
    def retaken(self, station: Station, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Reducer]:
        def retake(reducer: Reducer, path: Path, **options: str) -> Reducer:
            assert reduced(reducer, path).state == State.HELD
            station.set_profile(PROFILE.replace("^tinycam$", "^nothing$"))
            other = PROFILE.replace('name = "tinycam"', 'name = "zcam"').replace('detector = "CHIP"\n', "")
            (station.root / "cameras" / "zcam.toml").write_text(other)
            later = station.reducer(**options)
            assert reduced(later, path).state == State.HELD
            assert [frame.instrument for frame in frames_of(later.database, 1)] == ["zcam"]
            return later

        return retake

    def test_it_is_not_queued_at_each_start(
        self, station: Station, monkeypatch: pytest.MonkeyPatch, retaken: Callable[..., Reducer]
    ) -> None:
        steps_of_straw(monkeypatch, solve=NoSolution("few stars"))
        retaken(station.reducer(), station.frame("light.fits"))
        assert HeldAgain(station.reducer()).queue(NOW) == 0

    def test_what_waits_for_a_calibration_is_not_queued_at_once(
        self, station: Station, retaken: Callable[..., Reducer]
    ) -> None:
        options = {"missing_calibration": "hold", "until": "calibrate"}
        later = retaken(station.reducer(**options), station.frame("light.fits"), **options)
        assert exposure(later, 1).state == State.HELD


def test_catalogues_and_index_files_are_listed_once_a_frame(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    reducer, listed = station.reducer(missing_calibration="hold"), []
    names = reducer.context.catalogs.names

    def listing() -> list[str]:
        listed.append(1)
        return names()

    monkeypatch.setattr(reducer.context.catalogs, "names", listing)
    reducer.identify(entered(reducer, station.frame("light.fits")))
    assert len(listed) == 1
