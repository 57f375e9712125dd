"""What is said of an object that a frame does not show: fainter than a limit, at a stated level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightflow.lightcurves.light_curve import LightCurve

__all__ = ["LEVEL", "limits_at_level", "upper_limits"]

LEVEL = 3.0
"""Standard deviations."""


def upper_limits(
    flux: NDArray[np.float64], flux_err: NDArray[np.float64], level: float = LEVEL
) -> NDArray[np.float64]:
    """Return the flux that an object stays below, where its S/N is less than ``level``; NaN elsewhere.

    max(flux, 0) + level * error. With Gaussian errors, and over all frames, those without a limit included, a
    limit below the true flux, whatever that is, is given in no more than 0.13 % of cases for level 3, 2.3 %
    for 2, 5 % for 1.645. It is given in as many where the true flux is between one and two times ``level``
    sigma, and in none where it is fainter. Of the limits alone more are false where few are given: of an
    object of 6 sigma 0.13 % of frames give one at level 3, and all those are too low.

    Parameters
    ----------
    flux, flux_err : ndarray of float64, shape (n,)
        In any unit; the error is 1 sigma.
    level : float
        Standard deviations, above 0.
    """
    with np.errstate(invalid="ignore"):
        return np.where(flux < level * flux_err, np.maximum(flux, 0.0) + level * flux_err, np.nan)


def limits_at_level(curve: LightCurve, level: float) -> LightCurve:
    """Return a light curve with its upper limits at another level.

    Rows whose zero point shows neither in a magnitude nor in an upper limit get none.
    """
    flux = curve["flux"]
    given = upper_limits(flux, curve["flux_err"])
    with np.errstate(invalid="ignore", divide="ignore"):
        zero_point = np.where(
            np.isfinite(curve["mag"]),
            curve["mag"] + 2.5 * np.log10(flux),
            curve["upper_limit"] + 2.5 * np.log10(given),
        )
        limit = zero_point - 2.5 * np.log10(upper_limits(flux, curve["flux_err"], level))
    forced = curve["kind"] == "forced"
    meta = curve.meta | {"upper_limit": f"{level:g} sigma"}
    return replace(curve, columns=curve.columns | {"upper_limit": np.where(forced, limit, np.nan)}, meta=meta)
