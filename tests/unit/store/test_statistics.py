"""What is said of stars whose magnitudes follow more than their own light."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nightflow.lightcurves.variability import Doubt
from nightflow.store.database import Database
from nightflow.store.source_search import not_judged, search_sources
from nightflow.store.statistics import update_statistics
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, START, add_frame, columns, record, stars
from tests.unit.store.field_nights import put_in_order

N_STARS, N_FRAMES = 60, 14
NX, NY, FWHM = 640, 500, 3.0


@pytest.fixture
def night(database: Database) -> Database:
    """Five stars vary by 0.3 mag: two are at an edge, two are wide, half of them on few frames only."""
    rng = np.random.default_rng(1)
    ra, dec = stars(N_STARS)
    x, y = rng.uniform(60, NX - 60, N_STARS), rng.uniform(60, NY - 60, N_STARS)
    for frame in range(N_FRAMES):
        mag = rng.normal(0, 0.01, N_STARS)
        mag[:5] += 0.3 * np.sin(0.9 * frame)
        here_x, width = x.copy(), np.full(N_STARS, FWHM)
        # The field drifts, and takes one star to the edge for half of the night, another one for two frames.
        here_x[1] = NX - 8.0 if frame % 2 else 300.0
        here_x[4] = 8.0 if frame < 2 else 300.0
        width[2] *= 1.6
        width[3] *= 1.6 if frame < 5 else 1.0
        _append(database, frame, ra, dec, flux=1e4 * 10 ** (-0.4 * mag), x=here_x, y=y, fwhm_px=width)
    for field in put_in_order(database).fields:
        update_statistics(database, field)
    return database


def _append(database: Database, frame: int, ra: np.ndarray, dec: np.ndarray, **changes: Any) -> None:
    mjd = MJD + frame / 100.0
    frame_id = add_frame(database, f"{frame}.fits", mjd_mid=mjd, shape=(NY, NX))
    chain = record(
        fwhm_px=FWHM, scale=1.2, ra_center=float(ra.mean()), dec_center=float(dec.mean()), wcs_rms_arcsec=0.1
    )
    append(database, frame_id, chain, columns(ra, dec, mjd=mjd, **changes), now=START)


def test_what_is_near_the_edge_or_too_wide_is_no_variable_and_it_is_said_why(night: Database) -> None:
    ra, _ = stars(N_STARS)
    rows = {int(np.argmin(np.abs(ra - row["ra"]))): row for row in search_sources(night, variable=True)}
    assert sorted(rows) == [0, 3, 4]
    assert {row["not_judged"] for row in rows.values()} == {""}
    assert rows[4]["near_edge"] == pytest.approx(2 / N_FRAMES)
    assert not_judged(night) == {Doubt.EDGE: 1, Doubt.WIDE: 1}


def test_each_row_says_why(night: Database) -> None:
    ra, _ = stars(N_STARS)
    rows = {int(np.argmin(np.abs(ra - row["ra"]))): row for row in search_sources(night)}
    assert (rows[1]["not_judged"], rows[1]["near_edge"]) == ("near the edge", pytest.approx(0.5))
    assert (rows[2]["not_judged"], rows[2]["width"]) == ("wider than a star", pytest.approx(1.6))
    assert all(row["not_judged"] == "" for number, row in rows.items() if number not in (1, 2))
    assert min(rows[one]["excess"] for one in range(5)) > 5
