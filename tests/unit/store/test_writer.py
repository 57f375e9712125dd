from __future__ import annotations

import math

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

import nightflow.store.writer as writer
from nightflow.errors import FrameRejected
from nightflow.flags import Flag
from nightflow.store.database import Database
from nightflow.store.writer import append
from tests.unit.store.builders import (
    CLEAN_PROCESSES,
    MJD,
    add_frame,
    columns,
    count,
    everything,
    in_processes,
    later,
    record,
    stars,
)

NOW = later(60)


def _sources(database: Database, reduction_id: int) -> list[int | None]:
    with database.session() as session:
        statement = text("SELECT source_id FROM measurement WHERE reduction_id = :r ORDER BY kind, number")
        return list(session.connection().execute(statement, {"r": reduction_id}).scalars())


def _n_obs(database: Database) -> list[int]:
    with database.session() as session:
        return list(session.connection().execute(text("SELECT n_obs FROM source ORDER BY id")).scalars())


def test_the_first_frame_makes_its_sources(database: Database) -> None:
    ra, dec = stars(30)
    result = append(database, add_frame(database), record(), columns(ra, dec), now=NOW)
    assert (result.version, result.changed, result.n_measurements) == (1, True, 30)
    assert (result.n_associated, result.n_new_sources, result.n_dropped) == (30, 30, 0)
    assert count(database, "source") == 30
    assert _n_obs(database) == [1] * 30


def test_rows_hold_what_was_handed_in(database: Database) -> None:
    ra, dec = stars(2)
    append(database, add_frame(database), record(), columns(ra, dec, flags=np.array([0, 9])), now=NOW)
    with database.session() as session:
        row = (
            session.connection().execute(text("SELECT * FROM measurement WHERE number = 1")).mappings().one()
        )
    expected = {"mjd_mid": MJD, "bjd_tdb": MJD + 2400000.5, "flux": 100.0, "flux_err": 1.0, "mag": 20.0}
    expected |= {
        "x": 1.0,
        "ra": ra[1],
        "dec": dec[1],
        "fwhm_px": 3.0,
        "flags": 9,
        "filter": "V",
        "association": 1,
    }
    assert {key: row[key] for key in expected} == expected


def test_the_next_frame_finds_them_again(database: Database) -> None:
    ra, dec = stars(30)
    first = append(database, add_frame(database, "a"), record(), columns(ra, dec), now=NOW)
    shuffled = np.random.default_rng(3).permutation(30)
    half_arcsec = 0.5 / 3600.0
    second = append(
        database,
        add_frame(database, "b"),
        record(),
        columns(ra[shuffled], dec[shuffled] + half_arcsec, mjd=MJD + 0.01),
        now=NOW,
    )
    assert (second.n_associated, second.n_new_sources) == (30, 0)
    before, after = _sources(database, first.reduction_id), _sources(database, second.reduction_id)
    assert after == [before[index] for index in shuffled]
    assert _n_obs(database) == [2] * 30


def test_the_same_plan_again_changes_no_row(database: Database) -> None:
    ra, dec = stars(30)
    frame_id = add_frame(database)
    first = append(database, frame_id, record(), columns(ra, dec), now=NOW)
    before = everything(database)
    again = append(database, frame_id, record(), columns(ra, dec), now=later(999))
    assert (again.reduction_id, again.version, again.changed) == (first.reduction_id, 1, False)
    assert everything(database) == before


def test_a_new_plan_makes_a_new_version_and_keeps_the_old(database: Database) -> None:
    ra, dec = stars(30)
    frame_id = add_frame(database)
    first = append(database, frame_id, record("old"), columns(ra, dec), now=NOW)
    second = append(database, frame_id, record("new"), columns(ra[:20], dec[:20]), now=NOW)
    assert second.version == 2
    assert count(database, "reduction", "current") == 1
    assert count(database, "measurement", f"reduction_id = {first.reduction_id}") == 30
    assert count(database, "source") == 30
    assert sorted(_n_obs(database)) == [0] * 10 + [1] * 20


