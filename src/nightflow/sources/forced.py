"""Apertures at places that are known beforehand, whether or not a source was detected there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.flags import Flag
from nightflow.sources.aperture import aperture_flags
from nightflow.sources.measure import MeasuredFrame
from nightflow.sources.neighbours import has_neighbours, neighbour_light
from nightflow.sources.psf.photometry import PsfSources
from nightflow.sources.table import SourceTable
from nightflow.sources.trailed import trail_factor
from nightflow.sources.whole_flux import whole_flux

__all__ = ["ForcedFluxes", "forced_fluxes", "own_detections"]


@dataclass(frozen=True, kw_only=True)
class ForcedFluxes:
    """Fluxes at n places.

    Attributes
    ----------
    flux, flux_err : ndarray of float64, shape (n,)
        Electrons of the whole star, negative ones too. The error is that of a detection's flux.
    flags : ndarray of uint16, shape (n,)
        Bits of `nightflow.flags.Flag` of any pixel in the aperture, of edges and of neighbours.
    """

    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    flags: NDArray[np.uint16]


def forced_fluxes(
    measured: MeasuredFrame,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    own: NDArray[np.intp] | None = None,
    trail: NDArray[np.float64] | None = None,
) -> ForcedFluxes:
    """Measure the frame's aperture at given places, which are not centred anew.

    Aperture, local background and aperture correction are those of the detections. On a frame with PSF
    photometry all stars but the one that stands there are taken off.

    Parameters
    ----------
    measured : MeasuredFrame
    x, y : ndarray of float64, shape (n,)
        0-based pixels of the frame.
    own : ndarray of intp, shape (n,), optional
        Row of the detection whose light is that of each place, -1 for none: all others are neighbours. Else
        what `own_detections` says, which takes a star for a body that passes it.
    trail : ndarray of float64, shape (n,), optional
        Pixels that each target moves during the exposure, from one side of its place to the other. What is
        outside of the aperture for that is added; a trail longer than the aperture is flagged.
    """
    pixels, sources = measured.pixels, measured.sources
    taken = _taken(measured, x, y, own)
    own = own_detections(measured, x, y) if own is None else own
    on_x, on_y = x - pixels.shift, y - pixels.shift
    aperture = pixels.fluxes(on_x, on_y)
    in_aperture = aperture.flux + taken
    aperture_err = measured.empty_apertures.full_error(in_aperture, aperture.flux_err)
    flux, flux_err = whole_flux(
        in_aperture,
        aperture_err,
        measured.aperture_correction,
        on_x,
        on_y,
        measured.scintillation,
    )
    others = neighbour_light(
        measured.neighbour_shares, (x, y), aperture_err, own, (sources.x, sources.y), sources.flux
    )
    length = np.zeros(len(x)) if trail is None else trail
    factor = trail_factor(measured.profile, pixels.radius, length)
    flux, flux_err = flux * factor, flux_err * factor
    flags = aperture_flags(pixels.flags, on_x, on_y, pixels.radius)
    flags[length > 2 * pixels.radius] |= np.uint16(Flag.TRAIL)
    flags[has_neighbours(in_aperture, aperture_err, others)] |= np.uint16(Flag.NEIGHBOUR)
    return ForcedFluxes(flux=flux, flux_err=flux_err, flags=flags)


def own_detections(
    measured: MeasuredFrame, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the row of the detection that stands at each place, -1 where none does, shape (n,).

    It lies within half of the FWHM, or a pixel.
    """
    return _nearest(measured, measured.sources, x, y)


def _taken(
    measured: MeasuredFrame,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    own: NDArray[np.intp] | None,
) -> NDArray[np.float64]:
    """Return the light of the star at each place that the pixels have lost to PSF photometry.

    Where a place is known to have no detection of its own, one that stands there stays away.
    """
    if measured.psf is None:
        return np.zeros(len(x))
    stars = measured.psf.sources
    row = _nearest(measured, stars, x, y)
    if own is not None:
        row = np.where((own < 0) & (np.append(stars.detection, -1)[row] >= 0), -1, row)
    return np.append(measured.psf.taken, 0.0)[row]


def _nearest(
    measured: MeasuredFrame, stars: SourceTable | PsfSources, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the row of the star within half of the FWHM, or a pixel, of each place; -1 where none is."""
    if not len(stars) or not len(x):
        return np.full(len(x), -1, np.intp)
    distance, row = cKDTree(np.column_stack([stars.x, stars.y])).query(np.column_stack([x, y]))
    return np.where(distance <= max(1.0, 0.5 * measured.pixels.fwhm), row, -1)
