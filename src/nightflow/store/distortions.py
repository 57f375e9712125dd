"""The distortions that cameras are known by, and the stars that teach them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func
from sqlalchemy import select as columns
from sqlmodel import Session, col, select

from nightflow.nights import parse_night
from nightflow.store.database import Database
from nightflow.store.models import CameraDistortion, Exposure, Frame, Reduction, State, WcsStars

__all__ = [
    "Teacher", "distortion_of", "distortions_of_night", "drop_distortions",
    "fitted_stars", "offered_fingerprints", "teachers_up_to", "write_distortion",
]  # fmt: skip

_OF_A_NIGHT = 10
"""Frames of a night that are asked; they look at nearly the same stars."""
_FRAMES = 60
"""Frames that are asked in all, those of the newest nights first."""
_OLDEST = timedelta(days=365)
"""Before the night; a camera is taken off sooner or later."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """The stars of one frame.

    Attributes
    ----------
    sha256 : str
        Of its file.
    ra_center, dec_center : float
        ICRS degrees of its middle.
    stars : dict of str to ndarray
        Columns of `nightflow.store.models.WcsStars`.
    """

    sha256: str
    ra_center: float
    dec_center: float
    stars: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class _Candidate:
    reduction_id: int
    night: str
    sha256: str


def teachers_up_to(database: Database, night: str, fewest_stars: int) -> dict[tuple[str, int], list[Teacher]]:
    """Return (optics, parity) -> frames of ``fewest_stars`` or more in a verified WCS, in order of time.

    Only frames that were lent no distortion, for they would confirm it; and only chips that such frames of
    ``night`` itself show. Of each night up to it, a year back, ten frames at most, evenly over the night, of
    the newest nights first, sixty in all; which ones depends on time and content alone.
    """
    with database.session() as session:
        candidates = _candidates(session, night, fewest_stars)
        return {
            key: [_teacher(session, one) for one in _chosen(found)]
            for key, found in candidates.items()
            if any(one.night == night for one in found)
        }


def distortion_of(database: Database, optics: str, parity: int, night: str) -> CameraDistortion | None:
    """Return the row of the last night before ``night``; None without any.

    Neither the night itself nor a later one counts: what a frame gets does not depend on whether it was
    reduced before or after the end of its night.
    """
    rows = select(CameraDistortion).where(
        CameraDistortion.optics == optics,
        CameraDistortion.parity == parity,
        col(CameraDistortion.night) < night,
    )
    with database.session() as session:
        return session.exec(rows.order_by(col(CameraDistortion.night).desc()).limit(1)).first()


def offered_fingerprints(database: Database, instrument: str, night: str) -> list[tuple[str, str]]:
    """Return (optics, fingerprint) of the rows that `distortion_of` gives a camera's frames of a night."""
    optics, parity = col(CameraDistortion.optics), col(CameraDistortion.parity)
    last = (
        columns(optics, parity, func.max(CameraDistortion.night).label("night"))
        .where(
            col(CameraDistortion.night) < night,
            optics.startswith(f"[{json.dumps(instrument)},", autoescape=True),
        )
        .group_by(optics, parity)
        .subquery()
    )
    rows = (
        columns(optics, col(CameraDistortion.fingerprint))
        .join(
            last,
            (optics == last.c.optics)
            & (parity == last.c.parity)
            & (col(CameraDistortion.night) == last.c.night),
        )
        .order_by(optics, parity)
    )
    with database.session() as session:
        found = session.execute(rows).all()
    # SQLite's LIKE knows no capitals.
    return [(of, fingerprint) for of, fingerprint in found if _instrument(of) == instrument]


def distortions_of_night(database: Database, night: str) -> list[CameraDistortion]:
    """Return the rows that a night's `finish` wrote."""
    with database.session() as session:
        rows = select(CameraDistortion).where(CameraDistortion.night == night)
        return list(session.exec(rows.order_by(CameraDistortion.optics, col(CameraDistortion.parity))))


