"""Light of other stars in an aperture, wings of bright ones included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.sources.clean_pixels import CleanPixels
from nightflow.sources.stellar_profile import StellarProfile

__all__ = ["NeighbourShares", "has_neighbours", "neighbour_light", "neighbour_shares"]

Array = NDArray[np.float64]

_NOTICEABLE = 0.02
"""Part of a flux from which on another star's light matters, if it is beyond the error."""
_FAR = 8.0
"""FWHM: from farther the local background holds as much of a wing as the aperture does."""
_NEAR = 1.5
"""FWHM beyond the aperture: up to there stars of any brightness count."""
_BRIGHT = 0.1
"""Of the least error, that a star must add beyond that."""
_STEPS, _RADII, _ANGLES = 160, 10, 18
"""Of the table of distances, and points over an aperture or ring."""
_WING_STARS, _FEWEST_WINGS = 20, 3
_WING = (2.0, 12.0)
"""FWHM: where the profile, which is fitted to the cores, gives way to what is measured."""
_WING_RINGS, _WING_ANGLES = 20, 60


@dataclass(frozen=True, kw_only=True)
class NeighbourShares:
    """What an aperture gets of a star by its distance.

    Attributes
    ----------
    distance : ndarray of float64, shape (160,)
        Pixels, ascending from 0; from the last on the share is 0.
    share : ndarray of float64, shape (160,)
        Part of the star's light by which the aperture's flux is more: what is in it, less what the annulus
        takes off. Below 0 where the annulus has more.
    near : float
        Pixels; up to there faint stars count as well.
    """

    distance: Array
    share: Array
    near: float

    def at(self, distance: Array) -> Array:
        """Return the share at distances in pixels."""
        return np.asarray(np.interp(distance, self.distance, self.share, right=0.0))


def has_neighbours(flux: Array, flux_err: Array, light: Array) -> NDArray[np.bool_]:
    """Return which fluxes hold more light of others than 2 % and than their own error, shape (n,).

    Parameters
    ----------
    flux, flux_err : ndarray of float64, shape (n,)
        In the aperture, electrons.
    light : ndarray of float64, shape (n,)
        As from `neighbour_light`, electrons.
    """
    return np.asarray(np.abs(light) > np.maximum(_NOTICEABLE * flux, flux_err))


def neighbour_light(
    shares: NeighbourShares,
    places: tuple[Array, Array],
    flux_err: Array,
    own: NDArray[np.intp],
    stars: tuple[Array, Array],
    flux: Array,
) -> Array:
    """Return what other stars add to the aperture at each place, electrons, shape (n,).

    Parameters
    ----------
    shares : NeighbourShares
        Of the frame.
    places : tuple of ndarray of float64, shape (n,)
        (x, y), pixels.
    flux_err : ndarray of float64, shape (n,)
        Of the apertures there, electrons: far stars that add less than a tenth of the least are left out.
    own : ndarray of int, shape (n,)
        Row of the star that stands at each place; -1 where none does.
    stars : tuple of ndarray of float64, shape (m,)
        (x, y), pixels.
    flux : ndarray of float64, shape (m,)
        Of the whole stars, electrons.
    """
    light = np.zeros(len(places[0]))
    if not len(light) or not len(flux):
        return light
    beyond = np.abs(shares.share[shares.distance >= shares.near]).max(initial=0.0)
    bright = flux * beyond > _BRIGHT * flux_err.min()
    tree = _tree(*places)
    for wanted, reach in ((bright, shares.distance[-1]), (~bright & (flux > 0), shares.near)):
        rows = np.flatnonzero(wanted)
        pairs = tree.sparse_distance_matrix(
            _tree(stars[0][rows], stars[1][rows]), reach, output_type="ndarray"
        )
        place, row = pairs["i"], rows[pairs["j"]]
        added = np.where(own[place] == row, 0.0, flux[row] * shares.at(pairs["v"]))
        light += np.bincount(place, added, minlength=len(light))
    return light


