"""What is reduced is what was received, wherever it lies by then."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nightflow.errors import ContentGone, RetryLater
from nightflow.instruments.fits_file import content_hash
from nightflow.pipeline import calibrate as calibrate_module
from nightflow.pipeline import reducer as reducer_module
from nightflow.pipeline.raw_content import check_content
from nightflow.pipeline.reduce_exposure import reduce_exposure
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.register import register
from nightflow.pipeline.run import reduce_paths
from nightflow.store.models import State
from nightflow.store.overview import current_reduction, find_exposures
from tests.unit.pipeline.station import (
    PROFILE,
    START,
    Station,
    entered,
    exposure,
    only_frame,
    reduced,
    steps_of_straw,
)


@pytest.fixture
def reducer(station: Station, monkeypatch: pytest.MonkeyPatch) -> Reducer:
    """A reducer whose steps are of straw, but for the first."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    steps_of_straw(monkeypatch)
    monkeypatch.setitem(reducer_module._WORKERS, "calibrate", calibrate_module.calibrate)
    without = 'calibration = { bias = "off", dark = "off", flat = "off" }'
    station.set_profile(
        PROFILE.replace('calibration = { bias = "required", dark = "off", flat = "required" }', without)
    )
    return station.reducer(clock=lambda: START)


def copied(path: Path, name: str) -> Path:
    copy = path.with_name(name)
    copy.write_bytes(path.read_bytes())
    return copy


class TestACopyOutlivesTheOriginal:
    @pytest.mark.parametrize("lost", ["deleted", "overwritten"])
    def test_it_is_reduced_instead(self, station: Station, reducer: Reducer, lost: str) -> None:
        latest = station.frame("latest.fits")
        exposure_id, copy = entered(reducer, latest), copied(latest, "f0001.fits")
        assert entered(reducer, copy) != exposure_id
        latest.unlink()
        if lost == "overwritten":
            station.frame("latest.fits", hours=1.0)
        assert reduce_exposure(reducer, exposure_id).state == State.DONE
        assert exposure(reducer, exposure_id).path == str(copy)

    def test_without_one_it_is_rejected_until_one_comes(self, station: Station, reducer: Reducer) -> None:
        latest = station.frame("latest.fits")
        exposure_id, content = entered(reducer, latest), latest.read_bytes()
        latest.unlink()
        station.frame("latest.fits", hours=1.0)
        outcome = reduce_exposure(reducer, exposure_id)
        assert outcome.state == State.REJECTED
        assert "latest.fits: the file is another one now" in outcome.reason
        found = station.raw / "f0001.fits"
        found.write_bytes(content)
        report = reduce_paths(reducer, [found])
        assert [(one.exposure_id, one.state) for one in report.outcomes] == [(exposure_id, "done")]

    def test_one_that_comes_while_it_is_being_rejected(self, station: Station, reducer: Reducer) -> None:
        """Whoever saw it come found its exposure in work, and left it alone."""
        latest = station.frame("latest.fits")
        exposure_id, content = entered(reducer, latest), latest.read_bytes()
        latest.unlink()
        station.frame("latest.fits", hours=1.0)
        with pytest.raises(ContentGone) as gone:
            reducer.identify(exposure_id)
        latest.write_bytes(content)
        reducer.conclude(exposure_id, gone.value)
        assert exposure(reducer, exposure_id).state == State.RECEIVED


def test_content_that_was_put_back_is_the_one_in_the_light_curves(station: Station, reducer: Reducer) -> None:
    path = station.frame("light.fits")
    good, first = path.read_bytes(), reduced(reducer, path).exposure_id
    path.unlink()
    second = reduced(reducer, station.frame("light.fits", OBJECT="M 66")).exposure_id
    assert exposure(reducer, first).state == State.REJECTED
    path.write_bytes(good)
    report = reduce_paths(reducer, [path])
    assert [(one.exposure_id, one.state) for one in report.outcomes] == [(first, "done")]
    assert [exposure(reducer, one).state for one in (first, second)] == [State.DONE, State.REJECTED]
    assert current_reduction(reducer.database, only_frame(reducer, first).id or 0) is not None
    assert current_reduction(reducer.database, only_frame(reducer, second).id or 0) is None
    assert reduce_paths(reducer, [path]).outcomes == (), "the same again changes nothing"


