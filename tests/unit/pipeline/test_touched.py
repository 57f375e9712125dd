"""Frames that better masters touch are queued, once; the old reductions stay."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from nightflow.errors import RetryLater
from nightflow.pipeline import touched
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.touched import BetterMasters, better_masters, touched_by, users_of
from nightflow.store.blocks import reduced_lights
from nightflow.store.masters import masters, set_master_state
from nightflow.store.models import Priority, State
from nightflow.store.overview import reductions_of
from tests.unit.pipeline.station import Station, exposure, only_frame, reduced
from tests.unit.pipeline.test_night_block import Clock, again, take


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reducer(station: Station, clock: Clock) -> Reducer:
    """A night in the ledger, reduced while it went on with the flats of two nights ago."""
    reducer = station.reducer(definitive_masters=False, until="calibrate", clock=clock)
    take(station, reducer, "bias", -4)
    take(station, reducer, "flat", -50)
    clock.after(20)
    for number in range(2):
        assert reduced(reducer, station.frame(f"light{number}.fits", hours=number)).state == "done"
    return reducer


def lights(reducer: Reducer) -> list[int]:
    return [frame.exposure_id for frame, _ in reduced_lights(reducer.database)]


def versions(reducer: Reducer, exposure_id: int) -> list[tuple[bool, str]]:
    frame = only_frame(reducer, exposure_id)
    return [
        (one.current, one.masters.get("flat", "")) for one in reductions_of(reducer.database, frame.id or 0)
    ]


class TestDawn:
    """Flats that are taken at dawn."""

    def test_flats_at_dawn_make_new_versions_when_the_night_is_over(
        self, station: Station, reducer: Reducer, clock: Clock
    ) -> None:
        ids, better = lights(reducer), BetterMasters(reducer.context)
        take(station, reducer, "flat", 7)
        assert better.queue(clock.after(30)) == 0
        assert {exposure(reducer, one).state for one in ids} == {State.DONE}
        assert better.queue(clock.after(61)) == 2
        queued = [exposure(reducer, one) for one in ids]
        assert {(one.state, one.priority) for one in queued} == {(State.RECEIVED, Priority.REDO)}
        for number, exposure_id in enumerate(ids):
            assert reduced(reducer, station.raw / f"light{number}.fits").state == "done"
            (was, old), (now, new) = versions(reducer, exposure_id)
            assert (was, now) == (False, True)
            assert old != new
        assert better.queue(clock.after(70)) == 0

    def test_a_store_that_is_locked_loses_none(
        self, station: Station, reducer: Reducer, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take(station, reducer, "flat", 7)
        better, requeue = BetterMasters(reducer.context), touched.requeue

        def locked(*_: object, **__: object) -> int:
            raise RetryLater("the store is locked")

        monkeypatch.setattr(touched, "requeue", locked)
        with pytest.raises(RetryLater):
            better.queue(clock.after(61))
        monkeypatch.setattr(touched, "requeue", requeue)
        assert better.queue(clock.after(62)) == 2

    def test_files_that_come_back_are_noticed(self, station: Station, reducer: Reducer, clock: Clock) -> None:
        take(station, reducer, "flat", 7)
        flats = sorted(station.raw.glob("flat+7*"))
        for flat in sorted(station.raw.glob("flat-50*")) + flats:
            flat.rename(flat.with_suffix(".away"))
        for row in masters(reducer.database, kind="flat"):
            set_master_state(reducer.database, row.id or 0, "rejected", "clouds")
        clock.after(61)
        ids = [again(reducer, station.raw / f"light{number}.fits") for number in range(2)]
        assert {versions(reducer, one)[-1][1] for one in ids} == {""}
        better = BetterMasters(reducer.context)
        assert [better.queue(clock.after(minutes)) for minutes in (62, 63)] == [0, 0]
        for flat in flats:
            flat.with_suffix(".away").rename(flat)
        assert better.queue(clock.after(64)) == 2

    def test_without_better_masters_nothing_is_queued(self, reducer: Reducer, clock: Clock) -> None:
        better = BetterMasters(reducer.context)
        assert [better.queue(clock.after(minutes)) for minutes in (30, 61, 120)] == [0, 0, 0]

    def test_flats_that_vetting_refuses_touch_nothing(
        self, station: Station, reducer: Reducer, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tests.unit.pipeline import station as module

        plain = module.pixels
        monkeypatch.setattr(module, "pixels", lambda kind, seed: plain(kind, seed) % 100 + 65400)
        take(station, reducer, "flat", 7)
        assert BetterMasters(reducer.context).queue(clock.after(61)) == 0
        assert [row.state for row in masters(reducer.database, kind="flat")] == ["approved", "rejected"]

    def test_old_nights_are_left_to_finish(self, station: Station, reducer: Reducer, clock: Clock) -> None:
        take(station, reducer, "flat", 7)
        assert BetterMasters(reducer.context).queue(clock.after(4 * 24 * 60)) == 0

    def test_what_was_queued_is_remembered_as_long_as_it_is_looked_at(
        self, station: Station, reducer: Reducer, clock: Clock
    ) -> None:
        take(station, reducer, "flat", 7)
        better = BetterMasters(reducer.context)
        assert [better.queue(clock.after(minutes)) for minutes in (61, 62)] == [2, 0]
        assert len(better._queued) == 2
        better.queue(clock.after(4 * 24 * 60))
        assert not better._queued

    def test_a_second_service_finds_nothing_to_do(
        self, station: Station, reducer: Reducer, clock: Clock
    ) -> None:
        take(station, reducer, "flat", 7)
        assert BetterMasters(reducer.context).queue(clock.after(61)) == 2
        for number in range(2):
            assert reduced(reducer, station.raw / f"light{number}.fits").state == "done"
        assert BetterMasters(reducer.context).queue(clock.after(62)) == 0


def test_what_would_be_better_is_said_by_kind(station: Station, reducer: Reducer, clock: Clock) -> None:
    light = reduced_lights(reducer.database)[0]
    take(station, reducer, "flat", 7)
    assert better_masters(reducer.context, light) == {}
    clock.after(61)
    assert set(better_masters(reducer.context, light)) == {"flat"}


def test_users_are_found_through_what_was_made_with_it(reducer: Reducer) -> None:
    flat, bias = (masters(reducer.database, kind=kind)[0] for kind in ("flat", "bias"))
    assert flat.statistics["made_with"] == {"bias": bias.fingerprint}
    assert users_of(reducer.database, flat) == users_of(reducer.database, bias) == lights(reducer)


def test_an_approved_master_touches_what_it_fits_best(
    station: Station, reducer: Reducer, clock: Clock
) -> None:
    take(station, reducer, "flat", 7)
    clock.after(61)
    first = reduced_lights(reducer.database)[0]
    again(reducer, station.raw / "light0.fits")
    old, new = masters(reducer.database, kind="flat")
    assert touched_by(reducer.context, new) == [lights(reducer)[1]]
    assert touched_by(reducer.context, old) == []
    set_master_state(reducer.database, new.id or 0, "rejected", "a test")
    assert touched_by(reducer.context, old) == [first[0].exposure_id]


def test_lights_of_a_night_that_goes_on_are_not_touched(
    station: Station, reducer: Reducer, clock: Clock
) -> None:
    take(station, reducer, "flat", 7)
    old, _ = masters(reducer.database, kind="flat")[0], clock.after(40)
    assert touched_by(reducer.context, old) == []


def test_a_night_is_looked_at_once_however_many_lights_it_has(
    station: Station, reducer: Reducer, clock: Clock
) -> None:
    def asked() -> int:
        statements: list[object] = []

        def note(*given: object) -> None:
            statements.append(given[2])

        event.listen(reducer.database.engine, "before_cursor_execute", note)
        assert BetterMasters(reducer.context).queue(clock.after(5)) == 0
        event.remove(reducer.database.engine, "before_cursor_execute", note)
        return len(statements)

    of_two = asked()
    for number in range(2, 5):
        assert reduced(reducer, station.frame(f"light{number}.fits", hours=number)).state == "done"
    assert asked() == of_two
