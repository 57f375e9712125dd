"""Zero points that a night lends: written into the reductions of frames that have none of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, update
from sqlmodel import Session, col

from nightflow.store.database import Database
from nightflow.store.models import Exposure, Frame, Measurement, Reduction

__all__ = ["LentZeroPoint", "write_lent"]

_LENT = "the zero point is that of the night"
"""How each warning of a lent zero point begins."""


@dataclass(frozen=True)
class LentZeroPoint:
    """What a frame without a zero point of its own gets from its night.

    Attributes
    ----------
    reduction_id : int
    values : mapping of str to object
        Columns of the reduction.
    warning : str
        Why, and how sure.
    color_offset : callable
        Right ascensions and declinations, ICRS degrees, to the magnitudes that the colour of what is there
        adds.
    """

    reduction_id: int
    values: Mapping[str, Any]
    warning: str
    color_offset: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def write_lent(database: Database, lent: Sequence[LentZeroPoint]) -> int:
    """Give frames the zero points of their night, and their measurements the magnitudes; return how many
    changed.

    A zero point that a frame got from an earlier solution gives way to the new one, and what was said of it,
    in the warnings of the reduction and the reasons of frame and exposure, to the new warning.
    """
    changed = 0
    with database.write() as session:
        for one in lent:
            reduction = session.get(Reduction, one.reduction_id)
            if reduction is None or not reduction.current or _has(reduction, one):
                continue
            if reduction.depth_5sigma is not None and reduction.zp is not None:
                reduction.depth_5sigma += one.values["zp"] - reduction.zp
            for name, value in one.values.items():
                setattr(reduction, name, value)
            if reduction.gain is not None:
                reduction.zp_adu = one.values["zp"] - 2.5 * math.log10(reduction.gain)
            _say(session, reduction, one.warning)
            session.flush()
            _write_magnitudes(session, one)
            changed += 1
    return changed


def _has(reduction: Reduction, lent: LentZeroPoint) -> bool:
    return all(getattr(reduction, name) == value for name, value in lent.values.items())


def _say(session: Session, reduction: Reduction, warning: str) -> None:
    outdated = [text for text in reduction.warnings if text.startswith(("no zero point", _LENT))]
    reduction.warnings = [text for text in reduction.warnings if text not in outdated] + [warning]
    frame = session.get(Frame, reduction.frame_id)
    assert frame is not None
    exposure = session.get(Exposure, frame.exposure_id)
    assert exposure is not None
    # The exposure's reason is that of its worst frame, which may be another one.
    if exposure.reason == frame.reason:
        exposure.reason = _retold(exposure.reason, outdated, warning)
    frame.reason = _retold(frame.reason, outdated, warning)
    session.add_all([reduction, frame, exposure])


def _retold(reason: str, outdated: Sequence[str], warning: str) -> str:
    """Return a reason with a warning in place of others; warnings hold semicolons themselves."""
    for text in outdated:
        reason = reason.replace(text, "").replace("; ; ", "; ")
    return "; ".join(part for part in (reason.strip("; "), warning) if part)


def _write_magnitudes(session: Session, lent: LentZeroPoint) -> None:
    key = ("reduction_id", "number", "kind", "mjd_mid")
    names = (*key, "flux", "flux_err", "ra", "dec")
    rows = session.execute(
        select(*(col(getattr(Measurement, name)) for name in names)).where(
            col(Measurement.reduction_id) == lent.reduction_id
        )
    ).all()
    if not rows:
        return
    flux, flux_err, ra, dec = np.array([row[len(key) :] for row in rows], np.float64).T
    positive = flux > 0
    safe = np.where(positive, flux, 1.0)
    mag = -2.5 * np.log10(safe) + lent.values["zp"] + lent.color_offset(ra, dec)
    error = 2.5 / np.log(10) * flux_err / safe
    for row, seen, value, sigma in zip(rows, positive, mag, error, strict=True):
        same = [col(getattr(Measurement, name)) == part for name, part in zip(key, row, strict=False)]
        session.connection().execute(
            update(Measurement)
            .where(*same)
            .values(mag=float(value) if seen else None, mag_err=float(sigma) if seen else None)
        )
