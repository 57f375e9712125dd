"""Bodies too fast to cluster: straight lines through detections that belong to no source.

Two detections of different frames say where a third must be; where it is, the line grows frame by frame. What
unrelated detections would make of the same frames by chance is counted, and a line must be far beyond it.
The idea of linking pairs is that of, e.g., Kubica et al. 2007 (Icarus 189, 151).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import binom

from nightflow.lightcurves.footprints import Footprints
from nightflow.lightcurves.motion import PARALLAX, Line, Plane, fit_line

__all__ = [
    "MOST_BY_CHANCE",
    "MOST_MISSES",
    "Linked",
    "LoosePoints",
    "Tracklet",
    "chance_lines",
    "link",
    "widest_tolerance",
]

_AHEAD = 8
"""Frames between the two detections of a pair, at most: of all, or of those of the first one's pointing."""
_TOLERANCE = 4.0
"""Sigma within which a detection is on a line."""
_MOST_PAIRS = 3_000_000
_LIKELY = 0.1
"""Unrelated detections to expect where a line may be, beyond which one there says nothing of the line."""
_FITTED_EACH = 12
"""Detections up to which a line is fitted anew for each; then when they are a tenth more."""
_FEWEST = 4
"""Frames that a body must be seen on."""
MOST_MISSES = 12
"""Frames in a row that covered a line's place and have nothing there, beyond which it is not followed to that
side: most lines are of chance. A body that is seen again later comes in two pieces, which are joined."""
_LEAST_SHARE = 0.5
"""Of the frames between the two of a pair, that covered the place, how many must confirm it."""
_LEAST_MOTION = 5.0
"""Sigma that a body must move between its first and last detection."""
MOST_BY_CHANCE = 1e-3
"""Lines as good as the accepted one that chance would make in the field's night."""


@dataclass(frozen=True, kw_only=True)
class LoosePoints:
    """Detections on the tangent plane; columns of equal length n.

    Attributes
    ----------
    frame : ndarray of int, shape (n,)
        Index into the frames in the order of time.
    t : ndarray of float64, shape (n,)
        Hours.
    x, y : ndarray of float64, shape (n,)
        Arcsec.
    sigma : ndarray of float64, shape (n,)
        Error along each axis, arcsec.
    """

    frame: NDArray[np.integer]
    t: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    sigma: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.t)


@dataclass(frozen=True, kw_only=True)
class Tracklet:
    """Detections of one body.

    Attributes
    ----------
    rows : ndarray of intp, shape (n,)
        Of the points, in the order of time.
    line : Line
    n_frames : int
        Frames that covered the body's place, from the first to the last of them.
    false_alarm : float
        How many lines as good chance would make in the field's night.
    """

    rows: NDArray[np.intp]
    line: Line
    n_frames: int
    false_alarm: float


@dataclass(frozen=True, kw_only=True)
class Linked:
    """What was found of bodies, and what was looked for.

    Attributes
    ----------
    tracklets : tuple of Tracklet
        The longest first; no detection is in two of them.
    fastest : float
        Arcsec an hour up to which pairs were looked at: less than was asked for where there are too many.
    """

    tracklets: tuple[Tracklet, ...]
    fastest: float


def link(
    points: LoosePoints,
    *,
    n_frames: int,
    fastest: float,
    area: float,
    plane: Plane | None = None,
    footprints: Footprints | None = None,
) -> Linked:
    """Return the bodies among these detections.

    Parameters
    ----------
    points : LoosePoints
        Ordered by time.
    n_frames : int
        Of the field's night, those without a point among them: what they cover and do not show is missed.
    fastest : float
        Arcsec an hour that a body may move.
    area : float
        Of a frame, square arcsec.
    plane : Plane, optional
        On which the detections lie; needed where there are footprints.
    footprints : Footprints, optional
        What each frame covers: one that never saw a place does not count against a body there. Without, each
        covers everything.
    """
    if len(points) < _FEWEST:
        return Linked(tracklets=(), fastest=fastest)
    cover = None if plane is None or footprints is None else _Cover(plane, footprints)
    search = _Search(points, n_frames, fastest, area, cover)
    found: list[Tracklet] = []
    used = np.zeros(len(points), bool)
    for seed in search.seeds():
        if used[seed].any():
            continue
        tracklet = search.grown(seed, used)
        if tracklet is not None:
            used[tracklet.rows] = True
            found.append(tracklet)
    longest = sorted(found, key=lambda one: (-len(one.rows), int(one.rows[0])))
    return Linked(tracklets=tuple(longest), fastest=search.fastest)


