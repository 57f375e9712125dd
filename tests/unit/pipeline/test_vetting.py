"""What becomes of bad calibrations: the state of the master, what lights get, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from nightflow.pipeline.explain_masters import MasterStory, explain_masters
from nightflow.pipeline.masters import build_all
from nightflow.pipeline.reducer import Reducer
from nightflow.store.masters import masters, set_master_state
from nightflow.store.models import Master
from nightflow.store.overview import current_reduction
from tests.unit.pipeline import station as station_module
from tests.unit.pipeline.station import PROFILE, Station, only_frame, reduced, steps_of_straw

SHAPE = (128, 160)
DARKS = PROFILE.replace('dark = "off"', 'dark = "required"').replace(
    'gain_setting = "GAINSET"', 'gain_setting = "GAINSET"\nccd_temp = "CCD-TEMP"\ncalibrated = "CALSTAT"'
)
Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(autouse=True)
def _larger_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the camera pixels enough to tell structure from noise."""
    monkeypatch.setattr(station_module, "SHAPE", SHAPE)


@pytest.fixture
def reducer(station: Station) -> Reducer:
    station.set_profile(DARKS)
    return station.reducer(until="calibrate")


def take(
    station: Station,
    reducer: Reducer,
    kind: str,
    count: int = 5,
    *,
    change: Change | None = None,
    **options: Any,
) -> None:
    """Take calibrations, with ``change`` done to the counts of each."""
    for path in _written(station, kind, count, **options):
        if change is not None:
            with fits.open(path, mode="update") as hdus:
                hdus[1].data = change(hdus[1].data.astype(float)).clip(0, 65535).astype(np.uint16)
        assert reduced(reducer, path).state == "done"


def _written(station: Station, kind: str, count: int, **options: Any) -> Iterator[Path]:
    yield from station.calibrations(kind, count, **options)


def rows_of(reducer: Reducer, kind: str) -> list[Master]:
    build_all(reducer)
    return masters(reducer.database, kind=kind)


def story(reducer: Reducer, exposure_id: int, kind: str) -> MasterStory:
    frame = only_frame(reducer, exposure_id)
    reduction = current_reduction(reducer.database, frame.id or 0)
    used = reduction.masters if reduction is not None else {}
    stories = explain_masters(reducer.database, reducer.context.profiles["tinycam"], frame, used)
    return next(one for one in stories if one.kind == kind)


def light(station: Station, reducer: Reducer, name: str = "light.fits", **options: Any) -> int:
    return reduced(reducer, station.frame(name, **options)).exposure_id


def warnings(reducer: Reducer, exposure_id: int) -> str:
    return only_frame(reducer, exposure_id).reason


def thumbprint(depth: float) -> Change:
    """Return what dims 24 x 24 pixels of the light above the bias of 500."""

    def press(data: np.ndarray) -> np.ndarray:
        data[32:56, 80:104] -= depth * (data[32:56, 80:104] - 500)
        return data

    return press


TILT = np.linspace(-6, 6, SHAPE[1])[None, :]


def leak(data: np.ndarray) -> np.ndarray:
    return data + np.linspace(0, 40, SHAPE[1])[None, :]


@pytest.mark.parametrize(("depth", "state"), [(0.02, "provisional"), (0.08, "rejected")])
def test_a_flat_with_a_thumbprint(station: Station, reducer: Reducer, depth: float, state: str) -> None:
    take(station, reducer, "bias", hours=-54)
    for hours in (-52, -28):
        take(station, reducer, "flat", hours=hours)
        assert {row.state for row in rows_of(reducer, "flat")} == {"approved"}
    take(station, reducer, "flat", hours=-4, change=thumbprint(depth))
    _, old, new = rows_of(reducer, "flat")
    assert (old.state, new.state) == ("approved", state)
    assert f"darker by {depth * 100:.0f}" in new.reason
    assert old.fingerprint[:12] in new.reason
    exposure_id = light(station, reducer)
    told = story(reducer, exposure_id, "flat")
    assert told.used is not None
    assert told.used["fingerprint"] == old.fingerprint
    if state == "rejected":
        assert any("state rejected" in out for out in told.ruled_out)


def test_a_first_flat_with_a_thumbprint_rejects_no_healthy_one(station: Station, reducer: Reducer) -> None:
    """Two that differ: one of them is wrong. The third says which."""
    take(station, reducer, "bias", hours=-80)
    states = []
    for hours, change in ((-78, thumbprint(0.08)), (-52, None), (-28, None)):
        take(station, reducer, "flat", hours=hours, change=change)
        states.append(rows_of(reducer, "flat")[-1].state)
    assert states == ["approved", "provisional", "approved"]
    reasons = [row.reason for row in rows_of(reducer, "flat")]
    assert "the first of its kind: one of the two is wrong" in reasons[1]
    told = story(reducer, light(station, reducer), "flat")
    assert told.used is not None
    assert told.used["fingerprint"] == rows_of(reducer, "flat")[-1].fingerprint


def good_biases(station: Station, reducer: Reducer) -> None:
    """Take the biases of two nights that agree."""
    for hours in (-56, -30):
        take(station, reducer, "bias", hours=hours)
        build_all(reducer)