def test_kinds_of_one_detection_share_the_source_and_count_once(database: Database) -> None:
    ra, dec = stars(10)
    both = columns(
        np.tile(ra, 2),
        np.tile(dec, 2),
        number=np.tile(np.arange(10), 2),
        kind=np.repeat(["aperture", "psf"], 10),
    )
    result = append(database, add_frame(database), record(), both, now=NOW)
    ids = _sources(database, result.reduction_id)
    assert result.n_measurements == 20
    assert ids[:10] == ids[10:]
    assert _n_obs(database) == [1] * 10


def test_an_unsolved_frame_is_kept_unassociated(database: Database) -> None:
    nowhere = np.full(5, np.nan)
    result = append(database, add_frame(database), record(scale=None), columns(nowhere, nowhere), now=NOW)
    assert (result.n_measurements, result.n_associated, result.n_new_sources) == (5, 0, 0)
    assert count(database, "measurement", "ra IS NULL AND dec IS NULL AND source_id IS NULL") == 5


def test_an_empty_frame_has_a_reduction(database: Database) -> None:
    result = append(database, add_frame(database), record(), columns(np.empty(0), np.empty(0)), now=NOW)
    assert (result.changed, result.n_measurements) == (True, 0)
    assert count(database, "reduction") == 1


def test_no_number_that_is_none_reaches_the_database(database: Database) -> None:
    ra, dec = stars(4)
    odd = columns(
        ra,
        dec,
        flux=np.array([100.0, np.nan, np.inf, -5.0]),
        mag=np.array([20.0, np.nan, np.nan, np.nan]),
        bjd_tdb=np.array([np.inf, 1.0, 1.0, 1.0]),
    )
    chain = record(fwhm_px=math.nan, zp_err=math.inf, sky=np.float32(3.5), n_sources=np.int64(4))
    result = append(database, add_frame(database), chain, odd, now=NOW)
    assert (result.n_measurements, result.n_dropped) == (2, 2)
    assert count(database, "measurement", "flux = -5 AND mag IS NULL") == 1
    assert count(database, "measurement", "bjd_tdb IS NULL") == 1
    assert (
        count(database, "reduction", "fwhm_px IS NULL AND zp_err IS NULL AND sky = 3.5 AND n_sources = 4")
        == 1
    )


def test_measurements_without_a_time_are_refused(database: Database) -> None:
    ra, dec = stars(2)
    frame_id = add_frame(database)
    with pytest.raises(FrameRejected, match="no time of mid-exposure"):
        append(database, frame_id, record(), columns(ra, dec, mjd=math.nan), now=NOW)
    assert count(database, "reduction") == 0


def test_a_cosmic_ray_makes_no_source_but_may_lie_on_one(database: Database) -> None:
    ra, dec = stars(10)
    append(database, add_frame(database, "a"), record(), columns(ra[:5], dec[:5]), now=NOW)
    hit = columns(ra, dec, mjd=MJD + 0.1, flags=np.full(10, int(Flag.COSMIC_RAY)))
    result = append(database, add_frame(database, "b"), record(), hit, now=NOW)
    assert (result.n_associated, result.n_new_sources) == (5, 0)


def test_a_saturated_star_is_a_source(database: Database) -> None:
    ra, dec = stars(3)
    bright = columns(ra, dec, flags=np.full(3, int(Flag.SATURATED)))
    assert append(database, add_frame(database), record(), bright, now=NOW).n_new_sources == 3


@pytest.mark.parametrize(("scale", "new"), [(1.0, 5), (5.2, 0)])
def test_the_radius_follows_the_pixels(database: Database, scale: float, new: int) -> None:
    ra, dec = stars(5)
    append(database, add_frame(database, "a"), record(scale=scale), columns(ra, dec), now=NOW)
    moved = columns(ra, dec + 6.0 / 3600.0, mjd=MJD + 0.1)
    assert (
        append(database, add_frame(database, "b"), record(scale=scale), moved, now=NOW).n_new_sources == new
    )


def test_over_the_pole_and_right_ascension_zero(database: Database) -> None:
    places = {
        "pole": (np.arange(0.0, 360.0, 45.0), np.full(8, 89.99)),
        "zero": (np.array([359.999, 0.001]), np.zeros(2)),
    }
    for name, (ra, dec) in places.items():
        first = append(database, add_frame(database, name), record(), columns(ra, dec), now=NOW)
        again = append(
            database,
            add_frame(database, name + "2"),
            record(),
            columns((ra + 0.0002) % 360.0, dec, mjd=MJD + 1),
            now=NOW,
        )
        assert (first.n_new_sources, again.n_associated, again.n_new_sources) == (len(ra), len(ra), 0)