def chance_lines(n_pairs: float, density: float, sigma: float, n_hits: int, n_frames: int) -> float:
    """Return how many lines with as many hits unrelated detections would make.

    Parameters
    ----------
    n_pairs : float
        Pairs of detections, each of which could begin a line.
    density : float
        Unrelated detections of a frame in a square arcsec.
    sigma : float
        Error of a place along each axis, arcsec.
    n_hits, n_frames : int
        Detections on the line, and frames from the first to the last of them.
    """
    hit = min(1.0, density * np.pi * (_TOLERANCE * sigma) ** 2)
    # Two of the hits made the line, and chance had no say in where they are.
    return float(max(n_pairs, 1.0) * binom.sf(n_hits - 3, n_frames - 2, hit))


def widest_tolerance(density: float) -> float:
    """Return how uncertain a place may be, arcsec, for a detection there still to say something of the line.

    Lines of unrelated detections are off everywhere: they would gather more and more of them.

    Parameters
    ----------
    density : float
        Unrelated detections of a frame in a square arcsec.
    """
    return float(np.sqrt(_LIKELY / (np.pi * density)))


@dataclass(frozen=True)
class _Cover:
    """Which frames cover which places on the plane."""

    plane: Plane
    footprints: Footprints

    def holds(self, frame: int | NDArray[np.integer], places: NDArray[np.float64]) -> NDArray[np.bool_]:
        return self.footprints.covers(frame, self.plane.vectors(places[..., 0], places[..., 1]))