def test_a_bias_with_a_light_leak(station: Station, reducer: Reducer) -> None:
    good_biases(station, reducer)
    take(station, reducer, "bias", hours=-4, change=leak)
    _, old, new = rows_of(reducer, "bias")
    assert (old.state, new.state) == ("approved", "rejected")
    assert "smooth change across the chip of 1" in new.reason


def test_a_master_made_with_a_rejected_one_judges_no_other(station: Station, reducer: Reducer) -> None:
    """Two nights' flats agree with each other, for both were made with the same bad bias."""
    take(station, reducer, "bias", hours=-80, change=leak)
    for hours in (-78, -52):
        take(station, reducer, "flat", hours=hours)
        build_all(reducer)
    (bias,) = masters(reducer.database, kind="bias")
    spoiled = {row.fingerprint for row in masters(reducer.database, kind="flat")}
    set_master_state(reducer.database, bias.id or 0, "rejected", "light leak")
    take(station, reducer, "bias", hours=-6)
    take(station, reducer, "flat", hours=-4)
    new = [row for row in rows_of(reducer, "flat") if row.fingerprint not in spoiled]
    assert len(new) == 3
    assert {row.state for row in new} == {"approved"}
    assert not any(one[:12] in row.reason for row in new for one in spoiled)


def test_a_flat_that_holds_its_bias_is_no_more_than_provisional(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "flat", hours=-4)
    (flat,) = rows_of(reducer, "flat")
    assert (flat.state, flat.reason) == ("provisional", "it still holds its bias: no master bias fits it")


