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
_SIGNIFICANT, _SMALL_BIAS = 3.0, 0.25
"""Of a median flux in its own standard errors, and in errors of one place: it adds 3 % to those."""
_CLIP = 3.5
"""Robust sigmas; of pure noise 1 in 2,000 lies beyond."""


@dataclass(frozen=True, kw_only=True)
class EmptyApertures:
    """What apertures on empty sky hold.

    Attributes
    ----------
    ratio : float
        Robust standard deviation of their fluxes, each in units of the error that the variance plane gives
        it: above 1 where neighbouring pixels share noise (residuals of the flat, resampling, faint stars),
        and 1 where they do not, however much the noise differs over the frame. NaN where there are fewer than
        30 places.
    expected : float
        Median of those errors, electrons before the aperture correction; NaN as above.
    range : tuple of float
        2nd and 98th percentile of them, electrons; NaN as above.
    n : int
        How many there are.
    offset : float
        Median of their fluxes in units of those errors: below 0 where light of stars that were not detected
        counts as sky. NaN as above.
    """

    ratio: float
    expected: float
    range: tuple[float, float]
    n: int
    offset: float = 0.0

    @property
    def bias(self) -> float:
        """Electrons in the aperture by which all fluxes may be off; 0 where that is small or chance."""
        chance = _SIGNIFICANT * 1.2533 * self.ratio / np.sqrt(max(self.n, 1))
        return self.offset * self.expected if abs(self.offset) > max(chance, _SMALL_BIAS) else 0.0

    @property
    def noise(self) -> float:
        """Noise of the median place, electrons before the aperture correction; NaN where unknown.

        It is that of the pixels, what neighbouring pixels share of it, and the error of the local background.
        """
        return self.ratio * self.expected

    @property
    def factor(self) -> float:
        """By what an error of sky and readout is too small, at least 1; 1 where unknown.

        The ratio is known to 1 / sqrt(2 n) only. What is above 1 is shrunk by that (the positive part of
        James & Stein 1961), or the greater of 1 and the ratio would make the errors of half of all frames
        too large: so it does by 0.3 % for 900 places, 1.7 % for 30.
        """
        if not self.ratio > 1.0:
            return 1.0
        excess = self.ratio - 1.0
        return 1.0 + max(excess - 1.0 / (2 * self.n) / excess, 0.0)

    @property
    def warning(self) -> str:
        """What a reader should know; "" where there were enough and they are empty."""
        if self.bias:
            return (
                f"apertures of empty sky have {self.bias:+.0f} electrons, {abs(self.offset):.1f} times their "
                "error: light of undetected stars counts as sky, and errors of fluxes are larger by as much"
            )
        if np.isfinite(self.noise):
            return ""
        return (
            f"{self.n} apertures of empty sky, {FEWEST} needed: the depth rests on the noise of single "
            "pixels and may be too faint"
        )

    def full_error(
        self, flux: NDArray[np.float64], flux_err: NDArray[np.float64], area: float = 1.0
    ) -> NDArray[np.float64]:
        """Return errors with what neighbouring pixels share of the noise, electrons, shape (n,).

        And with the `bias` of the frame, in squares. Only the part of sky and readout is multiplied by
        `factor`. It is what the flux's own photons leave of the error, within the range that empty places
        have: a bright star's photons are known up to the flat, which may be more than all the noise of the
        sky.

        Parameters
        ----------
        flux, flux_err : ndarray of float64, shape (n,)
            Electrons before the aperture correction; the error is that of the variance plane and of the local
            background.
        area : float
            Over which the noise is summed, in apertures: below 1 for fluxes by the PSF.
        """
        if self.factor == 1.0 and self.bias == 0.0:
            return flux_err
        least, greatest = area * np.square(self.range)
        of_sky = np.clip(flux_err**2 - np.maximum(flux, 0.0), least, greatest)
        return np.sqrt(flux_err**2 + (self.factor**2 - 1.0) * of_sky + (area * self.bias) ** 2)


def empty_apertures(pixels: CleanPixels) -> EmptyApertures:
    """Measure the frame's own aperture at up to 900 places of empty sky, spread evenly over the frame.

    The scatter of such fluxes is the noise of a faint star, with all that sums over single pixels miss
    (Labbe et al. 2003, AJ 125, 1107). Each is taken in units of its own error: two amplifiers, vignetting and
    moonlight make the noise differ from place to place, and the variance plane knows of that. The local
    background is a mean clipped once, not the clipped median's that sources get: where there is nothing both
    are the same, and this one takes a twentieth of the time.
    """
    nothing = float("nan")
    x, y = empty_places(pixels.sky_mask, pixels.radius + 0.5 * pixels.fwhm)
    if len(x) < FEWEST:
        return EmptyApertures(ratio=nothing, expected=nothing, range=(nothing, nothing), n=len(x))
    flux, error = _fluxes(pixels, x, y)
    least, expected, greatest = (float(one) for one in np.percentile(error, [2, 50, 98]))
    return EmptyApertures(
        ratio=_clipped_scatter(flux / error),
        expected=expected,
        range=(least, greatest),
        n=len(x),
        offset=float(np.median(flux / error)),
    )


def _clipped_scatter(values: NDArray[np.float64]) -> float:
    deviation = values - np.median(values)
    # Stars below the threshold are no noise of the sky; twice, so that what they add to the first goes, too.
    kept = np.isfinite(deviation)
    for _ in range(2):
        kept = np.abs(deviation) <= _CLIP * robust_sigma(deviation[kept])
    return float(np.std(deviation[kept]))


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
