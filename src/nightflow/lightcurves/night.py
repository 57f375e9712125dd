"""The detections of a field's night to sources and to moving bodies, all frames at once.

What clusters is a source: one of those that other nights know, else a new one. What clusters along a line
moves; so does what did not cluster but lies on a line. The rest belongs to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.lightcurves.alignment import aligned
from nightflow.lightcurves.associate import associate, chords
from nightflow.lightcurves.bodies import (
    FEWEST,
    MovingBody,
    body_sigma,
    concluded,
    convinces,
    crawler,
    extended,
    is_no_body,
    joined,
)
from nightflow.lightcurves.cluster import chord, cluster, least_detections, middle
from nightflow.lightcurves.field_night import DOUBTFUL, FieldNight, KnownSources, Rules
from nightflow.lightcurves.motion import Plane
from nightflow.lightcurves.static_scatter import StaticScatter, axis_scatter, static_scatter
from nightflow.lightcurves.tracklets import LoosePoints, link
from nightflow.sphere import unit_vectors

__all__ = ["NONE", "AssociatedNight", "associate_night"]

NONE = -1

_TOO_FEW_TO_JUDGE = 3
"""Frames that covered a place below which a single detection is a source, unconfirmed."""
_WEAK = 0.3
"""Of the frames; a new source that is on fewer of them may be a piece of a body's track."""


@dataclass(frozen=True, kw_only=True)
class AssociatedNight:
    """What belongs to what.

    Attributes
    ----------
    source : ndarray of intp, shape (n,)
        Source of each detection: an index into the known ones, then into the new ones; `NONE`.
    ambiguous : ndarray of bool, shape (n,)
        Another source is within reach as well, or its source is for another detection of the frame.
    ra, dec : ndarray of float64, shape (m + k,)
        Median place of the detections of each source, ICRS degrees; the known place where there is none.
    n_new : int
        k, sources that other nights do not know.
    bodies : tuple of MovingBody
        In the order of their first detection.
    scatter : StaticScatter
        Of the places of stars.
    fastest : float
        Arcsec an hour up to which bodies were looked for: what the rules say, or less where what is loose
        makes too many pairs.
    """

    source: NDArray[np.intp]
    ambiguous: NDArray[np.bool_]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    n_new: int
    bodies: tuple[MovingBody, ...]
    scatter: StaticScatter
    fastest: float


def associate_night(night: FieldNight, known: KnownSources, rules: Rules) -> AssociatedNight:
    """Return which detections belong to which source, and which to bodies that move.

    Parameters
    ----------
    night : FieldNight
    known : KnownSources
    rules : Rules
    """
    coverage = night.coverage()
    least = least_detections(coverage, rules.least, rules.fraction)
    clusters = cluster(night.ra, night.dec, night.frame, radius=rules.radius, least=least)
    night = aligned(night, clusters)
    scatter = _scatter(night, clusters, rules)
    crawling, standing, pinned = _crawling(night, known, clusters, scatter, rules)
    trimmed = (_near_middle(night, rows, rules) for rows in standing)
    source = _with_known(
        night, known, [rows for rows in trimmed if len(rows) and len(rows) >= least[rows].min()], least, rules
    )
    moving = np.zeros(len(night), bool)
    for body in crawling:
        moving[body.rows] = True
    _take_strays(night, known, source, moving)
    loose = _loose(night, source, moving | pinned, coverage, len(known))
    wide = scatter.widened(rules.trailing)
    running, fastest = _running(night, loose, wide, rules)
    bodies = _whole(night, joined(night, [*crawling, *running], wide, rules.radius), loose, wide)
    _give_up(source, bodies, len(known))
    n_loose = int((source == NONE).sum()) - sum(len(body.rows) for body in bodies)
    bodies = tuple(concluded(night, body, n_loose, wide) for body in bodies)
    _add_single(night, source, bodies, coverage, len(known))
    n_new = _renumber(source, len(known))
    ra, dec = _places(night, known, source, n_new)
    return AssociatedNight(
        source=source,
        ambiguous=_ambiguous(night, source, ra, dec),
        ra=ra,
        dec=dec,
        n_new=n_new,
        bodies=bodies,
        scatter=scatter,
        fastest=fastest,
    )


def _scatter(night: FieldNight, clusters: list[NDArray[np.intp]], rules: Rules) -> StaticScatter:
    mags, spreads = [], []
    for rows in clusters:
        if len(rows) >= FEWEST:
            plane = Plane(*middle(night.ra[rows], night.dec[rows]))
            mags.append(float(np.median(night.mag[rows])))
            spreads.append(axis_scatter(*plane.project(night.ra[rows], night.dec[rows])))
    return static_scatter(np.array(mags), np.array(spreads), rules.radius / 6.0)


