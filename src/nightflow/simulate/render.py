"""Light on the chip: stars painted pixel by pixel, sky, dark current, shot noise.

Each star is an elliptical Moffat profile (Moffat 1969, A&A 3, 455). Pixels of its core are integrated by a
3 x 3 Gauss-Legendre rule, those of its wings taken at their centre. Painting goes out to where the profile
falls below a fiftieth of an electron, at least to 8 core radii.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nightflow.simulate.atmosphere import extinction
from nightflow.simulate.detector import Detector
from nightflow.simulate.optics import Pointing, StarShape, radius_squared
from nightflow.simulate.plan import CameraPlan, Passband
from nightflow.simulate.scene import PointSources

__all__ = ["collect_light", "moffat_core_radius", "paint_stars", "sky_plane", "star_rates"]

Array = NDArray[np.float64]

_FAINTEST_WING = 0.02
_SMALLEST_RADIUS, _LARGEST_RADIUS = 8.0, 30.0
"""In units of the core radius."""
_SKY_GRADIENT_ANGLE = 40.0
"""Position angle of the direction in which the sky brightens."""


def moffat_core_radius(fwhm: Array | float, beta: float) -> Array:
    """Return alpha of the Moffat profile (1 + (r / alpha)^2)^-beta with a full width ``fwhm``."""
    return np.asarray(fwhm) / (2.0 * math.sqrt(2.0 ** (1.0 / beta) - 1.0))


def star_rates(
    sources: PointSources, band: Passband, airmass: float, cloud: float, twinkle: Array | float = 1.0
) -> Array:
    """Return electrons per second of each source where the flat is 1, shape (n,)."""
    zero_point = band.zero_point + band.color_term * sources.v_r
    lost = extinction(band, airmass, sources.v_r) + cloud
    return np.asarray(10.0 ** (-0.4 * (sources.mag + lost - zero_point)) * twinkle)


def sky_plane(camera: CameraPlan, pointing: Pointing, rate: float, gradient: float) -> Array:
    """Return the sky, shape (ny, nx): ``rate`` in the middle of the chip, brighter to one side."""
    ny, nx = camera.shape
    angle = np.radians(_SKY_GRADIENT_ANGLE)
    width = max(camera.shape) * pointing.scale / 3600.0
    slope = pointing.cd.T @ np.array([np.sin(angle), np.cos(angle)]) / width * gradient
    x = (np.arange(nx) - (nx - 1) / 2) * slope[0]
    y = (np.arange(ny) - (ny - 1) / 2) * slope[1]
    return np.asarray(rate * (1.0 + x[None, :] + y[:, None]))


def paint_stars(camera: CameraPlan, x: Array, y: Array, electrons: Array, shape: StarShape) -> Array:
    """Return an image of stars.

    Parameters
    ----------
    camera : CameraPlan
        The chip.
    x, y : ndarray, shape (n,)
        0-based pixels; stars beside the chip throw their wings on it.
    electrons : ndarray, shape (n,)
        Total flux of each star.
    shape : StarShape
        Profile on the axis.

    Returns
    -------
    ndarray, shape (ny, nx)
        Expected electrons before flat, sky and noise.
    """
    image = np.zeros(camera.shape)
    seen = np.isfinite(x) & np.isfinite(y) & (electrons > 0)
    growth = 1.0 + shape.field_growth * radius_squared(camera, x[seen], y[seen])
    alpha = moffat_core_radius(shape.fwhm * growth, shape.beta)
    a, b, c = _quadratic_form(shape)
    _paint(image, x[seen], y[seen], electrons[seen], alpha, shape.beta, a, b, c)
    return image


def collect_light(
    rng: np.random.Generator, detector: Detector, incoming: Array, exptime: float
) -> tuple[Array, Array]:
    """Return expected and counted electrons of an exposure.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the shot noise.
    detector : Detector
        The chip.
    incoming : ndarray, shape (ny, nx)
        Electrons that stars and sky would free where the flat is 1.
    exptime : float
        Seconds, for the dark current.
    """
    expected = incoming * detector.flat + detector.dark_rate * exptime
    return expected, rng.poisson(expected).astype(np.float64)


def _quadratic_form(shape: StarShape) -> tuple[float, float, float]:
    """Return (a, b, c) of r^2 = a dx^2 + b dx dy + c dy^2, of determinant 1, so that the area stays."""
    ratio = 1.0 - shape.ellipticity
    cos, sin = math.cos(math.radians(shape.angle)), math.sin(math.radians(shape.angle))
    a = ratio * cos**2 + sin**2 / ratio
    c = ratio * sin**2 + cos**2 / ratio
    return a, 2.0 * (ratio - 1.0 / ratio) * cos * sin, c


@njit(cache=True)
def _paint(
    image: Array,
    x: Array,
    y: Array,
    electrons: Array,
    alpha: Array,
    beta: float,
    a: float,
    b: float,
    c: float,
) -> None:
    ny, nx = image.shape
    node = math.sqrt(0.6)
    nodes = (-0.5 * node, 0.0, 0.5 * node)
    weights = (5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0)
    for star in range(len(x)):
        inverse = 1.0 / alpha[star] ** 2
        peak = electrons[star] * (beta - 1.0) / math.pi * inverse
        reach = math.sqrt(max((peak / _FAINTEST_WING) ** (1.0 / beta), 1.0))
        radius = alpha[star] * min(max(reach, _SMALLEST_RADIUS), _LARGEST_RADIUS)
        for row in range(max(0, math.ceil(y[star] - radius)), min(ny, math.floor(y[star] + radius) + 1)):
            dy = row - y[star]
            for column in range(
                max(0, math.ceil(x[star] - radius)), min(nx, math.floor(x[star] + radius) + 1)
            ):
                dx = column - x[star]
                r2 = (a * dx * dx + b * dx * dy + c * dy * dy) * inverse
                if r2 > 12.0:
                    image[row, column] += peak * (1.0 + r2) ** -beta
                    continue
                mean = 0.0
                for i in range(3):
                    sub_y = dy + nodes[i]
                    for j in range(3):
                        sub_x = dx + nodes[j]
                        r2 = (a * sub_x * sub_x + b * sub_x * sub_y + c * sub_y * sub_y) * inverse
                        mean += weights[i] * weights[j] * (1.0 + r2) ** -beta
                image[row, column] += peak * mean
