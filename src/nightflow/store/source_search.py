"""Sources by place and by variability, with their statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlmodel import col

from nightflow.errors import ConfigurationError
from nightflow.lightcurves.associate import separation
from nightflow.lightcurves.light_curve import Column
from nightflow.lightcurves.variability import FEWEST, LEAST_EXCESS, Doubt, doubt_of
from nightflow.store.database import Database
from nightflow.store.healpix import cone
from nightflow.store.models import Source, SourceStatistics
from nightflow.store.sources import in_ranges

__all__ = ["COLUMNS", "DESCRIBED", "Box", "Cone", "not_judged", "search_sources"]

DESCRIBED = (
    Column("source_id", int, "", "Persistent source"),
    Column("ra", float, "deg", "Right ascension, ICRS"),
    Column("dec", float, "deg", "Declination, ICRS"),
    Column("epoch", float, "yr", "Julian year of that place"),
    Column("n_obs", int, "", "Current measurements"),
    Column("catalog", str, "", "Catalogue that has it"),
    Column("catalog_id", str, "", "Its name there"),
    Column("confirmed", bool, "", "Measured more than once, or in a catalogue"),
    Column("separation", float, "arcsec", "From the place that was asked for"),
    Column("instrument", str, "", "Camera"),
    Column("filter", str, "", "Filter"),
    Column("n", int, "", "Usable measurements with this camera and filter"),
    Column("mag", float, "mag", "Median calibrated magnitude"),
    Column("mag_err", float, "mag", "Median error of one measurement"),
    Column("scatter", float, "mag", "Robust standard deviation of one measurement"),
    Column("expected_scatter", float, "mag", "What its neighbours of the same brightness scatter"),
    Column("excess", float, "", "Scatter above that, in units of the neighbours' own spread"),
    Column("chi2_dof", float, "", "Chi-squared of a constant star for each degree of freedom"),
    Column("stetson_j", float, "", "Stetson's J: 0 for noise, more for what varies smoothly"),
    Column("von_neumann", float, "", "Von Neumann's ratio: 2 for noise, less for what is smooth"),
    Column("amplitude", float, "mag", "Between the 5th and the 95th percentile"),
    Column("contaminated", float, "", "Part of the measurements that hold light of a neighbour"),
    Column("near_edge", float, "", "Part of the measurements within 6 FWHM of the frame's edge"),
    Column(
        "width",
        float,
        "",
        "Median FWHM in that of the frames' stars, or of those as bright where they are wider",
    ),
    Column("variable", bool, "", "Stands out of its neighbours"),
    Column("not_judged", str, "", "Why it is not said whether it varies; empty where it is"),
    Column("period", float, "d", "Period of the sine that fits best"),
    Column("period_err", float, "d", "Its error, which is not that of picking an alias"),
    Column("period_fap", float, "", "Probability that noise alone gives a peak as high"),
    Column("cycles", float, "", "Periods between the first and the last measurement"),
    Column("caution", str, "", "What is doubtful of the period: below two cycles it may be no period at all"),
    Column("mjd_first", float, "d", "First measurement, UTC"),
    Column("mjd_last", float, "d", "Last measurement, UTC"),
)
"""Of an answer; a source has a row for each camera and filter, one without statistics where it has none."""
COLUMNS = tuple(column.name for column in DESCRIBED)
"""Their names."""

_SOURCE = ("ra", "dec", "epoch", "n_obs", "catalog", "catalog_id")
_STATISTICS = (
    "instrument", "filter", "n", "mag", "mag_err", "scatter", "expected_scatter", "excess", "chi2_dof",
    "stetson_j", "von_neumann", "amplitude", "contaminated", "near_edge", "width", "variable", "period",
    "period_err", "period_fap", "mjd_first", "mjd_last",
)  # fmt: skip
_FEWEST_CYCLES = 2.0
"""That a period must have been seen for."""


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

    def __post_init__(self) -> None:
        """Refuse what is no box.

        Raises
        ------
        ConfigurationError
            A right ascension is not in 0 to 360, a declination not in -90 to 90, or the larger one is first.
        """
        if not (0 <= self.ra_from <= 360 and 0 <= self.ra_to <= 360):
            raise ConfigurationError(
                f"right ascensions {self.ra_from:g} and {self.ra_to:g}: give 0 to 360 degrees, the western "
                "one first"
            )
        if not -90 <= self.dec_from < self.dec_to <= 90:
            raise ConfigurationError(
                f"declinations {self.dec_from:g} and {self.dec_to:g}: give -90 to 90 degrees, the smaller "
                "one first"
            )

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
        .order_by(
            col(SourceStatistics.excess).desc() if variable else col(Source.id),
            col(Source.id),
            col(SourceStatistics.instrument),
            col(SourceStatistics.filter),
        )
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
    confirmed = row["n_obs"] > 1 or bool(row["catalog"])
    return row | {"confirmed": confirmed, "separation": None, "not_judged": _not_judged(row)} | _coverage(row)


def _not_judged(row: dict[str, Any]) -> str:
    """Return why nothing was said of a source in `finish`, as far as it has statistics."""
    if row["n"] is None:
        return ""
    if row["n"] < FEWEST:
        return f"{row['n']} usable measurements, of {FEWEST} that it takes"
    doubt = doubt_of(row["contaminated"], row["near_edge"], row["width"])
    if doubt is Doubt.NONE and row["expected_scatter"] is None:
        return "too few stars to compare it with"
    return str(doubt)


def _coverage(row: dict[str, Any]) -> dict[str, Any]:
    """Return how often the measurements have seen the period, and a caution where that is too seldom."""
    if not row["period"]:
        return {"cycles": None, "caution": ""}
    cycles = (row["mjd_last"] - row["mjd_first"]) / row["period"]
    return {"cycles": cycles, "caution": f"{cycles:.1f} cycles seen" if cycles < _FEWEST_CYCLES else ""}


def _ranges(where: Cone | Box) -> list[tuple[int, int]]:
    if isinstance(where, Cone):
        return cone(where.ra, where.dec, where.radius / 3600.0)
    middle = (where.ra_from + where.width / 2.0) % 360.0, (where.dec_from + where.dec_to) / 2.0
    height = (where.dec_to - where.dec_from) / 2.0
    # A circle round the box: no corner is farther than half its width along the parallel and half its height.
    widest = min(abs(where.dec_from), abs(where.dec_to)) if where.dec_from * where.dec_to > 0 else 0.0
    half_width = where.width / 2.0 * float(np.cos(np.radians(widest)))
    return cone(*middle, min(half_width + height + 0.01, 180.0))


def not_judged(database: Database) -> dict[Doubt, int]:
    """Return how many sources stand out as variables do but are not judged, by the reason."""
    names = ("contaminated", "near_edge", "width")
    statement = select(*(col(getattr(SourceStatistics, name)) for name in names)).where(
        ~col(SourceStatistics.variable),
        col(SourceStatistics.excess) > LEAST_EXCESS,
        col(SourceStatistics.n) >= FEWEST,
    )
    with database.session() as session:
        doubts = Counter(doubt_of(*row) for row in session.execute(statement))
    return {one: doubts[one] for one in Doubt if one is not Doubt.NONE and doubts[one]}


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