def _crawling(
    night: FieldNight,
    known: KnownSources,
    clusters: list[NDArray[np.intp]],
    scatter: StaticScatter,
    rules: Rules,
) -> tuple[list[MovingBody], list[NDArray[np.intp]], NDArray[np.bool_]]:
    """Return the bodies among the clusters, the clusters that are none, and detections of stars that drift.

    Those are no bodies, however well they lie on a line: a neighbour and a change of seeing do that.
    """
    bodies, standing = [], []
    pinned = np.zeros(len(night), bool)
    fixed = known.fixed()
    for rows in clusters:
        body = crawler(night, rows, scatter, rules, len(clusters))
        if body is not None and not _stands(night, rows, fixed, rules):
            bodies.append(body)
            continue
        standing.append(rows)
        pinned[rows] = body is not None
    return bodies, standing, pinned


def _stands(night: FieldNight, rows: NDArray[np.intp], fixed: cKDTree, rules: Rules) -> bool:
    """Return whether the middle of a cluster is the place of a source or star that is known to stand."""
    if not fixed.n:
        return False
    distance, _ = fixed.query(unit_vectors(*middle(night.ra[rows], night.dec[rows])))
    return bool(distance <= chord(rules.radius))


def _near_middle(night: FieldNight, rows: NDArray[np.intp], rules: Rules) -> NDArray[np.intp]:
    """Return the members that are within reach of the middle: a cluster may have grown along a chain."""
    vectors = unit_vectors(night.ra[rows], night.dec[rows])
    distance = np.linalg.norm(vectors - unit_vectors(*middle(night.ra[rows], night.dec[rows])), axis=1)
    reach = np.maximum(night.reach[rows], rules.radius)
    return rows[distance <= chords(reach)]


def _with_known(
    night: FieldNight,
    known: KnownSources,
    clusters: list[NDArray[np.intp]],
    least: NDArray[np.intp],
    rules: Rules,
) -> NDArray[np.intp]:
    """Return the source of each clustered detection: known ones by their place, new ones for the rest.

    A new one rests on ``least`` detections that are in no doubt: where the guiding is good, a hot pixel
    clusters as a star does.
    """
    source = np.full(len(night), NONE, np.intp)
    places = np.array([middle(night.ra[rows], night.dec[rows]) for rows in clusters]).reshape(-1, 2)
    partner = associate(places[:, 0], places[:, 1], known.ra, known.dec, rules.radius).source
    n_new = len(known)
    for rows, one in zip(clusters, partner, strict=True):
        if one >= 0:
            source[rows] = one
        elif np.count_nonzero((night.flags[rows] & DOUBTFUL) == 0) >= least[rows].min():
            source[rows] = n_new
            n_new += 1
    return source


def _take_strays(
    night: FieldNight, known: KnownSources, source: NDArray[np.intp], moving: NDArray[np.bool_]
) -> None:
    """Give detections that did not cluster to the sources within reach that have none on that frame."""
    n_sources = max(len(known), int(source.max(initial=NONE)) + 1)
    ra, dec = _places(night, known, source, n_sources - len(known))
    stray = (source == NONE) & ~moving
    bounds = night.bounds()
    tree = cKDTree(unit_vectors(ra, dec).reshape(-1, 3))
    for frame in np.unique(night.frame[stray]):
        here = np.arange(bounds[frame], bounds[frame + 1])
        rows = here[stray[here]]
        free = np.setdiff1d(_within_reach(night, rows, tree), source[here])
        partner = associate(night.ra[rows], night.dec[rows], ra[free], dec[free], night.reach[rows]).source
        source[rows[partner >= 0]] = free[partner[partner >= 0]]


def _within_reach(night: FieldNight, rows: NDArray[np.intp], tree: cKDTree) -> NDArray[np.intp]:
    """Return the places of a tree that any of these detections may belong to, and some that are farther."""
    vectors = unit_vectors(night.ra[rows], night.dec[rows])
    near = tree.query_ball_point(vectors, 1.001 * chords(night.reach[rows]))
    return np.unique(np.concatenate([np.array(one, np.intp) for one in near]))


def _loose(
    night: FieldNight,
    source: NDArray[np.intp],
    taken: NDArray[np.bool_],
    coverage: NDArray[np.intp],
    n_known: int,
) -> NDArray[np.bool_]:
    """Return what belongs to nothing, or to new sources on few of the frames that covered them."""
    counts = np.bincount(source[source != NONE], minlength=n_known + 1)
    weak = (source >= n_known) & (counts[source] <= np.ceil(_WEAK * coverage))
    return ((source == NONE) | weak) & ~taken & night.well_placed()