@pytest.mark.parametrize("name", [b"K\xf6ln_001.fits", rb"K\udcf6ln_002.fits", "Köln_003.fits".encode()])
def test_a_name_that_is_not_utf8(station: Station, reducer: Reducer, name: bytes) -> None:
    path = station.frame("ascii.fits").rename(station.raw / os.fsdecode(name))
    (outcome,) = reduce_paths(reducer, [station.raw]).outcomes
    assert outcome.state == "done"
    outcome.path.encode("utf-8")
    assert [one.id for one in find_exposures(reducer.database, Path(outcome.path).name)] == [1]
    path.unlink()
    outcome = reduce_exposure(reducer, 1)
    assert outcome.state == "held", "it is not there any more"


class TestReplacedWhileItIsRead:
    def test_pixels_of_another_file_are_no_reduction(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = station.frame("light.fits")
        other = station.frame("other.fits", OBJECT="M 66").read_bytes()

        def replaced(work, context):
            path.write_bytes(other)
            return calibrate_module.calibrate(work, context)

        monkeypatch.setitem(reducer_module._WORKERS, "calibrate", replaced)
        outcome = reduced(reducer, path)
        assert outcome.state == "rejected"
        assert "the file is another one now" in outcome.reason
        assert current_reduction(reducer.database, only_frame(reducer, outcome.exposure_id).id or 0) is None

    def test_what_is_wrong_with_the_other_file_is_not_said_of_this_one(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = station.frame("light.fits")
        copy = copied(path, "copy.fits")
        entered(reducer, path)
        entered(reducer, copy)

        def replaced(work, context):
            path.write_bytes(b"being written")
            return calibrate_module.calibrate(work, context)

        monkeypatch.setitem(reducer_module._WORKERS, "calibrate", replaced)
        outcome = reduced(reducer, path)
        assert outcome.state == "rejected"
        assert "the file is another one now" in outcome.reason
        assert exposure(reducer, outcome.exposure_id).state == State.RECEIVED, "its copy is there"

    def test_headers_of_another_file_are_not_written_down(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = station.frame("light.fits")
        other = station.frame("other.fits", OBJECT="M 66").read_bytes()
        identify = reducer_module.identify_file

        def replaced(*arguments, **options):
            path.write_bytes(other)
            return identify(*arguments, **options)

        monkeypatch.setattr(reducer_module, "identify_file", replaced)
        assert reduced(reducer, path).state == "rejected"

    def test_a_file_that_was_only_touched_goes_on(
        self, station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = station.frame("light.fits")

        def touched(work, context):
            os.utime(path, (1, 1))
            return calibrate_module.calibrate(work, context)

        monkeypatch.setitem(reducer_module._WORKERS, "calibrate", touched)
        assert reduced(reducer, path).state == "done"

    def test_a_file_that_goes_away_meanwhile_is_waited_for(self, station: Station) -> None:
        path = station.frame("light.fits")
        content = check_content(path, content_hash(path))
        with pytest.raises(RetryLater, match=r"light\.fits"), content.unchanged():
            path.unlink()


def test_a_duplicate_of_a_living_original_stays_one(station: Station, reducer: Reducer) -> None:
    path = station.frame("light.fits")
    copy = copied(path, "copy.fits")
    reduced(reducer, path)
    assert reduce_paths(reducer, [copy]).outcomes == ()
    assert register(reducer.database, copy, priority=20, now=START).state == State.DUPLICATE
    assert exposure(reducer, 1).path == str(path)
