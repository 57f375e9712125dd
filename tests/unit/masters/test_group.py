from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import MasterSettings
from nightflow.masters.group import (
    Group,
    RawCalibration,
    calibration_sets,
    group_inputs,
    is_closed,
    night_blocks,
    raw_calibration,
)
from nightflow.masters.keys import MasterKey
from tests.unit.detector.frames import make_header

BIAS, DARK, FLAT, LIGHT = FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT, FrameKind.LIGHT
SETTINGS = MasterSettings()
MIDNIGHT = 60000.3

WANTED = MasterKey(
    kind=LIGHT, instrument="bench", shape=(10, 12), filter="V", exptime=60.0, ccd_temp=-20.0, mjd_mid=MIDNIGHT
)


def raw(
    kind: FrameKind, identity: str, mjd_mid: float | None = MIDNIGHT - 0.2, **changes: Any
) -> RawCalibration:
    return RawCalibration(
        **{
            "kind": kind, "identity": identity, "mjd_mid": mjd_mid, "instrument": "bench", "shape": (10, 12),
            "filter": "V", "exptime": 60.0, "ccd_temp": -20.0, **changes,
        }
    )  # fmt: skip


def series(kind: FrameKind, n: int, start: float, prefix: str = "f", **changes: Any) -> list[RawCalibration]:
    return [raw(kind, f"{prefix}{i}", start + i / 1000, **changes) for i in range(n)]


def names(group: Group) -> list[str]:
    return [frame.identity for frame in group.inputs]


def test_a_flat_in_another_filter_does_not_go_in() -> None:
    frames = [*series(FLAT, 7, MIDNIGHT - 0.3), raw(FLAT, "odd", filter="R")]
    group = group_inputs(FLAT, WANTED, frames, SETTINGS)
    assert names(group) == [f"f{i}" for i in range(7)]
    assert [(out.frame.identity, out.detail) for out in group.excluded] == [("odd", "filter R, not V")]


def test_dusk_and_dawn_are_one_night_and_the_next_dusk_is_another() -> None:
    frames = [
        *series(FLAT, 3, 60000.0, "dusk"),
        *series(FLAT, 3, 60000.45, "dawn"),
        *series(FLAT, 3, 60001.0, "next"),
    ]
    assert [len(block) for block in night_blocks(frames)] == [6, 3]
    assert names(group_inputs(FLAT, WANTED, frames, SETTINGS)) == [
        "dusk0", "dusk1", "dusk2", "dawn0", "dawn1", "dawn2",
    ]  # fmt: skip


def test_too_few_of_the_night_are_filled_up_from_the_next_nearest() -> None:
    frames = [
        *series(BIAS, 2, 60000.0, "tonight"),
        *series(BIAS, 4, 59998.0, "before"),
        *series(BIAS, 9, 59990.0, "long"),
    ]
    group = group_inputs(BIAS, WANTED, frames, SETTINGS)
    assert names(group) == ["before0", "before1", "before2", "before3", "tonight0", "tonight1"]


def test_frames_beyond_the_validity_are_left_out() -> None:
    group = group_inputs(BIAS, WANTED, series(BIAS, 5, MIDNIGHT - 40), SETTINGS)
    assert group.inputs == ()
    assert {out.key for out in group.excluded} == {"validity"}


def test_too_few_give_none_but_tell_how_many() -> None:
    group = group_inputs(BIAS, WANTED, series(BIAS, 2, 60000.0), SETTINGS)
    assert (group.inputs, group.found) == ((), 2)


def test_darks_match_in_exposure_and_temperature() -> None:
    frames = [
        *series(DARK, 3, 60000.0, "ok", exptime=60.5, ccd_temp=-19.5),
        *series(DARK, 3, 60000.0, "short", exptime=30.0),
        *series(DARK, 3, 60000.0, "warm", ccd_temp=-10.0),
    ]
    group = group_inputs(DARK, WANTED, frames, SETTINGS)
    assert names(group) == ["ok0", "ok1", "ok2"]
    assert sorted({out.key for out in group.excluded}) == ["ccd_temp", "exptime"]


