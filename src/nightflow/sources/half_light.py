"""The radius that holds half of a source's light."""

from __future__ import annotations

from math import floor, sqrt

import numba
import numpy as np
from numpy.typing import NDArray

from nightflow.parallel import in_bands

__all__ = ["half_light_radii"]

_SUBPIXELS = 5
"""Along each side of a pixel, within the part of the reach where half of the light may end."""
_FINE = 0.6
"""That part. Of a Gaussian with a reach of 4 sigma, half of the light ends at 0.3."""
_RINGS = 64
"""Within the largest radius; between them the growth of the light is interpolated."""


def half_light_radii(
    data: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64], reach: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the radii that hold half of the light within ``reach``: FLUX_RADIUS of SExtractor.

    `sep.flux_radius` gives the same radii, to some 0.01 pixels, in several times the time.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Background-subtracted, finite.
    x, y : ndarray of float64, shape (n,)
        Centres, 0-based pixels.
    reach : ndarray of float64, shape (n,)
        Radius that holds all the light, pixels.

    Returns
    -------
    radius : ndarray of float64, shape (n,)
        Pixels; NaN where the circle leaves the frame or holds no light.
    """
    radius = np.full(len(x), np.nan)
    in_bands(
        lambda first, stop: _radii(data, x[first:stop], y[first:stop], reach[first:stop], radius[first:stop]),
        len(x),
    )
    return radius


@numba.njit(nogil=True, cache=True)
def _radii(
    data: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    reach: NDArray[np.float64],
    radius: NDArray[np.float64],
) -> None:
    ny, nx = data.shape
    light = np.empty(_RINGS)
    for source in range(len(x)):
        left, right = floor(x[source] - reach[source] + 0.5), floor(x[source] + reach[source] + 0.5)
        bottom, top = floor(y[source] - reach[source] + 0.5), floor(y[source] + reach[source] + 0.5)
        if left < 0 or bottom < 0 or right >= nx or top >= ny:
            continue
        light[:] = 0.0
        for row in range(bottom, top + 1):
            for column in range(left, right + 1):
                _share_out(light, data[row, column], column - x[source], row - y[source], reach[source])
        radius[source] = _radius_of_half(light) * reach[source] / _RINGS


@numba.njit(nogil=True, cache=True)
def _share_out(light: NDArray[np.float64], value: float, across: float, up: float, reach: float) -> None:
    """Give the subpixels of a pixel to the rings in which their centres lie."""
    per_pixel = _RINGS / reach
    n_subpixels = _SUBPIXELS if across * across + up * up < (_FINE * reach) ** 2 else 1
    value = value / (n_subpixels * n_subpixels)
    step, start = 1.0 / n_subpixels, 0.5 / n_subpixels - 0.5
    for i in range(n_subpixels):
        above = up + start + i * step
        for j in range(n_subpixels):
            beside = across + start + j * step
            ring = int(sqrt(above * above + beside * beside) * per_pixel)
            if ring < _RINGS:
                light[ring] += value


@numba.njit(nogil=True, cache=True)
def _radius_of_half(light: NDArray[np.float64]) -> float:
    """Return the radius, in rings, at which the light reaches half of its sum."""
    half = 0.5 * light.sum()
    if half <= 0.0:
        return np.nan
    within = 0.0
    for ring in range(_RINGS):
        if within + light[ring] >= half:
            return ring + (half - within) / light[ring]
        within += light[ring]
    return np.nan
