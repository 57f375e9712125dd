"""What a night is solved from: frames of one chip and filter, and the measurements of their stars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.names import plain_name
from nightflow.catalogs.stars import ReferenceStars
from nightflow.epochs import julian_year
from nightflow.flags import UNUSABLE, Flag
from nightflow.instruments.profile import PhotometrySettings
from nightflow.lightcurves.associate import separation
from nightflow.lightcurves.cluster import chord
from nightflow.photcal.bands import BandChoice, Reference, choose_band, reference_of
from nightflow.photcal.night_model import NightStars
from nightflow.sphere import unit_vectors
from nightflow.store.database import Database
from nightflow.store.night_photometry import MeasuredStars, PhotometricFrame, measured_stars
from nightflow.store.targets import targets_near

__all__ = ["Series", "match_reach", "series_of"]

_MOST_STARS = 400
"""Reference stars of a series of frames: more add to the work, not to the precision."""
_FEWEST_CLEAN = 10


@dataclass(frozen=True)
class Series:
    """Frames of one chip and filter, what they are calibrated to, and their reference stars.

    Attributes
    ----------
    frames : list of PhotometricFrame
    stars : ReferenceStars
        Of all fields, at the epoch of the night.
    choice : BandChoice
    reference : Reference
        Magnitudes and colours of ``stars``.
    rows : NightStars
        Measurements of the best of them, by the rows of ``frames`` and ``stars``.
    settings : PhotometrySettings
    """

    frames: list[PhotometricFrame]
    stars: ReferenceStars
    choice: BandChoice
    reference: Reference
    rows: NightStars
    settings: PhotometrySettings


def series_of(
    database: Database,
    catalogs: LocalCatalogs,
    settings: PhotometrySettings,
    frames: list[PhotometricFrame],
) -> Series | None:
    """Return what a series of frames is solved from; None where none is calibrated by a known catalogue.

    Parameters
    ----------
    database : Database
    catalogs : LocalCatalogs
    settings : PhotometrySettings
        Of the camera's profile.
    frames : list of PhotometricFrame
        Of one chip and filter.
    """
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
    return Series(used, stars, choice, reference, _best(rows, reference), settings)


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


def match_reach(frame: PhotometricFrame, settings: PhotometrySettings) -> float:
    """Return how far from its star a source may lie, arcsec."""
    return max(settings.match_radius, 1.5 * frame.scale)


def _excluded(
    database: Database,
    frames: Sequence[PhotometricFrame],
    stars: ReferenceStars,
    settings: PhotometrySettings,
) -> NDArray[np.bool_]:
    """Return which stars are targets: those of the store, and those that OBJECT names."""
    named = {plain_name(one.object) for one in frames} - {""}
    out = np.array([plain_name(str(identifier)) in named for identifier in stars.ids], bool)
    tree = cKDTree(unit_vectors(stars.ra, stars.dec)) if len(stars) else None
    for one in frames:
        for ra, dec in targets_near(database, one.ra, one.dec, one.radius, one.mjd_mid):
            if tree is not None:
                place = unit_vectors(np.array([ra]), np.array([dec]))[0]
                out[tree.query_ball_point(place, chord(match_reach(one, settings)))] = True
    return out


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
    reach = np.array([chord(match_reach(one, settings)) for one in frames])[frame]
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