@pytest.mark.parametrize(
    ("exposures", "taken"),
    [((60.0, 120.0, 300.0), "60"), ((30.0, 120.0, 300.0), "120"), ((10.0, 30.0), "30")],
)
def test_darks_to_be_scaled_are_of_one_exposure(exposures: tuple[float, ...], taken: str) -> None:
    frames = [f for e in exposures for f in series(DARK, 3, 60000.0, f"{e:g}-", exptime=e)]
    group = group_inputs(DARK, WANTED, frames, SETTINGS, any_exposure=True)
    assert {identity.split("-")[0] for identity in names(group)} == {taken}
    assert group.found == len(frames)


def test_too_few_of_the_right_exposure_give_way_to_another() -> None:
    frames = [*series(DARK, 2, 60000.0, "right"), *series(DARK, 3, 60000.0, "long", exptime=300.0)]
    group = group_inputs(DARK, WANTED, frames, SETTINGS, any_exposure=True)
    assert names(group) == ["long0", "long1", "long2"]


def test_darks_of_a_frame_without_temperature_are_of_one_temperature() -> None:
    key = MasterKey(kind=LIGHT, instrument="bench", shape=(10, 12), exptime=60.0, mjd_mid=MIDNIGHT)
    frames = [*series(DARK, 4, 60000.0, "cold"), *series(DARK, 2, 60000.1, "warm", ccd_temp=5.0)]
    assert names(group_inputs(DARK, key, frames, SETTINGS)) == ["cold0", "cold1", "cold2", "cold3"]


def test_frames_without_a_time_come_last() -> None:
    frames = [*(raw(BIAS, f"untimed{i}", None) for i in range(4)), *series(BIAS, 3, 60000.0)]
    assert names(group_inputs(BIAS, WANTED, frames, SETTINGS)) == ["f0", "f1", "f2"]
    assert len(group_inputs(BIAS, WANTED, frames[:4], SETTINGS).inputs) == 4


def test_a_header_gives_the_keys() -> None:
    frame = raw_calibration(make_header(kind=FLAT, filter="B"), "exposure 7")
    assert (frame.kind, frame.filter, frame.identity) == (FLAT, "B", "exposure 7")


NOW = 60000.0
MINUTE = 1 / 1440


def landed(n: int, minutes_ago: float, prefix: str = "f", **changes: Any) -> list[RawCalibration]:
    """Return frames taken and received a minute apart, the last one so long ago."""
    times = [NOW - (minutes_ago + n - 1 - i) * MINUTE for i in range(n)]
    changes = {"kind": FLAT} | changes
    return [raw(identity=f"{prefix}{i}", mjd_mid=t, received=t, **changes) for i, t in enumerate(times)]


def test_a_set_closes_on_a_gap_in_time() -> None:
    assert not is_closed(landed(5, 14.9), SETTINGS, NOW)
    assert is_closed(landed(5, 15.1), SETTINGS, NOW)


def test_a_set_of_long_darks_waits_for_the_next() -> None:
    assert not is_closed(landed(3, 25, kind=DARK, exptime=900.0), SETTINGS, NOW)
    assert is_closed(landed(3, 31, kind=DARK, exptime=900.0), SETTINGS, NOW)


def test_a_set_closes_on_its_count() -> None:
    settings = MasterSettings(set_count=5)
    assert not is_closed(landed(4, 1), settings, NOW)
    assert is_closed(landed(5, 1), settings, NOW)


def test_frames_are_parted_into_sets_where_a_gap_goes_by() -> None:
    frames = [*landed(3, 60, "dusk"), *landed(4, 1, "dawn"), raw(FLAT, "untimed", None)]
    assert [len(one) for one in calibration_sets(frames, SETTINGS)] == [3, 4, 1]


def test_a_growing_set_is_kept_out_and_told() -> None:
    frames = [*landed(3, 60, "dusk"), *landed(4, 1, "now")]
    wanted = replace(WANTED, mjd_mid=NOW)
    group = group_inputs(FLAT, wanted, frames, SETTINGS, now=NOW)
    assert names(group) == ["dusk0", "dusk1", "dusk2"]
    assert len(group.growing) == 7
    later = group_inputs(FLAT, wanted, frames, SETTINGS, now=NOW + 15 * MINUTE)
    assert (len(later.inputs), later.growing) == (7, ())


