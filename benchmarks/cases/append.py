"""One reduction with its measurements into the store: ours in bulk, and a plain loop over ORM objects."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from benchmarks.harness import Agreement, Case, Side
from benchmarks.stores import NOW, add_frame, columns, open_store, record
from benchmarks.workshop import Workshop
from nightflow.lightcurves.associate import match_radius
from nightflow.store.database import Database, serialise
from nightflow.store.models import Measurement, Reduction
from nightflow.store.records import MeasurementColumns
from nightflow.store.sources import Detections, count_observation, identify
from nightflow.store.writer import append

__all__ = ["add_rows", "agree", "append_postgres", "append_sqlite", "orm_append", "our_append"]

_NUMBERS = (
    "mjd_mid",
    "bjd_tdb",
    "flux",
    "flux_err",
    "mag",
    "mag_err",
    "x",
    "y",
    "ra",
    "dec",
    "fwhm_px",
    "flags",
)
_KEYS = ("number", "source_id")


@contextmanager
def append_sqlite(workshop: Workshop) -> Iterator[Case]:
    """Into an SQLite file."""
    with open_store(f"sqlite:///{workshop.folder / 'append.sqlite'}") as database:
        yield _case(database, workshop.scale.n_stored_stars)


@contextmanager
def append_postgres(workshop: Workshop) -> Iterator[Case]:
    """Into a Postgres of our own, over a socket."""
    with open_store(workshop.postgres.new_database()) as database:
        yield _case(database, workshop.scale.n_stored_stars)


def _case(database: Database, n_stars: int) -> Case:
    numbers = itertools.count()

    def fresh() -> tuple[int, int]:
        number = next(numbers)
        return number, add_frame(database, number)

    # The first frame makes the sources; each side then meets a field that is known.
    our_append(database, n_stars, fresh())
    return Case(
        ours=Side(run=partial(our_append, database, n_stars), fresh=fresh),
        peer=Side(run=partial(orm_append, database, n_stars), fresh=fresh),
        peer_name=f"plain loop over ORM objects, the same {n_stars} stars, association and transaction",
        agree=partial(agree, database, n_stars),
    )


def our_append(database: Database, n_stars: int, frame: tuple[int, int]) -> tuple[int, int]:
    """Append; return the frame's number and its reduction."""
    number, frame_id = frame
    done = append(database, frame_id, record(number), columns(number, n_stars), now=NOW)
    return number, done.reduction_id


def orm_append(database: Database, n_stars: int, frame: tuple[int, int]) -> tuple[int, int]:
    """Do the same, with one object a row; return the frame's number and its reduction."""
    number, frame_id = frame
    measured, described = columns(number, n_stars), record(number)
    with database.write() as session:
        serialise(session, "association")
        reduction = Reduction(
            frame_id=frame_id, version=1, current=True, created_at=NOW, **described.values()
        )
        session.add(reduction)
        session.flush()
        assert reduction.id is not None
        detections = Detections(
            number=measured.number,
            ra=measured.ra,
            dec=measured.dec,
            reach=np.full(len(measured), match_radius(described.scale)),
            flags=measured.flags,
        )
        epoch = 2000.0 + (measured.mjd_mid - 51544.5) / 365.25
        add_rows(session, reduction.id, measured, identify(session, frame_id, detections, epoch).source)
        session.flush()
        count_observation(session, reduction.id, +1)
        return number, reduction.id


def add_rows(
    session: Session, reduction_id: int, measured: MeasurementColumns, sources: NDArray[np.int64]
) -> None:
    """Add one object a measurement."""
    for row in range(len(measured)):
        session.add(
            Measurement(
                reduction_id=reduction_id,
                number=int(measured.number[row]),
                kind="aperture",
                mjd_mid=measured.mjd_mid,
                source_id=int(sources[row]) or None,
                association=1,
                filter=measured.filter,
                bjd_tdb=float(measured.bjd_tdb[row]),
                flux=float(measured.flux[row]),
                flux_err=float(measured.flux_err[row]),
                mag=float(measured.mag[row]),
                mag_err=float(measured.mag_err[row]),
                x=float(measured.x[row]),
                y=float(measured.y[row]),
                ra=float(measured.ra[row]),
                dec=float(measured.dec[row]),
                fwhm_px=float(measured.fwhm_px[row]),
                flags=int(measured.flags[row]),
            )
        )


def agree(database: Database, n_stars: int, ours: tuple[int, int], theirs: tuple[int, int]) -> Agreement:
    """Compare the stored rows of each with what was handed over, and their sources with each other."""
    stored = [_rows(database, reduction) for _, reduction in (ours, theirs)]
    counts = f"{len(stored[0])} and {len(stored[1])} rows of {n_stars}"
    if any(len(rows) != n_stars for rows in stored):
        return Agreement(False, counts)
    faithful = [
        _same(rows, columns(number, n_stars))
        for rows, (number, _) in zip(stored, (ours, theirs), strict=True)
    ]
    same_sources = [row["source_id"] for row in stored[0]] == [row["source_id"] for row in stored[1]]
    return Agreement(
        all(faithful) and same_sources, f"{counts}, values as given: {faithful}, same sources: {same_sources}"
    )


def _rows(database: Database, reduction_id: int) -> list[dict[str, Any]]:
    wanted = ", ".join((*_KEYS, *_NUMBERS))
    statement = text(f"SELECT {wanted} FROM measurement WHERE reduction_id = :id ORDER BY number")  # noqa: S608
    with database.session() as session:
        return [dict(row) for row in session.connection().execute(statement, {"id": reduction_id}).mappings()]


def _same(rows: list[dict[str, Any]], given: MeasurementColumns) -> bool:
    wanted = {name: np.broadcast_to(getattr(given, name), (len(given),)) for name in _NUMBERS}
    return all(
        math.isclose(row[name], float(wanted[name][place]), rel_tol=1e-12)
        for place, row in enumerate(rows)
        for name in _NUMBERS
    )