def write_distortion(database: Database, row: CameraDistortion) -> bool:
    """Put a row in the place of that of its chip, parity and night; return whether anything changed."""
    with database.write() as session:
        old = session.exec(
            select(CameraDistortion).where(
                CameraDistortion.optics == row.optics,
                CameraDistortion.parity == row.parity,
                CameraDistortion.night == row.night,
            )
        ).first()
        if old is not None and _content(old) == _content(row):
            return False
        if old is not None:
            session.delete(old)
            session.flush()
        session.add(row)
        session.flush()
        session.refresh(row)
        session.expunge(row)
    return True


def drop_distortions(database: Database, night: str, kept: Collection[tuple[str, int]]) -> int:
    """Delete the rows of a night but those of ``kept``, (optics, parity) each; return how many went."""
    with database.write() as session:
        rows = session.exec(select(CameraDistortion).where(CameraDistortion.night == night)).all()
        gone = [row for row in rows if (row.optics, row.parity) not in kept]
        for row in gone:
            session.delete(row)
    return len(gone)


def fitted_stars(database: Database, reduction_id: int) -> WcsStars | None:
    """Return the stars that a reduction's WCS was fitted to; None where it is not verified."""
    with database.session() as session:
        return session.get(WcsStars, reduction_id)


def _instrument(optics: str) -> str:
    return str(json.loads(optics)[0])


def _content(row: CameraDistortion) -> dict[str, Any]:
    return row.model_dump(exclude={"id"})


def _candidates(session: Session, night: str, fewest_stars: int) -> dict[tuple[str, int], list[_Candidate]]:
    oldest = (parse_night(night) - _OLDEST).date().isoformat()
    rows = session.execute(
        columns(
            col(WcsStars.reduction_id),
            col(WcsStars.optics),
            col(Reduction.parity),
            col(Frame.night),
            col(Exposure.sha256),
        )
        .join(Reduction, col(Reduction.id) == col(WcsStars.reduction_id))
        .join(Frame, col(Frame.id) == col(Reduction.frame_id))
        .join(Exposure, col(Exposure.id) == col(Frame.exposure_id))
        .where(
            col(Reduction.current),
            col(Reduction.wcs_quality) == "verified",
            col(Reduction.wcs_distortion).is_(None),
            col(Reduction.wcs_n_matched) >= fewest_stars,
            col(Frame.night) <= night,
            col(Frame.night) >= oldest,
            col(Exposure.state) != State.DUPLICATE,
        )
        .order_by(col(Frame.night), col(Frame.mjd_mid), col(Exposure.sha256), col(Frame.detector))
    ).all()
    found: dict[tuple[str, int], list[_Candidate]] = defaultdict(list)
    for reduction_id, optics, parity, of_night, sha256 in rows:
        found[optics, int(parity or 0)].append(_Candidate(reduction_id, of_night, sha256))
    return found


def _chosen(candidates: list[_Candidate]) -> list[_Candidate]:
    """Return those that are asked, in order of time."""
    by_night: dict[str, list[_Candidate]] = defaultdict(list)
    for one in candidates:
        by_night[one.night].append(one)
    chosen: list[_Candidate] = []
    for of_night in sorted(by_night, reverse=True):
        some = by_night[of_night]
        rows = np.unique(np.linspace(0, len(some) - 1, _OF_A_NIGHT).round().astype(int))
        chosen = [*(some[row] for row in rows), *chosen]
        if len(chosen) >= _FRAMES:
            break
    return chosen


def _teacher(session: Session, one: _Candidate) -> Teacher:
    stars, reduction = session.get(WcsStars, one.reduction_id), session.get(Reduction, one.reduction_id)
    assert stars is not None
    assert reduction is not None
    assert reduction.ra_center is not None
    assert reduction.dec_center is not None
    return Teacher(
        sha256=one.sha256,
        ra_center=reduction.ra_center,
        dec_center=reduction.dec_center,
        stars={name: np.array(column, np.float64) for name, column in stars.stars.items()},
    )