def test_only_a_growing_set_is_no_input_yet() -> None:
    group = group_inputs(FLAT, replace(WANTED, mjd_mid=NOW), landed(4, 1), SETTINGS, now=NOW)
    assert group.inputs == ()
    assert [frame.identity for frame in group.growing] == ["f0", "f1", "f2", "f3"]


def test_other_sets_stand_by_the_parts_of_the_night_first() -> None:
    frames = [
        *series(FLAT, 3, MIDNIGHT - 0.3, "dusk"), *series(FLAT, 4, MIDNIGHT + 0.1, "dawn"),
        *series(FLAT, 5, MIDNIGHT - 3, "old"),
    ]  # fmt: skip
    group = group_inputs(FLAT, WANTED, frames, SETTINGS)
    assert len(group.inputs) == 7
    assert [one[0].identity for one in group.alternatives] == ["dawn0", "dusk0", "old0"]


@pytest.mark.parametrize(
    ("tolerance", "rotator", "fits"),
    [(None, 90.0, True), (5.0, 3.0, True), (5.0, 356.0, True), (5.0, 10.0, False)],
)
def test_the_rotator_of_a_flat_matters_where_the_profile_says_so(
    tolerance: float | None, rotator: float, fits: bool
) -> None:
    frames = series(FLAT, 3, 60000.0, rotator=rotator)
    group = group_inputs(
        FLAT, replace(WANTED, rotator=0.0), frames, MasterSettings(rotator_tolerance=tolerance)
    )
    assert bool(group.inputs) == fits
    assert fits or group.excluded[0].detail == "rotator 10.0 deg, not within 5 of 0.0"


FRAMES = st.lists(
    st.builds(
        raw,
        st.sampled_from([BIAS, DARK, FLAT]),
        st.just(""),
        st.one_of(st.none(), st.floats(59960, 60040)),
        filter=st.sampled_from(["V", "R"]),
        exptime=st.sampled_from([30.0, 60.0, 60.5]),
        ccd_temp=st.sampled_from([None, -20.0, -19.2, -10.0]),
    ),
    max_size=20,
).map(lambda frames: [RawCalibration(**{**vars(f), "identity": f"{n:02}"}) for n, f in enumerate(frames)])


@settings(max_examples=200)
@given(FRAMES, st.sampled_from([BIAS, DARK, FLAT]), st.booleans(), st.randoms(use_true_random=False))
def test_properties_of_a_group(
    frames: list[RawCalibration], kind: FrameKind, scaled: bool, random: Any
) -> None:
    group = group_inputs(kind, WANTED, frames, SETTINGS, any_exposure=scaled)
    assert not group.inputs or len(group.inputs) >= SETTINGS.minimum_inputs
    assert group.found + len(group.excluded) == sum(frame.kind == kind for frame in frames)
    assert all(frame.kind == kind for frame in group.inputs)
    if kind == FLAT:
        assert all(frame.filter == "V" for frame in group.inputs)
    if kind == DARK and group.inputs:
        exposures = [frame.exptime for frame in group.inputs]
        assert max(exposures) - min(exposures) <= 0.02 * max(exposures)
    assert all(f.mjd_mid is None or abs(f.mjd_mid - MIDNIGHT) <= SETTINGS.validity_days for f in group.inputs)
    random.shuffle(frames)
    assert group_inputs(kind, WANTED, frames, SETTINGS, any_exposure=scaled) == group


@given(FRAMES)
def test_blocks_hold_every_frame_once_and_gaps_part_them(frames: list[RawCalibration]) -> None:
    blocks = night_blocks(frames)
    assert sorted(f.identity for block in blocks for f in block) == sorted(f.identity for f in frames)
    timed = [[f.mjd_mid for f in block if f.mjd_mid is not None] for block in blocks]
    timed = [times for times in timed if times]
    assert all(b - a <= 0.5 for times in timed for a, b in pairwise(times))
    assert all(b[0] - a[-1] > 0.5 for a, b in pairwise(timed))