def test_a_fast_star_stays_one_source_over_ten_years(database: Database) -> None:
    ra, dec = stars(1)
    append(database, add_frame(database, "a"), record(), columns(ra, dec), now=NOW)
    with database.write() as session:
        session.connection().execute(text("UPDATE source SET pmdec = 2000.0"))
    ten_years = columns(ra, dec + 20.0 / 3600.0, mjd=MJD + 3652.5)
    result = append(database, add_frame(database, "b"), record(), ten_years, now=NOW)
    assert (result.n_associated, result.n_new_sources) == (1, 0)


def test_a_failure_half_way_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ra, dec = stars(10)
    frame_id = add_frame(database)
    append(database, frame_id, record("old"), columns(ra, dec), now=NOW)
    before = everything(database)

    def die(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(writer, "insert_measurements", die)
    with pytest.raises(RuntimeError):
        append(database, frame_id, record("new"), columns(ra + 1.0, dec), now=NOW)
    assert everything(database) == before


def test_a_row_that_the_database_refuses_leaves_nothing(database: Database) -> None:
    ra, dec = stars(10)
    frame_id = add_frame(database)
    before = everything(database)
    twice = columns(ra, dec, number=np.zeros(10, int))
    with pytest.raises(Exception, match=r"(?i)unique"):
        append(database, frame_id, record(), twice, now=NOW)
    assert everything(database) == before


def test_a_frame_that_does_not_exist_is_a_bug(database: Database) -> None:
    with pytest.raises(IntegrityError):
        append(database, 4711, record(), columns(*stars(1)), now=NOW)


def _append_in_process(url: str, frame_id: int, seed: int) -> int:
    ra, dec = stars(200)
    order = np.random.default_rng(seed).permutation(200)
    with Database(url) as database:
        measured = columns(ra[order], dec[order], mjd=MJD + seed * 0.01)
        return append(database, frame_id, record(), measured, now=NOW).n_new_sources


def test_processes_that_append_one_field_at_once_make_no_source_twice(database: Database) -> None:
    frames = [add_frame(database, f"{number}.fits") for number in range(3)]
    new = in_processes(_append_in_process, [(database.url, one, seed) for seed, one in enumerate(frames)])
    assert sorted(new) == [0, 0, 200]
    assert count(database, "source") == 200
    assert _n_obs(database) == [3] * 200


def test_processes_that_append_one_frame_at_once_make_one_version(database: Database) -> None:
    frame_id = add_frame(database)
    in_processes(_append_in_process, [(database.url, frame_id, 1)] * 3)
    assert count(database, "reduction") == 1
    assert count(database, "measurement") == 200
    assert _n_obs(database) == [1] * 200


def _killed_in_process(url: str, frame_id: int) -> None:
    import os

    with Database(url) as database:
        real = writer.insert_measurements

        def insert_and_die(*arguments: object) -> int:
            real(*arguments)  # type: ignore[arg-type]
            os._exit(9)

        writer.insert_measurements = insert_and_die  # type: ignore[assignment]
        append(database, frame_id, record(), columns(*stars(50)), now=NOW)


def test_a_process_killed_in_the_middle_leaves_nothing(database: Database) -> None:

    frame_id = add_frame(database)
    before = everything(database)
    victim = CLEAN_PROCESSES.Process(target=_killed_in_process, args=(database.url, frame_id))
    victim.start()
    victim.join(60)
    assert victim.exitcode == 9
    assert everything(database) == before
    assert append(database, frame_id, record(), columns(*stars(50)), now=NOW).n_new_sources == 50


def test_a_frame_may_be_reduced_as_often_as_one_likes(database: Database) -> None:
    """Its third detection is another noise peak each time, whose number an earlier one has taken."""
    frame_id = add_frame(database)
    ra, dec = stars(5)
    for version in range(5):
        moved = ra.copy()
        moved[3] += 0.02 * (version + 1)
        done = append(database, frame_id, record(f"plan-{version}"), columns(moved, dec), now=NOW)
        assert (done.version, done.n_new_sources) == (version + 1, 1 if version else 5)
    assert count(database, "source") == 9
