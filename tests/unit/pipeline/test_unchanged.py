"""What is reduced again when something has changed, and what is left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nightflow.catalogs.importer import import_catalog
from nightflow.errors import FrameRejected, NoSolution
from nightflow.pipeline import optics as optics_module
from nightflow.pipeline import plan as plan_module
from nightflow.pipeline.backfill import select
from nightflow.pipeline.identify import identify_file
from nightflow.pipeline.optics import optics
from nightflow.pipeline.plan import is_complete
from nightflow.pipeline.reducer import STEPS, Reducer
from nightflow.pipeline.run import reduce_paths
from nightflow.pipeline.unchanged import is_unchanged
from nightflow.store.distortions import write_distortion
from nightflow.store.masters import masters, set_master_state
from nightflow.store.models import CameraDistortion
from nightflow.store.overview import current_reduction
from tests.unit.pipeline.station import (
    PROFILE,
    SHAPE,
    Station,
    entered,
    exposure,
    only_frame,
    rows,
    steps_of_straw,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are calibrated; the steps after that find nothing."""
    calibrate = plan_steps()["calibrate"]
    steps_of_straw(monkeypatch)
    monkeypatch.setitem(plan_steps(), "calibrate", calibrate)
    # What is done here counts as solved and on a magnitude scale, so that nothing is wanting.
    monkeypatch.setattr("nightflow.pipeline.fingerprints.is_complete", lambda database, frames: True)


def plan_steps() -> dict:
    from nightflow.pipeline import reducer

    assert set(reducer._WORKERS) == set(STEPS) - {"append"}
    return reducer._WORKERS


@pytest.fixture
def night(station: Station) -> Station:
    """Three biases, three flats, two lights."""
    for kind in ("bias", "flat"):
        station.calibrations(kind)
    station.frame("light-1.fits")
    station.frame("light-2.fits", hours=0.1)
    return station


def run(station: Station, **options):
    return reduce_paths(station.reducer(**options), [station.raw])


def names(report) -> list[str]:
    return [Path(outcome.path).name for outcome in report.outcomes]


LIGHTS = ["light-1.fits", "light-2.fits"]


def test_twice_the_same_changes_no_row(night: Station) -> None:
    first = run(night)
    assert {outcome.state for outcome in first.outcomes} == {"done"}
    before = rows(night.reducer())
    second = run(night)
    assert (second.outcomes, second.unchanged) == ((), 8)
    assert rows(night.reducer()) == before
    assert select(night.reducer()).exposures == []


def test_another_policy_leaves_what_is_done(night: Station) -> None:
    run(night)
    assert run(night, missing_calibration="hold").unchanged == 8


def test_force_reduces_and_yet_makes_no_new_version(night: Station) -> None:
    run(night)
    report = reduce_paths(night.reducer(), [night.raw], force=True)
    assert len(report.outcomes) == 8
    reducer = night.reducer()
    light = entered(reducer, night.raw / "light-1.fits")
    assert current_reduction(reducer.database, only_frame(reducer, light).id or 0).version == 1


def test_a_changed_profile_reduces_its_frames_again(night: Station) -> None:
    run(night)
    night.set_profile(PROFILE.replace("gain = 2.0", "gain = 2.5"))
    report = run(night)
    assert sorted(names(report)) == sorted(path.name for path in night.raw.iterdir())
    reducer = night.reducer()
    light = entered(reducer, night.raw / "light-1.fits")
    assert current_reduction(reducer.database, only_frame(reducer, light).id or 0).version == 2


