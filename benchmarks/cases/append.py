"""One reduction with its measurements into the store: ours in bulk, and a plain loop over ORM objects."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from benchmarks.big_store import Field, fill_fields
from benchmarks.harness import Agreement, Case, Side, Skipped
from benchmarks.stores import NOW, add_frame, open_store, record
from benchmarks.workshop import Workshop
from nightflow.lightcurves.associate import match_radius
from nightflow.store.database import Database, serialise
from nightflow.store.models import Measurement, Reduction
from nightflow.store.partitions import ensure_partition
from nightflow.store.records import MeasurementColumns
from nightflow.store.sources import Detections, count_observation, identify
from nightflow.store.writer import append

try:
    import pandas
except ImportError:
    pandas = None

__all__ = [
    "add_rows", "agree", "append_postgres", "append_postgres_pandas", "append_sqlite", "append_sqlite_pandas",
    "orm_append", "our_append", "pandas_append",
]  # fmt: skip

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
    """Into an SQLite file, beside a loop over ORM objects."""
    with _sqlite(workshop, "append") as database:
        yield _orm_case(database, _field(workshop))


@contextmanager
def append_postgres(workshop: Workshop) -> Iterator[Case]:
    """Into a Postgres of our own, over a socket, beside a loop over ORM objects."""
    with open_store(workshop.postgres.new_database()) as database:
        yield _orm_case(database, _field(workshop))


@contextmanager
def append_sqlite_pandas(workshop: Workshop) -> Iterator[Case]:
    """Into an SQLite file, beside pandas."""
    with _sqlite(workshop, "pandas") as database:
        yield _pandas_case(database, _field(workshop))


@contextmanager
def append_postgres_pandas(workshop: Workshop) -> Iterator[Case]:
    """Into a Postgres of our own, over a socket, beside pandas."""
    with open_store(workshop.postgres.new_database()) as database:
        yield _pandas_case(database, _field(workshop))


@contextmanager
def _sqlite(workshop: Workshop, name: str) -> Iterator[Database]:
    path = workshop.folder / f"{name}.sqlite"
    with open_store(f"sqlite:///{path}") as database:
        yield database
    path.unlink()


def _field(workshop: Workshop) -> Field:
    scale = workshop.scale
    return Field(number=0, n_frames=scale.n_append_frames, n_stars=scale.n_append_stars)


def _orm_case(database: Database, field: Field) -> Case:
    fresh = _filled(database, field)
    return Case(
        ours=Side(run=partial(our_append, database, field), fresh=fresh),
        peer=Side(run=partial(orm_append, database, field), fresh=fresh),
        peer_name=f"plain loop over ORM objects, the same {_described(field)}, association and transaction",
        agree=partial(agree, database, field),
    )


def _pandas_case(database: Database, field: Field) -> Case:
    if pandas is None:
        raise Skipped("pandas is not installed")
    fresh = _filled(database, field)
    # Which is faster depends on the driver: the peer runs at its best.
    method = min(
        (None, "multi"), key=lambda one: _seconds(partial(pandas_append, database, field, one), fresh)
    )
    return Case(
        ours=Side(run=partial(our_append, database, field), fresh=fresh),
        peer=Side(run=partial(pandas_append, database, field, method), fresh=fresh),
        peer_name=(
            f"pandas {pandas.__version__} DataFrame.to_sql(method={method!r}), the same {_described(field)}; "
            "without association to sources"
        ),
        agree=partial(agree, database, field, with_sources=False),
    )


def _described(field: Field) -> str:
    return f"{field.n_stars} stars onto {field.n_frames * field.n_stars} measurements"


def _filled(database: Database, field: Field) -> Callable[[], tuple[int, int]]:
    """Fill the store; return what makes a frame of the field that was not appended yet."""
    fill_fields(database, [field])
    numbers = itertools.count(field.n_frames)

    def fresh() -> tuple[int, int]:
        number = next(numbers)
        return number, add_frame(database, number)

    # The first one on each side pays for what is loaded once.
    our_append(database, field, fresh())
    return fresh


def _seconds(run: Callable[[tuple[int, int]], object], fresh: Callable[[], tuple[int, int]]) -> float:
    frame = fresh()
    started = time.perf_counter()
    run(frame)
    return time.perf_counter() - started


def our_append(database: Database, field: Field, frame: tuple[int, int]) -> tuple[int, int]:
    """Append; return the frame's number and its reduction."""
    number, frame_id = frame
    done = append(database, frame_id, record(number), field.columns(number), now=NOW)
    return number, done.reduction_id


def orm_append(database: Database, field: Field, frame: tuple[int, int]) -> tuple[int, int]:
    """Do the same, with one object a row; return the frame's number and its reduction."""
    number, frame_id = frame
    measured, described = field.columns(number), record(number)
    ensure_partition(database, measured.mjd_mid)
    with database.write() as session:
        serialise(session, "association")
        reduction = _reduction(session, number, frame_id)
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


def pandas_append(database: Database, field: Field, method: Any, frame: tuple[int, int]) -> tuple[int, int]:
    """Do it as a script with pandas does, without sources; return the frame's number and its reduction."""
    number, frame_id = frame
    measured = field.columns(number)
    ensure_partition(database, measured.mjd_mid)
    with database.write() as session:
        reduction = _reduction(session, number, frame_id)
        assert reduction.id is not None
        values = {name: np.broadcast_to(getattr(measured, name), (len(measured),)) for name in _NUMBERS}
        table = pandas.DataFrame(values | {"number": measured.number, "reduction_id": reduction.id})
        table = table.assign(kind="aperture", association=0, filter=measured.filter)
        table.to_sql(
            "measurement",
            session.connection(),
            if_exists="append",
            index=False,
            method=method,
            chunksize=1000,
        )
        return number, reduction.id


def _reduction(session: Session, number: int, frame_id: int) -> Reduction:
    values = record(number).values()
    reduction = Reduction(frame_id=frame_id, version=1, current=True, created_at=NOW, **values)
    session.add(reduction)
    session.flush()
    return reduction


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


def agree(
    database: Database,
    field: Field,
    ours: tuple[int, int],
    theirs: tuple[int, int],
    *,
    with_sources: bool = True,
) -> Agreement:
    """Compare the stored rows of each with what was handed over, and their sources with each other."""
    n_stars = field.n_stars
    stored = [_rows(database, reduction) for _, reduction in (ours, theirs)]
    counts = f"{len(stored[0])} and {len(stored[1])} rows of {n_stars}"
    if any(len(rows) != n_stars for rows in stored):
        return Agreement(False, counts)
    faithful = [
        _same(rows, field.columns(number)) for rows, (number, _) in zip(stored, (ours, theirs), strict=True)
    ]
    sources = [[row["source_id"] for row in rows] for rows in stored]
    same_sources = None not in sources[0] and (sources[0] == sources[1] or not with_sources)
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