def _tree(x: Array, y: Array) -> cKDTree:
    # Built in half of the time; to ask it takes no longer.
    return cKDTree(np.column_stack([x, y]), balanced_tree=False, compact_nodes=False)


def neighbour_shares(
    pixels: CleanPixels, profile: StellarProfile, x: Array, y: Array, flux: Array
) -> NeighbourShares:
    """Return what the frame's aperture gets of a star by its distance.

    Near the star it follows from the frame's profile, beyond 2 FWHM from the wings of the brightest stars:
    an extrapolated profile may be wrong there by a factor of ten. Whatever wing matters beside a star is
    bright enough to be measured.

    Parameters
    ----------
    pixels : CleanPixels
        With the aperture and its annulus.
    profile : StellarProfile
        Of the frame.
    x, y, flux : ndarray of float64, shape (n,)
        Bright stars, pixels of ``pixels``, and electrons.
    """
    if not np.isfinite(profile.fwhm):
        return NeighbourShares(distance=np.array([0.0]), share=np.array([0.0]), near=0.0)
    light = _Light(profile, *_wings(pixels, profile, x, y, flux))
    distance = np.linspace(0.0, pixels.radius + _FAR * profile.fwhm, _STEPS)
    in_aperture = light.in_ring(distance, 0.0, pixels.radius).mean(axis=1)
    # The brighter pixels of the annulus are masked or clipped.
    in_annulus = np.median(light.in_ring(distance, *pixels.annulus), axis=1)
    return NeighbourShares(
        distance=distance,
        share=np.pi * pixels.radius**2 * (in_aperture - in_annulus),
        near=pixels.radius + _NEAR * profile.fwhm,
    )


@dataclass(frozen=True)
class _Light:
    """Share of a star's light in a pixel: of the profile, and from some radius on as measured."""

    profile: StellarProfile
    radius: Array
    brightness: Array

    def in_ring(self, distance: Array, inner: float, outer: float) -> Array:
        """Return what stars at these distances give to points evenly over a ring: shape (n, k)."""
        # Half of a ring is like the other.
        radius2 = inner**2 + (np.arange(_RADII) + 0.5) / _RADII * (outer**2 - inner**2)
        along = 2 * np.sqrt(radius2)[:, None] * np.cos(np.pi * (np.arange(_ANGLES) + 0.5) / _ANGLES)
        away2 = distance[:, None, None] ** 2 + radius2[:, None] - distance[:, None, None] * along
        value = self.profile.surface_brightness(away2)
        if len(self.radius):
            away = np.sqrt(away2)
            value = np.where(
                away < self.radius[0], value, np.interp(away, self.radius, self.brightness, right=0.0)
            )
        return value.reshape(len(distance), -1)


def _wings(
    pixels: CleanPixels, profile: StellarProfile, x: Array, y: Array, flux: Array
) -> tuple[Array, Array]:
    """Return radii, and what a pixel there has of a star's light: medians of rings around bright stars.

    Nothing is returned where there are too few of them.
    """
    brightest = np.argsort(-flux, kind="stable")[:_WING_STARS]
    if len(brightest) < _FEWEST_WINGS:
        return np.empty(0), np.empty(0)
    radius = profile.fwhm * np.geomspace(*_WING, _WING_RINGS)
    angle = 2 * np.pi * (np.arange(_WING_ANGLES) + 0.5) / _WING_ANGLES
    column = np.rint(x[brightest, None, None] + radius[:, None] * np.cos(angle)).astype(np.intp)
    row = np.rint(y[brightest, None, None] + radius[:, None] * np.sin(angle)).astype(np.intp)
    ny, nx = pixels.data.shape
    inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
    value = np.where(inside, pixels.data[np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)], np.nan)
    whole = inside.all(axis=(1, 2))
    if whole.sum() < _FEWEST_WINGS:
        return np.empty(0), np.empty(0)
    # All have the same noise, so that the brightest tell most.
    ring, weight = np.median(value[whole], axis=2), flux[brightest][whole]
    return radius, np.maximum(weight @ ring / np.square(weight).sum(), 0.0)
