"""The noise of an aperture, measured where there is nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import sep
from numpy.typing import NDArray

from nightflow.robust import robust_sigma
from nightflow.sources.clean_pixels import CleanPixels
from nightflow.sources.stamps import ring_offsets

__all__ = ["FEWEST", "EmptyApertures", "empty_apertures", "empty_places"]

FEWEST = 30
"""Apertures from which a noise is measured: to 13 %, or 0.13 mag of depth."""
_WANTED = 900
"""To 2.4 %."""
_CANDIDATES = 1800
_SEED = 20
_CLIP = 3.5
"""Robust sigmas; of pure noise 1 in 2,000 lies beyond."""


@dataclass(frozen=True, kw_only=True)
class EmptyApertures:
    """What apertures on empty sky hold.

    Attributes
    ----------
    noise : float
        Robust standard deviation of their fluxes, electrons, before the aperture correction: noise of the
        pixels, what neighbouring pixels share of it, and the error of the local background. NaN where there
        are fewer than 30 places.
    expected : float
        Median of the errors that the variance plane gives them, electrons; NaN as above.
    n : int
        How many there are.
    """

    noise: float
    expected: float
    n: int

    @property
    def excess_variance(self) -> float:
        """What the variance plane does not know of, electrons squared in an aperture; 0 where unknown."""
        excess = self.noise**2 - self.expected**2
        return max(excess, 0.0) if np.isfinite(excess) else 0.0


def empty_apertures(pixels: CleanPixels) -> EmptyApertures:
    """Measure the frame's own aperture at up to 900 places of empty sky, spread evenly over the frame.

    The scatter of such fluxes is the noise of a faint star, with all that sums over single pixels miss
    (Labbe et al. 2003, AJ 125, 1107). The local background is a mean clipped once, not the clipped median's
    that sources get: where there is nothing both are the same, and this one takes a twentieth of the time.
    """
    x, y = empty_places(pixels.sky_mask, pixels.radius + 0.5 * pixels.fwhm)
    if len(x) < FEWEST:
        return EmptyApertures(noise=float("nan"), expected=float("nan"), n=len(x))
    flux, error = _fluxes(pixels, x, y)
    deviation = flux - np.median(flux)
    # Stars below the threshold are no noise of the sky; twice, so that what they add to the first goes, too.
    kept = np.isfinite(deviation)
    for _ in range(2):
        kept = np.abs(deviation) <= _CLIP * robust_sigma(deviation[kept])
    return EmptyApertures(noise=float(np.std(deviation[kept])), expected=float(np.median(error)), n=len(x))


def _fluxes(
    pixels: CleanPixels, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return flux and error in the aperture at each place, electrons."""
    total, total_err, _ = sep.sum_circle(pixels.data, x, y, pixels.radius, var=pixels.variance, subpix=0)
    row, column = np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)
    level, level_err = _ring_means(pixels.data, pixels.sky_mask, row, column, *ring_offsets(*pixels.annulus))
    area = np.pi * pixels.radius**2
    return total - area * level, np.hypot(total_err, pixels.pixel_noise * area * level_err)


def empty_places(
    sky_mask: NDArray[np.bool_], radius: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places around which no pixel within a radius is masked: the same ones for the same mask.

    One place is drawn in each cell of a grid, so that they cover the frame and hardly overlap.

    Parameters
    ----------
    sky_mask : ndarray of bool, shape (ny, nx)
        True where a pixel is no sky.
    radius : float
        Pixels.

    Returns
    -------
    x, y : ndarray of float64, shape (n,)
        0-based pixels, at most 900 of them.
    """
    ny, nx = sky_mask.shape
    cell = max(float(np.sqrt(ny * nx / _CANDIDATES)), 2 * radius)
    rows, columns = int(ny // cell), int(nx // cell)
    rng = np.random.default_rng(_SEED)
    row, column = np.divmod(rng.permutation(rows * columns), max(columns, 1))
    y = (row + rng.uniform(0.0, 1.0, len(row))) * cell
    x = (column + rng.uniform(0.0, 1.0, len(row))) * cell
    dy, dx = ring_offsets(0, radius + 0.5)
    empty = np.flatnonzero(
        _all_sky(sky_mask, np.rint(y).astype(np.intp), np.rint(x).astype(np.intp), dy, dx)
    )[:_WANTED]
    return x[empty], y[empty]


@numba.njit(nogil=True, cache=True)
def _all_sky(
    mask: NDArray[np.bool_],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    dy: NDArray[np.intp],
    dx: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Return around which places every offset lies on an unmasked pixel."""
    ny, nx = mask.shape
    found = np.ones(len(row), np.bool_)
    for place in range(len(row)):
        for offset in range(len(dy)):
            y, x = row[place] + dy[offset], column[place] + dx[offset]
            if y < 0 or y >= ny or x < 0 or x >= nx or mask[y, x]:
                found[place] = False
                break
    return found


@numba.njit(nogil=True, cache=True)
def _ring_means(
    data: NDArray[np.float32],
    mask: NDArray[np.bool_],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    dy: NDArray[np.intp],
    dx: NDArray[np.intp],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of the unmasked pixels of each place's ring, clipped at 3 sigma, and its error."""
    ny, nx = data.shape
    level, error = np.zeros(len(row)), np.zeros(len(row))
    for place in range(len(row)):
        limit = np.inf
        for _ in range(2):
            count, total, squares = 0, 0.0, 0.0
            for offset in range(len(dy)):
                y, x = row[place] + dy[offset], column[place] + dx[offset]
                if 0 <= y < ny and 0 <= x < nx and not mask[y, x]:
                    value = float(data[y, x])
                    if abs(value - level[place]) <= limit:
                        count += 1
                        total += value
                        squares += value * value
            if count < 2:
                break
            mean = total / count
            variance = max(squares / count - mean * mean, 0.0)
            level[place], error[place] = mean, np.sqrt(variance / (count - 1))
            limit = 3.0 * np.sqrt(variance)
    return level, error
