"""Chains of fields that overlap: what is computed at once has a bound, and nobody loses measurements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2 as chi2_of
from sqlalchemy import insert, text

import nightflow.store.statistics as statistics
import nightflow.store.statistics_references as references
from nightflow.sphere import unit_vectors
from nightflow.store import healpix
from nightflow.store.database import Database
from nightflow.store.models import Exposure, Frame, Measurement, Reduction, Source
from nightflow.store.patches import SkyFrames, sky_patches
from nightflow.store.statistics import update_statistics
from tests.unit.store.builders import MJD, START, count, record, sha

SIDE = 0.4
"""Degrees of a frame, and of its grid of stars."""
STEP = 0.3
"""Degrees between the middles of neighbours: a quarter of a frame is its neighbour's as well."""
VISITS = 4


@dataclass(frozen=True)
class Survey:
    """Square frames in rows and columns, each taken several times, and stars on a grid."""

    tiles: np.ndarray
    """Middles, degrees, shape (n, 2)."""
    stars: np.ndarray
    mag: np.ndarray
    varies: np.ndarray

    def on(self, tile: int) -> np.ndarray:
        return np.flatnonzero((np.abs(self.stars - self.tiles[tile]) < SIDE / 2).all(axis=1))


def survey(n_columns: int, n_rows: int, seed: int = 1) -> Survey:
    rng = np.random.default_rng(seed)
    tiles = np.array([(100 + STEP * x, STEP * y) for y in range(n_rows) for x in range(n_columns)])
    width, height = (STEP * (n - 1) + SIDE for n in (n_columns, n_rows))
    x, y = np.meshgrid(np.arange(0.02, width, 0.06), np.arange(0.02, height, 0.06))
    stars = np.column_stack([100 - SIDE / 2 + x.ravel(), -SIDE / 2 + y.ravel()])
    stars = stars + rng.uniform(-0.01, 0.01, stars.shape)
    return Survey(
        tiles=tiles, stars=stars, mag=rng.uniform(0.0, 2.0, len(stars)), varies=rng.random(len(stars)) < 0.01
    )


def store_survey(database: Database, sky: Survey) -> np.ndarray:
    """Write what a survey measures; return on how many frames each star is."""
    rng = np.random.default_rng(2)
    exposures, frames, reductions, rows = [], [], [], []
    seen = np.zeros(len(sky.stars), int)
    number = 0
    for visit in range(VISITS):
        for tile, (ra, dec) in enumerate(sky.tiles):
            number += 1
            mjd = MJD + visit + tile * 1e-3
            on = sky.on(tile)
            seen[on] += 1
            error = 0.01
            mag = sky.mag[on] + rng.normal(0, 0.3) + rng.normal(0, error, len(on))
            mag = mag + np.where(sky.varies[on], 0.3 * (-1) ** visit, 0.0)
            flux = 1000 * 10 ** (-0.4 * mag)
            exposures.append({"id": number, "path": f"/{number}", "sha256": sha(f"{number}"), "size": 1})
            frames.append({"id": number, "exposure_id": number, "mjd_mid": mjd})
            reductions.append({"id": number, "frame_id": number, "ra_center": ra, "dec_center": dec})
            rows += [
                {"reduction_id": number, "number": k, "source_id": 1 + star, "mjd_mid": mjd, "flux": one}
                for k, (star, one) in enumerate(zip(on.tolist(), flux.tolist(), strict=True))
            ]
    add(database, sky, exposures, frames, reductions, rows)
    return seen