def _running(
    night: FieldNight, loose: NDArray[np.bool_], scatter: StaticScatter, rules: Rules
) -> tuple[list[MovingBody], float]:
    """Return the bodies among what is loose, and the rate up to which they were looked for."""
    rows = np.flatnonzero(loose)
    if len(rows) < FEWEST or not night.is_small():
        return [], rules.fastest
    plane = Plane(*middle(night.ra[rows], night.dec[rows]))
    x, y = plane.project(night.ra[rows], night.dec[rows])
    linked = link(
        LoosePoints(
            frame=night.frame[rows], t=night.hours[rows], x=x, y=y, sigma=body_sigma(night, rows, scatter)
        ),
        n_frames=night.n_frames,
        fastest=rules.fastest,
        area=night.area,
        plane=plane,
        footprints=night.footprints,
    )
    bodies = [
        MovingBody(
            rows=rows[one.rows],
            plane=plane,
            line=one.line,
            n_frames=one.n_frames,
            false_alarm=one.false_alarm,
        )
        for one in linked.tracklets
    ]
    return [body for body in bodies if not is_no_body(night, body.rows, body.line.rate)], linked.fastest


def _whole(
    night: FieldNight, bodies: list[MovingBody], loose: NDArray[np.bool_], scatter: StaticScatter
) -> tuple[MovingBody, ...]:
    """Return the bodies with what lies loose on their lines; no detection is in two of them."""
    loose = loose.copy()
    for body in bodies:
        loose[body.rows] = False
    whole = []
    for body in bodies:
        # What was put to it may not belong to it, and then says nothing against it.
        for one in (extended(night, body, loose, scatter), body):
            if convinces(night, one, scatter):
                loose[one.rows] = False
                whole.append(one)
                break
    return tuple(sorted(whole, key=lambda body: int(body.rows[0])))


def _give_up(source: NDArray[np.intp], bodies: tuple[MovingBody, ...], n_known: int) -> None:
    """Take the detections of bodies from their sources, and new sources that were pieces of a track apart."""
    before = np.bincount(source[source != NONE], minlength=n_known + 1)
    for body in bodies:
        source[body.rows] = NONE
    after = np.bincount(source[source != NONE], minlength=len(before))
    pieces = np.flatnonzero(after <= 0.5 * before)
    pieces = pieces[(pieces >= n_known) & (before[pieces] > 0)]
    source[np.isin(source, pieces)] = NONE


def _add_single(
    night: FieldNight,
    source: NDArray[np.intp],
    bodies: tuple[MovingBody, ...],
    coverage: NDArray[np.intp],
    n_known: int,
) -> None:
    """Make sources of single detections where too few frames covered the place to ask for a second one."""
    single = (source == NONE) & ((night.flags & DOUBTFUL) == 0) & (coverage < _TOO_FEW_TO_JUDGE)
    for body in bodies:
        single[body.rows] = False
    first = max(n_known, int(source.max(initial=NONE)) + 1)
    source[single] = first + np.arange(int(single.sum()))


def _renumber(source: NDArray[np.intp], n_known: int) -> int:
    """Number the new sources by their first detection; return how many there are."""
    rows = np.flatnonzero(source >= n_known)
    old, first, inverse = np.unique(source[rows], return_index=True, return_inverse=True)
    order = np.empty(len(old), np.intp)
    order[np.argsort(first)] = np.arange(len(old))
    source[rows] = n_known + order[inverse]
    return len(old)


def _places(
    night: FieldNight, known: KnownSources, source: NDArray[np.intp], n_new: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the median place of each source's detections; the known one where there is none."""
    ra = np.concatenate([known.ra, np.full(n_new, np.nan)])
    dec = np.concatenate([known.dec, np.full(n_new, np.nan)])
    order = np.argsort(source, kind="stable")
    order = order[source[order] != NONE]
    if len(order):
        for rows in np.split(order, np.flatnonzero(np.diff(source[order])) + 1):
            ra[source[rows[0]]], dec[source[rows[0]]] = middle(night.ra[rows], night.dec[rows])
    return ra, dec


def _ambiguous(
    night: FieldNight, source: NDArray[np.intp], ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which associated detections could have gone elsewhere, or have a rival on their frame."""
    placed = np.flatnonzero(np.isfinite(ra))
    if not len(placed) or not len(night):
        return np.zeros(len(night), bool)
    tree = cKDTree(unit_vectors(ra[placed], dec[placed]))
    vectors = unit_vectors(night.ra, night.dec)
    reach = chords(night.reach)
    several = tree.query_ball_point(vectors, reach, return_length=True) > 1
    distance, nearest = tree.query(vectors)
    # Whatever lies within reach of a source but is not its detection is the rival of the one that is.
    rival = (distance <= reach) & (placed[nearest] != source)
    # A frame and a source in one number, which 32 bits do not hold in a large night.
    of_frame = night.frame.astype(np.int64) * (len(ra) + 1)
    contested = np.unique(of_frame[rival] + placed[nearest[rival]])
    shared = np.isin(of_frame + source, contested)
    return (source != NONE) & (several | shared)
