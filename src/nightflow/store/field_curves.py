"""What the comparison stars of a light curve did on its frames: a measure of its trends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlmodel import Session, col

from nightflow.flags import INCOMPLETE
from nightflow.lightcurves.detrend import TERMS
from nightflow.lightcurves.ensemble import star_residuals
from nightflow.lightcurves.field_trends import FieldCurves
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.store.database import Database
from nightflow.store.models import Exposure, Frame, Measurement, Reduction

__all__ = ["field_curves"]

_MEASURED = ("flux", "flux_err", "flags", "x", "y", "fwhm_px")
_NO_USE = int(INCOMPLETE)


def field_curves(database: Database, curve: LightCurve, kind: str) -> dict[tuple[str, str, str], FieldCurves]:
    """Return the comparison stars on the frames of a light curve, by instrument, detector and filter.

    Parameters
    ----------
    kind : str
        Of the light curve: aperture, psf or forced. Forced photometry is compared with apertures.
    """
    out = {}
    with database.session() as session:
        for key, rows in curve.chips():
            stars = curve.comparisons.get((key[0], key[2]), ())
            values = _values(session, stars, "aperture" if kind == "forced" else kind, curve.take(rows))
            usable = (np.nan_to_num(values["flags"]).astype(np.int64) & _NO_USE) == 0
            residual, error = star_residuals(values["flux"], values["flux_err"], usable)
            columns = {name: values[name] for name in TERMS}
            out[key] = FieldCurves(residual=residual, error=error, columns=columns)
    return out


def _values(
    session: Session, stars: tuple[int, ...], kind: str, curve: LightCurve
) -> dict[str, NDArray[np.float64]]:
    """Return what was measured of each star, shape (frames, stars); NaN where it was not."""
    names = (*_MEASURED, "airmass")
    values = np.full((len(names), len(curve), len(stars)), np.nan)
    row_of = {name: row for row, name in enumerate(curve["frame"])}
    column_of = {star: column for column, star in enumerate(stars)}
    detector = str(curve["detector"][0])
    for path, star, *measured in _measurements(session, stars, kind, detector, curve["mjd_mid"]):
        if path in row_of:
            values[:, row_of[path], column_of[star]] = measured
    return dict(zip(names, values, strict=True))


def _measurements(
    session: Session, stars: tuple[int, ...], kind: str, detector: str, mjd: NDArray[np.float64]
) -> Any:
    if not stars:
        return []
    return session.execute(
        select(
            col(Exposure.path),
            col(Measurement.source_id),
            *(col(getattr(Measurement, name)) for name in _MEASURED),
            col(Frame.airmass),
        )
        .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .where(
            col(Measurement.source_id).in_(stars),
            col(Measurement.kind) == kind,
            col(Measurement.mjd_mid).between(float(mjd.min()), float(mjd.max())),
            col(Frame.detector) == detector,
            col(Reduction.current),
        )
    )