def add(database: Database, sky: Survey, exposures: Any, frames: Any, reductions: Any, rows: Any) -> None:
    side = 1440
    chain = record(scale=SIDE * 3600 / side).values() | {"version": 1, "created_at": START}
    frame = {"detector": "0", "hdu": 0, "kind": "light", "instrument": "cam", "filter": "V", "exptime": 30.0}
    pixels = healpix.pixel(*sky.stars.T).tolist()
    sources = [
        {"id": 1 + k, "ra": ra, "dec": dec, "healpix": pixels[k], "n_obs": 1}
        for k, (ra, dec) in enumerate(sky.stars.tolist())
    ]
    with database.write() as session:
        connection = session.connection()
        connection.execute(insert(Exposure), [one | {"received_at": START} for one in exposures])
        connection.execute(insert(Frame), [one | frame | {"ny": side, "nx": side} for one in frames])
        connection.execute(insert(Reduction), [chain | one for one in reductions])
        connection.execute(insert(Source), sources)
        connection.execute(
            insert(Measurement),
            [
                {"kind": "aperture", "filter": "V", "flux_err": 0.01 * one["flux"], "x": 1.0, "y": 1.0}
                | {"bjd_tdb": one["mjd_mid"] + 2400000.5}
                | one
                for one in rows
            ],
        )


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What was computed at once, at most."""
    most = {"frames": 0, "references": 0, "sources": 0}
    offsets, judged = references.field_offsets, statistics.judge

    def fitted(flux: np.ndarray, *others: Any) -> Any:
        most["frames"] = max(most["frames"], flux.shape[0])
        most["references"] = max(most["references"], flux.shape[1])
        return offsets(flux, *others)

    def of_stars(stars: Any, *others: Any) -> Any:
        most["sources"] = max(most["sources"], len(stars))
        return judged(stars, *others)

    monkeypatch.setattr(references, "field_offsets", fitted)
    monkeypatch.setattr(statistics, "judge", of_stars)
    return most


def test_a_long_chain_takes_no_more_at_once_than_a_short_one(
    sqlite_url: str, largest: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "_REFERENCES", 20)
    monkeypatch.setattr(statistics, "sky_patches", partial(sky_patches, most_pointings=15))
    sky = survey(10, 3)
    database = Database(sqlite_url)
    seen = store_survey(database, sky)
    ids = np.arange(1, len(sky.stars) + 1)
    update_statistics(database, ids.tolist())
    assert largest["frames"] <= 15 * VISITS < len(sky.tiles) * VISITS
    assert largest["sources"] < 0.6 * len(ids)
    with database.session() as session:
        rows = session.connection().execute(
            text("SELECT source_id, n, chi2_dof, scatter, variable FROM source_statistics ORDER BY 1")
        )
        source, n, chi2, scatter, variable = np.array([tuple(row) for row in rows], float).T
    # Also at the borders of what is computed at once, where frames reach over them.
    np.testing.assert_array_equal(source, ids)
    np.testing.assert_array_equal(n, seen)
    constant = ~sky.varies
    # Offsets that rest on few stars have errors of their own, which a star's measurements share.
    assert np.median(chi2_of.cdf(chi2 * (n - 1), n - 1)[constant]) == pytest.approx(0.5, abs=0.15)
    often = seen >= 2 * VISITS
    assert scatter[sky.varies & often].min() > 0.2 > scatter[constant & often].max()
    assert variable[sky.varies & often].mean() > 0.8
    assert variable[constant].mean() < 0.01
    assert update_statistics(database, ids.tolist()) == 0
    assert count(database, "source_statistics") == len(ids)


def frames_at(ra: np.ndarray, dec: np.ndarray, radius: float) -> SkyFrames:
    n = len(ra)
    return SkyFrames(
        center=unit_vectors(ra, dec),
        radius=np.full(n, np.radians(radius)),
        camera=np.zeros(n, np.intp),
        chip=np.zeros(n, np.intp),
    )


def test_five_hundred_pointings_make_patches_of_forty_at_most() -> None:
    sky = survey(25, 20)
    places = unit_vectors(*sky.stars.T)
    frames = frames_at(*sky.tiles.T, SIDE / np.sqrt(2.0))
    patches = sky_patches(places, frames)
    np.testing.assert_array_equal(np.sort(np.concatenate(patches)), np.arange(len(places)))
    assert max(frames.most_pointings(frames.reaching(places[rows])) for rows in patches) <= 40
    # Halves of halves: no sliver has too few stars to be judged by each other.
    assert min(map(len, patches)) > 100
    shuffled = np.random.default_rng(3).permutation(len(sky.tiles))
    again = sky_patches(places, frames_at(*sky.tiles[shuffled].T, SIDE / np.sqrt(2.0)))
    assert [rows.tolist() for rows in again] == [rows.tolist() for rows in patches]


def test_a_field_of_few_pointings_stays_whole_and_a_small_one_of_many_too() -> None:
    sky = survey(4, 4)
    places = unit_vectors(*sky.stars.T)
    assert len(sky_patches(places, frames_at(*sky.tiles.T, SIDE / np.sqrt(2.0)))) == 1
    everywhere = np.random.default_rng(4).uniform(-0.5, 0.5, (5000, 2)) + np.array([100.0, 0.0])
    patches = sky_patches(unit_vectors(*everywhere.T), frames_at(*everywhere.T, 1.0), most_pointings=3)
    assert [len(rows) for rows in patches] == [5000]


def test_no_patch_has_more_sources_than_there_is_room_for() -> None:
    rng = np.random.default_rng(5)
    places = unit_vectors(*(rng.uniform(-0.1, 0.1, (1000, 2)) + np.array([100.0, 0.0])).T)
    patches = sky_patches(places, frames_at(np.array([100.0]), np.zeros(1), 1.0), most_sources=150)
    assert max(map(len, patches)) <= 150
    assert sum(map(len, patches)) == 1000
