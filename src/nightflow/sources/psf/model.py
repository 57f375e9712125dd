"""The effective PSF of one frame, varying over it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter

from nightflow.sources.psf.kernels import accumulate, paint, polynomial_terms, predict
from nightflow.sources.stellar_profile import StellarProfile

__all__ = ["N_TERMS", "PsfModel", "moffat_psf"]

N_TERMS = (1, 3, 6, 7)
"""Terms over the field that a PSF may have: those of a polynomial of order 0, 1 and 2, and of the latter with
the fourth power of the radius, for a peak that goes with the inverse square of a width that grows."""

_NODES_PER_FWHM = 6.0
_FINEST = 4
_REACH = 4.0
"""Radius of the PSF in FWHM: where apertures, too, count all the light (`PhotometrySettings.total_fwhm`)."""


@dataclass(frozen=True, kw_only=True)
class PsfModel:
    """What a pixel gets of a star, by its place from the star and the star's place on the frame.

    The light inside the frame's aperture is 1 everywhere: fluxes are those of the aperture, and what holds of
    aperture fluxes (correction, zero point) holds of them.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (n_terms, nodes, nodes)
        Of a cubic B-spline, for each term of `nightflow.sources.psf.kernels.polynomial_terms`; the middle
        node is the star's place.
    norms : ndarray of float64, shape (n_terms,)
        Light of each term inside the aperture.
    oversampling : int
        Nodes a pixel.
    fwhm : float
        Pixels, of the frame.
    aperture_radius : float
        Pixels.
    shape : tuple of int
        (ny, nx) of the frame.
    """

    coefficients: NDArray[np.float64]
    norms: NDArray[np.float64]
    oversampling: int
    fwhm: float
    aperture_radius: float
    shape: tuple[int, int]

    @property
    def radius(self) -> float:
        """Pixels from the star out to which the PSF is known; it counts as 0 beyond."""
        return _REACH * self.fwhm

    @property
    def n_terms(self) -> int:
        """Of the polynomial over the field."""
        return len(self.norms)

    def terms(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the polynomial's terms at places of the frame, normalised: shape (n, n_terms)."""
        out = np.empty((len(x), len(self.norms)))
        for row in range(len(x)):
            polynomial_terms(x[row], y[row], self.shape, out[row])
        return out / (out @ self.norms)[:, None]

    def image(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        flux: NDArray[np.float64],
        shape: tuple[int, int] | None = None,
    ) -> NDArray[np.float64]:
        """Return an image of stars, electrons.

        Parameters
        ----------
        x, y : ndarray of float64, shape (n,)
            0-based pixels.
        flux : ndarray of float64, shape (n,)
            Electrons inside the aperture.
        shape : tuple of int, optional
            Of the image, where it is not the whole frame; its first pixel is the frame's.
        """
        image = np.zeros(self.shape if shape is None else shape)
        paint(
            image, x, y, flux, self.coefficients, self.norms, self.oversampling, self.radius, self.shape
        )  # fmt: skip
        return image

    def sampled(self, x: float, y: float, oversampling: int) -> NDArray[np.float64]:
        """Return the PSF at one place of the frame on a grid finer than the pixels, the star in its
        middle.
        """
        half = math.floor(self.radius)
        steps = np.arange(oversampling) / oversampling
        fine = np.zeros((2 * half + 1, oversampling, 2 * half + 1, oversampling))
        for i, down in enumerate(steps):
            for j, across in enumerate(steps):
                fine[:, i, :, j] = predict(
                    self.coefficients,
                    self.terms(np.array([x]), np.array([y])),
                    np.array([half - across]),
                    np.array([half - down]),
                    np.zeros((1, 2), np.intp),
                    self.oversampling,
                    2 * half + 1,
                )[0]
        return fine.reshape((2 * half + 1) * oversampling, -1)[
            : -oversampling + 1 or None, : -oversampling + 1 or None
        ]


def n_nodes(radius: float, oversampling: int) -> int:
    """Return how many nodes hold the splines of all pixels of a stamp of that radius, wherever the star
    is.
    """
    return 2 * ((math.ceil(radius) + 1) * oversampling + 2) + 1


def aperture_sums(nodes: int, oversampling: int, radius: float) -> NDArray[np.float64]:
    """Return the light inside the aperture of a spline whose coefficient is 1 at one node, for each node.

    Taken over stars on a fine grid of places in a pixel, as the mean of their sums over whole and part
    pixels.
    """
    fine = 8
    reach = math.ceil(radius)
    place = (np.arange(2 * reach * fine) + 0.5) / fine - reach
    inside = (place[:, None] ** 2 + place[None, :] ** 2 <= radius**2).astype(float) / fine**2
    # Each point of the circle is a pixel of a star of its own.
    rows, columns = np.nonzero(inside)
    values = inside[rows, columns][:, None, None]
    corner = np.zeros((len(rows), 2), np.intp)
    return accumulate(
        values, np.ones((len(rows), 1)), -place[columns], -place[rows], corner, oversampling, nodes
    )[0]


def moffat_psf(profile: StellarProfile, aperture_radius: float, shape: tuple[int, int]) -> PsfModel:
    """Return a round PSF that is the same all over the frame, of the profile that its stars have.

    Parameters
    ----------
    profile : StellarProfile
        Fitted to pixels, so that their width is in it.
    aperture_radius : float
        Pixels.
    shape : tuple of int
        Of the frame.
    """
    oversampling = min(max(math.ceil(_NODES_PER_FWHM / profile.fwhm), 1), _FINEST)
    nodes = n_nodes(_REACH * profile.fwhm, oversampling)
    place = (np.arange(nodes) - nodes // 2) / oversampling
    alpha2 = (profile.fwhm / 2) ** 2 / (2 ** (1 / profile.beta) - 1)
    values = (1 + (place[:, None] ** 2 + place[None, :] ** 2) / alpha2) ** -profile.beta
    coefficients = np.asarray(spline_filter(values, order=3, mode="mirror"))[None]
    inside = (coefficients[0] * aperture_sums(nodes, oversampling, aperture_radius)).sum()
    return PsfModel(
        coefficients=coefficients / inside,
        norms=np.ones(1),
        oversampling=oversampling,
        fwhm=profile.fwhm,
        aperture_radius=aperture_radius,
        shape=shape,
    )
