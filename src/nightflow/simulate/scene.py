"""What stands in the sky: stars, those of them that vary, and bodies that move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nightflow.simulate.sky import Stars, magnitude_in

__all__ = ["Asteroid", "LightCurve", "Mover", "PointSources", "Scene", "Sinusoid"]

Array = NDArray[np.float64]

_TRAIL_STEP_ARCSEC = 0.5


class LightCurve(Protocol):
    """How a star varies."""

    def relative_flux(self, bjd: Array) -> Array:
        """Return the flux relative to the star's catalogue magnitude at BJD_TDB ``bjd``."""


class Mover(Protocol):
    """A body that moves against the stars."""

    @property
    def v(self) -> float:
        """V magnitude."""

    @property
    def v_r(self) -> float:
        """Colour V - R."""

    def position(self, mjd: Array) -> tuple[Array, Array]:
        """Return ICRS right ascension and declination in degrees at UTC ``mjd``."""


@dataclass(frozen=True, kw_only=True)
class Sinusoid:
    """A star that pulsates.

    Attributes
    ----------
    amplitude : float
        Half of the peak-to-peak range, magnitudes.
    period_hours : float
        Period.
    epoch_bjd : float
        BJD_TDB of a maximum of light.
    """

    amplitude: float
    period_hours: float
    epoch_bjd: float = 2460000.0

    def relative_flux(self, bjd: Array) -> Array:
        """Return the flux relative to the mean magnitude's."""
        phase = (np.asarray(bjd, dtype=float) - self.epoch_bjd) * 24.0 / self.period_hours
        return np.asarray(10.0 ** (0.4 * self.amplitude * np.cos(2 * np.pi * phase)))


@dataclass(frozen=True, kw_only=True)
class Asteroid:
    """A body in straight motion over one night.

    Attributes
    ----------
    name : str
        Name.
    ra, dec : float
        ICRS degrees at ``mjd``.
    mjd : float
        UTC of the position.
    rate : float
        Arcsec per hour.
    position_angle : float
        Direction of the motion in degrees, north through east.
    v : float
        V magnitude.
    v_r : float
        Colour V - R; 0.36 is the Sun's.
    """

    name: str
    ra: float
    dec: float
    mjd: float
    rate: float
    position_angle: float
    v: float
    v_r: float = 0.36

    def position(self, mjd: Array) -> tuple[Array, Array]:
        """Return ICRS right ascension and declination in degrees at UTC ``mjd``."""
        moved = (np.asarray(mjd, dtype=float) - self.mjd) * 24.0 * self.rate / 3600.0
        angle = np.radians(self.position_angle)
        dec = self.dec + moved * np.cos(angle)
        return self.ra + moved * np.sin(angle) / np.cos(np.radians(self.dec)), dec


@dataclass(frozen=True, kw_only=True)
class PointSources:
    """Points of light of one exposure: ICRS degrees, magnitude in the band and colour V - R, shape (n,)."""

    ra: Array
    dec: Array
    mag: Array
    v_r: Array


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A piece of sky.

    Attributes
    ----------
    stars : Stars
        At the epoch of the night.
    light_curves : mapping of int to LightCurve
        Row of the star -> how it varies.
    movers : sequence of Mover
        Bodies that move.
    """

    stars: Stars
    light_curves: Mapping[int, LightCurve] = field(default_factory=dict)
    movers: Sequence[Mover] = ()

    def relative_flux(self, bjd: float) -> Array:
        """Return each star's flux relative to its catalogue magnitude's, shape (n,)."""
        flux = np.ones(len(self.stars))
        for row, curve in self.light_curves.items():
            flux[row] = curve.relative_flux(np.array([bjd]))[0]
        return flux

    def sources(self, band: str, mjd_mid: float, bjd: float, exptime: float) -> PointSources:
        """Return what shines during one exposure; a body that moves becomes a row of points."""
        stars = self.stars
        mag = magnitude_in(band, stars.v, stars.v_r) - 2.5 * np.log10(self.relative_flux(bjd))
        parts = [PointSources(ra=stars.ra, dec=stars.dec, mag=mag, v_r=stars.v_r)]
        parts += [_trail(mover, band, mjd_mid, exptime) for mover in self.movers]
        return PointSources(
            ra=np.concatenate([part.ra for part in parts]),
            dec=np.concatenate([part.dec for part in parts]),
            mag=np.concatenate([part.mag for part in parts]),
            v_r=np.concatenate([part.v_r for part in parts]),
        )


def _trail(mover: Mover, band: str, mjd_mid: float, exptime: float) -> PointSources:
    half_exposure = exptime / 86400.0 / 2
    ra_ends, dec_ends = mover.position(mjd_mid + np.array([-half_exposure, half_exposure]))
    length = 3600.0 * np.hypot(np.ptp(ra_ends) * np.cos(np.radians(dec_ends[0])), np.ptp(dec_ends))
    n_points = max(1, int(np.ceil(length / _TRAIL_STEP_ARCSEC)))
    # Middles of equal pieces of the exposure.
    steps = (np.arange(n_points) + 0.5) / n_points * 2.0 - 1.0
    ra, dec = mover.position(mjd_mid + steps * half_exposure)
    mag = magnitude_in(band, np.full(n_points, mover.v), np.full(n_points, mover.v_r))
    return PointSources(ra=ra, dec=dec, mag=mag + 2.5 * np.log10(n_points), v_r=np.full(n_points, mover.v_r))
