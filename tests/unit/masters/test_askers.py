"""One frame of each set is asked for it, and is told what each would have been told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import MasterSettings
from nightflow.masters.askers import one_of_each_set
from nightflow.masters.group import RawCalibration, group_inputs

BIAS, DARK, FLAT = FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT
SETTINGS = MasterSettings(validity_days=3.0)


def raw(kind: FrameKind, identity: str, mjd_mid: float | None, **changes: Any) -> RawCalibration:
    return RawCalibration(
        **{"kind": kind, "identity": identity, "mjd_mid": mjd_mid, "instrument": "bench", "shape": (10, 12)}
        | changes
    )


def series(kind: FrameKind, n: int, start: float, prefix: str, **changes: Any) -> list[RawCalibration]:
    return [raw(kind, f"{prefix}{i:04}", start + i / 10000, **changes) for i in range(n)]


def asked(kind: FrameKind, frames: list[RawCalibration], **changes: Any) -> list[str]:
    told = one_of_each_set(kind, frames, frames, SETTINGS.model_copy(update=changes))
    return [frame.identity for frame in told]


def test_a_thousand_frames_of_two_filters_ask_twice() -> None:
    frames = [*series(FLAT, 500, 60000.0, "v", filter="V"), *series(FLAT, 500, 60000.01, "r", filter="R")]
    assert asked(FLAT, frames) == ["v0000", "r0000"]


def test_what_does_not_count_parts_none() -> None:
    """Twilight flats differ in exposure, and biases in temperature."""
    flats = [raw(FLAT, f"f{i}", 60000.0 + i / 1000, exptime=1.0 + i, rotator=3.0 * i) for i in range(9)]
    assert asked(FLAT, flats) == ["f0"]
    assert len(asked(FLAT, flats, rotator_tolerance=2.0)) == 9
    biases = [raw(BIAS, f"b{i}", 60000.0 + i / 1000, ccd_temp=-20.0 + i / 100) for i in range(9)]
    assert asked(BIAS, biases) == ["b0"]


def test_each_of_too_few_asks_for_itself() -> None:
    """Which other night fills them up depends on which is nearer to the frame."""
    frames = [*series(BIAS, 2, 60000.0, "few"), *series(BIAS, 3, 60001.0, "many")]
    assert asked(BIAS, frames) == ["few0000", "few0001", "many0000"]


def test_what_another_night_decides_is_asked_by_each() -> None:
    """Warmer darks at the end of the first ones' reach move the median, and with it what is near to it."""
    night = [
        *series(DARK, 3, 60000.0, "dusk", ccd_temp=-19.0),
        *series(DARK, 3, 60000.2, "cold", ccd_temp=-20.0),
        *series(DARK, 3, 60000.4, "dawn", ccd_temp=-19.0),
    ]
    frames = [*series(DARK, 20, 59997.1, "warm", ccd_temp=-18.2), *night]
    asking = one_of_each_set(DARK, night, frames, SETTINGS)
    assert [one.identity for one in asking] == ["dusk0000", "cold0000", "dawn0000"]
    assert [len(group_inputs(DARK, one, frames, SETTINGS).inputs) for one in asking] == [6, 9, 9]
    alone = one_of_each_set(DARK, night, night, SETTINGS)
    assert [one.identity for one in alone] == ["dusk0000", "cold0000"]


def test_a_night_without_end_looks_different_to_each() -> None:
    frames = [raw(BIAS, f"b{i:02}", 60000.0 + 0.4 * i) for i in range(12)]
    middle = [f"b{i:02}" for i in range(4, 8)]
    assert asked(BIAS, frames) == [one.identity for one in frames if one.identity not in middle[1:]], (
        "from the middle all of them are within reach"
    )
    assert len({group_inputs(BIAS, one, frames, SETTINGS).inputs for one in frames}) > 1


def test_other_keys_and_chips_lengthen_no_night() -> None:
    """Biases at dusk and at dawn, of which each chip and each mode has its own time."""
    frames = [
        *(one for day in range(9) for one in series(BIAS, 5, 60000.0 + day, f"dusk{day}-")),
        *(one for day in range(9) for one in series(BIAS, 5, 60000.4 + day, f"dawn{day}-", detector="2")),
        *(one for day in range(9) for one in series(BIAS, 5, 60000.7 + day, f"noon{day}-", binning=(2, 2))),
    ]
    assert len(asked(BIAS, frames)) == 27


def test_frames_of_a_season_without_end_ask_once_where_all_have_the_same_within_reach() -> None:
    frames = [one for half in range(40) for one in series(BIAS, 50, 60000.0 + 0.46 * half, f"b{half:02}-")]
    assert len(asked(BIAS, frames)) < 100, "of 2000"


TIMES = st.none() | st.builds(
    lambda day, part: 60000.0 + day + part / 50, st.integers(0, 5), st.integers(0, 30)
)
LEDGER = st.lists(
    st.tuples(
        TIMES,
        st.sampled_from([60.0, 60.0, 60.0, 61.0, 62.1, 300.0]),
        st.sampled_from([-20.0, -20.0, -19.4, -19.0, -18.2, None]),
        st.sampled_from(["V", "V", "V", "R"]),
    ),
    max_size=40,
)


@pytest.mark.parametrize("any_exposure", [False, True])
@pytest.mark.parametrize("kind", [BIAS, DARK, FLAT])
@settings(max_examples=20, deadline=None)
@given(LEDGER)
def test_the_sets_are_those_of_asking_each(kind: FrameKind, any_exposure: bool, ledger: list[Any]) -> None:
    frames = [
        raw(kind, f"{number:02}", mjd_mid, exptime=exptime, ccd_temp=ccd_temp, filter=filter_name)
        for number, (mjd_mid, exptime, ccd_temp, filter_name) in enumerate(ledger)
    ]
    frames.sort(key=lambda one: (one.mjd_mid is None, one.mjd_mid or 0.0, one.identity))

    def sets(asking: list[RawCalibration]) -> list[tuple[str, ...]]:
        groups = (group_inputs(kind, one, frames, SETTINGS, any_exposure=any_exposure) for one in asking)
        found = [tuple(frame.identity for frame in group.inputs) for group in groups if group.inputs]
        return list(dict.fromkeys(found))

    assert sets(one_of_each_set(kind, frames, frames, SETTINGS)) == sets(frames)