def test_one_bias_with_a_light_leak_is_left_out_and_named(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias", 4, hours=-4)
    take(
        station,
        reducer,
        "bias",
        1,
        hours=-3,
        change=lambda data: data + TILT,
    )
    (row,) = rows_of(reducer, "bias")
    assert (row.n_inputs, row.state) == (4, "approved")
    assert "left out bias-3-0.fits" in row.reason
    assert "a light leak, a shadow or a trail" in row.reason


@pytest.fixture
def _dark_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the station take darks: a bias with 30 ADU of dark current."""
    plain = station_module.pixels

    def pixels(kind: str, seed: int) -> np.ndarray:
        return plain("bias", seed) + np.uint16(30) if kind == "dark" else plain(kind, seed)

    monkeypatch.setattr(station_module, "pixels", pixels)


@pytest.mark.usefixtures("_dark_pixels")
class TestDarks:
    """Darks at the wrong temperature, and darks that still hold their bias."""

    def test_darks_at_the_wrong_temperature_are_ruled_out_by_it(
        self, station: Station, reducer: Reducer
    ) -> None:
        take(station, reducer, "bias")
        take(station, reducer, "dark", **{"CCD-TEMP": -10.0})
        (row,) = rows_of(reducer, "dark")
        assert (row.state, row.ccd_temp) == ("approved", -10.0)
        exposure_id = light(station, reducer, **{"CCD-TEMP": -20.0})
        assert "ccd_temp -10.0 C, not within 1 of -20.0" in warnings(reducer, exposure_id)
        told = story(reducer, exposure_id, "dark")
        assert told.used is None
        assert any("ccd_temp: ccd_temp -10.0 C" in out for out in told.ruled_out)

    def test_darks_whose_header_lies_of_their_temperature_differ_from_the_last(
        self, station: Station, reducer: Reducer
    ) -> None:
        take(station, reducer, "bias", hours=-56)
        for hours in (-55, -29):
            take(station, reducer, "dark", hours=hours, **{"CCD-TEMP": -20.0})
            build_all(reducer)
        take(station, reducer, "dark", hours=-4, change=lambda data: data + 60, **{"CCD-TEMP": -20.0})
        new = rows_of(reducer, "dark")[-1]
        assert new.state == "rejected"
        assert "level changed by 200%" in new.reason

    def test_a_dark_that_holds_its_bias_against_its_header(self, station: Station, reducer: Reducer) -> None:
        take(station, reducer, "bias")
        take(station, reducer, "dark", CALSTAT="B")
        (row,) = rows_of(reducer, "dark")
        assert row.state == "rejected"
        assert "it still holds its bias, whatever its inputs' headers say: level 5" in row.reason
        exposure_id = light(station, reducer)
        assert "the master of them is rejected: it still holds its bias" in warnings(reducer, exposure_id)

    def test_a_dark_without_any_bias_says_so(self, station: Station, reducer: Reducer) -> None:
        take(station, reducer, "dark")
        (row,) = rows_of(reducer, "dark")
        assert row.state == "provisional"
        assert "it still holds its bias (level 5" in row.reason

    def test_a_dark_of_the_flats_exposure_serves_flats_and_lights(
        self, station: Station, reducer: Reducer
    ) -> None:
        take(station, reducer, "bias")
        take(station, reducer, "dark", EXPTIME=30.0)
        take(station, reducer, "flat", hours=-2, EXPTIME=30.0)
        used = current_reduction(
            reducer.database, only_frame(reducer, light(station, reducer, EXPTIME=30.0)).id or 0
        )
        assert used is not None
        (dark,), (flat,) = rows_of(reducer, "dark"), rows_of(reducer, "flat")
        assert used.masters["dark"] == dark.fingerprint == flat.statistics["made_with"]["dark"]

    def test_flats_of_several_exposures_are_not_dropped_for_the_want_of_one_dark(
        self, station: Station, reducer: Reducer
    ) -> None:
        take(station, reducer, "bias")
        take(station, reducer, "dark", EXPTIME=4.0)
        for number, exptime in enumerate((2.0, 4.0, 4.0, 8.0)):
            take(station, reducer, "flat", 1, hours=-2 - number, EXPTIME=exptime)
        (flat,) = rows_of(reducer, "flat")
        assert (flat.n_inputs, flat.state) == (4, "approved")
        assert set(flat.statistics["made_with"]) == {"bias"}


def test_a_saturated_twilight_flat_is_left_out_and_named(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias")
    take(station, reducer, "flat", 4, hours=-3)
    take(station, reducer, "flat", 1, hours=-2, change=lambda data: data * 0 + 65535 - np.indices(SHAPE)[0])
    (row,) = rows_of(reducer, "flat")
    assert (row.n_inputs, row.state) == (4, "approved")
    assert "left out flat-2-0.fits: too bright: level 99.9% of saturation, above 90%" in row.reason


def test_saturated_flats_alone_make_none(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "flat", 3, change=lambda data: data * 0 + 65535 - np.indices(SHAPE)[0])
    (row,) = rows_of(reducer, "flat")
    assert (row.n_inputs, row.state, row.path) == (0, "rejected", "")
    assert "too bright" in row.reason


def test_a_set_of_three_is_provisional_and_the_light_says_so(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias", 3)
    exposure_id = light(station, reducer)
    (row,) = masters(reducer.database, kind="bias")
    assert (row.state, row.reason) == ("provisional", "3 inputs, no more than needed")
    assert f"bias: master {row.fingerprint[:12]} is provisional: 3 inputs, no more" in warnings(
        reducer, exposure_id
    )
    assert "provisional (3 inputs, no more than needed)" in story(reducer, exposure_id, "bias").why


def test_an_approved_one_of_another_night_goes_before_a_provisional_one(
    station: Station, reducer: Reducer
) -> None:
    take(station, reducer, "bias", 5, hours=-100)
    take(station, reducer, "bias", 3, hours=-4)
    build_all(reducer)
    exposure_id = light(station, reducer)
    assert "bias: master" not in warnings(reducer, exposure_id)
    used = story(reducer, exposure_id, "bias").used
    assert used is not None
    assert (used["state"], used["n_inputs"]) == ("approved", 5)


def test_a_set_that_turns_out_bad_gives_way_in_the_same_reduction(station: Station, reducer: Reducer) -> None:
    """Nothing knows of the leak until the master is built for the light that wants it."""
    good_biases(station, reducer)
    take(station, reducer, "bias", hours=-4, change=leak)
    exposure_id = light(station, reducer)
    assert sorted(row.state for row in masters(reducer.database)) == ["approved", "approved", "rejected"]
    used = story(reducer, exposure_id, "bias").used
    assert used is not None
    assert used["state"] == "approved"


def test_a_part_of_the_night_stands_in_for_the_whole(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias", hours=-30)
    build_all(reducer)
    take(station, reducer, "bias", 4, hours=-4)
    take(station, reducer, "bias", 8, hours=2, change=leak)
    used = story(reducer, light(station, reducer), "bias").used
    assert used is not None
    assert (used["state"], used["n_inputs"]) == ("approved", 4)


def test_a_master_made_with_a_rejected_one_is_used_no_more(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias")
    take(station, reducer, "flat", hours=-3)
    (flat,) = rows_of(reducer, "flat")
    (bias,) = masters(reducer.database, kind="bias")
    set_master_state(reducer.database, bias.id or 0, "rejected", "light leak")
    exposure_id = light(station, reducer)
    told = story(reducer, exposure_id, "flat")
    assert told.used is not None
    assert told.used["fingerprint"] != flat.fingerprint
    assert any(f"made with bias {bias.fingerprint[:12]}, rejected since" in out for out in told.ruled_out)


def test_a_change_that_comes_back_is_believed(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias", hours=-80)
    for hours, change in ((-78, None), (-52, thumbprint(0.02)), (-4, thumbprint(0.02))):
        take(station, reducer, "flat", hours=hours, change=change)
        build_all(reducer)
    states = [row.state for row in masters(reducer.database, kind="flat")]
    assert states == ["approved", "provisional", "approved"]
    assert "the change lasts" in masters(reducer.database, kind="flat")[-1].reason


def test_planning_needs_no_steps(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rejected row without a file is never read."""
    steps_of_straw(monkeypatch)
    reducer = station.reducer()
    take(station, reducer, "flat", 3, change=lambda data: data * 0 + 65535 - np.indices(SHAPE)[0])
    build_all(reducer)
    build_all(reducer)
    assert len(masters(reducer.database)) == 1
