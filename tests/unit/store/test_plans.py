"""How the database goes about the questions of the sky: by index, in every month, as its own plan says.

The tables are filled until an index is worth while, and nothing is forbidden to the planner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text

from nightflow.service.unshown import unshown
from nightflow.store.blocks import last_received, reduced_lights
from nightflow.store.database import Database
from nightflow.store.last_error import last_error
from nightflow.store.ledger import held_exposures, receive
from nightflow.store.models import Exposure, Frame, Reduction, State, Target
from nightflow.store.moving_curve import detection_statement, moving_target_curve
from nightflow.store.overview import newest_exposure, zero_points_since
from nightflow.store.partitions import ensure_partition
from nightflow.store.queries import find_sources, measurements_statement
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, add_frame, columns, later, partitions, record, stars

N_SOURCES, N_FRAMES, N_EXPOSURES = 1500, 8, 3000
MONTHS = (MJD, MJD + 31.0, MJD + 61.0)


@pytest.fixture
def full(database: Database) -> Database:
    """Three months of a field of many stars; one frame is appended, the rest are its copies."""
    ra, dec = stars(N_SOURCES)
    append(database, add_frame(database), record(), columns(ra, dec), now=later(60))
    for mjd in MONTHS:
        ensure_partition(database, mjd)
    with database.write() as session:
        connection = session.connection()
        names = connection.execute(text("SELECT * FROM measurement LIMIT 1")).keys()
        chosen = ", ".join({"mjd_mid": ":mjd", "number": "number + :shift"}.get(one, one) for one in names)
        copy = text(
            f"INSERT INTO measurement SELECT {chosen} FROM measurement WHERE number < {N_SOURCES}"
            f" AND mjd_mid = {MJD}"
        )
        for frame in range(1, N_FRAMES):
            for month in MONTHS:
                values = {"mjd": month + frame, "shift": N_SOURCES * frame}
                connection.execute(copy, values)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return database


def _plan(database: Database, statement: str, values: Any = None) -> list[str]:
    explain = "EXPLAIN " if database.is_postgres else "EXPLAIN QUERY PLAN "
    with database.session() as session:
        rows = session.connection().exec_driver_sql(explain + statement, values).all()
    return [str(row[0] if database.is_postgres else row[-1]) for row in rows]


def test_a_light_curve_is_read_by_the_index_of_every_month(full: Database) -> None:
    with full.session() as session:
        source = session.connection().execute(text("SELECT max(id) FROM source")).scalar_one()
    statement = measurements_statement("aperture").params(source=source)
    compiled = statement.compile(full.engine, compile_kwargs={"literal_binds": True})
    plan = _plan(full, str(compiled))
    text_of_plan = "\n".join(plan)
    if not full.is_postgres:
        assert any("SEARCH measurement USING INDEX ix_measurement_source" in line for line in plan), (
            text_of_plan
        )
        assert not any("SCAN" in line for line in plan), text_of_plan
        return
    with full.engine.connect() as connection:
        months = partitions(connection)
    assert len(months) == len(MONTHS)
    for month in months:
        assert f"{month}_source_id_mjd_mid_idx" in text_of_plan, text_of_plan
        assert f"Seq Scan on {month}" not in text_of_plan, text_of_plan


def test_a_cone_is_searched_by_the_index_on_the_sky(full: Database) -> None:
    ra, dec = stars(1)
    asked: list[tuple[str, Any]] = []
    event.listen(full.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    assert find_sources(full, float(ra[0]), float(dec[0]), 3.0)
    ((statement, values),) = [one for one in asked if one[0].startswith("SELECT")]
    plan = "\n".join(_plan(full, statement, values))
    assert "ix_source_healpix" in plan
    assert "Seq Scan" not in plan
    assert "SCAN source" not in plan


def test_a_moving_target_is_looked_for_in_the_month_of_each_frame(full: Database) -> None:
    (ra,), (dec,) = stars(1)
    orbit = [[MJD - 1.0, float(ra), float(dec)], [MJD + 1.0, float(ra), float(dec)]]
    target = Target(name="Ceres", ephemeris=orbit)
    with full.write() as session:
        session.connection().execute(text(f"UPDATE reduction SET ra_center = {ra}, dec_center = {dec}"))
    asked: list[tuple[str, Any]] = []
    event.listen(full.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    assert len(moving_target_curve(full, target)) == 1
    of_detection = detection_statement("aperture").params(reduction=1, mjd=MJD, number=0)
    asked.append((str(of_detection.compile(full.engine, compile_kwargs={"literal_binds": True})), None))
    measured = [one for one in asked if "FROM measurement" in one[0] and "measurement.number" in one[0]]
    assert len(measured) >= 2
    for statement, values in measured:
        plan = "\n".join(_plan(full, statement, values))
        assert "SCAN measurement" not in plan
        assert "measurement_2026_04" not in plan, plan
        assert "measurement_2026_05" not in plan, plan


def test_an_append_counts_in_its_own_month(full: Database) -> None:
    frame_id = add_frame(full, "new.fits")
    asked: list[tuple[str, Any]] = []
    event.listen(full.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    append(full, frame_id, record(), columns(*stars(50), mjd=MJD + 20.0), now=later(60))
    ((statement, values),) = [one for one in asked if one[0].startswith("UPDATE source")]
    plan = "\n".join(_plan(full, statement, values))
    assert "SCAN measurement" not in plan
    if full.is_postgres:
        assert "measurement_2026_03" in plan
        assert "measurement_2026_04" not in plan
        assert "measurement_2026_05" not in plan


def test_counting_an_observation_touches_no_index_of_the_sources(database: Database) -> None:
    if not database.is_postgres:
        pytest.skip("SQLite changes rows in place")
    ra, dec = stars(2000)
    for number in range(3):
        frame_id = add_frame(database, f"{number}.fits")
        append(database, frame_id, record(), columns(ra, dec, mjd=MJD + number), now=later(60))
    statistics = text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'source'")
    with database.session() as session:
        session.connection().execute(text("SELECT pg_stat_force_next_flush()"))
    with database.session() as session:
        changed, in_place = session.connection().execute(statistics).one()
    assert changed >= 6000
    assert in_place >= 0.95 * changed


@pytest.mark.parametrize("copied", [False, True])
def test_a_file_that_lands_is_looked_up_by_index(database: Database, copied: bool) -> None:
    moment = later(0)
    landed = [
        Exposure(path=f"/raw/{number}.fits", sha256=f"{number:064x}", size=1, received_at=moment)
        for number in range(N_EXPOSURES)
    ]
    with database.write() as session:
        session.add_all(landed)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        if statement.startswith("SELECT exposure"):
            asked.append((statement, values))

    event.listen(database.engine, "before_cursor_execute", note)
    receive(database, "/raw/new.fits", f"{1 if copied else N_EXPOSURES:064x}", 1, now=later(60))
    event.remove(database.engine, "before_cursor_execute", note)
    assert asked
    for statement, values in asked:
        plan = "\n".join(_plan(database, statement, values))
        assert "ix_exposure_sha256" in plan, plan


@pytest.fixture
def long(database: Database) -> Database:
    """A ledger of many nights of one camera, all reduced, all shown."""
    with database.write() as session:
        exposures = [
            Exposure(
                path=f"/raw/{number}.fits",
                sha256=f"{number:064x}",
                size=1,
                state=State.DONE,
                received_at=later(60.0 * number),
                done_at=later(60.0 * number + 5),
                prefect_run_id="shown",
            )
            for number in range(N_EXPOSURES)
        ]
        session.add_all(exposures)
        session.flush()
        frames = [
            Frame(
                exposure_id=one.id or 0,
                detector="ccd",
                hdu=0,
                kind="light",
                instrument="cam",
                exptime=30.0,
                mjd_mid=MJD + number / 1440,
                ny=1,
                nx=1,
                state=State.DONE,
                night=f"night {number // 100}",
            )
            for number, one in enumerate(exposures)
        ]
        session.add_all(frames)
        session.flush()
        values = record().values() | {"zp": 24.0}
        session.add_all(
            Reduction(frame_id=one.id or 0, version=1, created_at=later(0), **values) for one in frames
        )
    return database


RECENTLY = later(60.0 * (N_EXPOSURES - 100))


EACH_MINUTE: tuple[tuple[Callable[[Database], object], str], ...] = (
    (lambda database: last_received(database, "cam"), "ix_exposure_received_at"),
    (lambda database: reduced_lights(database, received_after=RECENTLY), "ix_exposure_received_at"),
    (lambda database: zero_points_since(database, RECENTLY), "ix_exposure_received_at"),
    (newest_exposure, "ix_exposure_received_at"),
    (lambda database: held_exposures(database, "wcs"), "ix_exposure_queue"),
    (unshown, "ix_exposure_unshown"),
)


def test_what_is_asked_each_minute_is_answered_by_index(long: Database) -> None:
    if not long.is_postgres:  # which counts by itself
        check_plans(long)
    with long.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    check_plans(long)


def test_the_last_error_is_found_by_index(long: Database) -> None:
    """Of many frames that were rejected and of which each has come well since under its own path."""
    with long.write() as session:
        session.add_all(
            Exposure(
                path=f"/raw/{number}.fits",
                sha256=f"{N_EXPOSURES + number:064x}",
                size=1,
                state=State.REJECTED,
                received_at=later(60.0 * number),
                done_at=later(60.0 * number + 1),
            )
            for number in range(0, N_EXPOSURES, 20)
        )
    if not long.is_postgres:
        check_last_error(long)
    with long.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    check_last_error(long)


def check_last_error(database: Database) -> None:
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    assert last_error(database) is None
    errors, *paths = [one for one in asked if one[0].startswith("SELECT")]
    assert paths
    for (statement, values), index in (
        (errors, "ix_exposure_queue"),
        *((one, "ix_exposure_path") for one in paths),
    ):
        plan = "\n".join(_plan(database, statement, values))
        assert index in plan, plan
        assert "SCAN" not in plan, plan
        assert "Seq Scan" not in plan, plan


def check_plans(database: Database) -> None:
    """Every question of `EACH_MINUTE` goes by its index, and reads no table as a whole."""
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    for ask, index in EACH_MINUTE:
        asked.clear()
        ask(database)
        statements = [one for one in asked if one[0].startswith("SELECT")]
        assert statements
        for statement, values in statements:
            plan = _plan(database, statement, values)
            assert any(index in line for line in plan), (index, plan)
            # Postgres reads frames of a hundred nights as a whole, which are few.
            whole = [line for line in plan if "SCAN" in line]
            assert all(index in line for line in whole), (index, plan)