def _wanted(covered: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return how many detections confirm a pair, of so many frames between that covered its line."""
    # Without one that confirms it a pair is any two detections.
    return np.maximum(np.ceil(_LEAST_SHARE * covered), 1)


class _Search:
    """The frames of a night, each with a tree of its loose points; some have none."""

    def __init__(
        self, points: LoosePoints, n_frames: int, fastest: float, area: float, cover: _Cover | None = None
    ) -> None:
        self.points = points
        self.n_frames = n_frames
        self.area = area
        self.cover = cover
        self.filled = np.unique(points.frame)
        self.times = self._times()
        bounds = np.searchsorted(points.frame, np.arange(n_frames + 1))
        self.rows = [np.arange(first, end) for first, end in pairwise(bounds)]
        self.places = np.column_stack([points.x, points.y])
        self.trees = [cKDTree(self.places[rows]) for rows in self.rows]
        self.density = len(points) / len(self.filled) / area
        self.seconds = [self._seconds(number) for number in range(len(self.filled))]
        self.fastest = self._affordable(fastest)
        self.n_pairs = 0

    def _times(self) -> NDArray[np.float64]:
        """Return when each frame was taken; NaN where neither points nor footprints say so, nor need to."""
        times = np.full(self.n_frames, np.nan) if self.cover is None else self.cover.footprints.hours.copy()
        times[self.points.frame] = self.points.t
        return times

    def _seconds(self, number: int) -> list[int]:
        """Return the frames that may see next what one of those with points sees, ascending.

        They are the next few of all with points and the next few of its pointing, which other pointings may
        have interrupted. The very next is none: nothing could lie between.
        """
        first, later = int(self.filled[number]), self.filled[number + 1 :]
        if self.cover is None:
            return later[1:_AHEAD].tolist()
        footprints = self.cover.footprints
        again = later[footprints.covers(later, footprints.center[first])][:_AHEAD]
        return self._meeting(first, np.union1d(later[:_AHEAD], again)).tolist()

    def _meeting(self, first: int, frames: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return which of these frames may see a part of what one sees."""
        if self.cover is None:
            return frames
        return frames[np.isin(frames, self.cover.footprints.meets(first))]

    def _holds(self, frame: int, places: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which of these places a frame covers."""
        if self.cover is None:
            return np.ones(len(places), bool)
        return self.cover.holds(frame, places)

    def _affordable(self, fastest: float) -> float:
        """Return the rate up to which the pairs can be looked at; more of them find nothing but chance."""
        pairs = 0.0
        for first, seconds in zip(self.filled, self.seconds, strict=True):
            for second in seconds:
                reach = fastest * (self.times[second] - self.times[first])
                common = np.count_nonzero(self._holds(second, self.places[self.rows[first]]))
                pairs += common * len(self.rows[second]) * min(1.0, np.pi * reach**2 / self.area)
        return fastest if pairs <= _MOST_PAIRS else fastest * float(np.sqrt(_MOST_PAIRS / pairs))

    def seeds(self) -> list[NDArray[np.intp]]:
        """Return the pairs with what confirms them between, the best confirmed first."""
        found = [
            seed
            for first, seconds in zip(self.filled.tolist(), self.seconds, strict=True)
            for second in seconds
            for seed in self._confirmed(first, second)
        ]
        return sorted(found, key=lambda rows: (-len(rows), tuple(int(row) for row in rows)))

    def _confirmed(self, first: int, second: int) -> Iterator[NDArray[np.intp]]:
        passed = self.times[second] - self.times[first]
        if passed <= 0:
            return
        pairs = self.trees[first].sparse_distance_matrix(
            self.trees[second], self.fastest * passed, output_type="ndarray"
        )
        self.n_pairs += len(pairs)
        start, end = self.rows[first][pairs["i"]], self.rows[second][pairs["j"]]
        moved = pairs["v"] > _TOLERANCE * np.hypot(self.points.sigma[start], self.points.sigma[end])
        start, end = start[moved], end[moved]
        between = self._meeting(first, np.arange(first + 1, second))
        filled = np.isin(between, self.filled)
        hits = np.full((len(start), int(filled.sum())), -1, np.intp)
        covered = np.zeros(len(start), np.intp)
        for column, frame in enumerate(between[filled].tolist()):
            share = (self.times[frame] - self.times[first]) / passed
            there = (1.0 - share) * self.places[start] + share * self.places[end]
            held = np.flatnonzero(self._holds(frame, there))
            covered[held] += 1
            # A place between two is at least as certain as one of them, but for the bend of the line.
            bend = 0.5 * PARALLAX * passed**2 * share * (1.0 - share)
            tolerance = _TOLERANCE * np.hypot(self.points.sigma[start], self.points.sigma[end]) + bend
            hits[held, column] = self._nearest(frame, there[held], tolerance[held])
        n_hits = (hits >= 0).sum(axis=1)
        enough = np.flatnonzero(n_hits >= _wanted(covered))
        # Of few pairs only it matters on how many frames without any point they were missed.
        for frame in between[~filled].tolist():
            share = (self.times[frame] - self.times[first]) / passed
            there = (1.0 - share) * self.places[start[enough]] + share * self.places[end[enough]]
            covered[enough] += self._holds(frame, there)
        for one in enough[n_hits[enough] >= _wanted(covered[enough])]:
            yield np.array([start[one], *hits[one][hits[one] >= 0], end[one]], np.intp)

    def _nearest(
        self, frame: int, there: NDArray[np.float64], tolerance: NDArray[np.float64]
    ) -> NDArray[np.intp]:
        if not len(there):
            return np.empty(0, np.intp)
        distance, nearest = self.trees[frame].query(there)
        return np.where(distance <= tolerance, self.rows[frame][nearest], -1)

    def grown(self, seed: NDArray[np.intp], used: NDArray[np.bool_]) -> Tracklet | None:
        """Return the body that a seed grows to; None where chance would make as good a line."""
        rows = self._extended(seed, used)
        if len(rows) < _FEWEST:
            return None
        line = self._line(rows)
        rows = rows[line.kept]
        if len(rows) < _FEWEST:
            return None
        n_frames = self._crossed(line, rows)
        sigma = float(np.median(self.points.sigma[rows]))
        false_alarm = chance_lines(self.n_pairs, self.density, sigma, len(rows), n_frames)
        tracklet = Tracklet(rows=rows, line=line, n_frames=n_frames, false_alarm=false_alarm)
        return tracklet if self._moves(tracklet) else None

    def _crossed(self, line: Line, rows: NDArray[np.intp]) -> int:
        """Return how many frames cover a line, from its first to its last detection."""
        own = self.points.frame[rows]
        covered = self._along(line)
        covered[own] = True
        return int(np.count_nonzero(covered[own[0] : own[-1] + 1]))

    def _along(self, line: Line) -> NDArray[np.bool_]:
        """Return which frames cover the place that a line has at their time."""
        if self.cover is None:
            return np.ones(self.n_frames, bool)
        return self.cover.holds(np.arange(self.n_frames), np.column_stack(line.at(self.times)))

    def _extended(self, seed: NDArray[np.intp], used: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the detections on the line, found frame by frame away from the seed."""
        chosen = {int(self.points.frame[row]): int(row) for row in seed}
        high = max(chosen)
        line = self._line(np.array(sorted(chosen.values()), np.intp))
        covered, fitted = self._along(line), len(chosen)
        widest = widest_tolerance(self.density)
        misses = {True: 0, False: 0}
        for frame in self._outward(min(chosen), high):
            later = frame > high
            if min(misses.values()) > MOST_MISSES:
                break
            if frame in chosen or not covered[frame] or misses[later] > MOST_MISSES:
                continue
            misses[later] += 1
            if not len(self.rows[frame]):
                continue
            row = self._met(line, frame, widest)
            if row < 0 or used[row]:
                continue
            chosen[frame] = row
            misses[later] = 0
            if _FITTED_EACH < len(chosen) <= 1.1 * fitted:
                continue
            line = self._line(np.array(sorted(chosen.values()), np.intp))
            covered, fitted = self._along(line), len(chosen)
        return np.array(sorted(chosen.values()), np.intp)

    def _outward(self, low: int, high: int) -> list[int]:
        """Return the frames from two of them outward, those between them first."""
        frames = np.arange(self.n_frames)
        return np.lexsort((frames, np.maximum(np.maximum(low - frames, frames - high), 0))).tolist()

    def _met(self, line: Line, frame: int, widest: float) -> int:
        """Return the detection that a line meets on a frame, -1 for none, or where it may be anywhere."""
        x, y, error = line.place_at(float(self.times[frame]))
        distance, nearest = self.trees[frame].query((x, y))
        row = int(self.rows[frame][nearest])
        tolerance = _TOLERANCE * math.hypot(error, float(self.points.sigma[row]))
        return row if distance <= (tolerance if tolerance <= widest else 0.0) else -1

    def _line(self, rows: NDArray[np.intp]) -> Line:
        points = self.points
        return fit_line(points.t[rows], points.x[rows], points.y[rows], points.sigma[rows])

    def _moves(self, tracklet: Tracklet) -> bool:
        line, rows = tracklet.line, tracklet.rows
        sigma = float(np.median(self.points.sigma[rows]))
        path = line.rate * float(np.ptp(self.points.t[rows]))
        return (
            tracklet.false_alarm < MOST_BY_CHANCE
            and len(rows) >= _LEAST_SHARE * tracklet.n_frames
            and line.rate > _LEAST_MOTION * line.rate_err
            and path > _LEAST_MOTION * sigma
            and line.rms < 2.0 * np.sqrt(2.0) * sigma
        )
