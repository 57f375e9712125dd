"""Light curves as astropy's `TimeSeries`."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn
from astropy.time import Time
from astropy.timeseries import TimeSeries
from astropy.utils.masked import Masked

from nightflow.errors import ConfigurationError
from nightflow.lightcurves.light_curve import COLUMNS, Column, LightCurve

__all__ = ["to_lightkurve", "to_time_series"]


def to_time_series(curve: LightCurve) -> TimeSeries:
    """Return a light curve as a time series with units.

    Parameters
    ----------
    curve : LightCurve

    Returns
    -------
    TimeSeries
        ``time`` is the barycentric mid-exposure (TDB); the other columns are those of
        `nightflow.lightcurves.light_curve.COLUMNS`, with NaN masked. Rows without a barycentric time, whose
        place is not known, are left out.
    """
    curve = curve.take(np.isfinite(curve["bjd_tdb"]))
    series = TimeSeries(time=Time(curve["bjd_tdb"], format="jd", scale="tdb"))
    for column in COLUMNS:
        if column.name != "bjd_tdb":
            series[column.name] = _column(curve, column)
    series.meta.update(curve.meta)
    return series


def to_lightkurve(curve: LightCurve) -> Any:
    """Return a light curve as the package lightkurve has them.

    Parameters
    ----------
    curve : LightCurve
        Its flux is used; rows without a barycentric time are left out.

    Returns
    -------
    lightkurve.LightCurve
        Flux in electrons per second.

    Raises
    ------
    ConfigurationError
        The package is not installed.
    """
    try:
        import lightkurve
    except ImportError as error:
        raise ConfigurationError("lightkurve is not installed: pip install lightkurve") from error
    curve = curve.take(np.isfinite(curve["bjd_tdb"]))
    unit = u.electron / u.s
    return lightkurve.LightCurve(
        time=Time(curve["bjd_tdb"], format="jd", scale="tdb"),
        flux=curve["flux"] * unit,
        flux_err=curve["flux_err"] * unit,
        meta=dict(curve.meta),
    )


def _column(curve: LightCurve, column: Column) -> Any:
    values = curve[column.name]
    if column.dtype is float:
        mask = ~np.isfinite(values)
        if not column.unit:
            return MaskedColumn(values, mask=mask)
        return Masked(np.asarray(values, np.float64), mask=mask) * u.Unit(column.unit)
    return values.astype(np.int64) if column.dtype is int else values.astype(str)
