"""Circular aperture photometry with errors from the variance plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray

from nightflow.flags import FLAG_DTYPE, Flag
from nightflow.sources.local_background import local_background
from nightflow.sources.stamps import ring_offsets, stamp_indices

__all__ = ["ApertureFluxes", "aperture_flags", "measure_apertures"]


@dataclass(frozen=True)
class ApertureFluxes:
    """Fluxes of n positions in one aperture.

    Attributes
    ----------
    flux, flux_err : ndarray of float64, shape (n,)
        Electrons above the local background; the error adds the variance plane inside the aperture and the
        error of the local background times the aperture's area.
    background : ndarray of float64, shape (n,)
        Local background that was subtracted, electrons a pixel, on top of what the data had lost before.
    """

    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    background: NDArray[np.float64]


def measure_apertures(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    sky_mask: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    radius: float,
    annulus: tuple[float, float],
    pixel_noise: float = 1.0,
) -> ApertureFluxes:
    """Sum the pixels of a circle (exact overlap, sep) and take off the local background.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons, finite everywhere.
    variance : ndarray of float32, shape (ny, nx)
        Electrons squared, photon noise of the sources included.
    sky_mask : ndarray of bool, shape (ny, nx)
        True where a pixel is no sky: bad, hit, or part of a source.
    x, y : ndarray of float64, shape (n,)
        0-based pixels.
    radius : float
        Aperture radius in pixels.
    annulus : tuple of float
        Inner and outer radius of the sky annulus in pixels.
    pixel_noise : float
        Noise of an independent pixel over the scatter of ``data``; above 1 where those are running means.
    """
    if len(x) == 0:
        empty = np.empty(0)
        return ApertureFluxes(empty, empty.copy(), empty.copy())
    # subpix=0 is the exact overlap of circle and pixel.
    total, total_err, _ = sep.sum_circle(data, x, y, radius, var=variance, subpix=0)
    level, level_err = local_background(data, sky_mask, x, y, *annulus)
    area = np.pi * radius**2
    flux_err = np.hypot(total_err, pixel_noise * area * np.nan_to_num(level_err))
    return ApertureFluxes(total - area * level, flux_err, level)


def aperture_flags(
    flags: NDArray[np.uint16], x: NDArray[np.float64], y: NDArray[np.float64], radius: float
) -> NDArray[np.uint16]:
    """Return for each position the bits of every pixel in its aperture, and of edges.

    Parameters
    ----------
    flags : ndarray of uint16, shape (ny, nx)
    x, y : ndarray of float64, shape (n,)
        0-based pixels.
    radius : float
        Aperture radius in pixels.
    """
    if len(x) == 0:
        return np.zeros(0, FLAG_DTYPE)
    rows, columns, inside = stamp_indices(
        x, y, ring_offsets(0, radius + 0.5), (flags.shape[0], flags.shape[1])
    )
    bits = np.bitwise_or.reduce(np.where(inside, flags[rows, columns], 0).astype(FLAG_DTYPE), axis=1)
    bits[~inside.all(axis=1)] |= FLAG_DTYPE(Flag.EDGE)
    return bits
