"""Moving bodies of a night: written where they are not what is there, and read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, tuple_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from nightflow.lightcurves.associate import separation
from nightflow.lightcurves.light_curve import Column
from nightflow.lightcurves.night import AssociatedNight
from nightflow.store.database import Database
from nightflow.store.models import Exposure, Frame, Measurement, Mover, MoverDetection, Reduction, Target
from nightflow.store.night_fields import StoredField
from nightflow.store.targets import position_at

__all__ = [
    "DESCRIBED", "MoverRecord", "ObservedMover", "find_mover", "mover_label", "mover_records", "movers",
    "write_movers",
]  # fmt: skip

DESCRIBED = (
    Column("label", str, "", "The target's name, or one made of night and number"),
    Column("night", str, "", "Date of the evening"),
    Column("mjd", float, "d", "Time of the place: the weighted middle of the detections, UTC"),
    Column("ra", float, "deg", "Right ascension at that time, ICRS"),
    Column("dec", float, "deg", "Declination at that time, ICRS"),
    Column("rate", float, "arcsec / h", "Motion on the sky"),
    Column("rate_err", float, "arcsec / h", "Its error"),
    Column("position_angle", float, "deg", "Of the motion, from north through east"),
    Column("position_angle_err", float, "deg", "Its error"),
    Column("rate_ra", float, "arcsec / h", "Motion towards east, with the cosine of the declination in it"),
    Column("rate_dec", float, "arcsec / h", "Motion towards north"),
    Column("rms_arcsec", float, "arcsec", "Of its places from the straight line, radial"),
    Column("n", int, "", "Detections"),
    Column("n_frames", int, "", "Frames that its line crosses from the first to the last of them"),
    Column("mag", float, "mag", "Median magnitude"),
    Column("filter", str, "", "Filters"),
    Column(
        "false_alarm", float, "", "How many lines as good unrelated detections would make on these frames"
    ),
)
"""What is said of a body, see `ObservedMover.row`."""

_NAMED_WITHIN = 30.0
"""Arcsec between a body and where a target's ephemeris has it."""
_DAY = 24.0
_AT_ONCE = 400
_KINDS = ("aperture", "psf")
"""The first that there is counts: detections in the residuals of PSF photometry have no aperture."""


@dataclass(frozen=True, kw_only=True)
class MoverRecord:
    """A body and its detections, ready to be stored; ``row`` has no night and number yet."""

    row: Mover
    detections: tuple[tuple[int, int], ...]
    """Reduction and detection number of each, in the order of time."""
    mjd: tuple[float, ...]
    """Of each: in which month the database must look."""
    first: tuple[float, str, str, int]
    """MJD, hash of the file, detector and detection number of the first of them."""


@dataclass(frozen=True, kw_only=True)
class ObservedMover:
    """A stored body with its measurements.

    Attributes
    ----------
    mover : Mover
    columns : dict of str to ndarray, shape (n,)
        mjd_mid, exptime, ra, dec, position_err, mag, mag_err, filter, x, y, wcs_rms_arcsec,
        wcs_catalog, zp_catalog, zp_band, zp_err, path, in the order of time.
    """

    mover: Mover
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The target's name, or one made of night and number."""
        return self.mover.name or mover_label(self.mover)

    def row(self) -> dict[str, Any]:
        """Return its row of `DESCRIBED`."""
        rate = (self.mover.rate_ra**2 + self.mover.rate_dec**2) ** 0.5
        # Both axes have the same error, so that any direction has it.
        derived = {"label": self.label, "rate": rate, "rate_err": self.mover.rate_ra_err}
        return self.mover.model_dump() | derived


def mover_label(mover: Mover) -> str:
    """Return what a body is called that no target names, such as "N20260301-1"."""
    return f"N{mover.night.replace('-', '')}-{mover.number}"


def find_mover(database: Database, label: str) -> Mover | None:
    """Return the body that has a label."""
    parts = re.fullmatch(r"N(\d{4})(\d{2})(\d{2})-(\d{1,6})", label.strip())
    if parts is None:
        return None
    year, month, day, number = parts.groups()
    with database.session() as session:
        return session.exec(
            select(Mover).where(Mover.night == f"{year}-{month}-{day}", Mover.number == int(number))
        ).first()


def mover_records(
    stored: StoredField, found: AssociatedNight, targets: Sequence[Target]
) -> list[MoverRecord]:
    """Return the bodies of a field as rows.

    Parameters
    ----------
    targets : sequence of Target
        Those with an ephemeris give their name to the body that is where they should be.
    """
    records = []
    for body in found.bodies:
        frames = [stored.frames[one] for one in stored.night.frame[body.rows].tolist()]
        numbers = stored.number[body.rows].tolist()
        line = body.line
        mjd = stored.mjd_zero + line.t / _DAY
        ra, dec = (float(one) for one in body.plane.lift(*line.at(line.t)))
        row = Mover(
            night="",
            number=0,
            instrument=frames[0].instrument,
            name=_name(targets, mjd, ra, dec),
            mjd=mjd,
            ra=ra,
            dec=dec,
            rate_ra=line.rate_x,
            rate_ra_err=line.rate_err,
            rate_dec=line.rate_y,
            rate_dec_err=line.rate_err,
            position_angle=line.position_angle,
            position_angle_err=line.position_angle_err,
            rms_arcsec=line.rms,
            n=len(body.rows),
            n_frames=body.n_frames,
            false_alarm=body.false_alarm,
            filter=",".join(sorted({one.filter for one in frames})),
        )
        first = (frames[0].mjd_mid, frames[0].sha256, frames[0].detector, numbers[0])
        detections = tuple((one.reduction_id, number) for one, number in zip(frames, numbers, strict=True))
        times = tuple(one.mjd_mid for one in frames)
        records.append(MoverRecord(row=row, detections=detections, mjd=times, first=first))
    return records


