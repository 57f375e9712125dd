"""The night's association in a store: the same whatever came first, and nothing where nothing is new."""

from __future__ import annotations

import csv
import io
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from nightflow.sphere import unit_vectors
from nightflow.store import night_fields
from nightflow.store.consistency import disagreements
from nightflow.store.database import Database
from nightflow.store.movers import movers
from nightflow.store.night_fields import read_field, solved_frames
from nightflow.store.records import CatalogIdentity
from nightflow.store.statistics import update_statistics
from nightflow.store.writer import append
from tests.unit.lightcurves.sky_lists import Body, Sky, observe
from tests.unit.store.builders import MJD, START, add_frame, columns, count, everything, in_processes, record
from tests.unit.store.conftest import *  # noqa: F403  (the stores of both kinds)
from tests.unit.store.field_nights import (
    NIGHT,
    append_frame,
    append_frames,
    concluded,
    exported,
    put_in_order,
    sources_of,
)

SKY = Sky(
    n_stars=90, n_pairs=10, n_frames=12, side=1200.0, false_a_frame=8, blends=0.1, flip_at=6,
    bodies=(Body(x=-300, y=0, rate_x=30, rate_y=10), Body(x=100, y=100, rate_x=14.5, rate_y=-3.8)),
)  # fmt: skip
YEAR = 365.25


def share_right(database: Database, reductions: dict[int, int]) -> float:
    """Return the part of the stars' measurements that is on their star's source."""
    seen = observe(SKY)
    of_star: dict[int, list[int | None]] = {}
    with database.session() as session:
        for frame, reduction in reductions.items():
            truth = seen.truth[seen.night.frame == frame]
            statement = text("SELECT number, source_id FROM measurement WHERE reduction_id = :r")
            for number, source in session.connection().execute(statement, {"r": reduction}):
                if truth[number] >= 0:
                    of_star.setdefault(int(truth[number]), []).append(source)
    best = [max(own.count(one) for one in set(own) if one is not None) for own in of_star.values()]
    return sum(best) / sum(len(own) for own in of_star.values())


def agrees(database: Database) -> bool:
    return not any(one.number for one in disagreements(database))


def test_every_star_is_one_source_and_bodies_are_none(database: Database) -> None:
    reductions = append_frames(database, SKY, range(12))
    assert share_right(database, reductions) > 0.99
    found = put_in_order(database)
    assert share_right(database, reductions) > 0.999
    assert (found.changed, found.n_movers) == (True, 2)
    assert found.n_sources == count(database, "source")
    assert 90 <= found.n_sources <= 90 + SKY.n_pairs
    rates = sorted((one.mover.rate_ra, one.mover.rate_dec) for one in movers(database))
    np.testing.assert_allclose(rates, [(14.5, -3.8), (30.0, 10.0)], atol=0.6)
    assert agrees(database)


def test_again_changes_no_row(database: Database) -> None:
    append_frames(database, SKY, range(12))
    first = put_in_order(database)
    for field in first.fields:
        update_statistics(database, field)
    before = everything(database)
    history = count(database, "source_history")
    again = put_in_order(database)
    assert again.changed is False
    assert (again.n_only_tonight, again.n_sources) == (first.n_only_tonight, first.n_only_tonight)
    assert [update_statistics(database, field) for field in again.fields] == [0]
    assert everything(database) == before
    assert count(database, "source_history") == history


