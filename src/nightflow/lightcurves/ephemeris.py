"""Where a body is between the rows of its ephemeris, how fast it goes, and how far that may be wrong.

Unit vectors are interpolated, so that poles and right ascension 0 are places like any other: by a cubic
spline through the rows around, straight where there are fewer than four.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from nightflow.lightcurves.associate import separation
from nightflow.sphere import unit_vectors

__all__ = ["COARSE", "EphemerisPlace", "ephemeris_error", "ephemeris_place"]

COARSE = 0.25
"""Days between rows beyond which they do not follow the parallax that turns with the Earth."""

_FEWEST = 4
"""Rows that a cubic needs."""
_AROUND = 8
"""Rows to either side that are used: a spline forgets its ends by a factor of 0.27 a row."""
_ASKED = 4
"""Rows next to a time that tell of the error there."""
_CUBIC, _STRAIGHT = 16.0, 4.0
"""By what half the spacing makes the error of a smooth path smaller."""
_ARCSEC = float(np.degrees(1.0)) * 3600.0
_SECONDS_A_DAY = 86400.0

Rows = Sequence[Sequence[float]] | NDArray[np.float64]
"""Of (mjd, ra, dec): UTC and ICRS degrees, ascending."""


@dataclass(frozen=True, kw_only=True)
class EphemerisPlace:
    """Where a body is at a time.

    Attributes
    ----------
    ra, dec : float
        ICRS degrees.
    rate_ra, rate_dec : float
        Arcsec per second on the sky, the cosine of the declination in both.
    spacing : float
        Days between the two rows around.
    """

    ra: float
    dec: float
    rate_ra: float
    rate_dec: float
    spacing: float


def ephemeris_place(rows: Rows, mjd: float) -> EphemerisPlace | None:
    """Return the place at a time, None before the first row and after the last.

    Parameters
    ----------
    rows : sequence of (mjd, ra, dec), or ndarray of float64, shape (n, 3)
        UTC and ICRS degrees, ascending.
    mjd : float
    """
    near = _around(rows, mjd)
    if near is None:
        return None
    vector, rate = _interpolated(near, np.array([mjd]))
    (x, y, z), velocity = vector[0], rate[0]
    ra, dec = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
    # The vector is a little short of one between rows, and the rate with it.
    speed = _ARCSEC / _SECONDS_A_DAY / float(np.linalg.norm(vector[0]))
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    north = np.array([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    after = int(np.clip(np.searchsorted(near[:, 0], mjd), 1, len(near) - 1))
    return EphemerisPlace(
        ra=float(np.degrees(ra)) % 360.0,
        dec=float(np.degrees(dec)),
        rate_ra=float(velocity @ east) * speed,
        rate_dec=float(velocity @ north) * speed,
        spacing=float(near[after, 0] - near[after - 1, 0]),
    )


def ephemeris_error(rows: Rows, mjd: float) -> float:
    """Return by about how many arcsec the place at a time may be wrong between the rows; NaN where unknown.

    Every second row is left out, and the others are asked for it: with half of the spacing a smooth path is
    met sixteen times better by a cubic, four times by straight lines. Rows too far apart to follow the
    parallax over a day (`COARSE`) say nothing of it.
    """
    near = _around(rows, mjd)
    if near is None:
        return float("nan")
    errors = [_left_out(near, first, mjd) for first in (0, 1)]
    return float(np.nanmax(errors)) if np.isfinite(errors).any() else float("nan")


def _left_out(rows: NDArray[np.float64], first: int, mjd: float) -> float:
    """Return the error that the others tell of if only ``rows[first::2]`` are kept; NaN without one."""
    kept, others = rows[first::2], rows[1 - first :: 2]
    asked = others[(others[:, 0] > kept[0, 0]) & (others[:, 0] < kept[-1, 0])]
    if not len(asked):
        return float("nan")
    # Towards the ends of the rows a spline is worse; what counts is how good it is here.
    asked = asked[np.argsort(np.abs(asked[:, 0] - mjd), kind="stable")[:_ASKED]]
    x, y, z = _interpolated(kept, asked[:, 0])[0].T
    apart = separation(
        np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y))), asked[:, 1], asked[:, 2]
    )
    return float(np.max(apart)) / (_CUBIC if len(kept) >= _FEWEST else _STRAIGHT)


def _around(rows: Rows, mjd: float) -> NDArray[np.float64] | None:
    """Return the rows around a time, each time once; None where it is outside."""
    if not rows[0][0] <= mjd <= rows[-1][0]:
        return None
    after = bisect_right(rows, mjd, key=lambda row: row[0])
    near = np.asarray(rows[max(after - _AROUND, 0) : after + _AROUND], np.float64)
    return near[np.unique(near[:, 0], return_index=True)[1]]


def _interpolated(
    rows: NDArray[np.float64], mjd: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return vectors and their change a day at times, shape (n, 3)."""
    if len(rows) >= _FEWEST:
        spline = _spline(rows.tobytes())
        return spline(mjd), spline(mjd, 1)
    times, vectors = rows[:, 0], unit_vectors(rows[:, 1], rows[:, 2])
    if len(rows) == 1:
        return np.repeat(vectors, len(mjd), axis=0), np.zeros((len(mjd), 3))
    before = np.clip(np.searchsorted(times, mjd, side="right") - 1, 0, len(times) - 2)
    slope = (vectors[before + 1] - vectors[before]) / (times[before + 1] - times[before])[:, None]
    return vectors[before] + (mjd - times[before])[:, None] * slope, slope


@lru_cache(maxsize=256)
def _spline(rows: bytes) -> CubicSpline:
    """Return the spline through rows; frames that follow each other ask for the same one."""
    times, ra, dec = np.frombuffer(rows).reshape(-1, 3).T
    return CubicSpline(times, unit_vectors(ra, dec))
