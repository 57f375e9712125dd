"""The usual programs in a row: ccdproc, astroscrappy, photutils, solve-field, astropy, ORM objects."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import astroscrappy
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.stats import sigma_clipped_stats
from astropy.wcs import WCS
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.cases.append import add_rows
from benchmarks.cases.calibrate import ccdproc_chain, ccdproc_masters
from benchmarks.cases.detect_photutils import photutils_sources, radii_of
from benchmarks.cases.solve_hint import hinted_request, other_solver
from benchmarks.cases.source_lists import SourceList
from benchmarks.stores import NOW, add_frame, open_store, record
from benchmarks.workshop import CATALOG, Workshop
from nightflow.detector.cosmic_rays import excluded_pixels
from nightflow.detector.master_frame import MasterFrame
from nightflow.flags import UNUSABLE, Flag
from nightflow.lightcurves.times import bjd_tdb
from nightflow.sources.fill import fill_flagged
from nightflow.store.models import Reduction
from nightflow.store.records import MeasurementColumns

__all__ = ["ChainAnswer", "OtherChain"]

_STARS = 300
_MATCH = 2.0
"""Arcsec between a source and the catalogue's star."""


@dataclass(frozen=True, kw_only=True)
class ChainAnswer:
    """What comes out of a chain.

    Attributes
    ----------
    sources : SourceList
    mag : ndarray, shape (n,)
        Calibrated; NaN where the flux is not positive.
    wcs : astropy.wcs.WCS
    """

    sources: SourceList
    mag: NDArray[np.float64]
    wcs: WCS


class OtherChain:
    """The peer of the chain, with all that it may know beforehand: header, masters, catalogue, seeing.

    Parameters
    ----------
    workshop : Workshop
    folder : Path
        For its store and the solver's files.
    """

    def __init__(self, workshop: Workshop, folder: Path) -> None:
        self._profile, self._header = workshop.profile, workshop.raw.header
        self._masters = ccdproc_masters(workshop.masters)
        self._bad = _bad_pixels([workshop.masters.bias, workshop.masters.dark, workshop.masters.flat])
        self._bad |= (workshop.calibrated.flags & int(Flag.HOT | Flag.DEAD)) != 0
        self._radii = radii_of(workshop.profile, workshop.measured.fwhm)
        self._request = hinted_request(workshop)
        self._solver, solver_name = other_solver(workshop, folder)
        self._numbers = itertools.count()
        self._stack = ExitStack()
        self._store = self._stack.enter_context(open_store(f"sqlite:///{folder / 'other.sqlite'}"))
        catalog = workshop.catalogs.cone(CATALOG, self._request.ra or 0.0, self._request.dec or 0.0, 1.0)
        catalog = catalog.at_epoch(self._request.epoch)
        self._catalog = SkyCoord(catalog.ra, catalog.dec, unit=u.deg)
        self._catalog_mag = catalog.mags[self._header.filter]
        self.name = (
            f"{peers.name('ccdproc')} + {peers.name('astroscrappy')} + {peers.name('photutils')} + "
            f"{solver_name.partition(':')[0]} + ORM objects, one after another"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def reduce(self, path: Path) -> ChainAnswer:
        """Take one raw file to rows in the store."""
        image, error, unusable = self._calibrated(path)
        sources = photutils_sources(image, error, unusable, self._profile.detection, self._radii)
        wcs = self._solved(sources)
        mag = self._magnitudes(sources, wcs)
        self._append(sources, mag, wcs)
        return ChainAnswer(sources=sources, mag=mag, wcs=wcs)

    def _calibrated(self, path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Return electrons, their uncertainty and which pixels are of no use."""
        raw = fits.getdata(path).astype(np.float32)
        saturated = raw[self._header.trim] >= self._header.saturation
        ccd = ccdproc_chain(raw, self._header, self._masters, self._profile.calibration)
        bad = self._bad | ~np.isfinite(ccd.data) | ~np.isfinite(ccd.uncertainty.array)
        data = np.where(bad, np.float32(0), ccd.data).astype(np.float32)
        error = np.where(bad, np.float32(1e6), ccd.uncertainty.array).astype(np.float32)
        settings = self._profile.cosmic_rays
        flags = np.where(saturated, np.uint16(Flag.SATURATED), np.uint16(0)) | np.where(
            bad, np.uint16(Flag.BAD), np.uint16(0)
        )
        hit, _ = astroscrappy.detect_cosmics(
            data,
            inmask=excluded_pixels(flags),
            invar=error**2,
            sigclip=settings.sigclip,
            sigfrac=settings.sigfrac,
            objlim=settings.objlim,
            niter=settings.niter,
            **peers.ASTROSCRAPPY,
        )
        filled, _ = fill_flagged(data, bad | hit)
        return filled, error, bad | hit | saturated

    def _solved(self, sources: SourceList) -> WCS:
        brightest = np.argsort(-sources.flux)[:_STARS]
        return self._solver(
            replace(
                self._request,
                x=sources.x[brightest],
                y=sources.y[brightest],
                flux=sources.flux[brightest],
            )
        )

    def _magnitudes(self, sources: SourceList, wcs: WCS) -> NDArray[np.float64]:
        """Return magnitudes by the clipped median of the catalogue's stars, without a colour term."""
        with np.errstate(invalid="ignore", divide="ignore"):
            instrumental = -2.5 * np.log10(np.where(sources.flux > 0, sources.flux, np.nan))
        places = wcs.pixel_to_world(sources.x, sources.y)
        partner, distance, _ = places.match_to_catalog_sky(self._catalog)
        near = (distance.arcsec < _MATCH) & (sources.flux > 20 * sources.flux_err)
        difference = self._catalog_mag[partner[near]] - instrumental[near]
        return instrumental + sigma_clipped_stats(difference)[1]

    def _append(self, sources: SourceList, mag: NDArray[np.float64], wcs: WCS) -> None:
        number, n = next(self._numbers), len(sources)
        ra, dec = wcs.all_pix2world(sources.x, sources.y, 0)
        header = self._header
        assert header.mjd_mid is not None
        frame_id = add_frame(self._store, number)
        columns = MeasurementColumns(
            number=np.arange(n),
            kind="aperture",
            flux=sources.flux / header.exptime,
            flux_err=sources.flux_err / header.exptime,
            mag=mag,
            mag_err=1.0857 * sources.flux_err / np.abs(sources.flux),
            x=sources.x,
            y=sources.y,
            ra=ra,
            dec=dec,
            fwhm_px=np.full(n, np.nan),
            flags=np.zeros(n, np.int64),
            bjd_tdb=bjd_tdb(header.mjd_mid, ra, dec, header.site),
            position_err=np.full(len(ra), np.nan),
            mjd_mid=header.mjd_mid,
            filter=header.filter,
        )
        with self._store.write() as session:
            values = record(number).values()
            reduction = Reduction(frame_id=frame_id, version=1, current=True, created_at=NOW, **values)
            session.add(reduction)
            session.flush()
            assert reduction.id is not None
            # Without association to the sources of the frames before: the usual table has none.
            add_rows(session, reduction.id, columns, np.zeros(n, np.int64))


def _bad_pixels(masters: list[MasterFrame | None]) -> NDArray[np.bool_]:
    """Return the pixels that any master calls unusable."""
    planes = [(master.flags & int(UNUSABLE)) != 0 for master in masters if master is not None]
    return np.logical_or.reduce(planes)