@pytest.fixture(scope="module")
def in_time(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    """What is in a store to which the night came frame by frame in order of time, and its light curves."""
    file = shutil.copy(sqlite_template, tmp_path_factory.mktemp("in_time") / "store.sqlite")
    with Database(f"sqlite:///{file}") as store:
        append_frames(store, SKY, range(12))
        found = put_in_order(store)
        return concluded(store, found), sources_of(store), exported(store)


def test_in_any_order_the_same_rows_and_keys(database: Database, in_time: tuple[Any, Any, Any]) -> None:
    shuffled = np.random.default_rng(5).permutation(12).tolist()
    append_frames(database, SKY, shuffled)
    found = put_in_order(database)
    assert (concluded(database, found), sources_of(database), exported(database)) == in_time


def _append_half(url: str, frames: list[int]) -> None:
    with Database(url) as database:
        append_frames(database, SKY, frames)


def test_half_in_one_process_and_half_in_another(database: Database, in_time: tuple[Any, Any, Any]) -> None:
    in_processes(
        _append_half, [(database.url, list(range(0, 12, 2))), (database.url, list(range(11, 0, -2)))]
    )
    put_in_order(database)
    assert exported(database) == in_time[2]


def test_sources_of_other_nights_keep_their_numbers_and_what_they_lose_is_noted(database: Database) -> None:
    first = replace(SKY, bodies=(), false_a_frame=0, blends=0.0)
    append_frames(database, first, range(12))
    put_in_order(database)
    known = {one for *_, one in sources_of(database)} - {None}
    append_frames(database, replace(first, n_frames=6), range(6), days=10.0)
    found = put_in_order(database, "2026-03-10")
    assert (found.n_only_tonight, found.n_sources) == (0, 90)
    assert {one for *_, one in sources_of(database)} - {None} == known
    assert count(database, "source_history") == 0
    assert agrees(database)


def test_half_a_night_may_be_put_in_order_before_the_rest_comes(database: Database) -> None:
    append_frames(database, SKY, range(6))
    put_in_order(database)
    before = {one for *_, one in sources_of(database)} - {None}
    append_frames(database, SKY, range(6, 12))
    found = put_in_order(database)
    after = {one for *_, one in sources_of(database)} - {None}
    assert found.n_movers == 2
    assert len(before - after) < 5
    assert agrees(database)


def test_a_better_wcs_moves_the_sources(database: Database) -> None:
    """Frames reduced again with a WCS that is not 0.8" off leave no source where the wrong one had it."""
    sky = replace(SKY, n_pairs=0, bodies=(), false_a_frame=0, blends=0.0, n_frames=6)
    seen = observe(sky)
    off = replace(seen, night=replace(seen.night, dec=seen.night.dec + 0.8 / 3600.0))
    places = {}
    for plan, frames in (("wrong", off), ("right", seen)):
        for frame in range(sky.n_frames):
            append_frame(database, sky, frame, frames, plan=plan)
        put_in_order(database)
        with database.session() as session:
            rows = session.connection().execute(text("SELECT id, dec FROM source ORDER BY id"))
            places[plan] = dict(rows.all())
    assert places["wrong"].keys() == places["right"].keys()
    shift = [3600.0 * (places["wrong"][one] - places["right"][one]) for one in places["right"]]
    np.testing.assert_allclose(shift, 0.8, atol=1e-6)
    assert not put_in_order(database).changed
    assert agrees(database)


def test_merged_and_split_sources_are_kept_in_the_history(database: Database) -> None:
    sky = replace(SKY, n_stars=30, n_pairs=0, bodies=(), false_a_frame=0, dropout=0.0, blends=0.0)
    append_frames(database, sky, range(12))
    statement = "SELECT id FROM source ORDER BY id LIMIT 2"
    with database.write() as session:
        one, other = session.connection().execute(text(statement)).scalars().all()
        change = "UPDATE measurement SET source_id = :a WHERE source_id = :b AND mjd_mid > :m"
        middle = MJD + 5.5 * sky.cadence / 24.0
        session.connection().execute(text(change), {"a": one, "b": other, "m": middle})
        session.connection().execute(text("UPDATE source SET n_obs = 18 WHERE id = :a"), {"a": one})
        session.connection().execute(text("UPDATE source SET n_obs = 6 WHERE id = :b"), {"b": other})
    put_in_order(database)
    with database.session() as session:
        rows = session.connection().execute(
            text("SELECT source_id, became, change, n_measurements, night FROM source_history")
        )
        assert [tuple(row) for row in rows] == [(one, other, "split", 6, "2026-02-28")]
    assert agrees(database)


def test_a_star_of_the_catalogue_with_two_arcsec_a_year_stays_one_source(database: Database) -> None:
    ra, dec = np.array([132.8, 132.81]), np.array([11.8, 11.81])
    catalog = CatalogIdentity(
        catalog="gaia",
        known=np.array([True, False]),
        ids=np.array(["Barnard", ""], object),
        pmra=np.array([-1200.0, 0.0]),
        pmdec=np.array([1600.0, 0.0]),
    )
    for year in range(11):
        shift = np.array([-1.2, 0.0]) * year / 3600.0 / np.cos(np.radians(dec))
        moved = ra + shift, dec + np.array([1.6, 0.0]) * year / 3600.0
        for exposure in range(3):
            mjd = MJD + year * YEAR + exposure * 0.01
            frame_id = add_frame(database, f"{year}-{exposure}", mjd_mid=mjd, shape=(2048, 2048))
            chain = record(scale=1.0, fwhm_px=3.0, wcs_rms_arcsec=0.1, ra_center=ra[0], dec_center=dec[0])
            append(database, frame_id, chain, columns(*moved, mjd=mjd, catalog=catalog), now=START)
        with database.session() as session:
            nights = session.connection().execute(text("SELECT DISTINCT night FROM frame")).scalars().all()
        put_in_order(database, max(nights))
    assert count(database, "source", "n_obs = 33") == 2
    assert count(database, "source") == 2
    assert count(database, "source", "catalog_id = 'Barnard' AND pmra = -1200") == 1


def test_a_catalogue_that_comes_later_names_the_source(database: Database) -> None:
    ra, dec = np.array([132.8]), np.array([11.8])
    append(database, add_frame(database, "a"), record(), columns(ra, dec), now=START)
    known = CatalogIdentity(
        catalog="gaia",
        known=np.array([True]),
        ids=np.array(["'; DROP TABLE source; --"], object),
        pmra=np.array([5.0]),
        pmdec=np.array([-7.0]),
    )
    append(
        database,
        add_frame(database, "b"),
        record(),
        columns(ra, dec, mjd=MJD + 0.1, catalog=known),
        now=START,
    )
    with database.session() as session:
        row = session.connection().execute(text("SELECT catalog, catalog_id, pmra, pmdec FROM source")).one()
    assert tuple(row) == ("gaia", "'; DROP TABLE source; --", 5.0, -7.0)


def test_a_frame_that_comes_in_meanwhile_is_seen(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    import nightflow.pipeline.associate_night as module

    append_frames(database, SKY, range(11))
    late = iter([11])
    real = module.associate_night

    def slow(*arguments: object) -> object:
        for frame in late:
            append_frame(database, SKY, frame)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "associate_night", slow)
    found = put_in_order(database)
    assert found.n_detections == count(database, "measurement")
    assert agrees(database)


def test_frames_that_come_in_after_the_list_was_read_are_not_passed_over(
    database: Database, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else their detections would count as another night's, and keep the numbers of their arrival."""
    import nightflow.pipeline.associate_night as module

    append_frames(database, SKY, range(10, 0, -1))
    late = iter([0, 11])
    real = module.field_groups

    def slow(frames: object) -> object:
        groups = real(frames)  # type: ignore[arg-type]
        for frame in late:
            append_frame(database, SKY, frame)
        return groups

    monkeypatch.setattr(module, "field_groups", slow)
    assert put_in_order(database).n_detections == count(database, "measurement")
    with Database(f"sqlite:///{tmp_path}/other.sqlite") as other:
        other.upgrade()
        append_frames(other, SKY, range(12))
        put_in_order(other)
        assert sources_of(other) == sources_of(database)


def test_the_fields_of_a_night_are_told_apart_once_and_not_while_others_wait(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nightflow.pipeline.associate_night as module

    append_frames(database, SKY, range(4))
    calls = []
    real = module.field_groups
    monkeypatch.setattr(module, "field_groups", lambda frames: calls.append(frames) or real(frames))
    put_in_order(database)
    assert len(calls) == 1


def test_the_rate_up_to_which_bodies_were_looked_for_is_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nightflow.lightcurves.tracklets as module

    append_frames(database, SKY, range(12))
    assert put_in_order(database, fastest_arcsec_per_hour=120.0).fastest == 120.0
    monkeypatch.setattr(module, "_MOST_PAIRS", 1)
    assert 0.0 < put_in_order(database, fastest_arcsec_per_hour=120.0).fastest < 60.0
    assert put_in_order(database, "2001-01-01", fastest_arcsec_per_hour=120.0).fastest == 120.0


def test_a_wrong_count_costs_no_light_curve_its_points(database: Database) -> None:
    """A source that this night does not see any more, with measurements of another that nobody counted."""
    append_frame(database, SKY, 0, days=1.0)
    append_frames(database, SKY, range(12))
    with database.write() as session:
        session.execute(text("UPDATE measurement SET source_id = NULL WHERE reduction_id > 1 AND number > 3"))
        session.execute(text("UPDATE source SET n_obs = 0"))
    before = count(database, "measurement", "reduction_id = 1 AND source_id IS NOT NULL")
    put_in_order(database)
    assert count(database, "measurement", "reduction_id = 1 AND source_id IS NOT NULL") == before


def test_two_ends_of_nights_may_write_the_same_statistics(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nightflow.store.statistics as module

    append_frames(database, SKY, range(12))
    (ids,) = put_in_order(database).fields
    assert update_statistics(database, ids) > 0
    whole = everything(database)
    with database.write() as session:
        session.execute(text("DELETE FROM source_statistics"))
    meanwhile = iter([True])
    real = module._stored

    def stored(session: object, of: object) -> object:
        read = list(real(session, of))  # type: ignore[arg-type]
        for _ in meanwhile:
            with Database(database.url) as other:
                update_statistics(other, ids)
                with other.write() as writing:
                    rare = "SELECT source_id FROM source_statistics ORDER BY source_id LIMIT 1"
                    gone = writing.execute(text(rare)).scalar_one()
                    for statement in (
                        "UPDATE measurement SET source_id = NULL WHERE source_id = :id",
                        "DELETE FROM source_statistics WHERE source_id = :id",
                        "DELETE FROM source WHERE id = :id",
                    ):
                        writing.execute(text(statement), {"id": gone})
        return iter(read)

    monkeypatch.setattr(module, "_stored", stored)
    update_statistics(database, ids)
    assert count(database, "source_statistics") > 0
    assert len(everything(database)["source"]) == len(whole["source"]) - 1


def test_the_chips_of_one_exposure_keep_their_stars(database: Database) -> None:
    # Their circles touch, so that they are one field of four frames; each place was covered by one.
    chips = [
        Sky(n_stars=30, n_frames=1, side=1200.0, dropout=0.0, seed=10 + k, center=(132.8 + 0.5 * k, 41.8))
        for k in range(4)
    ]
    for chip in chips:
        append_frame(database, chip, 0, center=chip.center)
    found = put_in_order(database)
    assert len(found.fields) == 1
    assert (found.n_loose, found.n_sources) == (0, found.n_detections)


def test_a_night_is_read_in_little_memory(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sky = replace(SKY, n_frames=20, n_stars=100, n_pairs=0, false_a_frame=400, bodies=())
    database = Database(sqlite_url)
    append_frames(database, sky, range(20))
    monkeypatch.setattr(night_fields, "_AT_ONCE", 1)
    with database.session() as session:
        frames = solved_frames(session, NIGHT)
        read_field(session, frames[:1])
        tracemalloc.start()
        night = read_field(session, frames).night
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # Some tens of kilobytes are of the frames and of the statement.
    assert most < 150 * len(night) + 500_000


def test_a_frame_covers_what_its_rotation_says(database: Database) -> None:
    append_frame(database, SKY, 0)
    with database.write() as session:
        session.connection().execute(text("UPDATE reduction SET rotation = 90.0"))
        session.connection().execute(text("UPDATE frame SET ny = 100, nx = 1000"))
    with database.session() as session:
        (frame,) = solved_frames(session, NIGHT)
        night = read_field(session, [frame]).night
    assert night.footprints is not None
    # +y points east: what is long along x lies from south to north.
    north = unit_vectors(frame.ra, frame.dec + np.array([450.0, 550.0]) * frame.scale / 3600.0)
    assert night.footprints.covers(0, north).tolist() == [True, False]


def test_frames_with_a_wcs_and_no_measurement_have_no_sources(database: Database) -> None:
    for number in range(3):
        frame_id = add_frame(database, f"{number}", mjd_mid=MJD + number / 100, shape=(100, 100))
        chain = record(scale=1.0, ra_center=10.0, dec_center=20.0, fwhm_px=2.0, wcs_rms_arcsec=0.1)
        append(database, frame_id, chain, columns(np.empty(0), np.empty(0)), now=START)
    found = put_in_order(database)
    assert (found.n_detections, found.n_sources, found.fields, found.changed) == (0, 0, ((),), False)
    assert update_statistics(database, ()) == 0


def test_a_night_without_a_solved_frame_has_no_sources(database: Database) -> None:
    found = put_in_order(database, "1999-12-31")
    assert (found.n_detections, found.n_sources, found.changed) == (0, 0, False)


def append_chip(database: Database, sky: Sky) -> tuple[float, float]:
    """Append frames of constant stars and a variable one, with zeros of their own; return its place."""
    seen = observe(sky)
    night = seen.night
    rng = np.random.default_rng(sky.seed)
    true = np.array([np.median(night.mag[seen.truth == star]) for star in range(sky.n_stars)])
    # What is near an edge is not said to vary.
    far = [
        np.abs([night.x[seen.truth == star], night.y[seen.truth == star]]).max() for star in range(len(true))
    ]
    varies = next(int(one) for one in np.argsort(true)[sky.n_stars // 3 :] if far[one] < 560.0)
    for frame in range(sky.n_frames):
        rows = np.flatnonzero(night.frame == frame)
        wave = 0.2 * np.cos(2 * np.pi * frame * sky.cadence / 0.9)
        mag = night.mag[rows] + rng.normal(0, 0.3) + np.where(seen.truth[rows] == varies, wave, 0.0)
        flux = 10 ** (-0.4 * mag)
        error = flux * 0.01
        mjd = MJD + frame * sky.cadence / 24.0
        frame_id = add_frame(database, f"{sky.seed}-{frame}", mjd_mid=mjd, shape=(1200, 1200))
        chain = record(
            scale=1.0, fwhm_px=3.0, wcs_rms_arcsec=0.12, ra_center=sky.center[0], dec_center=sky.center[1]
        )
        measured = columns(
            night.ra[rows], night.dec[rows], mjd=mjd, flux=flux + rng.normal(0, error), flux_err=error,
            x=night.x[rows] + 600.0, y=night.y[rows] + 600.0,
        )  # fmt: skip
        append(database, frame_id, chain, measured, now=START)
    own = seen.truth == varies
    return float(np.median(night.ra[own])), float(np.median(night.dec[own]))


def test_each_chip_has_offsets_of_its_own_and_its_stars_have_statistics(database: Database) -> None:
    sky = Sky(n_stars=40, n_frames=14, side=1200.0, false_a_frame=0, dropout=0.02)
    # Side by side, so that they are one field, but no star is on two of them.
    chips = [replace(sky, seed=20 + k, center=(132.8 + 0.46 * k, 41.8)) for k in range(3)]
    variables = [append_chip(database, chip) for chip in chips]
    (field,) = put_in_order(database).fields
    assert update_statistics(database, field) == len(field) == 120
    with database.session() as session:
        rows = session.connection().execute(
            text(
                "SELECT s.ra, s.dec, t.scatter, t.chi2_dof, t.variable FROM source_statistics t "
                "JOIN source s ON s.id = t.source_id"
            )
        )
        ra, dec, scatter, chi2, variable = np.array([tuple(row) for row in rows], float).T
    found = sorted(zip(ra[variable > 0], dec[variable > 0], strict=True))
    np.testing.assert_allclose(found, sorted(variables), atol=2e-4)
    assert np.median(scatter) == pytest.approx(0.0109, rel=0.15)
    assert np.median(chi2) == pytest.approx(1.0, abs=0.15)


def test_what_is_said_of_variables_is_what_was_put_in(database: Database) -> None:
    sky = replace(SKY, n_frames=30, bodies=(), blends=0.0, n_pairs=0, false_a_frame=0)
    seen = observe(sky)
    rng = np.random.default_rng(9)
    true = np.array([np.median(seen.night.mag[seen.truth == star]) for star in range(sky.n_stars)])
    varies = int(np.argsort(true)[30])
    frame_offset = rng.normal(0, 0.2, sky.n_frames)
    hours = np.arange(sky.n_frames) * sky.cadence
    for frame in range(sky.n_frames):
        rows = np.flatnonzero(seen.night.frame == frame)
        mag = seen.night.mag[rows] + frame_offset[frame]
        mag = mag + np.where(seen.truth[rows] == varies, 0.15 * np.cos(2 * np.pi * hours[frame] / 0.9), 0.0)
        flux = 10 ** (-0.4 * mag)
        error = flux * 0.01
        flux = flux + rng.normal(0, error)
        night = seen.night
        mjd = MJD + hours[frame] / 24.0
        frame_id = add_frame(database, f"{frame}", mjd_mid=mjd, shape=(1200, 1200))
        chain = record(
            scale=1.0, fwhm_px=3.0, wcs_rms_arcsec=0.12, ra_center=night.ra[0], dec_center=night.dec[0]
        )
        measured = columns(night.ra[rows], night.dec[rows], mjd=mjd, flux=flux, flux_err=error)
        append(database, frame_id, chain, measured, now=START)
    (field,) = put_in_order(database).fields
    assert update_statistics(database, field) == 90
    with database.session() as session:
        rows = (
            session.connection()
            .execute(
                text(
                    "SELECT n, scatter, chi2_dof, von_neumann, period, period_err, variable, mag_err "
                    "FROM source_statistics ORDER BY excess DESC"
                )
            )
            .all()
        )
    assert [bool(row[6]) for row in rows] == [True] + [False] * 89
    period, error = rows[0][4] * 24.0, rows[0][5] * 24.0
    assert abs(period - 0.9) < 4 * error
    assert error < 0.01
    constant = rows[1:]
    assert np.median([row[2] for row in constant]) == pytest.approx(1.0, abs=0.12)
    assert np.median([row[3] for row in constant]) == pytest.approx(2.0, abs=0.15)
    assert np.median([row[1] for row in constant]) == pytest.approx(0.0109, rel=0.1)


def test_the_export_has_one_row_a_measurement_and_the_sources_name(database: Database) -> None:
    append_frames(database, replace(SKY, n_stars=20, n_pairs=0, bodies=()), range(8))
    put_in_order(database)
    for one, content in exported(database).items():
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        assert {row["source_id"] for row in rows} == {str(one)}
        assert len({row["frame"] for row in rows}) == len(rows)
