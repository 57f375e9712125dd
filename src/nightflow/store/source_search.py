"""Sources by place and by variability, with their statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlmodel import col

from nightflow.lightcurves.associate import separation
from nightflow.store.database import Database
from nightflow.store.healpix import cone
from nightflow.store.models import Source, SourceStatistics
from nightflow.store.sources import in_ranges

__all__ = ["COLUMNS", "Box", "Cone", "search_sources"]

_SOURCE = ("ra", "dec", "n_obs", "catalog", "catalog_id")
_STATISTICS = (
    "instrument", "filter", "n", "mag", "mag_err", "scatter", "expected_scatter", "excess", "chi2_dof",
    "stetson_j", "von_neumann", "amplitude", "contaminated", "variable", "period", "period_err", "period_fap",
    "mjd_first", "mjd_last",
)  # fmt: skip
COLUMNS = ("source_id", *_SOURCE, "confirmed", "separation", *_STATISTICS)
"""Of an answer; a source has a row for each camera and filter, one without statistics where it has none."""


@dataclass(frozen=True, kw_only=True)
class Cone:
    """A circle on the sky: ICRS degrees, radius in arcsec."""

    ra: float
    dec: float
    radius: float


@dataclass(frozen=True, kw_only=True)
class Box:
    """Sky between two right ascensions, eastwards from the first, and two declinations; ICRS degrees."""

    ra_from: float
    ra_to: float
    dec_from: float
    dec_to: float

    @property
    def width(self) -> float:
        """Degrees of right ascension."""
        return (self.ra_to - self.ra_from) % 360.0 or 360.0


def search_sources(
    database: Database, where: Cone | Box | None = None, *, variable: bool = False, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return sources as rows of `COLUMNS`.

    Parameters
    ----------
    where : Cone or Box, optional
        Else the whole sky.
    variable : bool
        Only those that vary.
    limit : int, optional
        At most so many rows.

    Returns
    -------
    list of dict
        Nearest first in a cone; by right ascension in a box; those that vary most first where only the
        variable ones were asked for.
    """
    statement = (
        select(
            col(Source.id),
            *(col(getattr(Source, name)) for name in _SOURCE),
            *(col(getattr(SourceStatistics, name)) for name in _STATISTICS),
        )
        .join(SourceStatistics, col(SourceStatistics.source_id) == col(Source.id), isouter=not variable)
        .where(col(Source.n_obs) > 0)
        .order_by(col(SourceStatistics.excess).desc() if variable else col(Source.id), col(Source.id))
    )
    if variable:
        statement = statement.where(col(SourceStatistics.variable))
    if where is not None:
        statement = statement.where(in_ranges(_ranges(where)))
    elif limit is not None:
        statement = statement.limit(limit)
    with database.session() as session:
        rows = [_row(tuple(row)) for row in session.execute(statement)]
    return _inside(rows, where, variable)[:limit]


def _row(values: Sequence[Any]) -> dict[str, Any]:
    row = dict(zip(("source_id", *_SOURCE, *_STATISTICS), values, strict=True))
    return row | {"confirmed": row["n_obs"] > 1 or bool(row["catalog"]), "separation": None}


def _ranges(where: Cone | Box) -> list[tuple[int, int]]:
    if isinstance(where, Cone):
        return cone(where.ra, where.dec, where.radius / 3600.0)
    middle = (where.ra_from + where.width / 2.0) % 360.0, (where.dec_from + where.dec_to) / 2.0
    height = (where.dec_to - where.dec_from) / 2.0
    # A circle round the box: no corner is farther than half its width along the parallel and half its height.
    widest = min(abs(where.dec_from), abs(where.dec_to)) if where.dec_from * where.dec_to > 0 else 0.0
    half_width = where.width / 2.0 * float(np.cos(np.radians(widest)))
    return cone(*middle, min(half_width + height + 0.01, 180.0))


def _inside(rows: list[dict[str, Any]], where: Cone | Box | None, variable: bool) -> list[dict[str, Any]]:
    if where is None or not rows:
        return rows
    ra, dec = (np.array([row[name] for row in rows], float) for name in ("ra", "dec"))
    if isinstance(where, Box):
        inside = (
            ((ra - where.ra_from) % 360.0 <= where.width) & (dec >= where.dec_from) & (dec <= where.dec_to)
        )
        kept = [row for row, one in zip(rows, inside, strict=True) if one]
        return kept if variable else sorted(kept, key=lambda row: (row["ra"], row["source_id"]))
    distance = separation(ra, dec, where.ra, where.dec).tolist()
    near = [row | {"separation": one} for row, one in zip(rows, distance, strict=True)]
    near = [row for row in near if row["separation"] <= where.radius]
    return near if variable else sorted(near, key=lambda row: (row["separation"], row["source_id"]))
