"""Which master a frame gets, and why not another; from the ledger alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from astropy.io import fits

from nightflow.errors import CalibrationAway, MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.pipeline.master_plan import MasterPlan, plan_master, policy_of, wanted_kinds
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.survey import key_of_row
from nightflow.store.ledger import settle_exposure
from nightflow.store.masters import masters, set_master_state
from nightflow.store.models import State
from tests.unit.pipeline.station import START, Station, only_frame, reduced, steps_of_straw


@pytest.fixture
def reducer(station: Station, monkeypatch: pytest.MonkeyPatch) -> Reducer:
    steps_of_straw(monkeypatch)
    return station.reducer()


def plan(reducer: Reducer, light: int, kind: str = "bias", *, definitive: bool = True) -> MasterPlan:
    profile = reducer.context.profiles["tinycam"]
    wanted = key_of_row(only_frame(reducer, light))
    return plan_master(reducer.database, FrameKind(kind), wanted, profile, definitive=definitive)


def take(station: Station, reducer: Reducer, kind: str, *, hours: float, count: int = 3, **cards) -> None:
    for path in station.calibrations(kind, count, hours=hours, **cards):
        assert reduced(reducer, path).state == "done"


def light(station: Station, reducer: Reducer, name: str = "light.fits", **cards) -> int:
    return reduced(reducer, station.frame(name, **cards)).exposure_id


def test_kinds_follow_the_profile(reducer: Reducer) -> None:
    profile = reducer.context.profiles["tinycam"]
    assert wanted_kinds(profile) == (FrameKind.BIAS, FrameKind.FLAT)
    assert [policy_of(profile, kind) for kind in (FrameKind.BIAS, FrameKind.DARK)] == ["required", "off"]


def test_the_raw_frames_of_the_nearest_night(station: Station, reducer: Reducer) -> None:
    for night in (-52, -4, 44):
        take(station, reducer, "bias", hours=night)
    found = plan(reducer, light(station, reducer))
    assert found.row is None
    assert [one.path.rsplit("/", 1)[-1] for one in found.inputs] == [f"bias-4-{n}.fits" for n in range(3)]


def test_a_plan_does_not_depend_on_the_order_of_arrival(station: Station, reducer: Reducer) -> None:
    paths = station.calibrations("bias")
    for path in paths[::-1]:
        reduced(reducer, path)
    first = plan(reducer, light(station, reducer))
    assert [one.path for one in first.inputs] == [str(path) for path in paths]


def test_flats_are_calibrated_with_the_bias_and_depend_on_it(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "flat", hours=-3)
    exposure_id = light(station, reducer)
    without = plan(reducer, exposure_id, "flat")
    take(station, reducer, "bias", hours=-4)
    with_bias = plan(reducer, exposure_id, "flat")
    assert without.needs == {}
    assert set(with_bias.needs) == {FrameKind.BIAS}
    assert without.fingerprint != with_bias.fingerprint


def test_a_miss_names_what_ruled_out_the_nearest(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "flat", hours=-3, FILTER="R")
    take(station, reducer, "flat", hours=-2, FILTER="V", GAINSET="high")
    with pytest.raises(MissingCalibration, match=r"no flat in V for tinycam 1x1") as caught:
        plan(reducer, light(station, reducer), "flat")
    assert "flat R 0.1 d away (filter R, not V)" in str(caught.value)
    assert "(gain_setting high, not unknown)" in str(caught.value)


def test_too_few_are_counted(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias", hours=-4, count=2)
    with pytest.raises(MissingCalibration, match="2 raw bias frames fit, 3 are needed"):
        plan(reducer, light(station, reducer))


def test_frames_that_were_rejected_are_no_input(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias", hours=-4)
    settle_exposure(reducer.database, 1, State.REJECTED, "light leak", now=START)
    with pytest.raises(MissingCalibration, match="2 raw bias frames fit, 3 are needed"):
        plan(reducer, light(station, reducer))


class TestWithMasters:
    """What happens once masters stand in the store."""

    def build(self, reducer: Reducer, exposure_id: int) -> MasterPlan:
        made = plan(reducer, exposure_id)
        reducer.context.masters.get(made, reducer.context.profiles["tinycam"])
        return made

    def test_a_built_master_is_found_again(self, station: Station, reducer: Reducer) -> None:
        take(station, reducer, "bias", hours=-4)
        exposure_id = light(station, reducer)
        made = self.build(reducer, exposure_id)
        for definitive in (True, False):
            again = plan(reducer, exposure_id, definitive=definitive)
            assert again.row is not None
            assert (again.fingerprint, again.inputs) == (made.fingerprint, ())

    def test_more_frames_make_a_new_one_only_when_definitive(
        self, station: Station, reducer: Reducer
    ) -> None:
        take(station, reducer, "bias", hours=-4, count=4)
        exposure_id = light(station, reducer)
        made = self.build(reducer, exposure_id)
        take(station, reducer, "bias", hours=2)
        assert plan(reducer, exposure_id, definitive=False).fingerprint == made.fingerprint
        better = plan(reducer, exposure_id, definitive=True)
        assert better.row is None
        assert len(better.inputs) == 7

    def test_frames_of_a_nearer_night_win_in_mid_night_too(self, station: Station, reducer: Reducer) -> None:
        take(station, reducer, "bias", hours=-52)
        made = self.build(reducer, light(station, reducer, "early.fits", OBJECT="x"))
        take(station, reducer, "bias", hours=-4)
        exposure_id = light(station, reducer)
        assert plan(reducer, exposure_id, definitive=False).fingerprint != made.fingerprint

    @pytest.mark.parametrize("definitive", [True, False])
    def test_a_rejected_master_is_not_used_and_not_made_again(
        self, station: Station, reducer: Reducer, definitive: bool
    ) -> None:
        take(station, reducer, "bias", hours=-4)
        exposure_id = light(station, reducer)
        self.build(reducer, exposure_id)
        (row,) = masters(reducer.database)
        set_master_state(reducer.database, row.id or 0, "rejected", "shutter stuck")
        with pytest.raises(MissingCalibration, match="rejected") as caught:
            plan(reducer, exposure_id, definitive=definitive)
        assert "bias 0.2 d away (state rejected: shutter stuck)" in str(caught.value)

    def test_the_next_night_stands_in_for_a_rejected_one(self, station: Station, reducer: Reducer) -> None:
        take(station, reducer, "bias", hours=-52)
        older = self.build(reducer, light(station, reducer, "early.fits", hours=-50))
        take(station, reducer, "bias", hours=-4)
        exposure_id = light(station, reducer)
        made = self.build(reducer, exposure_id)
        row = next(row for row in masters(reducer.database) if row.fingerprint == made.fingerprint)
        set_master_state(reducer.database, row.id or 0, "rejected", "shutter stuck")
        assert plan(reducer, exposure_id).fingerprint == older.fingerprint


def test_planning_opens_no_file(station: Station, reducer: Reducer, monkeypatch: pytest.MonkeyPatch) -> None:
    take(station, reducer, "bias", hours=-4)
    exposure_id = light(station, reducer)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(fits, "open", never)
    monkeypatch.setattr(Path, "open", never)
    assert len(plan(reducer, exposure_id).inputs) == 3


def test_files_that_are_away_are_left_out_until_they_are_back(station: Station, reducer: Reducer) -> None:
    """A network disk that drops out leaves nothing behind that outlasts it."""
    take(station, reducer, "bias", hours=-4, count=4)
    exposure_id = light(station, reducer)
    whole = plan(reducer, exposure_id)
    files = [Path(one.path) for one in whole.inputs]
    files[0].rename(files[0].with_suffix(".away"))
    part = plan(reducer, exposure_id)
    assert [Path(one.path) for one in part.inputs] == files[1:]
    assert part.fingerprint != whole.fingerprint
    files[1].rename(files[1].with_suffix(".away"))
    with pytest.raises(CalibrationAway, match=r"4 raw bias frames fit, but 2 of their files are"):
        plan(reducer, exposure_id)
    for file in files[:2]:
        file.with_suffix(".away").rename(file)
    assert plan(reducer, exposure_id).fingerprint == whole.fingerprint
