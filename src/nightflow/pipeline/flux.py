"""Step `flux`: the zero point of the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightflow.catalogs.names import plain_name
from nightflow.catalogs.stars import ReferenceStars
from nightflow.epochs import julian_year
from nightflow.photcal.borrow import borrow_zero_point
from nightflow.photcal.conditions import Conditions
from nightflow.photcal.lent import KnownZeroPoint, lend_zero_point
from nightflow.photcal.match import CatalogMatch, match_catalog
from nightflow.photcal.no_zero_point import NoZeroPoint, TooFewStars
from nightflow.photcal.solution import FluxCalibration
from nightflow.photcal.zero_point import calibrate_flux
from nightflow.pipeline.solve import footprint_radius
from nightflow.pipeline.work import Context, Work
from nightflow.store.night_photometry import earlier_zero_points
from nightflow.store.records import CatalogIdentity
from nightflow.store.targets import targets_near

__all__ = ["flux"]


@dataclass(frozen=True)
class _Field:
    """What a catalogue says of a frame's field, and how the frame was taken."""

    stars: ReferenceStars
    match: CatalogMatch
    conditions: Conditions
    excluded: NDArray[np.bool_]


def flux(work: Work, context: Context) -> dict[str, Any]:
    """Calibrate the fluxes against the first local catalogue that has usable stars.

    A frame with too few of them gets the zero point that the frames before it of the same night let expect.
    One that cannot be calibrated at all goes on without magnitudes, and says why in a warning: its fluxes
    and differential magnitudes still stand.
    """
    if work.solution is None:
        work.warnings.append("no zero point: the frame has no WCS")
        return {}
    reasons, lent = [], None
    for name in _catalogs(work, context):
        field = _field(work, context, name)
        try:
            found = _calibrate(work, field)
        except NoZeroPoint as reason:
            reasons.append(str(reason))
            if lent is None and isinstance(reason, TooFewStars):
                lent = _borrow(work, context, field, reason)
            continue
        return _record(work, context, found)
    if lent is not None:
        return _record(work, context, lent)
    work.warnings.append("no zero point: " + ("; ".join(reasons) or "no catalogue covers the field"))
    return {}


def _record(work: Work, context: Context, found: FluxCalibration) -> dict[str, Any]:
    solution = found.solution
    work.calibration = found
    work.reference = f"{solution.catalog}@{context.catalogs.metadata(solution.catalog).created}"
    work.warnings.extend(solution.warnings)
    return {
        "zp": round(solution.zero_point, 4),
        "zp_err": round(solution.error, 4),
        "zp_n_stars": solution.n_stars,
        "zp_catalog": solution.catalog,
    }


def _catalogs(work: Work, context: Context) -> list[str]:
    assert work.solution is not None
    assert work.frame is not None
    preferred = work.profile.photometry.catalogs or [work.solution.catalog]
    radius = footprint_radius(work.solution, _shape(work))
    return context.catalogs.covering(work.solution.ra_center, work.solution.dec_center, radius, preferred)


def _field(work: Work, context: Context, name: str) -> _Field:
    assert work.solution is not None
    assert work.measured is not None
    solution, measured, settings = work.solution, work.measured, work.profile.photometry
    radius = footprint_radius(solution, _shape(work))
    stars = context.catalogs.cone(name, solution.ra_center, solution.dec_center, radius)
    if work.header.mjd_mid is not None:
        stars = stars.at_epoch(julian_year(work.header.mjd_mid))
    match = match_catalog(measured.sources, stars, solution.wcs, solution.scale, settings.match_radius)
    conditions = Conditions(
        filter=work.header.filter,
        exptime=work.header.exptime,
        gain=work.header.gain,
        aperture_noise=measured.aperture_noise,
        aperture_correction=measured.aperture_correction.factor,
        aperture_correction_error=measured.aperture_correction.error,
        shape=_shape(work),
    )
    if work.identity is None:
        work.identity = _identity(stars, match, len(measured.sources))
    return _Field(stars, match, conditions, _targets(work, context, stars, match))


def _calibrate(work: Work, field: _Field) -> FluxCalibration:
    assert work.measured is not None
    work.excluded_targets = int(field.excluded.sum())
    return calibrate_flux(
        work.measured.sources,
        field.stars,
        field.match,
        field.conditions,
        work.profile.photometry,
        field.excluded,
    )


def _borrow(work: Work, context: Context, field: _Field, reason: TooFewStars) -> FluxCalibration | None:
    """Return what the frames before this one lend it; None where they are too few."""
    assert work.measured is not None
    band = reason.choice.description
    known = [
        KnownZeroPoint(
            zero_point=one.zp or 0.0,
            error=one.zp_err or 0.0,
            airmass=_number(one.airmass),
            hours=one.mjd_mid * 24,
            color_term=_number(one.color_term),
            color_term_error=_number(one.color_term_err),
        )
        for one in earlier_zero_points(context.database, work.frame_id)
        if (one.zp_catalog, one.zp_band) == (field.stars.catalog, band)
    ]
    lent = lend_zero_point(known, work.header.airmass)
    if lent is None:
        return None
    return borrow_zero_point(
        work.measured.sources, field.stars, field.match, field.conditions, reason.choice, lent, str(reason)
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _targets(work: Work, context: Context, stars: ReferenceStars, match: CatalogMatch) -> NDArray[np.bool_]:
    """Return which sources are targets: those of the store, and the catalogue star that OBJECT names."""
    assert work.solution is not None
    assert work.measured is not None
    sources, solution = work.measured.sources, work.solution
    excluded = np.zeros(len(sources), bool)
    named = plain_name(work.header.object)
    if named:
        is_object = np.array([plain_name(identifier) == named for identifier in stars.ids[match.star]], bool)
        excluded[match.source[is_object]] = True
    radius = footprint_radius(solution, _shape(work))
    reach = max(work.profile.photometry.match_radius / solution.scale, 1.5)
    for ra, dec in targets_near(
        context.database, solution.ra_center, solution.dec_center, radius, work.header.mjd_mid
    ):
        x, y = solution.wcs.all_world2pix(ra, dec, 0, quiet=True)
        excluded |= np.hypot(sources.x - x, sources.y - y) < reach
    return excluded


def _identity(stars: ReferenceStars, match: CatalogMatch, n_sources: int) -> CatalogIdentity:
    known, ids = np.zeros(n_sources, bool), np.full(n_sources, "", object)
    pmra, pmdec = np.zeros(n_sources), np.zeros(n_sources)
    known[match.source], ids[match.source] = True, stars.ids[match.star]
    pmra[match.source], pmdec[match.source] = stars.pmra[match.star], stars.pmdec[match.star]
    return CatalogIdentity(catalog=stars.catalog, known=known, ids=ids, pmra=pmra, pmdec=pmdec)


def _shape(work: Work) -> tuple[int, int]:
    assert work.frame is not None
    return work.frame.data.shape[0], work.frame.data.shape[1]
