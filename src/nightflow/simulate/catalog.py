"""The catalogue of the field: what an observer knows of its stars beforehand."""

from __future__ import annotations

import numpy as np
from astropy.table import Table

from nightflow.simulate.plan import FieldPlan
from nightflow.simulate.sky import Stars, magnitude_in

__all__ = ["make_catalog"]

_EPOCH = 2000.0


def make_catalog(rng: np.random.Generator, stars: Stars, field: FieldPlan, filters: tuple[str, ...]) -> Table:
    """Return the stars brighter than ``field.catalog_limit``, the target among them.

    Columns are those of `nightflow catalog import`: name, ra, dec (ICRS degrees at ``epoch``, 2000.0),
    pmra, pmdec (mas/yr), V, R and the other filters of the night, each with its ``_err``. Magnitudes carry
    errors.
    """
    listed = np.flatnonzero(stars.v < field.catalog_limit)
    at_catalog_epoch = stars.at_epoch(_EPOCH)
    table = Table(
        {
            "name": [f"SIM {row:05d}" for row in listed],
            "ra": at_catalog_epoch.ra[listed].round(7),
            "dec": at_catalog_epoch.dec[listed].round(7),
            "epoch": np.full(len(listed), _EPOCH),
            "pmra": stars.pmra[listed].round(2),
            "pmdec": stars.pmdec[listed].round(2),
        }
    )
    for band in sorted({"V", "R", *filters}):
        mag = magnitude_in(band, stars.v, stars.v_r)[listed]
        table[band] = (mag + rng.normal(0.0, field.catalog_error, len(listed))).round(4)
        table[f"{band}_err"] = np.full(len(listed), field.catalog_error)
    return table
