"""The frames of a night brought onto each other: what their WCS disagree about is taken out of the places.

Each WCS is off by a little that changes over the frame, and all stars near each other share it. What stars
do together is no motion. A polynomial a frame, fitted to the stars' offsets from their median places, takes
it out; the mean of all frames stays where it was.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightflow.lightcurves.cluster import middle
from nightflow.lightcurves.field_night import FieldNight
from nightflow.lightcurves.motion import Plane
from nightflow.robust import robust_sigma

__all__ = ["aligned"]

_ROUNDS = 2
_CLIPS = 4
_CLIP = 3.5
_STARS_A_TERM = 6
_LARGEST_ORDER = 3
_FEWEST_FRAMES = 3


def aligned(night: FieldNight, clusters: list[NDArray[np.intp]]) -> FieldNight:
    """Return the night with places in which the frames agree as far as a smooth function can make them.

    Parameters
    ----------
    night : FieldNight
    clusters : list of ndarray of intp
        Detections of each star; the brighter half of the stars is used.
    """
    stars = [rows for rows in clusters if len(rows) >= _FEWEST_FRAMES]
    if not stars or night.n_frames < _FEWEST_FRAMES or not night.is_small():
        return night
    bright = np.array([np.median(night.mag[rows]) for rows in stars])
    stars = [rows for rows, mag in zip(stars, bright, strict=True) if mag <= np.median(bright)]
    plane = Plane(*middle(night.ra, night.dec))
    x, y = plane.project(night.ra, night.dec)
    size = max(float(np.abs([x, y]).max()), 1.0)
    rows = np.concatenate(stars)
    first = np.cumsum([0, *(len(one) for one in stars[:-1])])
    star = np.repeat(np.arange(len(stars)), [len(one) for one in stars])
    # The stars' detections frame by frame, as all detections are: no frame looks through those of the others.
    by_frame = np.argsort(night.frame[rows], kind="stable")
    first_star = np.searchsorted(night.frame[rows][by_frame], np.arange(night.n_frames + 1))
    bounds = night.bounds()
    for _ in range(_ROUNDS):
        middle_x, middle_y = (_medians(one[rows], first)[star] for one in (x, y))
        off_x, off_y = x[rows] - middle_x, y[rows] - middle_y
        for frame in range(night.n_frames):
            here = by_frame[first_star[frame] : first_star[frame + 1]]
            everything = slice(bounds[frame], bounds[frame + 1])
            shift = _smooth(
                (x[rows[here]] / size, y[rows[here]] / size),
                (off_x[here], off_y[here]),
                (x[everything] / size, y[everything] / size),
            )
            x[everything] -= shift[0]
            y[everything] -= shift[1]
    ra, dec = plane.lift(x, y)
    return replace(night, ra=ra, dec=dec)


def _medians(values: NDArray[np.float64], first: NDArray[np.integer]) -> NDArray[np.float64]:
    return np.array([np.median(part) for part in np.split(values, first[1:])])


def _smooth(
    places: tuple[NDArray[np.float64], NDArray[np.float64]],
    offsets: tuple[NDArray[np.float64], NDArray[np.float64]],
    wanted: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the polynomials through the offsets at the wanted places; 0 where there are too few stars."""
    zero = np.zeros(len(wanted[0]))
    order = _order(len(places[0]))
    if order < 0:
        return zero, zero
    terms = _terms(*places, order)
    good = np.ones(len(terms), bool)
    solution: NDArray[np.floating] = np.zeros((terms.shape[1], 2))
    target = np.column_stack(offsets)
    for _ in range(_CLIPS):
        solution = np.linalg.lstsq(terms[good], target[good], rcond=None)[0]
        left = target - terms @ solution
        spread = max(robust_sigma(left[good].ravel()), 1e-9)
        kept = np.hypot(left[:, 0], left[:, 1]) <= _CLIP * np.sqrt(2.0) * spread
        if kept.sum() < terms.shape[1] * 2 or np.array_equal(kept, good):
            break
        good = kept
    found = _terms(*wanted, order) @ solution
    return found[:, 0], found[:, 1]


def _order(n_stars: int) -> int:
    """Return the order that so many stars support; -1 for none."""
    orders = range(_LARGEST_ORDER, -1, -1)
    supported = (order for order in orders if n_stars >= _STARS_A_TERM * (order + 1) * (order + 2) // 2)
    return next(supported, -1)


def _terms(x: NDArray[np.float64], y: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    return np.column_stack([x**i * y**j for i in range(order + 1) for j in range(order + 1 - i)])
