"""Rows of kind "psf" beside those of the apertures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightflow.lightcurves.times import bjd_tdb
from nightflow.photcal.instrumental import instrumental_magnitudes
from nightflow.pipeline.work import Work
from nightflow.sources.psf.photometry import PsfSources
from nightflow.store.records import CatalogIdentity, MeasurementColumns

__all__ = ["with_psf_rows"]


def with_psf_rows(columns: MeasurementColumns, work: Work) -> MeasurementColumns:
    """Return the columns of the detections' apertures, and after them the rows that the PSF gave.

    The row of a detection has its number; stars that were found in the residuals are counted on after the
    last detection.

    Parameters
    ----------
    columns : MeasurementColumns
        Of the detections, in their order.
    work : Work
        After its last step.
    """
    if work.measured is None or work.measured.psf is None or len(columns) == 0:
        return columns
    stars = work.measured.psf.sources
    own = _psf_columns(columns, work, stars)
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(columns, name), values]) for name, values in own.items()
    }
    return replace(
        columns,
        kind=np.append(columns.kinds(), np.full(len(stars), "psf")),
        catalog=_identity(columns.catalog, stars.detection),
        **joined,
    )


def _psf_columns(columns: MeasurementColumns, work: Work, stars: PsfSources) -> dict[str, NDArray[Any]]:
    exptime = work.header.exptime
    assert work.header.mjd_mid is not None, "a light without a time is refused when it is identified"
    ra, dec = _sky(work, stars)
    mag, mag_err = _magnitudes(work, stars)
    return {
        "number": _numbers(stars.detection, len(columns)),
        "flux": stars.flux / exptime,
        "flux_err": stars.flux_err / exptime,
        "mag": mag,
        "mag_err": mag_err,
        "x": stars.x,
        "y": stars.y,
        "ra": ra,
        "dec": dec,
        "fwhm_px": _of_detection(columns.fwhm_px, stars.detection),
        "flags": stars.flags,
        "position_err": _position_errors(work, stars),
        "bjd_tdb": bjd_tdb(work.header.mjd_mid, ra, dec, work.header.site),
    }


def _numbers(detection: NDArray[np.intp], n_detections: int) -> NDArray[np.intp]:
    new = detection < 0
    return np.asarray(np.where(new, n_detections + np.cumsum(new) - 1, detection))


def _of_detection(values: NDArray[np.floating], detection: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the values of the detections, NaN for a star that is none."""
    return np.asarray(np.append(values, np.nan)[detection])


def _sky(work: Work, stars: PsfSources) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if work.solution is None or len(stars) == 0:
        return np.full(len(stars), np.nan), np.full(len(stars), np.nan)
    ra, dec = work.solution.wcs.all_pix2world(stars.x, stars.y, 0)
    return ra % 360.0, dec


def _position_errors(work: Work, stars: PsfSources) -> NDArray[np.float64]:
    if work.solution is None:
        return np.full(len(stars), np.nan)
    return np.hypot(stars.x_err, stars.y_err) / np.sqrt(2.0) * work.solution.scale


def _magnitudes(work: Work, stars: PsfSources) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return magnitudes by the zero point of the apertures, and errors without the zero point's own.

    What makes the aperture flux of a detection its magnitude (zero point, colour, the fit without itself)
    does so with its PSF flux; the frame's median does where the aperture has no flux, and for new stars. A
    detection that has flux but no magnitude has no zero point that is not its own, and gets none here either.
    """
    assert work.measured is not None
    exptime = work.header.exptime
    mag, mag_err = instrumental_magnitudes(stars.flux, stars.flux_err, exptime)
    if work.calibration is None:
        return np.full(len(stars), np.nan), np.full(len(stars), np.nan)
    sources = work.measured.sources
    aperture, _ = instrumental_magnitudes(sources.flux, sources.flux_err, exptime)
    offsets = work.calibration.mag - aperture
    known = np.isfinite(offsets)
    typical = float(np.median(offsets[known])) if known.any() else np.nan
    offset = np.append(np.where(np.isfinite(aperture), offsets, typical), typical)[stars.detection]
    return mag + offset, np.where(np.isfinite(mag + offset), mag_err, np.nan)


def _identity(catalog: CatalogIdentity | None, detection: NDArray[np.intp]) -> CatalogIdentity | None:
    if catalog is None:
        return None
    known = np.append(catalog.known, False)[detection]
    return CatalogIdentity(
        catalog=catalog.catalog,
        known=np.append(catalog.known, known),
        ids=np.append(catalog.ids, np.append(catalog.ids, "")[detection]),
        pmra=np.append(catalog.pmra, np.append(catalog.pmra, 0.0)[detection]),
        pmdec=np.append(catalog.pmdec, np.append(catalog.pmdec, 0.0)[detection]),
    )
