"""What the store holds of a night's photometry: its frames, its reference stars, its solution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select
from sqlmodel import Session, col

from nightflow.store.database import Database
from nightflow.store.models import (
    Exposure,
    Frame,
    Measurement,
    NightSolution,
    NightZeroPoint,
    Reduction,
    State,
)

__all__ = [
    "MeasuredStars", "PhotometricFrame", "earlier_zero_points", "measured_stars", "night_solutions",
    "night_zero_points", "photometric_frames", "write_night_solutions",
]  # fmt: skip

_AT_ONCE = 50
_SIGNAL_TO_NOISE = 20.0


@dataclass(frozen=True, kw_only=True)
class PhotometricFrame:
    """A light of a night that has a place on the sky, as far as its photometry goes.

    Attributes
    ----------
    reduction_id : int
    instrument, detector, filter, object : str
    mjd_mid : float
    airmass : float or None
    ra, dec : float
        Of its middle, ICRS degrees.
    scale : float
        Arcsec a pixel.
    shape : tuple of int
        Rows, columns.
    zp, zp_err : float or None
    zp_origin, zp_catalog, zp_band, mag_system : str or None
    color_term, color_term_err : float or None
    """

    reduction_id: int
    instrument: str
    detector: str
    filter: str
    object: str
    mjd_mid: float
    airmass: float | None
    ra: float
    dec: float
    scale: float
    shape: tuple[int, int]
    zp: float | None
    zp_err: float | None
    zp_origin: str | None
    zp_catalog: str | None
    zp_band: str | None
    mag_system: str | None
    color_term: float | None
    color_term_err: float | None

    @property
    def radius(self) -> float:
        """Degrees from the middle to a corner."""
        return 0.5 * float(np.hypot(*self.shape)) * self.scale / 3600.0

    @property
    def is_own(self) -> bool:
        """Whether its zero point is from its own stars."""
        return self.zp is not None and self.zp_origin != "night"


@dataclass(frozen=True, kw_only=True)
class MeasuredStars:
    """Aperture measurements of frames, columns of equal length n.

    Attributes
    ----------
    reduction_id, flags : ndarray of int64
    flux, flux_err : ndarray of float64
        Electrons per second.
    ra, dec : ndarray of float64
        ICRS degrees.
    """

    reduction_id: NDArray[np.int64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    flags: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.flux)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> MeasuredStars:
        """Return the rows selected by a mask or by indices."""
        return MeasuredStars(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def photometric_frames(session: Session, night: str) -> list[PhotometricFrame]:
    """Return the lights of a night with a place on the sky, in the order of time, content and detector."""
    return _frames(session, col(Frame.night) == night)


def earlier_zero_points(database: Database, frame_id: int) -> list[PhotometricFrame]:
    """Return the frames before one of the same night, chip and filter that have a zero point of their own."""
    with database.session() as session:
        frame = session.get(Frame, frame_id)
        if frame is None or not frame.night or frame.mjd_mid is None:
            return []
        found = _frames(
            session,
            col(Frame.night) == frame.night,
            col(Frame.instrument) == frame.instrument,
            col(Frame.detector) == frame.detector,
            col(Frame.filter) == frame.filter,
            col(Frame.mjd_mid) < frame.mjd_mid,
            col(Reduction.zp).is_not(None),
        )
    return [one for one in found if one.is_own]


def _frames(session: Session, *conditions: Any) -> list[PhotometricFrame]:
    rows = session.execute(
        select(Reduction, Frame)
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .where(
            *conditions,
            col(Reduction.current),
            col(Frame.kind) == "light",
            col(Frame.mjd_mid).is_not(None),
            col(Reduction.ra_center).is_not(None),
            col(Reduction.scale).is_not(None),
            col(Frame.state) != State.REJECTED,
            col(Exposure.state) != State.DUPLICATE,
        )
        .order_by(col(Frame.mjd_mid), col(Exposure.sha256), col(Frame.detector))
    ).all()
    return [_frame(reduction, frame) for reduction, frame in rows]


def _frame(reduction: Reduction, frame: Frame) -> PhotometricFrame:
    assert reduction.id is not None
    assert frame.mjd_mid is not None
    assert reduction.ra_center is not None
    assert reduction.dec_center is not None
    assert reduction.scale is not None
    return PhotometricFrame(
        reduction_id=reduction.id,
        instrument=frame.instrument,
        detector=frame.detector,
        filter=frame.filter,
        object=frame.object,
        mjd_mid=frame.mjd_mid,
        airmass=frame.airmass,
        ra=reduction.ra_center,
        dec=reduction.dec_center,
        scale=reduction.scale,
        shape=(frame.ny, frame.nx),
        zp=reduction.zp,
        zp_err=reduction.zp_err,
        zp_origin=reduction.zp_origin,
        zp_catalog=reduction.zp_catalog,
        zp_band=reduction.zp_band,
        mag_system=reduction.mag_system,
        color_term=reduction.color_term,
        color_term_err=reduction.color_term_err,
    )


_COLUMNS = ("reduction_id", "flux", "flux_err", "ra", "dec", "flags")


def measured_stars(session: Session, frames: Sequence[PhotometricFrame]) -> MeasuredStars:
    """Return the aperture measurements of these frames with a place and a signal-to-noise above 20."""
    parts = [np.array(rows, np.float64).reshape(-1, len(_COLUMNS)) for rows in _measurements(session, frames)]
    table = np.concatenate([np.empty((0, len(_COLUMNS))), *parts])
    plain = dict(zip(_COLUMNS, table.T, strict=True))
    for name in ("reduction_id", "flags"):
        plain[name] = plain[name].astype(np.int64)
    return MeasuredStars(**plain)


def _measurements(session: Session, frames: Sequence[PhotometricFrame]) -> Iterator[list[tuple[Any, ...]]]:
    for start in range(0, len(frames), _AT_ONCE):
        some = frames[start : start + _AT_ONCE]
        rows = session.execute(
            select(*(col(getattr(Measurement, name)) for name in _COLUMNS))
            .where(
                col(Measurement.reduction_id).in_([one.reduction_id for one in some]),
                col(Measurement.mjd_mid).between(some[0].mjd_mid, some[-1].mjd_mid),
                col(Measurement.kind) == "aperture",
                col(Measurement.ra).is_not(None),
                col(Measurement.flux) > _SIGNAL_TO_NOISE * col(Measurement.flux_err),
            )
            .order_by(col(Measurement.reduction_id), col(Measurement.number))
        ).all()
        yield [tuple(row) for row in rows]


def write_night_solutions(
    database: Database,
    night: str,
    solutions: Sequence[tuple[NightSolution, Sequence[NightZeroPoint]]],
) -> bool:
    """Make these the photometry of a night; return whether a row was changed.

    Parameters
    ----------
    night : str
        Date of the evening.
    solutions : sequence of (NightSolution, sequence of NightZeroPoint)
        Rows without their numbers.
    """
    with database.write() as session:
        there = [(one, _zero_points(session, one.id or 0)) for one in session.scalars(_of_night(night)).all()]
        if [_content(*one) for one in there] == [_content(*one) for one in solutions]:
            return False
        ids = [one.id for one, _ in there]
        session.connection().execute(
            delete(NightZeroPoint).where(
                col(NightZeroPoint.solution_id).in_(ids)
                | col(NightZeroPoint.reduction_id).in_(
                    [point.reduction_id for _, points in solutions for point in points]
                )
            )
        )
        session.connection().execute(delete(NightSolution).where(col(NightSolution.id).in_(ids)))
        session.expunge_all()
        for solution, points in solutions:
            session.add(solution)
            session.flush()
            for point in points:
                point.solution_id = solution.id or 0
                session.add(point)
    return True


def night_solutions(database: Database, night: str) -> list[NightSolution]:
    """Return the photometry of a night, one row a camera, chip and filter; empty until it is finished."""
    with database.session() as session:
        return list(session.scalars(_of_night(night)))


def night_zero_points(database: Database, solution_id: int) -> list[NightZeroPoint]:
    """Return the zero points of the frames of one of `night_solutions`."""
    with database.session() as session:
        return _zero_points(session, solution_id)


def _of_night(night: str) -> Any:
    return (
        select(NightSolution)
        .where(col(NightSolution.night) == night)
        .order_by(col(NightSolution.instrument), col(NightSolution.detector), col(NightSolution.filter))
    )


def _zero_points(session: Session, solution_id: int) -> list[NightZeroPoint]:
    return list(
        session.scalars(
            select(NightZeroPoint)
            .where(col(NightZeroPoint.solution_id) == solution_id)
            .order_by(col(NightZeroPoint.reduction_id))
        )
    )


def _content(
    solution: NightSolution, points: Sequence[NightZeroPoint]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    in_order = sorted(points, key=lambda one: one.reduction_id)
    return solution.model_dump(exclude={"id"}), [one.model_dump(exclude={"solution_id"}) for one in in_order]
