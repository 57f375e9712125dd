from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nightflow.flags import Flag
from nightflow.lightcurves.light_curve import COLUMNS
from nightflow.store.database import Database
from nightflow.store.models import SourceStatistics
from nightflow.store.queries import find_source, find_sources, light_curve
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, add_frame, columns, later, record, stars

N_STARS, N_FRAMES = 12, 40
RA, DEC = stars(N_STARS)
MEAN = np.linspace(800.0, 3000.0, N_STARS)
TARGET = 4


def _append(database: Database, number: int, **changes: Any) -> int:
    """Append one frame of the field and return its reduction."""
    chain = changes.pop("chain", {})
    head = changes.pop("head", {})
    plan = changes.pop("plan", "plan")
    mjd = changes.pop("mjd", MJD + number * 0.002)
    frame_id = add_frame(database, f"{number:03}.fits", mjd_mid=mjd, **head)
    values = {"flux": MEAN, "mjd": mjd} | changes
    return append(
        database, frame_id, record(plan, **chain), columns(RA, DEC, **values), now=later(1)
    ).reduction_id


@pytest.fixture
def transit(database: Database) -> np.ndarray:
    """A night with cloud and a transit of 2 %; returns the true magnitudes of the target."""
    rng = np.random.default_rng(11)
    truth = np.where(np.abs(np.arange(N_FRAMES) - 20) < 6, 0.02, 0.0)
    for number in range(N_FRAMES):
        cloud = 10 ** (-0.4 * (0.3 * np.sin(number / 4.0) ** 2))
        flux = MEAN * cloud * (1.0 + rng.normal(0.0, 0.002, N_STARS))
        flux[TARGET] *= 10 ** (-0.4 * truth[number])
        _append(database, number, flux=flux, flux_err=0.002 * flux)
    return truth


def _source_id(database: Database, star: int = TARGET) -> int:
    found = find_source(database, float(RA[star]), float(DEC[star]))
    assert found is not None
    assert found.source.id is not None
    return found.source.id


def test_the_nearest_source_within_the_radius(database: Database) -> None:
    _append(database, 0)
    near = find_source(database, float(RA[3]), float(DEC[3]) + 1.0 / 3600.0)
    assert near is not None
    assert near.source.ra == RA[3]
    assert near.separation == pytest.approx(1.0, abs=1e-3)
    assert find_source(database, float(RA[3]), float(DEC[3]) + 5.0 / 3600.0) is None
    assert find_source(database, 200.0, -30.0) is None
    around = find_sources(database, float(RA[5]), float(DEC[5]), 60.0)
    assert around[0].separation < around[1].separation <= 60.0


@pytest.mark.parametrize(("scale", "found"), [(1.0, False), (5.2, True)])
def test_the_default_radius_follows_the_pixels(database: Database, scale: float, found: bool) -> None:
    _append(database, 0, chain={"scale": scale})
    assert (find_source(database, float(RA[3]), float(DEC[3]) + 7.0 / 3600.0) is not None) == found


def test_a_source_that_no_current_reduction_saw_is_not_found(database: Database) -> None:
    _append(database, 0)
    elsewhere = columns(RA, DEC + 1.0)
    append(database, add_frame(database, "000.fits"), record("better"), elsewhere, now=later(2))
    assert find_source(database, float(RA[3]), float(DEC[3])) is None
    assert find_source(database, float(RA[3]), float(DEC[3]) + 1.0) is not None


def test_over_right_ascension_zero(database: Database) -> None:
    here = columns(np.array([359.9999]), np.array([10.0]))
    append(database, add_frame(database), record(), here, now=later(1))
    found = find_source(database, 0.0002, 10.0, radius=3.0)
    assert found is not None
    assert found.separation == pytest.approx(0.0003 * 3600 * np.cos(np.radians(10.0)), abs=1e-3)


def test_the_light_curve_has_the_columns_in_order(database: Database, transit: np.ndarray) -> None:
    curve = light_curve(database, _source_id(database))
    assert list(curve.columns) == [column.name for column in COLUMNS]
    assert len(curve) == N_FRAMES
    assert np.all(np.diff(curve["mjd_mid"]) > 0)
    assert curve["frame"][0] == "/data/000.fits"
    assert set(curve["airmass"]) == {1.25}
    assert set(curve["kind"]) == {"aperture"}
    assert curve["bjd_tdb"][0] == MJD + 2400000.5


