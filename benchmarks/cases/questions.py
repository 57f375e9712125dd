"""What observers ask of the store: a light curve, and what is near a place.

The peer is the same question to a copy of the store without its indexes on source and place, which the
database must answer by reading the whole table: what one has who keeps measurements in plain tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from benchmarks.harness import Agreement, Case, Side
from benchmarks.stores import StorePair, stars
from benchmarks.workshop import Workshop
from nightflow.lightcurves.light_curve import COLUMNS, LightCurve
from nightflow.store.database import Database
from nightflow.store.queries import FoundSource, find_sources, light_curve

__all__ = [
    "cone_postgres",
    "cone_sqlite",
    "lightcurve_postgres",
    "lightcurve_sqlite",
    "same_curve",
    "same_sources",
]

_CONE = 60.0
"""Arcsec."""

_NEAR = 3.0
"""Arcsec within which the star of the light curve is looked for."""


@contextmanager
def lightcurve_sqlite(workshop: Workshop) -> Iterator[Case]:
    """From an SQLite file."""
    yield _light_curve_case(workshop, workshop.sqlite_stores)


@contextmanager
def lightcurve_postgres(workshop: Workshop) -> Iterator[Case]:
    """From Postgres."""
    yield _light_curve_case(workshop, workshop.postgres_stores)


@contextmanager
def cone_sqlite(workshop: Workshop) -> Iterator[Case]:
    """From an SQLite file."""
    yield _cone_case(workshop, workshop.sqlite_stores)


@contextmanager
def cone_postgres(workshop: Workshop) -> Iterator[Case]:
    """From Postgres."""
    yield _cone_case(workshop, workshop.postgres_stores)


def _light_curve_case(workshop: Workshop, stores: StorePair) -> Case:
    ra, dec = _a_star(workshop)
    scale = workshop.scale

    def ask(database: Database) -> LightCurve:
        return light_curve(database, _id_of(find_sources(database, ra, dec, _NEAR)))

    return Case(
        ours=Side(run=lambda: ask(stores.indexed)),
        peer=Side(run=lambda: ask(stores.plain)),
        peer_name=(
            f"the same question, place to ensemble-corrected curve, to a copy without indexes (full scans; "
            f"{scale.n_stored_frames} frames of {scale.n_stored_stars} stars)"
        ),
        agree=same_curve,
    )


def _cone_case(workshop: Workshop, stores: StorePair) -> Case:
    ra, dec = _a_star(workshop)
    count = workshop.scale.n_stored_stars + workshop.scale.n_stored_sources
    return Case(
        ours=Side(run=lambda: find_sources(stores.indexed, ra, dec, _CONE)),
        peer=Side(run=lambda: find_sources(stores.plain, ra, dec, _CONE)),
        peer_name=f"the same question to a copy without the index on place (full scan of {count} sources)",
        agree=same_sources,
    )


def _a_star(workshop: Workshop) -> tuple[float, float]:
    """Return the place of a star in the middle of the field."""
    ra, dec = stars(workshop.scale.n_stored_stars)
    middle = int(np.argmin(np.hypot(ra - np.median(ra), dec - np.median(dec))))
    return float(ra[middle]), float(dec[middle])


def _id_of(found: Sequence[FoundSource]) -> int:
    if not found or found[0].source.id is None:
        raise LookupError("the star of the benchmark is not in the store")
    return found[0].source.id


def same_curve(ours: LightCurve, theirs: LightCurve) -> Agreement:
    """Compare every column of two light curves; an empty one agrees with nothing."""
    rows = len(ours.columns["mjd_mid"])
    different = [
        column.name
        for column in COLUMNS
        if not _alike(ours.columns[column.name], theirs.columns[column.name])
    ]
    corrected = int(np.isfinite(np.asarray(ours.columns["diff_mag"], float)).sum())
    detail = f"{rows} rows, {corrected} ensemble-corrected"
    if different:
        return Agreement(False, f"{detail}; columns that differ: {', '.join(different)}")
    return Agreement(rows > 0, detail)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    if len(one) != len(other):
        return False
    if one.dtype == object:
        return list(one) == list(other)
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-12, equal_nan=True))


def same_sources(ours: Sequence[FoundSource], theirs: Sequence[FoundSource]) -> Agreement:
    """Compare two answers: the same sources in the same order; none at all is no answer."""
    same = [one.source.id for one in ours] == [one.source.id for one in theirs]
    return Agreement(bool(ours) and same, f"{len(ours)} and {len(theirs)} sources")
