"""PSF photometry of all stars of one frame: our simultaneous fit and photutils, by the same PSF."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray
from photutils.psf import ImagePSF, PSFPhotometry, SourceGrouper

from benchmarks import peers
from benchmarks.harness import Agreement, Case, Side, both, close
from benchmarks.workshop import Workshop
from nightflow.flags import UNUSABLE
from nightflow.sources.psf.fit import FIT_FWHM, FitPixels, fit_stars
from nightflow.sources.psf.model import PsfModel, moffat_psf

__all__ = ["PsfFluxes", "psf_case"]

_OVERSAMPLING = 4
_BRIGHT = 20.0
"""Signal-to-noise ratio of the stars that are compared."""


@dataclass(frozen=True)
class PsfFluxes:
    """Fluxes and errors in electrons, shape (n,)."""

    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]


@contextmanager
def psf_case(workshop: Workshop) -> Iterator[Case]:
    """A background-subtracted frame in memory, the places of its stars, and one PSF for all of them."""
    pixels = workshop.measured.pixels
    unusable = (pixels.flags & int(UNUSABLE)) > 0
    x, y = workshop.measured.sources.x, workshop.measured.sources.y
    shape = (pixels.data.shape[0], pixels.data.shape[1])
    psf = moffat_psf(workshop.measured.profile, pixels.radius, shape)
    noise = np.where(unusable, np.inf, pixels.variance - pixels.data).astype(np.float32)
    ours = FitPixels(data=pixels.data, noise=noise, least=(0.5 * workshop.measured.sky_rms) ** 2)
    # The weights that our fit ends with. By the variance of the data themselves, which photutils would be
    # given otherwise, pixels that came out low weigh more, and each flux is a third of its error too low.
    found = fit_stars(ours, psf, x, y)
    variance = np.maximum(noise + psf.image(found.x, found.y, found.flux), ours.least)
    error = np.sqrt(np.where(unusable, 1.0, variance))
    flux = workshop.measured.sources.flux
    yield Case(
        ours=Side(run=lambda: _our_fluxes(ours, psf, x, y)),
        peer=Side(run=lambda: _photutils_fluxes(pixels.data, error, unusable, psf, x, y, flux)),
        peer_name=(
            f"{peers.name('photutils')}: PSFPhotometry with the same PSF as ImagePSF, groups by "
            "SourceGrouper, places and fluxes of the detections to start from"
        ),
        agree=_compare,
    )


def _our_fluxes(
    pixels: FitPixels, psf: PsfModel, x: NDArray[np.float64], y: NDArray[np.float64]
) -> PsfFluxes:
    fits = fit_stars(pixels, psf, x, y)
    return PsfFluxes(fits.flux, fits.flux_err)


def _photutils_fluxes(
    data: NDArray[np.float32],
    error: NDArray[np.float64],
    mask: NDArray[np.bool_],
    psf: PsfModel,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
) -> PsfFluxes:
    size = 2 * int(np.ceil(FIT_FWHM * psf.fwhm)) + 1
    sampled = psf.sampled(psf.shape[1] / 2, psf.shape[0] / 2, _OVERSAMPLING)
    photometry = PSFPhotometry(
        ImagePSF(sampled, oversampling=_OVERSAMPLING),
        fit_shape=(size, size),
        grouper=SourceGrouper(min_separation=2 * FIT_FWHM * psf.fwhm),
        progress_bar=False,
    )
    start = QTable({"x": x, "y": y, "flux": np.maximum(flux, 1.0)})
    found = photometry(data, error=error, mask=mask, init_params=start)
    return PsfFluxes(np.asarray(found["flux_fit"]), np.asarray(found["flux_err"]))


def _compare(ours: PsfFluxes, theirs: PsfFluxes) -> Agreement:
    bright = ours.flux > _BRIGHT * ours.flux_err
    apart = np.abs(ours.flux - theirs.flux)[bright] / ours.flux_err[bright]
    ratio = ours.flux_err[bright] / theirs.flux_err[bright]
    return both(
        Agreement(bool(bright.any()), f"{bright.sum()} stars of S/N > {_BRIGHT:g} in {len(ours.flux)}"),
        close("median difference", float(np.median(apart)), 0.2, " sigma"),
        close("ratio of the errors less 1, median", float(np.abs(np.median(ratio) - 1)), 0.1),
    )