def test_the_ensemble_takes_the_cloud_away_and_leaves_the_transit(
    database: Database, transit: np.ndarray
) -> None:
    curve = light_curve(database, _source_id(database))
    assert np.std(curve["mag"]) > 0.08
    assert np.median(curve["diff_mag"]) == pytest.approx(0.0, abs=1e-12)
    residual = curve["diff_mag"] - transit
    assert np.std(residual) < 0.003
    depth = np.median(curve["diff_mag"][transit > 0]) - np.median(curve["diff_mag"][transit == 0])
    assert depth == pytest.approx(0.02, abs=0.0015)
    assert np.all(curve["diff_mag_err"] > 0.002)
    assert np.all(curve["diff_mag_err"] < 0.004)


def test_the_comparison_stars_are_named_and_are_not_the_target(
    database: Database, transit: np.ndarray
) -> None:
    source_id = _source_id(database)
    named = light_curve(database, source_id).meta["comparison_stars"]
    assert named.startswith("testcam V: ")
    assert f"{source_id} (" not in named.replace(f"1{source_id} (", "")


def _vary(database: Database, stars: list[int]) -> None:
    """Put down what `finish` says of stars that vary."""
    with database.write() as session:
        for star in stars:
            session.add(
                SourceStatistics(
                    source_id=_source_id(database, star), instrument="testcam", filter="V", kind="aperture",
                    n=N_FRAMES, mjd_first=MJD, mjd_last=MJD + 1.0, mag_err=0.002, scatter=0.007,
                    chi2_dof=12.0, amplitude=0.02, variable=True,
                )
            )  # fmt: skip


def test_a_star_that_varies_by_a_hundredth_is_left_out_once_the_store_knows(database: Database) -> None:
    rng = np.random.default_rng(5)
    for number in range(N_FRAMES):
        flux = MEAN * (1.0 + rng.normal(0.0, 0.004, N_STARS))
        flux[7] *= 1.0 + 0.01 * np.sin(number / 5.0)
        _append(database, number, flux=flux, flux_err=0.004 * flux)
    star = _source_id(database, 7)
    before = light_curve(database, _source_id(database))
    # In one light curve it is too little to be seen.
    assert star in before.comparisons["testcam", "V"]
    _vary(database, [7])
    after = light_curve(database, _source_id(database))
    assert set(before.comparisons["testcam", "V"]) - set(after.comparisons["testcam", "V"]) == {star}
    assert after.meta["comparison_stars"].endswith(f"(left out as variable: {star})")
    # Its own light curve is as before.
    assert len(light_curve(database, star).comparisons["testcam", "V"]) == N_STARS - 1


def test_stars_that_vary_are_taken_where_too_few_others_are_left(
    database: Database, transit: np.ndarray
) -> None:
    _vary(database, [star for star in range(N_STARS) if star not in (0, 1, TARGET)])
    curve = light_curve(database, _source_id(database))
    assert len(curve.comparisons["testcam", "V"]) > 2
    assert curve.meta["comparison_stars"].endswith("(too few stars that do not vary: 2)")


def test_flux_density_of_a_vega_zero_point(database: Database) -> None:
    _append(database, 0, flux=np.full(N_STARS, 100.0))
    curve = light_curve(database, _source_id(database))
    # V = 20 (Vega) is 20.02 AB: 10**(-0.4 * 20.02) of 3631 Jy is 35.6 microjansky.
    assert curve["mag"][0] == pytest.approx(20.0)
    assert curve["flux_ujy"][0] == pytest.approx(3631e6 * 10 ** (-0.4 * 20.02), rel=1e-3)
    relative = curve["flux_err"][0] / curve["flux"][0]
    assert curve["flux_ujy_err"][0] == pytest.approx(relative * curve["flux_ujy"][0])


