"""The photometry of a whole night: solved at its end, lent to frames with too few stars of their own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.flags import UNUSABLE, Flag
from nightflow.instruments.profile import CameraProfile, PhotometrySettings
from nightflow.lightcurves.associate import separation, unit_vectors
from nightflow.lightcurves.cluster import chord
from nightflow.photcal.bands import BandChoice, Reference, choose_band, reference_of
from nightflow.photcal.extinction import expect_zero_point
from nightflow.photcal.night import NightFrames, NightSolution, NightStars, solve_night
from nightflow.photcal.zero_point import color_prior
from nightflow.pipeline.solve import julian_year
from nightflow.store.database import Database
from nightflow.store.lent_zero_points import LentZeroPoint, write_lent
from nightflow.store.models import NightSolution as SolutionRow
from nightflow.store.models import NightZeroPoint
from nightflow.store.night_photometry import (
    MeasuredStars,
    PhotometricFrame,
    measured_stars,
    photometric_frames,
    write_night_solutions,
)
from nightflow.store.targets import targets_near

__all__ = ["NightPhotometry", "solve_photometry"]

_MOST_STARS = 400
"""Reference stars of a series of frames: more add to the work, not to the precision."""
_FEWEST_CLEAN = 10
_PRECISION = 6
"""Decimals: so that the same night gives the same rows."""
_AtPlaces = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Right ascensions and declinations, ICRS degrees, to a value of each."""


@dataclass(frozen=True, kw_only=True)
class NightPhotometry:
    """What became of the photometry of a night.

    Attributes
    ----------
    solutions : tuple of `nightflow.store.models.NightSolution`
        One a camera, chip and filter.
    n_lent : int
        Frames whose zero point is that of the night, as far as it changed.
    changed : bool
        Whether a row was changed.
    """

    solutions: tuple[SolutionRow, ...]
    n_lent: int
    changed: bool


@dataclass(frozen=True)
class _Series:
    """Frames of one chip and filter, what they are calibrated to, and their reference stars."""

    frames: list[PhotometricFrame]
    stars: ReferenceStars
    choice: BandChoice
    reference: Reference
    rows: NightStars
    settings: PhotometrySettings


def solve_photometry(
    database: Database, catalogs: LocalCatalogs, profiles: Mapping[str, CameraProfile], night: str
) -> NightPhotometry:
    """Solve a night for zero points, colour terms and extinction; again on an unchanged night changes
    nothing.

    Frames that have a zero point of their own keep it; those that have none, or one that was lent before,
    get what the night says of them.

    Parameters
    ----------
    database : Database
    catalogs : LocalCatalogs
    profiles : mapping of name to CameraProfile
        A camera that has none any more is left out.
    night : str
        Date of the evening.
    """
    groups: dict[tuple[str, str, str], list[PhotometricFrame]] = defaultdict(list)
    with database.session() as session:
        for frame in photometric_frames(session, night):
            groups[frame.instrument, frame.detector, frame.filter].append(frame)
    solved, lent = [], []
    for frames in groups.values():
        profile = profiles.get(frames[0].instrument)
        series = None if profile is None else _series(database, catalogs, profile.photometry, frames)
        found = None if series is None else _solve(series)
        if series is None or found is None:
            continue
        solved.append(_rows(night, series, found))
        lent += _lend(series, found)
    changed = write_night_solutions(database, night, solved)
    n_lent = write_lent(database, lent)
    return NightPhotometry(
        solutions=tuple(row for row, _ in solved), n_lent=n_lent, changed=changed or n_lent > 0
    )


def _series(
    database: Database,
    catalogs: LocalCatalogs,
    settings: PhotometrySettings,
    frames: list[PhotometricFrame],
) -> _Series | None:
    """Return what a series of frames is solved from; None where none is calibrated by a known catalogue."""
    counted = Counter((one.zp_catalog, one.zp_band) for one in frames if one.is_own and one.zp_catalog)
    if not counted:
        return None
    catalog, band = counted.most_common(1)[0][0]
    if catalog not in catalogs.names():
        return None
    # Another catalogue's magnitudes, or another band's, are not of the same system.
    used = [one for one in frames if not one.is_own or (one.zp_catalog, one.zp_band) == (catalog, band)]
    stars = _stars(catalogs, str(catalog), used)
    choice = choose_band(used[0].filter, stars, settings)
    if choice is None or choice.description != band:
        return None
    reference = reference_of(choice, stars)
    with database.session() as session:
        measured = measured_stars(session, used)
    rows = _matched(used, measured, stars, settings, _excluded(database, used, stars, settings))
    return _Series(used, stars, choice, reference, _best(rows, reference), settings)


def _stars(catalogs: LocalCatalogs, catalog: str, frames: Sequence[PhotometricFrame]) -> ReferenceStars:
    """Return the stars of all fields, each once, at the epoch of the night."""
    cones: list[tuple[float, float, float]] = []
    for one in frames:
        reach = 1.3 * one.radius
        near = any(
            separation(one.ra, one.dec, ra, dec) / 3600 + one.radius <= radius for ra, dec, radius in cones
        )
        if not near:
            cones.append((one.ra, one.dec, reach))
    parts = [catalogs.cone(catalog, *cone) for cone in cones]
    places = np.concatenate([np.column_stack([part.ra, part.dec]) for part in parts])
    _, first = np.unique(places, axis=0, return_index=True)
    return _joined(parts).take(np.sort(first)).at_epoch(julian_year(frames[0].mjd_mid))