def write_movers(session: Session, night: str, records: Sequence[MoverRecord]) -> bool:
    """Make these the bodies of a night; return whether that changed a row."""
    ordered = sorted(records, key=lambda one: one.first)
    for number, record in enumerate(ordered, start=1):
        record.row.night, record.row.number = night, number
        record.row.mag = _median_mag(session, record)
    there = session.exec(select(Mover).where(Mover.night == night).order_by(col(Mover.number))).all()
    if [_content(session, one) for one in there] == [
        (_values(one.row), frozenset(one.detections)) for one in ordered
    ]:
        return False
    ids = [one.id for one in there]
    session.connection().execute(delete(MoverDetection).where(col(MoverDetection.mover_id).in_(ids)))
    for old in there:
        session.delete(old)
    session.flush()
    for record in ordered:
        session.add(record.row)
        session.flush()
        assert record.row.id is not None
        for reduction, number in record.detections:
            session.add(MoverDetection(mover_id=record.row.id, reduction_id=reduction, number=number))
    session.flush()
    return True


def movers(database: Database, night: str | None = None) -> list[ObservedMover]:
    """Return the bodies of one night or of all, with their measurements."""
    with database.session() as session:
        statement = select(Mover).order_by(col(Mover.night), col(Mover.number))
        if night is not None:
            statement = statement.where(Mover.night == night)
        return [ObservedMover(mover=one, columns=_measured(session, one)) for one in session.exec(statement)]


_COLUMNS = ("mjd_mid", "ra", "dec", "position_err", "mag", "mag_err", "filter", "x", "y")
_OF_REDUCTION = ("wcs_rms_arcsec", "wcs_catalog", "zp_catalog", "zp_band", "zp_err")
_TEXT = frozenset({"filter", "path", "wcs_catalog", "zp_catalog", "zp_band"})


def _measured(session: Session, mover: Mover) -> dict[str, NDArray[Any]]:
    rows = (
        session.connection()
        .execute(
            select_columns(
                col(Measurement.reduction_id),
                col(Measurement.number),
                *(col(getattr(Measurement, name)) for name in _COLUMNS),
                *(col(getattr(Reduction, name)) for name in _OF_REDUCTION),
                col(Frame.exptime),
                col(Exposure.path),
            )
            .select_from(MoverDetection)
            .join(
                Measurement,
                (col(Measurement.reduction_id) == col(MoverDetection.reduction_id))
                & (col(Measurement.number) == col(MoverDetection.number))
                & col(Measurement.kind).in_(_KINDS),
            )
            .join(Reduction, col(Reduction.id) == col(Measurement.reduction_id))
            .join(Frame, col(Frame.id) == col(Reduction.frame_id))
            .join(Exposure, col(Exposure.id) == col(Frame.exposure_id))
            .where(col(MoverDetection.mover_id) == mover.id)
            .order_by(col(Measurement.mjd_mid), col(Exposure.path), col(Measurement.kind))
        )
        .all()
    )
    first = {tuple(row[:2]): row[2:] for row in reversed(rows)}
    names = (*_COLUMNS, *_OF_REDUCTION, "exptime", "path")
    table = list(zip(*reversed(first.values()), strict=True)) or [()] * len(names)
    return {
        name: np.array(values, dtype=object if name in _TEXT else np.float64)
        for name, values in zip(names, table, strict=True)
    }


def _name(targets: Sequence[Target], mjd: float, ra: float, dec: float) -> str:
    best, name = _NAMED_WITHIN, ""
    for target in targets:
        place = position_at(target, mjd) if target.ephemeris is not None else None
        if place is not None and (distance := float(separation(ra, dec, *place))) < best:
            best, name = distance, target.name
    return name


def _median_mag(session: Session, record: MoverRecord) -> float | None:
    """Return the median magnitude of the apertures, or of the PSF where a detection has no aperture."""
    values: dict[tuple[int, int], float] = {}
    for start in range(0, len(record.detections), _AT_ONCE):
        some = record.detections[start : start + _AT_ONCE]
        rows = session.connection().execute(
            select_columns(
                col(Measurement.reduction_id),
                col(Measurement.number),
                col(Measurement.mag),
            )
            .where(
                tuple_(col(Measurement.reduction_id), col(Measurement.number)).in_(some),
                col(Measurement.mjd_mid).between(min(record.mjd), max(record.mjd)),
                col(Measurement.kind).in_(_KINDS),
            )
            .order_by(col(Measurement.kind).desc())
        )
        values |= {(reduction, number): mag for reduction, number, mag in rows if mag is not None}
    return float(np.median(list(values.values()))) if values else None


def _values(row: Mover) -> dict[str, Any]:
    return row.model_dump(exclude={"id"})


def _content(session: Session, row: Mover) -> tuple[dict[str, Any], frozenset[tuple[int, int]]]:
    detections = session.exec(select(MoverDetection).where(MoverDetection.mover_id == row.id)).all()
    return _values(row), frozenset((one.reduction_id, one.number) for one in detections)