def test_mended_code_reduces_everything_again(night: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    run(night)
    monkeypatch.setattr(plan_module, "software_fingerprint", lambda: "mended")
    assert len(run(night).outcomes) == 8


def test_better_masters_make_a_new_version_of_the_lights_they_touch(night: Station) -> None:
    run(night)
    night.frame("light-R.fits", FILTER="R", hours=0.2)
    run(night)
    flats = night.calibrations("flat", 2, hours=4.0)
    report = run(night)
    assert names(report) == [*(path.name for path in flats), *LIGHTS]
    reducer = night.reducer()
    light = entered(reducer, night.raw / "light-1.fits")
    current = current_reduction(reducer.database, only_frame(reducer, light).id or 0)
    assert current.version == 2
    flat = next(row for row in masters(reducer.database) if row.n_inputs == 5)
    assert current.masters["flat"] == flat.fingerprint


def test_in_mid_night_more_calibrations_change_nothing(night: Station) -> None:
    run(night, definitive_masters=False)
    night.calibrations("flat", 2, hours=4.0)
    report = run(night, definitive_masters=False)
    assert all(name.startswith("flat+4") for name in names(report))


def learned(night: Station, evening: str, parity: int = 1, **other: str) -> None:
    """Write down that a night taught the distortion of the lights' chip, or of another one."""
    reducer = night.reducer()
    (header,) = identify_file(night.raw / LIGHTS[0], list(reducer.context.profiles.values())).headers
    header = replace(header, **other)
    row = CameraDistortion(
        optics=optics(header, SHAPE), parity=parity, night=evening, ny=SHAPE[0], nx=SHAPE[1], order=3,
        a=[0.0] * 7, b=[0.0] * 7, n_frames=3, scatter_px=0.1, error_px=0.1, fingerprint=f"of {evening}",
    )  # fmt: skip
    assert write_distortion(reducer.database, row)


def test_what_an_earlier_night_taught_since_reduces_again(night: Station) -> None:
    """What their own night or a later one taught, or another chip, does not: they are not offered that."""
    run(night)
    for evening in ("2026-03-01", "2026-03-02"):
        learned(night, evening)
    learned(night, "2026-02-27", detector="other")
    learned(night, "2026-02-27", readout_mode="mirrored")
    learned(night, "2026-02-27", instrument="TinyCam")
    assert run(night).outcomes == ()
    learned(night, "2026-02-27")
    assert names(run(night)) == LIGHTS
    assert run(night).outcomes == ()
    learned(night, "2026-02-26")
    assert run(night).outcomes == ()
    learned(night, "2026-02-28", parity=-1)
    reducer = night.reducer()
    assert [Path(exposure(reducer, one).path).name for one in select(reducer).exposures] == LIGHTS


def test_what_is_held_is_tried_again_for_its_own_distortion_only(
    night: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_wcs(work, context):
        raise NoSolution("no WCS from 3 stars")

    monkeypatch.setitem(plan_steps(), "solve", no_wcs)
    run(night)
    for evening in ("2026-03-01", "2026-03-02"):
        learned(night, evening)
    learned(night, "2026-02-27", detector="other")
    assert run(night).outcomes == ()
    learned(night, "2026-02-27")
    assert names(run(night)) == LIGHTS
    learned(night, "2026-02-26")
    assert run(night).outcomes == ()


def test_with_another_offer_it_is_another_reduction(night: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a frame that is better without: what it was offered may have led to other stars."""

    def solve(work, context):
        known = optics_module.known_distortions(context.database, work.header, SHAPE)
        work.offered = tuple(one.fingerprint for one in known)
        return {}

    def version() -> int:
        reducer = night.reducer()
        light = entered(reducer, night.raw / "light-1.fits")
        return current_reduction(reducer.database, only_frame(reducer, light).id or 0).version

    monkeypatch.setitem(plan_steps(), "solve", solve)
    run(night)
    learned(night, "2026-02-27", detector="other")
    run(night)
    assert version() == 1
    learned(night, "2026-02-27")
    run(night)
    assert version() == 2


def test_distortions_are_read_once_for_all_frames(night: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    run(night)
    asked = []
    real = optics_module.offered_fingerprints
    monkeypatch.setattr(
        optics_module, "offered_fingerprints", lambda *one: asked.append(one[1:]) or real(*one)
    )
    assert run(night).unchanged == 8
    assert asked == [("tinycam", "2026-03-01")]


def test_a_rejected_master_is_replaced(night: Station) -> None:
    run(night)
    reducer = night.reducer()
    flat = next(row for row in masters(reducer.database) if row.kind == "flat")
    set_master_state(reducer.database, flat.id or 0, "rejected", "clouds")
    assert names(run(night)) == LIGHTS
    light = entered(reducer, night.raw / "light-1.fits")
    current = current_reduction(reducer.database, only_frame(reducer, light).id or 0)
    assert set(current.masters) == {"bias"}
    assert any("rejected" in warning for warning in current.warnings)
    assert run(night).unchanged == 8


def test_a_new_catalogue_takes_up_what_is_held_and_leaves_what_is_done(
    night: Station, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    solve = plan_steps()["solve"]

    def no_wcs(work, context):
        if work.path.name == "light-2.fits":
            raise NoSolution("no WCS from 3 stars")
        return solve(work, context)

    monkeypatch.setitem(plan_steps(), "solve", no_wcs)
    assert [outcome.state for outcome in run(night).outcomes].count("held") == 1
    assert run(night).outcomes == ()
    stars = tmp_path / "stars.csv"
    stars.write_text("ra,dec,V\n132.8,11.8,9.5\n132.9,11.9,10.5\n")
    import_catalog(stars, "mine", night.root / "catalogs")
    assert names(run(night)) == ["light-2.fits"]
    assert run(night).outcomes == ()


def test_garbage_is_looked_at_once(night: Station) -> None:
    (night.raw / "empty.fits").write_bytes(b"")
    assert "rejected" in {outcome.state for outcome in run(night).outcomes}
    assert run(night).unchanged == 9


def test_a_failure_is_always_worth_another_try(night: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(work, context):
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setitem(plan_steps(), "measure", bug)
        assert len(run(night).failed) == 2
        assert len(run(night).failed) == 2
    assert [outcome.state for outcome in run(night).outcomes] == ["done", "done"]


def test_a_duplicate_is_never_looked_at(night: Station) -> None:
    (night.raw / "copy.fits").write_bytes((night.raw / "light-1.fits").read_bytes())
    report = run(night)
    assert len(report.outcomes) == 8
    assert report.unchanged == 1


def test_what_was_never_concluded_is_not_unchanged(station: Station) -> None:
    reducer = station.reducer()
    fresh = entered(reducer, station.frame("light.fits"))
    assert not is_unchanged(reducer, fresh)
    assert not is_unchanged(reducer, 99)


def test_a_shorter_way_is_another_plan(night: Station) -> None:
    run(night, until="calibrate")
    report = run(night)
    assert set(LIGHTS) <= set(names(report))
    assert run(night).outcomes == ()


def test_a_rejected_light_stays_rejected(night: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    def gate(work, context):
        raise FrameRejected(f"{work.path.name}: nothing but clouds")

    monkeypatch.setitem(plan_steps(), "measure", gate)
    run(night)
    reducer: Reducer = night.reducer()
    light = entered(reducer, night.raw / "light-1.fits")
    assert exposure(reducer, light).reason == "light-1.fits: nothing but clouds"
    assert run(night).outcomes == ()


def test_a_new_catalogue_takes_up_what_is_done_without_a_zero_point(
    night: Station, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("nightflow.pipeline.fingerprints.is_complete", is_complete)
    assert len(run(night).outcomes) == 8
    assert run(night).outcomes == ()
    stars = tmp_path / "stars.csv"
    stars.write_text("ra,dec,V\n132.8,11.8,9.5\n132.9,11.9,10.5\n")
    import_catalog(stars, "mine", night.root / "catalogs")
    assert names(run(night)) == LIGHTS
