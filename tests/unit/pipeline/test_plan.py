"""A fingerprint changes with what a reduction rests on, and with nothing else."""

from __future__ import annotations

import json

from nightflow.astrometry.geometry import sky_grid
from nightflow.config import load_settings
from nightflow.instruments.registry import load_profiles
from nightflow.pipeline import plan as plan_module
from nightflow.pipeline.plan import plan_fingerprint, reduction_fingerprint, surroundings_fingerprint
from tests.unit.astrometry.synthetic import make_wcs
from tests.unit.pipeline.station import PROFILE, Station, reduced, steps_of_straw

PROFILES = {profile.name: profile for profile in load_profiles()}
NICKEL = PROFILES["nickel"]


def test_the_same_plan_has_the_same_fingerprint() -> None:
    assert plan_fingerprint(NICKEL) == plan_fingerprint(NICKEL.model_copy(deep=True))


def test_profile_last_step_and_software_are_in_it(monkeypatch) -> None:
    masters = NICKEL.masters.model_copy(update={"clip_sigma": 3.5})
    prints = {
        plan_fingerprint(NICKEL),
        plan_fingerprint(PROFILES["lowell42"]),
        plan_fingerprint(NICKEL.model_copy(update={"masters": masters})),
        plan_fingerprint(NICKEL, "calibrate"),
        plan_fingerprint(NICKEL, engine="reference"),
        plan_fingerprint(None),
    }
    monkeypatch.setattr(plan_module, "software_fingerprint", lambda: "mended")
    prints.add(plan_fingerprint(NICKEL))
    assert len(prints) == 7


def test_a_reduction_rests_on_plan_masters_and_catalogue() -> None:
    masters = {"bias": "b" * 64, "flat": "f" * 64}
    assert reduction_fingerprint("plan", masters, "gaia@1") == reduction_fingerprint(
        "plan", dict(reversed(masters.items())), "gaia@1"
    )
    prints = {
        reduction_fingerprint("plan", masters, "gaia@1"),
        reduction_fingerprint("other", masters, "gaia@1"),
        reduction_fingerprint("plan", masters | {"bias": "c" * 64}, "gaia@1"),
        reduction_fingerprint("plan", {"bias": "b" * 64}, "gaia@1"),
        reduction_fingerprint("plan", masters, "gaia@2"),
    }
    assert len(prints) == 5


def test_a_reduction_rests_on_its_wcs() -> None:
    prints = {
        reduction_fingerprint("plan", {}, "gaia@1", "verified", wcs=sky_grid(wcs, (900, 1000)))
        for wcs in (make_wcs(80.0, 10.0), make_wcs(80.0 + 1e-6, 10.0), make_wcs(80.0, 10.0, distortion=0.01))
    }
    assert len(prints) == 3


def test_the_sites_ladder_is_in_the_plan(station: Station, monkeypatch) -> None:
    """A changed order reduces anew; the profile's own, named by the site, does not."""

    def plan(ladder: list[str] | None) -> str:
        if ladder is not None:
            monkeypatch.setenv("NIGHTFLOW_ASTROMETRY__LADDER", json.dumps(ladder))
        station.settings = load_settings(station.root / "nightflow.toml")
        return station.reducer().fingerprints.plan("tinycam")

    own = station.reducer().context.profiles["tinycam"].astrometry.ladder
    before = plan(None)
    assert plan(list(own)) == before
    assert plan([*own, "scamp"]) != before


def test_a_held_frame_rests_on_what_it_may_wait_for_too(station: Station, monkeypatch) -> None:
    steps_of_straw(monkeypatch)
    reducer = station.reducer()

    def surroundings(policy: str = "warn") -> str:
        return surroundings_fingerprint(
            "plan", station.reducer(missing_calibration=policy).context, "tinycam"
        )

    seen = [surroundings()]
    assert surroundings() == seen[0]
    seen.append(surroundings("hold"))
    for number, path in enumerate(station.calibrations("bias")):
        reduced(reducer, path)
        if number == 0:
            seen.append(surroundings())
    seen.append(surroundings())
    for key, value in {"NOVA_KEY": "sesame", "LADDER": '["hint", "nova"]'}.items():
        monkeypatch.setenv(f"NIGHTFLOW_ASTROMETRY__{key}", value)
        station.settings = load_settings(station.root / "nightflow.toml")
        seen.append(surroundings())
    (station.root / "index-files").mkdir()
    (station.root / "index-files" / "index-4107.fits").write_bytes(b"")
    seen.append(surroundings())
    assert len(set(seen)) == len(seen) == 7


def test_a_profile_of_ones_own_is_in_the_plan(station: Station) -> None:
    before = station.reducer().fingerprints.plan("tinycam")
    assert station.reducer().fingerprints.plan("tinycam") == before
    station.set_profile(PROFILE.replace("gain = 2.0", "gain = 2.1"))
    assert station.reducer().fingerprints.plan("tinycam") != before
