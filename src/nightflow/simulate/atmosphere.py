"""What the air does over the night: seeing, thin cloud, extinction, sky, scintillation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.simulate.plan import AtmospherePlan, Passband

__all__ = ["Weather", "draw_weather", "extinction", "scintillation", "sky_rate", "wander"]

Array = NDArray[np.float64]

_SEEING_HOURS = 0.7
_CLOUD_HOURS = 0.6
_SKY_HOURS = 1.5
_CLOUD_THRESHOLD = 0.3
_SCALE_HEIGHT_M = 8000.0


@dataclass(frozen=True, kw_only=True)
class Weather:
    """The night's course, one value a light frame, shape (n,).

    Attributes
    ----------
    seeing : ndarray
        FWHM in arcsec at the frame's airmass.
    cloud : ndarray
        Grey extinction by cloud, magnitudes.
    sky_factor : ndarray
        Sky brightness relative to a dark zenith.
    """

    seeing: Array
    cloud: Array
    sky_factor: Array


def wander(rng: np.random.Generator, hours: Array, memory: float) -> Array:
    """Return a random walk that is pulled back: mean 0, variance 1, correlation exp(-dt / memory).

    An Ornstein-Uhlenbeck process sampled at the times ``hours``.
    """
    steps = rng.standard_normal(len(hours))
    walk = np.empty(len(hours))
    for row, step in enumerate(steps):
        kept = 0.0 if row == 0 else np.exp(-(hours[row] - hours[row - 1]) / memory)
        walk[row] = kept * (walk[row - 1] if row else 0.0) + np.sqrt(1.0 - kept**2) * step
    return walk


def draw_weather(rng: np.random.Generator, plan: AtmospherePlan, mjd_mid: Array, airmass: Array) -> Weather:
    """Draw seeing, cloud and sky for the light frames of one night."""
    hours = (mjd_mid - mjd_mid[:1]) * 24.0
    # Kolmogorov turbulence: seeing grows with airmass to the 3/5.
    seeing = plan.seeing * airmass**0.6 * np.exp(plan.seeing_scatter * wander(rng, hours, _SEEING_HOURS))
    cloud = plan.cloud / 2 * np.clip(wander(rng, hours, _CLOUD_HOURS) - _CLOUD_THRESHOLD, 0.0, 2.5)
    glow = 1.0 + 0.25 * (airmass - 1.0) + 1.5 * cloud
    return Weather(
        seeing=seeing,
        cloud=cloud,
        sky_factor=glow * np.exp(plan.sky_scatter * wander(rng, hours, _SKY_HOURS)),
    )


def extinction(band: Passband, airmass: float, v_r: Array | float) -> Array:
    """Return the magnitudes that a cloudless sky takes from stars of colour ``v_r``."""
    return np.asarray((band.extinction + band.extinction_color * np.asarray(v_r)) * airmass)


def sky_rate(band: Passband, scale: float, factor: float) -> float:
    """Return the sky in electrons per second and pixel of ``scale`` arcsec, on the axis."""
    return float(10.0 ** (0.4 * (band.zero_point - band.sky)) * scale**2 * factor)


def scintillation(aperture: float, airmass: float, height: float, exptime: float) -> float:
    """Return the relative rms of a star's flux by Young's formula (Young 1967, AJ 72, 747).

    Parameters
    ----------
    aperture : float
        Diameter of the telescope in metres.
    airmass : float
        Airmass.
    height : float
        Of the site, metres.
    exptime : float
        Seconds.
    """
    diameter_cm = 100.0 * aperture
    damping = np.exp(-height / _SCALE_HEIGHT_M) / np.sqrt(2.0 * exptime)
    return float(0.09 * diameter_cm ** (-2.0 / 3.0) * airmass**1.75 * damping)
