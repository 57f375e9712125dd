"""Step `flux`: the zero point of the frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightflow.catalogs.stars import ReferenceStars
from nightflow.photcal.match import CatalogMatch, match_catalog
from nightflow.photcal.zero_point import Conditions, FluxCalibration, NoZeroPoint, calibrate_flux
from nightflow.pipeline.solve import footprint_radius, julian_year
from nightflow.pipeline.work import Context, Work
from nightflow.store.records import CatalogIdentity
from nightflow.store.targets import targets_near

__all__ = ["flux"]


def flux(work: Work, context: Context) -> dict[str, Any]:
    """Calibrate the fluxes against the first local catalogue that has usable stars.

    A frame that cannot be calibrated goes on without magnitudes, and says why in a warning: its fluxes and
    differential magnitudes still stand.
    """
    if work.solution is None:
        work.warnings.append("no zero point: the frame has no WCS")
        return {}
    reasons = []
    for name in _catalogs(work, context):
        try:
            work.calibration = _calibrate(work, context, name)
        except NoZeroPoint as reason:
            reasons.append(str(reason))
            continue
        work.reference = f"{name}@{context.catalogs.metadata(name).created}"
        solution = work.calibration.solution
        work.warnings.extend(solution.warnings)
        return {
            "zp": round(solution.zero_point, 4),
            "zp_err": round(solution.error, 4),
            "zp_n_stars": solution.n_stars,
            "zp_catalog": solution.catalog,
        }
    work.warnings.append("no zero point: " + ("; ".join(reasons) or "no catalogue covers the field"))
    return {}


def _catalogs(work: Work, context: Context) -> list[str]:
    assert work.solution is not None
    assert work.frame is not None
    preferred = work.profile.photometry.catalogs or [work.solution.catalog]
    radius = footprint_radius(work.solution, _shape(work))
    return context.catalogs.covering(work.solution.ra_center, work.solution.dec_center, radius, preferred)


def _calibrate(work: Work, context: Context, name: str) -> FluxCalibration:
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
    )
    if work.identity is None:
        work.identity = _identity(stars, match, len(measured.sources))
    excluded = _targets(work, context, stars, match)
    work.excluded_targets = int(excluded.sum())
    return calibrate_flux(measured.sources, stars, match, conditions, settings, excluded)


def _targets(work: Work, context: Context, stars: ReferenceStars, match: CatalogMatch) -> NDArray[np.bool_]:
    """Return which sources are targets: those of the store, and the catalogue star that OBJECT names."""
    assert work.solution is not None
    assert work.measured is not None
    sources, solution = work.measured.sources, work.solution
    excluded = np.zeros(len(sources), bool)
    named = _plain(work.header.object)
    if named:
        is_object = np.array([_plain(identifier) == named for identifier in stars.ids[match.star]], bool)
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


def _plain(name: str) -> str:
    """Return a name without case, blanks and signs: "HAT-P-32 b" and "hatp32b" are one."""
    return "".join(character for character in name.lower() if character.isalnum())


def _shape(work: Work) -> tuple[int, int]:
    assert work.frame is not None
    return work.frame.data.shape[0], work.frame.data.shape[1]