def test_what_most_frames_say_is_said_of_the_curve(database: Database) -> None:
    shared = "gain unknown: error bars are not to be trusted"
    for number, warnings in enumerate([(shared, "a cloud"), (shared,), ()]):
        _append(database, number, chain={"warnings": warnings})
    assert light_curve(database, _source_id(database)).meta["frames_say"] == shared


def test_what_all_stars_of_a_frame_share_is_beside_each(database: Database) -> None:
    shared = {"zp_err": 0.013, "zp_origin": "night", "grade": "bad"}
    _append(database, 0, chain=shared)
    curve = light_curve(database, _source_id(database))
    assert {name: curve[name][0] for name in shared} == shared


def test_flux_density_is_that_of_the_magnitude(database: Database) -> None:
    """A magnitude holds the source's colour term, so the flux density does; a flux below zero gets it too."""
    color = 0.25
    light = np.full(N_STARS, 100.0)
    for number, sign in enumerate([1.0, 1.0, -1.0]):
        mag = np.full(N_STARS, 20.0 + color if sign > 0 else np.nan)
        _append(database, number, flux=sign * light, mag=mag)
    curve = light_curve(database, _source_id(database))
    expected = 3631e6 * 10 ** (-0.4 * (20.02 + color))
    np.testing.assert_allclose(curve["flux_ujy"], [expected, expected, -expected], rtol=1e-3)


def test_without_a_zero_point_magnitudes_are_null_and_the_ensemble_still_works(database: Database) -> None:
    for number in range(6):
        unknown = np.full(N_STARS, np.nan)
        _append(
            database,
            number,
            mag=unknown,
            mag_err=unknown,
            chain={"zp": None, "mag_system": None, "zp_band": None},
        )
    curve = light_curve(database, _source_id(database))
    assert np.isnan(curve["mag"]).all()
    assert np.isnan(curve["flux_ujy"]).all()
    assert np.isfinite(curve["diff_mag"]).all()


def test_only_current_reductions_count(database: Database) -> None:
    for number in range(5):
        _append(database, number)
    _append(database, 2, plan="better", flux=MEAN * 1.5)
    curve = light_curve(database, _source_id(database))
    assert len(curve) == 5
    assert curve["flux"][2] == pytest.approx(MEAN[TARGET] * 1.5)


def test_by_filter_and_kind(database: Database) -> None:
    for number in range(4):
        name = "V" if number % 2 else "R"
        _append(database, number, filter=name, head={"filter": name})
    _append(database, 4, kind="psf", filter="V")
    source_id = _source_id(database)
    assert len(light_curve(database, source_id)) == 4
    assert set(light_curve(database, source_id, filter="R")["filter"]) == {"R"}
    assert len(light_curve(database, source_id, kind="psf")) == 1
    assert len(light_curve(database, source_id, filter="'; DROP TABLE source; --")) == 0


def test_each_filter_has_its_own_ensemble(database: Database) -> None:
    for number in range(10):
        name, level = ("V", 1.0) if number % 2 else ("R", 3.0)
        _append(database, number, filter=name, head={"filter": name}, flux=MEAN * level)
    curve = light_curve(database, _source_id(database))
    assert np.abs(curve["diff_mag"]).max() < 1e-9


def test_flagged_stars_leave_the_ensemble_alone(database: Database) -> None:
    for number in range(10):
        flux, flags = MEAN.copy(), np.zeros(N_STARS, int)
        if number == 5:
            flux[8:] *= 2.0
            flags[8:] = int(Flag.SATURATED)
        _append(database, number, flux=flux, flags=flags)
    assert np.abs(light_curve(database, _source_id(database))["diff_mag"]).max() < 1e-6


def test_a_source_alone_has_no_ensemble(database: Database) -> None:
    alone = columns(RA[:1], DEC[:1])
    append(database, add_frame(database), record(), alone, now=later(1))
    curve = light_curve(database, _source_id(database, 0))
    assert np.isnan(curve["diff_mag"]).all()
    assert curve.meta["comparison_stars"] == "testcam V: none"


def test_an_unknown_source_has_an_empty_light_curve(database: Database) -> None:
    curve = light_curve(database, 4711)
    assert len(curve) == 0
    assert list(curve.columns) == [column.name for column in COLUMNS]