def _joined(parts: Sequence[ReferenceStars]) -> ReferenceStars:
    def all_of(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    first = parts[0]
    with_errors = [band for band in first.mag_errs if all(band in part.mag_errs for part in parts)]
    return ReferenceStars(
        catalog=first.catalog,
        ra=all_of("ra"),
        dec=all_of("dec"),
        pmra=all_of("pmra"),
        pmdec=all_of("pmdec"),
        epoch=first.epoch,
        ids=all_of("ids"),
        mags={band: np.concatenate([part.mags[band] for part in parts]) for band in first.mags},
        mag_errs={band: np.concatenate([part.mag_errs[band] for part in parts]) for band in with_errors},
    )


def _reach(frame: PhotometricFrame, settings: PhotometrySettings) -> float:
    """Return how far from its star a source may lie, arcsec."""
    return max(settings.match_radius, 1.5 * frame.scale)


def _excluded(
    database: Database,
    frames: Sequence[PhotometricFrame],
    stars: ReferenceStars,
    settings: PhotometrySettings,
) -> NDArray[np.bool_]:
    """Return which stars are targets: those of the store, and those that OBJECT names."""
    named = {_plain(one.object) for one in frames} - {""}
    out = np.array([_plain(str(identifier)) in named for identifier in stars.ids], bool)
    tree = cKDTree(unit_vectors(stars.ra, stars.dec)) if len(stars) else None
    for one in frames:
        for ra, dec in targets_near(database, one.ra, one.dec, one.radius, one.mjd_mid):
            if tree is not None:
                place = unit_vectors(np.array([ra]), np.array([dec]))[0]
                out[tree.query_ball_point(place, chord(_reach(one, settings)))] = True
    return out


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _matched(
    frames: Sequence[PhotometricFrame],
    measured: MeasuredStars,
    stars: ReferenceStars,
    settings: PhotometrySettings,
    excluded: NDArray[np.bool_],
) -> NightStars:
    """Return the measurements of the reference stars: on each frame the nearest of each star."""
    if not len(stars) or not len(measured):
        none = np.empty(0, np.intp)
        return NightStars(frame=none, star=none.copy(), mag=np.empty(0), error=np.empty(0))
    number = {one.reduction_id: row for row, one in enumerate(frames)}
    frame = np.array([number[one] for one in measured.reduction_id.tolist()], np.intp)
    reach = np.array([chord(_reach(one, settings)) for one in frames])[frame]
    distance, star = cKDTree(unit_vectors(stars.ra, stars.dec)).query(unit_vectors(measured.ra, measured.dec))
    rows = np.flatnonzero(distance <= reach)
    rows = rows[~excluded[star[rows]]]
    rows = rows[_clean(measured.flags[rows], star[rows])]
    rows = rows[np.lexsort((distance[rows], star[rows], frame[rows]))]
    key = frame[rows].astype(np.int64) * len(stars) + star[rows]
    rows = rows[np.unique(key, return_index=True)[1]]
    return NightStars(
        frame=frame[rows],
        star=star[rows].astype(np.intp),
        mag=-2.5 * np.log10(measured.flux[rows]),
        error=2.5 / np.log(10) * measured.flux_err[rows] / measured.flux[rows],
    )


def _clean(flags: NDArray[np.int64], star: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which measurements may serve; in a sparse field a star with a neighbour is better than none."""
    usable = (flags & int(UNUSABLE | Flag.EDGE)) == 0
    alone = usable & ((flags & int(Flag.NEIGHBOUR)) == 0)
    return alone if len(np.unique(star[alone])) >= _FEWEST_CLEAN else usable


def _best(rows: NightStars, reference: Reference) -> NightStars:
    """Return the measurements of the stars that tell most: on many frames, of small errors."""
    precision = np.bincount(rows.star, 1 / (rows.error**2 + 1e-4), len(reference.mag))
    weight = np.asarray(precision / np.maximum(reference.error, 1e-3), np.float64)
    weight[~np.isfinite(reference.mag)] = 0
    best = np.zeros(len(weight), bool)
    best[np.argsort(-weight, kind="stable")[:_MOST_STARS]] = True
    return rows.take(best[rows.star] & np.isfinite(reference.mag[rows.star]))


def _solve(series: _Series) -> NightSolution | None:
    frames = NightFrames(
        airmass=np.array([np.nan if one.airmass is None else one.airmass for one in series.frames], float),
        hours=np.array([(one.mjd_mid - series.frames[0].mjd_mid) * 24 for one in series.frames]),
    )
    return solve_night(
        frames,
        series.rows,
        series.reference,
        color_prior=color_prior(series.choice),
        with_color=series.settings.color_term,
    )


def _rows(night: str, series: _Series, found: NightSolution) -> tuple[SolutionRow, list[NightZeroPoint]]:
    first, air = series.frames[0], found.air
    zero_point, error = _reference_zero_point(found)
    solution = SolutionRow(
        night=night,
        instrument=first.instrument,
        detector=first.detector,
        filter=first.filter,
        catalog=series.stars.catalog,
        band=series.choice.description,
        mag_system=series.choice.system,
        color="-".join(series.choice.color or ()) if found.color_term is not None else "",
        n_frames=int(np.isfinite(found.zero_point).sum()),
        n_clear=int(air.clear.sum()),
        n_stars=found.n_stars,
        n_measurements=found.n_measurements,
        n_rejected=len(found.rejected),
        color_term=_rounded(found.color_term),
        color_term_err=_rounded(found.color_term_error),
        color_extinction=_rounded(found.color_extinction),
        color_extinction_err=_rounded(found.color_extinction_error),
        pivot=round(found.pivot, _PRECISION),
        extinction=_rounded(found.extinction),
        extinction_err=_rounded(found.extinction_error),
        extinction_color=round(found.extinction_color, _PRECISION),
        zp=round(zero_point, _PRECISION),
        zp_err=round(error, _PRECISION),
        transparency_scatter=round(air.scatter, _PRECISION),
        star_scatter=round(found.star_scatter, _PRECISION),
        noise=round(found.noise, _PRECISION),
        reason=air.reason,
    )
    return solution, _zero_points(series, found)


def _reference_zero_point(found: NightSolution) -> tuple[float, float]:
    """Return that above the atmosphere; without extinction the frames' median, with their scatter."""
    if found.above is not None and found.above_error is not None:
        return found.above, found.above_error
    seen = np.isfinite(found.zero_point)
    middle, common = float(np.median(found.zero_point[seen])), float(np.median(found.error[seen]))
    return middle, float(np.hypot(common, found.air.scatter / np.sqrt(seen.sum())))


def _zero_points(series: _Series, found: NightSolution) -> list[NightZeroPoint]:
    seen = np.flatnonzero(np.isfinite(found.zero_point))
    return [
        NightZeroPoint(
            reduction_id=series.frames[row].reduction_id,
            solution_id=0,
            zp=round(float(found.zero_point[row]), _PRECISION),
            zp_err=round(float(found.error[row]), _PRECISION),
            zp_err_own=round(float(found.own_error[row]), _PRECISION),
            loss=_rounded(float(loss)) if np.isfinite(loss) else None,
        )
        for row, loss in zip(seen, found.air.loss, strict=True)
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _PRECISION)


def _lend(series: _Series, found: NightSolution) -> list[LentZeroPoint]:
    """Return the zero points of frames that have none of their own: from their stars, however few, else
    expected.
    """
    counts = np.bincount(series.rows.frame, minlength=len(series.frames))
    tree = cKDTree(unit_vectors(series.stars.ra, series.stars.dec))

    def colors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the colour of the star at each place, the mean one where that is not known."""
        placed = np.isfinite(ra) & np.isfinite(dec)
        own = np.full(len(ra), found.color)
        near, star = tree.query(unit_vectors(ra[placed], dec[placed]))
        color = series.reference.color[star]
        known = (near <= chord(_reach(series.frames[0], series.settings))) & np.isfinite(color)
        own[np.flatnonzero(placed)[known]] = color[known]
        return own

    out = []
    for row, frame in enumerate(series.frames):
        if frame.is_own:
            continue
        zero_point, error, warning = _lent_value(found, frame, row, int(counts[row]))
        term, term_error = found.color_term_at(frame.airmass) or (None, None)
        values = {
            "zp": round(zero_point, _PRECISION),
            "zp_err": round(error, _PRECISION),
            "zp_n_stars": int(counts[row]),
            "zp_origin": "night",
            "zp_catalog": series.stars.catalog,
            "zp_band": series.choice.description,
            "mag_system": series.choice.system,
            "color_term": _rounded(term),
            "color_term_err": _rounded(term_error),
        }
        out.append(LentZeroPoint(frame.reduction_id, values, warning, _color_offset(term, colors)))
    return out


def _color_offset(term: float | None, colors: _AtPlaces) -> _AtPlaces:
    return lambda ra, dec: np.zeros(len(ra)) if term is None else term * colors(ra, dec)


def _lent_value(
    found: NightSolution, frame: PhotometricFrame, row: int, n_stars: int
) -> tuple[float, float, str]:
    """Return zero point, error and what is to be said of them."""
    if n_stars and np.isfinite(found.zero_point[row]):
        return (
            float(found.zero_point[row]),
            float(found.error[row]),
            f"the zero point is that of the night: {n_stars} stars of this frame, with the colour term and "
            "the star offsets of all its frames",
        )
    expected = expect_zero_point(found.air, frame.airmass)
    term, _ = found.color_term_at(frame.airmass) or (0.0, 0.0)
    common = float(np.nanmedian(found.error))
    error = float(np.hypot(expected.error, common))
    return (
        expected.zero_point - term * found.color,
        error,
        "the zero point is that of the night for this airmass: no star of the frame itself; "
        f"+- {error:.3f} by what the transparency does from frame to frame",
    )
