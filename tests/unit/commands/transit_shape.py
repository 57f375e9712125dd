"""Fit the simulator's own transit to a light curve: depth and middle are free, all else is the truth."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from nightflow.simulate.transit import Transit


@dataclass(frozen=True)
class Fit:
    """A fitted transit.

    Attributes
    ----------
    depth, depth_err : float
        Fraction of the light lost at mid-transit.
    late, late_err : float
        Minutes after the true middle.
    chi2_dof : float
        Of the points about it.
    """

    depth: float
    depth_err: float
    late: float
    late_err: float
    chi2_dof: float


def fit_transit(text: str, truth: Transit) -> Fit:
    """Fit a light curve as `nightflow lightcurve` prints it."""
    rows = list(csv.DictReader(io.StringIO(text)))
    time, mag, error = (
        np.array([float(row[name] or "nan") for row in rows])
        for name in ("bjd_tdb", "diff_mag", "diff_mag_err")
    )
    time, good = time - truth.mid_bjd, np.isfinite(mag)

    def pull(p: NDArray[np.float64]) -> NDArray[np.float64]:
        shape = replace(truth, mid_bjd=p[0] / 1440.0, depth=p[1]).relative_flux(time)
        return np.asarray((p[2] - 2.5 * np.log10(shape) - mag) / error)[good]

    # Steps of derivatives must not be lost in the numerical depth of the shape.
    fit = least_squares(pull, [0.5, 0.9 * truth.depth, 1e-3], diff_step=1e-4, x_scale=[1.0, 1e-3, 1e-3])
    late_err, depth_err, _ = np.sqrt(np.diag(np.linalg.inv(fit.jac.T @ fit.jac)))
    chi2_dof = 2.0 * fit.cost / (np.count_nonzero(good) - 3)
    return Fit(float(fit.x[1]), float(depth_err), float(fit.x[0]), float(late_err), float(chi2_dof))
