"""What is left of a frame once its sources are known: the pixels that apertures are put on, anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.sources.aperture import ApertureFluxes

__all__ = ["CleanPixels"]


@dataclass(frozen=True, kw_only=True)
class CleanPixels:
    """Pixels, and the aperture that all sources of the frame are measured in.

    Attributes
    ----------
    data : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons, finite everywhere.
    variance : ndarray of float32, shape (ny, nx)
        Electrons squared.
    sky_mask : ndarray of bool, shape (ny, nx)
        True where a pixel is no sky: unusable, or part of a source.
    flags : ndarray of uint16, shape (ny, nx)
        Bits of `nightflow.flags.Flag`.
    fwhm : float
        Of the stars, or what the aperture was made for where no star tells, pixels.
    radius : float
        Of the aperture, pixels.
    annulus : tuple of float
        Inner and outer radius of the local sky, pixels.
    pixel_noise : float
        See `nightflow.sources.aperture.measure_apertures`.
    shift : float
        What is added to a place on these pixels to give one on the frame: half a pixel on the luminance of a
        colour mosaic.
    apertures : callable
        `nightflow.sources.aperture.measure_apertures`, or what stands in for it.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    sky_mask: NDArray[np.bool_]
    flags: NDArray[np.uint16]
    fwhm: float
    radius: float
    annulus: tuple[float, float]
    pixel_noise: float
    shift: float
    apertures: Callable[..., ApertureFluxes]

    def fluxes(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> ApertureFluxes:
        """Measure the aperture at places on these pixels (0-based, ``shift`` not in them), shape (n,)."""
        return self.apertures(
            self.data, self.variance, self.sky_mask, x, y, self.radius, self.annulus, self.pixel_noise
        )
