"""Forced photometry: the frame's aperture at targets, and at known sources that it did not detect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.astrometry.solution import Quality, Solution
from nightflow.epochs import julian_year
from nightflow.lightcurves.associate import reach
from nightflow.lightcurves.cluster import chord
from nightflow.lightcurves.ephemeris import COARSE
from nightflow.lightcurves.times import bjd_tdb
from nightflow.nights import night_bounds, night_of
from nightflow.photcal.instrumental import instrumental_magnitudes
from nightflow.pipeline.solve import footprint_radius
from nightflow.pipeline.work import Context, Work
from nightflow.sources.forced import ForcedFluxes, forced_fluxes, own_detections
from nightflow.sources.trailed import trail_factor
from nightflow.sphere import unit_vectors
from nightflow.store.records import MeasurementColumns
from nightflow.store.sources import SourceRows, concluded_sources, confirmed_sources
from nightflow.store.targets import target_places

__all__ = ["forced"]

_ONE_PLACE = 0.1
"""Pixels within which two targets are one aperture."""
_LARGEST_ERROR = 0.3
"""Radii of the aperture that an ephemeris may be wrong by."""


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Places on a frame; columns of equal length n.

    Attributes
    ----------
    ra, dec : ndarray of float64, shape (n,)
        ICRS degrees at the time of the frame.
    x, y : ndarray of float64, shape (n,)
        0-based pixels.
    target : ndarray of object, shape (n,)
        The `TargetPlace` that each is, None for known sources.
    """

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    target: NDArray[np.object_]

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Whether an ephemeris gives them, shape (n,)."""
        return np.array([one is not None and one.moving for one in self.target], bool)

    def __len__(self) -> int:
        return len(self.ra)

    def take(self, rows: NDArray[np.bool_] | slice) -> _Places:
        return _Places(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def and_those(self, other: _Places) -> _Places:
        columns = self.__dataclass_fields__
        return _Places(
            **{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in columns}
        )


def forced(work: Work, context: Context) -> dict[str, Any]:
    """Measure the places of targets and of known sources, by the frame's WCS; none is centred anew.

    Targets are measured on every frame that holds them, detected or not. Of the sources that finished nights
    before this one know those that were not detected are, the most often seen first, as many as the profile
    allows: what this night has seen so far depends on which of its frames came first. A frame whose WCS is
    not verified has no forced photometry: its apertures might lie beside the stars.
    """
    solution, measured, settings = work.solution, work.measured, work.profile.photometry
    if solution is None or measured is None or work.header.mjd_mid is None:
        return {}
    targets = _targets(work, context, solution)
    if solution.quality is not Quality.VERIFIED:
        if len(targets):
            work.warnings.append(f"no forced photometry of targets: the WCS is {solution.quality}")
        return {}
    work.warnings += _uncertain(work, solution, targets)
    known, seen = _known(work, context, solution), _seen(work, solution)
    places = targets
    if settings.forced_sources:
        missed = _undetected(work, context, solution, known, seen, targets)
        places = targets.and_those(missed.take(slice(settings.forced_sources)))
    work.forced_targets = tuple(zip(targets.ra.round(7).tolist(), targets.dec.round(7).tolist(), strict=True))
    own = _own(work, solution, known, seen, places)
    trail = _trails(work, solution, places)
    work.forced = _columns(work, places, forced_fluxes(measured, places.x, places.y, own, trail), own)
    return {"n_forced": len(places)}


def _targets(work: Work, context: Context, solution: Solution) -> _Places:
    """Return the places of the targets on the frame, each once."""
    found = []
    if work.profile.photometry.forced_targets:
        radius = footprint_radius(solution, _shape(work))
        found = target_places(
            context.database, solution.ra_center, solution.dec_center, radius, work.header.mjd_mid
        )
    ra, dec = (np.array([getattr(one, name) for one in found], float) for name in ("ra", "dec"))
    places = _on_frame(work, solution, ra, dec, np.array([*found, None], object)[:-1])
    first = np.ones(len(places), bool)
    for row in range(1, len(places)):
        before = first[:row] & (places.moving[:row] == places.moving[row])
        apart = np.hypot(places.x[:row] - places.x[row], places.y[:row] - places.y[row])
        first[row] = not (before & (apart < _ONE_PLACE)).any()
    return places.take(first)


def _uncertain(work: Work, solution: Solution, targets: _Places) -> list[str]:
    """Return what is to be said of targets whose ephemeris may put the aperture beside them."""
    assert work.measured is not None
    radius = work.measured.aperture_radius * solution.scale
    warnings = []
    for one in targets.target[targets.moving]:
        hours = 24.0 * one.spacing
        if one.spacing > COARSE:
            fault = "which do not follow the daily parallax"
        elif one.error > _LARGEST_ERROR * radius:
            fault = f"between which it may be wrong by {one.error:.1f} arcsec"
        else:
            continue
        warnings.append(
            f"target {one.name!r}: its ephemeris has rows {hours:.3g} h apart, {fault}; the aperture's "
            f"radius is {radius:.1f} arcsec. Give it rows of every hour or denser, as seen from the site"
        )
    return warnings


def _trails(work: Work, solution: Solution, places: _Places) -> NDArray[np.float64]:
    """Return how many pixels each place moves during the exposure, shape (n,), and warn of what is much."""
    assert work.measured is not None
    measured, trail = work.measured, np.zeros(len(places))
    for row in np.flatnonzero(places.moving):
        trail[row] = places.target[row].rate * work.header.exptime / solution.scale
        if not trail[row] > measured.pixels.fwhm:
            continue
        lost = 2.5 * np.log10(trail_factor(measured.profile, measured.pixels.radius, trail[[row]])[0])
        beyond = ", beyond its aperture: it is flagged" if trail[row] > 2 * measured.pixels.radius else ""
        work.warnings.append(
            f"target {places.target[row].name!r} moves {trail[row]:.1f} pixels during the exposure (FWHM "
            f"{measured.pixels.fwhm:.1f}){beyond}; its forced flux is corrected by {lost:.2f} mag for that, "
            "as its ephemeris has the rate. A shorter exposure needs less"
        )
    return trail


def _known(work: Work, context: Context, solution: Solution) -> SourceRows:
    """Return the sources that are surely there, around the frame."""
    assert work.header.mjd_mid is not None
    radius, year = footprint_radius(solution, _shape(work)), julian_year(work.header.mjd_mid)
    with context.database.session() as session:
        return confirmed_sources(session, solution.ra_center, solution.dec_center, radius, year)


def _seen(work: Work, solution: Solution) -> NDArray[np.float64]:
    """Return the unit vectors of the detections, shape (n, 3)."""
    assert work.measured is not None
    sources = work.measured.sources
    ra, dec = solution.wcs.all_pix2world(sources.x, sources.y, 0) if len(sources) else (sources.x, sources.y)
    return unit_vectors(ra, dec)


def _undetected(
    work: Work,
    context: Context,
    solution: Solution,
    known: SourceRows,
    seen: NDArray[np.float64],
    targets: _Places,
) -> _Places:
    """Return where sources of earlier nights are that the frame did not detect, and that are no target."""
    taken = np.concatenate([seen, unit_vectors(targets.ra, targets.dec)])
    missed = _apart(unit_vectors(known.ra, known.dec), taken, _within(work, solution))
    missed = missed[np.isin(known.ids[missed], _of_earlier_nights(work, context, solution))]
    order = missed[np.lexsort((known.ids[missed], -known.n_obs[missed]))]
    return _on_frame(work, solution, known.ra[order], known.dec[order], np.full(len(order), None))


def _of_earlier_nights(work: Work, context: Context, solution: Solution) -> NDArray[np.int64]:
    """Return the sources around the frame that finished nights before its own saw."""
    assert work.header.mjd_mid is not None
    longitude = work.header.longitude
    noon, _ = night_bounds(night_of(work.header.mjd_mid, longitude), longitude)
    radius = footprint_radius(solution, _shape(work))
    with context.database.session() as session:
        return concluded_sources(session, solution.ra_center, solution.dec_center, radius, noon)


def _own(
    work: Work, solution: Solution, known: SourceRows, seen: NDArray[np.float64], places: _Places
) -> NDArray[np.intp]:
    """Return the detection whose light is that of each place, -1 for none, shape (n,).

    A star of the catalogue, or a source whose place a night has settled, is none of what moves.
    """
    assert work.measured is not None
    own = own_detections(work.measured, places.x, places.y)
    settled = (known.n_position > 0) | known.in_catalog
    at_rest = unit_vectors(known.ra[settled], known.dec[settled])
    stands = np.ones(len(seen), bool)
    stands[_apart(seen, at_rest, _within(work, solution))] = False
    if work.identity is not None:
        stands |= work.identity.known
    return np.where(places.moving & np.append(stands, False)[own], -1, own)


def _within(work: Work, solution: Solution) -> float:
    """Return within how many arcsec a detection belongs to a source."""
    assert work.measured is not None
    return float(reach(solution.scale, work.measured.fwhm, solution.rms_arcsec, np.full(1, np.nan))[0])


def _apart(places: NDArray[np.float64], others: NDArray[np.float64], within: float) -> NDArray[np.intp]:
    """Return which unit vectors have none of the others within that many arcsec."""
    if not len(others) or not len(places):
        return np.arange(len(places))
    nearest, _ = cKDTree(others).query(places, distance_upper_bound=chord(within))
    return np.flatnonzero(np.isinf(nearest))


def _on_frame(
    work: Work,
    solution: Solution,
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    target: NDArray[np.object_],
) -> _Places:
    """Return those of some places whose centre is on the chip."""
    x, y = solution.wcs.all_world2pix(ra, dec, 0, quiet=True) if len(ra) else (ra, dec)
    ny, nx = _shape(work)
    inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    return _Places(ra=ra, dec=dec, x=np.asarray(x), y=np.asarray(y), target=target).take(inside)


def _columns(work: Work, places: _Places, fluxes: ForcedFluxes, own: NDArray[np.intp]) -> MeasurementColumns:
    header = work.header
    assert header.mjd_mid is not None
    mag, mag_err = _magnitudes(work, fluxes, own)
    unknown = np.full(len(places), np.nan)
    return MeasurementColumns(
        number=-1 - np.arange(len(places)),
        kind="forced",
        flux=fluxes.flux / header.exptime,
        flux_err=fluxes.flux_err / header.exptime,
        mag=mag,
        mag_err=mag_err,
        x=places.x,
        y=places.y,
        ra=places.ra,
        dec=places.dec,
        fwhm_px=unknown,
        flags=fluxes.flags,
        position_err=unknown,
        bjd_tdb=bjd_tdb(header.mjd_mid, places.ra, places.dec, header.site),
        mjd_mid=header.mjd_mid,
        filter=header.filter,
        moving=places.moving,
    )


def _magnitudes(
    work: Work, fluxes: ForcedFluxes, own: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return magnitudes and errors; NaN without a zero point or a positive flux.

    Where a place has a detection of its own, what makes that one's flux a magnitude (zero point and colour)
    holds for the aperture, too; elsewhere the frame's median does.
    """
    assert work.measured is not None
    calibration, sources = work.calibration, work.measured.sources
    exptime = work.header.exptime
    if calibration is None:
        return np.full(len(own), np.nan), np.full(len(own), np.nan)
    offsets = calibration.mag - instrumental_magnitudes(sources.flux, sources.flux_err, exptime)[0]
    offset = np.append(offsets, np.nan)[own]
    offset[np.isnan(offset)] = np.nanmedian(offsets)
    mag, mag_err = instrumental_magnitudes(fluxes.flux, fluxes.flux_err, exptime)
    return mag + offset, mag_err


def _shape(work: Work) -> tuple[int, int]:
    assert work.measured is not None
    return work.measured.pixels.data.shape[0], work.measured.pixels.data.shape[1]
