"""Apertures of a crowded frame, freed from their neighbours and from what these leave in the sky."""

from __future__ import annotations

from dataclasses import replace

from nightflow.sources.measure import MeasuredFrame
from nightflow.sources.psf.photometry import PsfPhotometry
from nightflow.sources.whole_flux import whole_flux

__all__ = ["with_freed_apertures"]


def with_freed_apertures(measured: MeasuredFrame, found: PsfPhotometry) -> MeasuredFrame:
    """Return a frame whose apertures, those of places forced later included, are put on it without its stars.

    Each gets back what its own star had. The annuli of a crowded field hold the light of stars that no mask
    covers; taken for sky, it would make every star too faint. A detection that was no star of its own in the
    fit keeps its flux.

    Parameters
    ----------
    measured : MeasuredFrame
    found : PsfPhotometry
        Of the same frame.
    """
    fitted = found.sources.detection >= 0
    row = found.sources.detection[fitted]
    x, y = measured.sources.x[row], measured.sources.y[row]
    aperture = found.left.fluxes(x, y)
    own = aperture.flux + found.taken[fitted]
    own_err = found.empty_apertures.full_error(own, aperture.flux_err)
    flux, flux_err = measured.sources.flux.copy(), measured.sources.flux_err.copy()
    flux[row], flux_err[row] = whole_flux(
        own, own_err, measured.aperture_correction, x, y, measured.scintillation
    )
    stale = measured.empty_apertures.warning
    return replace(
        measured,
        sources=replace(measured.sources, flux=flux, flux_err=flux_err),
        pixels=found.left,
        empty_apertures=found.empty_apertures,
        psf=found,
        warnings=(
            *(one for one in measured.warnings if one != stale),
            *filter(None, [found.empty_apertures.warning]),
        ),
    )
