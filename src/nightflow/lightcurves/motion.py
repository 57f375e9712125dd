"""A straight line through the places of a body: its rate, and how well the line fits.

Over a night the sky is a plane (gnomonic, arcsec) and a body moves straight on it, at a constant rate: what
is left of its parallax and acceleration is far below the error of a place for all but the nearest ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Line", "Plane", "fit_line"]

_CLIP = 4.0
_ARCSEC = 3600.0


@dataclass(frozen=True)
class Plane:
    """The tangent plane at a place: x to the east, y to the north, arcsec.

    Attributes
    ----------
    ra, dec : float
        Where it touches, ICRS degrees.
    """

    ra: float
    dec: float

    def project(
        self, ra: NDArray[np.floating] | float, dec: NDArray[np.floating] | float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the places on the plane."""
        turn, north, middle = np.radians(np.asarray(ra) - self.ra), np.radians(dec), np.radians(self.dec)
        depth = np.sin(north) * np.sin(middle) + np.cos(north) * np.cos(middle) * np.cos(turn)
        x = np.cos(north) * np.sin(turn) / depth
        y = (np.sin(north) * np.cos(middle) - np.cos(north) * np.sin(middle) * np.cos(turn)) / depth
        return np.asarray(np.degrees(x) * _ARCSEC), np.asarray(np.degrees(y) * _ARCSEC)

    def lift(
        self, x: NDArray[np.floating] | float, y: NDArray[np.floating] | float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the places on the sky, ICRS degrees."""
        east, north = np.radians(np.asarray(x) / _ARCSEC), np.radians(np.asarray(y) / _ARCSEC)
        middle = np.radians(self.dec)
        depth = np.cos(middle) - north * np.sin(middle)
        ra = (self.ra + np.degrees(np.arctan2(east, depth))) % 360.0
        dec = np.degrees(np.arctan2(np.sin(middle) + north * np.cos(middle), np.hypot(east, depth)))
        return np.asarray(ra), np.asarray(dec)


@dataclass(frozen=True, kw_only=True)
class Line:
    """Motion at a constant rate.

    Attributes
    ----------
    t : float
        Hours; the weighted middle of the places, where they and the rate are independent of each other.
    x, y : float
        Arcsec on the plane at ``t``.
    rate_x, rate_y : float
        Arcsec an hour.
    place_err : float
        Error of ``x`` and of ``y``.
    rate_err : float
        Error of ``rate_x`` and of ``rate_y``. Both follow from the errors of the places, and from their
        scatter where that is larger.
    rms : float
        Radial distance of the places from the line, arcsec, corrected for the four numbers of the fit.
    kept : ndarray of bool, shape (n,)
        Places that are not off by more than four sigma.
    """

    t: float
    x: float
    y: float
    rate_x: float
    rate_y: float
    place_err: float
    rate_err: float
    rms: float
    kept: NDArray[np.bool_]

    @property
    def rate(self) -> float:
        """Arcsec an hour."""
        return float(np.hypot(self.rate_x, self.rate_y))

    @property
    def position_angle(self) -> float:
        """Of the motion, degrees from north through east."""
        return float(np.degrees(np.arctan2(self.rate_x, self.rate_y))) % 360.0

    @property
    def position_angle_err(self) -> float:
        """Degrees; 180 where the rate is as good as none."""
        return min(float(np.degrees(self.rate_err / self.rate)), 180.0) if self.rate > 0 else 180.0

    def at(self, t: NDArray[np.floating] | float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the body is at ``t`` hours."""
        passed = np.asarray(t) - self.t
        return np.asarray(self.x + passed * self.rate_x), np.asarray(self.y + passed * self.rate_y)

    def error_at(self, t: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Return the error of `at` along each axis, arcsec."""
        return np.asarray(np.hypot(self.place_err, (np.asarray(t) - self.t) * self.rate_err))


def fit_line(
    t: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sigma: NDArray[np.float64],
    *,
    clip: bool = True,
) -> Line:
    """Fit a line by weighted least squares; places that are off are left out and it is fitted again.

    Parameters
    ----------
    t : ndarray of float64, shape (n,)
        Hours; at least two different ones.
    x, y : ndarray of float64, shape (n,)
        Arcsec.
    sigma : ndarray of float64, shape (n,)
        Error of a place along each axis, arcsec.
    clip : bool
        Whether places may be left out.
    """
    line = _fitted(t, x, y, sigma, np.ones(len(t), bool))
    if not clip or len(t) < 5:
        return line
    off_x, off_y = _offsets(line, t, x, y)
    distance = np.hypot(off_x, off_y) / sigma
    typical = max(1.0, float(np.median(distance)) / 1.18)
    kept = distance <= _CLIP * typical
    if kept.all() or kept.sum() < 4 or np.ptp(t[kept]) == 0:
        return line
    return _fitted(t, x, y, sigma, kept)


def _fitted(
    t: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sigma: NDArray[np.float64],
    kept: NDArray[np.bool_],
) -> Line:
    weight = kept / sigma**2
    total = weight.sum()
    middle = float((weight * t).sum() / total)
    lever = float((weight * (t - middle) ** 2).sum())
    values = [
        (float((weight * one).sum() / total), float((weight * (t - middle) * one).sum() / lever))
        for one in (x, y)
    ]
    line = Line(
        t=middle, x=values[0][0], y=values[1][0], rate_x=values[0][1], rate_y=values[1][1],
        place_err=float(1.0 / np.sqrt(total)), rate_err=float(1.0 / np.sqrt(lever)), rms=0.0, kept=kept,
    )  # fmt: skip
    return _with_scatter(line, t, x, y, weight)


def _with_scatter(
    line: Line,
    t: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> Line:
    """Return the line with its rms, and with larger errors where the places scatter more than theirs."""
    off_x, off_y = _offsets(line, t, x, y)
    freedom = max(2 * int(line.kept.sum()) - 4, 1)
    chi2 = float((weight * (off_x**2 + off_y**2)).sum()) / freedom
    square = float((line.kept * (off_x**2 + off_y**2)).sum())
    inflation = float(np.sqrt(max(1.0, chi2)))
    return Line(
        t=line.t, x=line.x, y=line.y, rate_x=line.rate_x, rate_y=line.rate_y,
        place_err=line.place_err * inflation, rate_err=line.rate_err * inflation,
        rms=float(np.sqrt(2.0 * square / freedom)), kept=line.kept,
    )  # fmt: skip


def _offsets(
    line: Line, t: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    there_x, there_y = line.at(t)
    return x - there_x, y - there_y
