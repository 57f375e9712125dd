"""Illumination and fringe masters are made of the night's own lights, at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightflow.detector.master_frame import InputFile, MasterFrame, MasterStatistics
from nightflow.errors import MissingCalibration
from nightflow.flags import new_plane
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.pipeline.finish import finish_night
from nightflow.pipeline.master_plan import MasterPlan
from nightflow.pipeline.masters import build_all
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.sky_masters import SKY_BUILDERS
from nightflow.pipeline.sky_plan import plan_sky
from nightflow.pipeline.survey import key_of_row, survey
from nightflow.store.blocks import reduced_lights
from nightflow.store.ledger import requeue
from nightflow.store.masters import master_inputs, masters, set_master_state
from nightflow.store.models import State
from tests.unit.pipeline.station import PROFILE, START, Station, entered, only_frame, reduced, rows

NIGHT = "2026-03-01"
SKY = (
    PROFILE.replace('flat = "required" }', 'flat = "required", illumination = "optional" }').replace(
        'filter = "FILTER"', 'filter = "FILTER"\nra = "RA"\ndec = "DEC"'
    )
    + "[masters]\nminimum_sky_inputs = 3\n"
)


class Builder:
    """Makes a master of the median of its frames, and remembers what it was given."""

    def __init__(self, kind: FrameKind) -> None:
        self.kind = kind
        self.given: list[tuple[int, Sequence[float] | None]] = []

    def __call__(
        self,
        frames: Sequence[Frame],
        profile: CameraProfile,
        *,
        inputs: Sequence[InputFile],
        levels: Sequence[float] | None = None,
    ) -> MasterFrame:
        self.given.append((len(frames), levels))
        assert {frame.unit for frame in frames} == {"electron"}
        scales = levels if levels is not None else [float(np.median(frame.data)) for frame in frames]
        data = np.median([frame.data / scale for frame, scale in zip(frames, scales, strict=True)], axis=0)
        return MasterFrame(
            header=replace(frames[0].header, kind=self.kind),
            data=data.astype(np.float32),
            uncertainty=np.full(data.shape, 0.01, np.float32),
            flags=new_plane(data.shape),
            inputs=tuple(inputs),
            fingerprint="",
            statistics=MasterStatistics(median=1.0, mad=0.1, noise=0.1, n_used=len(frames)),
        )


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    builder = Builder(FrameKind.ILLUMINATION)
    monkeypatch.setitem(SKY_BUILDERS, FrameKind.ILLUMINATION, builder)
    return builder


def night(station: Station, *, lights: int = 4, chips: int = 1, step: float = 60.0) -> list[int]:
    """Take biases, flats and lights; return what is to be reduced, in no order."""
    reducer = station.reducer()
    paths = [
        *station.calibrations("bias", 5, chips=chips),
        *station.calibrations("flat", 5, hours=-3, chips=chips),
        *(
            station.frame(f"light{n}.fits", hours=n, chips=chips, RA=130.0, DEC=20.0 + n * step / 3600)
            for n in range(lights)
        ),
    ]
    return [entered(reducer, path) for path in paths]


def finished(station: Station) -> Reducer:
    reducer = station.reducer(until="calibrate")
    assert finish_night(reducer, NIGHT) is not None
    return reducer


def sky_masters(reducer: Reducer) -> list[Any]:
    return masters(reducer.database, kind="illumination")


def identified(station: Station) -> Reducer:
    """Reduce the whole night once, as it came."""
    reducer = station.reducer(until="calibrate", definitive_masters=False)
    for path in sorted(station.raw.iterdir()):
        assert reduced(reducer, path).state == "done"
    return reducer


@pytest.mark.usefixtures("builder")
def test_it_is_never_made_in_mid_night(station: Station) -> None:
    station.set_profile(SKY)
    night(station)
    reducer = identified(station)
    assert sky_masters(reducer) == []
    assert "no illumination in V for tinycam" in only_frame(reducer, 14).reason


def test_finish_makes_it_of_the_nights_lights_and_uses_it(station: Station, builder: Builder) -> None:
    station.set_profile(SKY)
    night(station)
    identified(station)
    reducer = finished(station)
    (row,) = sky_masters(reducer)
    assert (row.state, row.n_inputs, row.filter) == ("approved", 4, "V")
    assert set(row.statistics["made_with"]) == {"bias", "flat"}
    assert len(master_inputs(reducer.database, row.id or 0)) == 4
    assert builder.given == [(4, None)]
    used = [reduction.masters["illumination"] for _, reduction in reduced_lights(reducer.database)]
    assert used == [row.fingerprint] * 4


@pytest.mark.usefixtures("builder")
def test_finish_again_changes_nothing(station: Station) -> None:
    station.set_profile(SKY)
    night(station)
    identified(station)
    before = rows(finished(station))
    assert rows(finished(station)) == before


@pytest.mark.usefixtures("builder")
def test_lights_that_are_reduced_by_finish_itself_count(station: Station) -> None:
    station.set_profile(SKY)
    night(station)
    requeue(identified(station).database, states=[State.DONE], now=START)
    reducer = finished(station)
    (row,) = sky_masters(reducer)
    used = [reduction.masters["illumination"] for _, reduction in reduced_lights(reducer.database)]
    assert used == [row.fingerprint] * 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lights": 2}, "2 of 2 usable lights have pointings of their own, 3 are needed"),
        ({"lights": 4, "step": 1.0}, "1 of 4 usable lights have pointings of their own"),
    ],
)
@pytest.mark.usefixtures("builder")
def test_too_few_pointings_make_none_and_it_is_said(
    station: Station, options: dict[str, Any], words: str
) -> None:
    station.set_profile(SKY)
    night(station, **options)
    reducer = identified(station)
    (row,) = (row for row in build_all(reducer, night=NIGHT) if row["kind"] == "illumination")
    assert row["state"] == "missing"
    assert words in row["reason"]
    assert sky_masters(reducer) == []


def test_the_ratio_of_the_chips_is_kept(station: Station, builder: Builder) -> None:
    station.set_profile(SKY)
    night(station, chips=2)
    reducer = identified(station)
    build_all(reducer, night=NIGHT)
    assert sorted(row.detector for row in sky_masters(reducer)) == ["chip0", "chip1"]
    (first, none), (second, levels) = builder.given
    assert (first, second, none) == (4, 4, None)
    assert levels is not None
    np.testing.assert_allclose(levels, 600, rtol=0.05)  # 300 ADU of light, 2 electrons each


@pytest.mark.usefixtures("builder")
def test_masters_of_the_first_chip_count_for_the_others(station: Station) -> None:
    """They set the level: when they change, it is another illumination."""
    station.set_profile(SKY)
    night(station, chips=2)
    reducer = identified(station)
    build_all(reducer, night=NIGHT)
    light = next(frame for frame, _ in reduced_lights(reducer.database) if frame.detector == "chip1")
    profile = reducer.context.profiles["tinycam"]

    def planned() -> MasterPlan:
        return plan_sky(reducer.database, FrameKind.ILLUMINATION, light, profile)

    before = planned()
    assert before.row is not None
    assert set(before.first_chip_needs) == {FrameKind.BIAS, FrameKind.FLAT}
    assert set(before.row.statistics["made_with"]) == {"bias", "flat", "first_chip_bias", "first_chip_flat"}
    (station.root / "masters" / before.row.path).unlink()
    assert station.reducer().context.masters.get(before, profile).fingerprint == before.fingerprint
    (flat,) = (row for row in masters(reducer.database, kind="flat") if row.detector == "chip0")
    set_master_state(reducer.database, flat.id or 0, "rejected", "dome lamp")
    assert planned().fingerprint != before.fingerprint
    found = survey(reducer.database, FrameKind.ILLUMINATION, key_of_row(light), profile)
    assert any("made with flat" in out.detail for out in found.choice.ruled_out)


@pytest.mark.usefixtures("builder")
def test_a_light_that_is_away_stops_nothing(station: Station) -> None:
    station.set_profile(SKY)
    night(station, lights=5)
    reducer = identified(station)
    (station.raw / "light1.fits").unlink()
    built = build_all(reducer, night=NIGHT)
    assert {row["state"] for row in built} == {"approved"}
    assert {row["n_inputs"] for row in built if row["kind"] == "illumination"} == {4}


@pytest.mark.usefixtures("builder")
def test_a_copy_of_a_light_will_do(station: Station) -> None:
    station.set_profile(SKY)
    night(station, lights=3)
    reducer = identified(station)
    path = station.raw / "light1.fits"
    copy = path.with_name("filed.fits")
    copy.write_bytes(path.read_bytes())
    entered(reducer, copy)
    path.unlink()
    assert {row["n_inputs"] for row in build_all(reducer, night=NIGHT) if row["kind"] == "illumination"} == {
        3
    }


@pytest.mark.usefixtures("builder")
def test_the_minimum_is_provisional(station: Station) -> None:
    station.set_profile(SKY)
    night(station, lights=3)
    reducer = identified(station)
    build_all(reducer)
    assert [(row.state, row.reason) for row in sky_masters(reducer)] == [
        ("provisional", "3 inputs, no more than needed")
    ]


def test_a_fringe_master_takes_the_illumination_off_first(
    station: Station, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.set_profile(
        SKY.replace('illumination = "optional"', 'illumination = "optional", fringe = "optional"')
    )

    def fringe(
        frames: Sequence[Frame], profile: CameraProfile, *, inputs: Sequence[InputFile]
    ) -> MasterFrame:
        return Builder(FrameKind.FRINGE)(frames, profile, inputs=inputs)

    monkeypatch.setitem(SKY_BUILDERS, FrameKind.FRINGE, fringe)
    night(station)
    reducer = identified(station)
    build_all(reducer, night=NIGHT)
    (made,) = masters(reducer.database, kind="fringe")
    assert set(made.statistics["made_with"]) == {"bias", "flat", "illumination"}
    assert builder.given == [(4, None)]


def test_without_a_builder_the_message_says_the_mend(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(SKY_BUILDERS, FrameKind.ILLUMINATION, raising=False)
    station.set_profile(SKY)
    night(station)
    reducer = identified(station)
    (row,) = (row for row in build_all(reducer, night=NIGHT) if row["kind"] == "illumination")
    assert 'set calibration.illumination = "off"' in row["reason"]


@pytest.mark.usefixtures("builder")
def test_a_plan_is_made_of_one_filter(station: Station) -> None:
    station.set_profile(SKY)
    night(station)
    reducer = identified(station)
    red = reduced(reducer, station.frame("red.fits", FILTER="R", RA=130.0, DEC=25.0, hours=5)).exposure_id
    profile = reducer.context.profiles["tinycam"]
    with pytest.raises(MissingCalibration, match=r"no illumination in R .* 1 of 1 usable"):
        plan_sky(reducer.database, FrameKind.ILLUMINATION, only_frame(reducer, red), profile)
