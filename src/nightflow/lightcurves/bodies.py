"""Bodies that move against the stars: slow ones inside clusters, and the pieces of one body put together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.lightcurves.cluster import middle
from nightflow.lightcurves.field_night import FieldNight, Rules
from nightflow.lightcurves.motion import Line, Plane, fit_line
from nightflow.lightcurves.static_scatter import StaticScatter, axis_scatter
from nightflow.lightcurves.tracklets import MOST_BY_CHANCE, MOST_MISSES, chance_lines, widest_tolerance

__all__ = [
    "MovingBody",
    "body_sigma",
    "concluded",
    "convinces",
    "crawler",
    "extended",
    "is_no_body",
    "joined",
]

FEWEST = 4
"""Detections of a body."""
_SIGNIFICANT = 5.0
_TOLERANCE = 4.0
"""Sigma within which a detection is on a line."""
_SHARP = 0.7
"""Of the frame's FWHM; what is sharper and keeps its pixel is a defect of the chip."""
_SAME_PIXEL = 1.0
_BLURRED = 1.5
"""Of the frame's FWHM."""
_WITH_THE_CHIP = 0.2
"""Path on the chip over that on the sky, both in pixels, below which something follows the pixels."""
_FOLLOWED = 0.9
"""Of the frames that covered it, on which a body that the telescope follows is."""
_OFF_THE_LINE, _OFF_PIXELS = 1.5, 0.5
"""In units of the errors, and pixels: what is off its line by more than both does not move on it."""
_LEAST_KEPT = 0.9
"""Part of the detections of two pieces that must lie on their common line."""


@dataclass(frozen=True, kw_only=True)
class MovingBody:
    """A body that moves.

    Attributes
    ----------
    rows : ndarray of intp, shape (n,)
        Its detections.
    plane : Plane
        On which the line lies.
    line : Line
        Its ``t`` in the hours of the field's night.
    n_frames : int
        Frames that covered its place, from its first to its last detection.
    false_alarm : float
        How many lines like it unrelated detections would make in the field's night.
    """

    rows: NDArray[np.intp]
    plane: Plane
    line: Line
    n_frames: int
    false_alarm: float


def crawler(
    night: FieldNight, rows: NDArray[np.intp], scatter: StaticScatter, rules: Rules, n_clusters: int
) -> MovingBody | None:
    """Return a cluster as a body; None where its places are those of something that stands."""
    rows = rows[night.well_placed(rows)]
    hours = night.hours[rows]
    if len(rows) < FEWEST or np.ptp(hours) == 0.0:
        return None
    plane = Plane(*middle(night.ra[rows], night.dec[rows]))
    x, y = plane.project(night.ra[rows], night.dec[rows])
    typical = float(np.median(scatter.at(night.mag[rows])))
    if axis_scatter(x, y) < 2.0 * typical:
        return None
    wide = scatter.widened(rules.trailing)
    line = fit_line(hours, x, y, body_sigma(night, rows, wide))
    kept = rows[line.kept]
    false_alarm = n_clusters * line.chance
    moves = _moves(night, kept, line, wide) and line.rate * float(np.ptp(hours[line.kept])) > rules.radius
    if not moves or false_alarm >= MOST_BY_CHANCE or is_no_body(night, kept, line.rate):
        return None
    n_frames = _crossed(night, kept, plane, line)
    return MovingBody(rows=kept, plane=plane, line=line, n_frames=n_frames, false_alarm=false_alarm)


def _moves(night: FieldNight, rows: NDArray[np.intp], line: Line, scatter: StaticScatter) -> bool:
    """Return whether a line says that something moves on it."""
    typical = _typical_error(night, rows, scatter)
    return (
        len(rows) >= FEWEST
        and line.rate > _SIGNIFICANT * line.rate_err
        and line.rate * float(np.ptp(night.hours[rows])) > _SIGNIFICANT * typical
        and line.rms < 2.0 * np.sqrt(2.0) * typical
    )


def _typical_error(night: FieldNight, rows: NDArray[np.intp], scatter: StaticScatter) -> float:
    """Return the error of these places along each axis, arcsec."""
    # What neighbours may pull makes no line a good one: two stars seen by turns would lie on it.
    return float(np.median(np.hypot(scatter.at(night.mag[rows]), night.position_err[rows])))


def convinces(night: FieldNight, body: MovingBody, scatter: StaticScatter) -> bool:
    """Return whether a body, with all that was put to it, still is one.

    Parameters
    ----------
    night : FieldNight
    body : MovingBody
    scatter : StaticScatter
    """
    moves = _moves(night, body.rows, body.line, scatter)
    if not moves or is_no_body(night, body.rows, body.line.rate):
        return False
    return not _is_of_the_chip(night, body, scatter)


def _is_of_the_chip(night: FieldNight, body: MovingBody, scatter: StaticScatter) -> bool:
    """Return whether a body is a patch of warm pixels, under which the sky drifts.

    A body that the telescope follows keeps its place on the chip as well. But it is on nearly all frames, and
    however badly it is followed, its places on the sky are as straight as their errors say. A patch is seen
    where noise lifts it, now one pixel of it and now another.
    """
    rows = body.rows
    on_sky = body.line.rate * float(np.ptp(night.hours[rows])) / night.scale
    on_chip = float(np.hypot(np.ptp(night.x[rows]), np.ptp(night.y[rows])))
    expected = np.sqrt(2.0) * _typical_error(night, rows, scatter)
    return (
        on_chip < _WITH_THE_CHIP * on_sky
        and len(rows) < _FOLLOWED * body.n_frames
        and body.line.rms > max(_OFF_THE_LINE * expected, _OFF_PIXELS * night.scale)
    )


def body_sigma(night: FieldNight, rows: NDArray[np.intp], scatter: StaticScatter) -> NDArray[np.float64]:
    """Return the error of the places of what may be a body, along each axis, arcsec."""
    return np.sqrt(scatter.at(night.mag[rows]) ** 2 + night.position_err[rows] ** 2 + night.pull[rows] ** 2)


def is_no_body(night: FieldNight, rows: NDArray[np.intp], rate: float) -> bool:
    """Return whether detections are of something else.

    One pixel of the chip, under which the sky drifts, is sharper than a star. Stars that merge and part with
    the seeing are blurred, by more than the trail of a body at that rate (arcsec an hour) is.
    """
    sharpness = night.sharpness[rows]
    known = sharpness[np.isfinite(sharpness)]
    if not len(known):
        return False
    typical = float(np.median(known))
    keeps = max(np.ptp(night.x[rows]), np.ptp(night.y[rows])) < _SAME_PIXEL
    trail = rate * float(np.median(night.exposure[rows]))
    return bool((keeps and typical < _SHARP) or typical > _BLURRED * (1.0 + trail))


def joined(
    night: FieldNight, bodies: list[MovingBody], scatter: StaticScatter, radius: float
) -> list[MovingBody]:
    """Return the bodies with those put together that move on one line: gaps had cut it into pieces.

    A piece that a star has pulled off the line, but by less than ``radius``, is the same body, too: its
    places are not used.

    Parameters
    ----------
    night : FieldNight
    bodies : list of MovingBody
    scatter : StaticScatter
    radius : float
        Arcsec.
    """
    left = sorted(bodies, key=lambda body: (-len(body.rows), int(body.rows[0])))
    whole: list[MovingBody] = []
    while left:
        body = left.pop(0)
        # The next piece may fit only after this one has lengthened the line.
        while (found := _first_that_fits(night, body, left, scatter)) is not None:
            number, body = found
            del left[number]
        left = [other for other in left if not _follows(night, body, other, radius)]
        whole.append(body)
    return sorted(whole, key=lambda body: int(body.rows[0]))


def _first_that_fits(
    night: FieldNight, body: MovingBody, others: list[MovingBody], scatter: StaticScatter
) -> tuple[int, MovingBody] | None:
    for number, other in enumerate(others):
        union = _union(night, body, other, scatter)
        if union is not None:
            return number, union
    return None


def _union(
    night: FieldNight, body: MovingBody, other: MovingBody, scatter: StaticScatter
) -> MovingBody | None:
    rows = np.union1d(body.rows, other.rows)
    if len(np.unique(night.frame[rows])) < len(rows):
        return None
    united = _on_line(night, rows, body.plane, scatter, min(body.false_alarm, other.false_alarm))
    enough = len(united.rows) >= _LEAST_KEPT * len(rows)
    sigma = float(np.median(body_sigma(night, rows, scatter)))
    return united if enough and united.line.rms < 2.0 * np.sqrt(2.0) * sigma else None


def _follows(night: FieldNight, body: MovingBody, other: MovingBody, radius: float) -> bool:
    x, y = body.plane.project(night.ra[other.rows], night.dec[other.rows])
    there_x, there_y = body.line.at(night.hours[other.rows])
    return bool((np.hypot(x - there_x, y - there_y) <= radius).all())


def extended(
    night: FieldNight, body: MovingBody, loose: NDArray[np.bool_], scatter: StaticScatter
) -> MovingBody:
    """Return a body with the loose detections that lie on its line, on frames where it had none.

    Parameters
    ----------
    night : FieldNight
    body : MovingBody
    loose : ndarray of bool, shape (n_detections,)
        Detections that belong to nothing.
    scatter : StaticScatter
    """
    candidates = np.flatnonzero(loose)
    if not len(candidates):
        return body
    a_frame = len(candidates) / len(np.unique(night.frame[candidates]))
    candidates = candidates[~np.isin(night.frame[candidates], night.frame[body.rows])]
    x, y = body.plane.project(night.ra[candidates], night.dec[candidates])
    there_x, there_y = body.line.at(night.hours[candidates])
    distance = np.hypot(x - there_x, y - there_y)
    error = np.hypot(body.line.error_at(night.hours[candidates]), body_sigma(night, candidates, scatter))
    tolerance = _TOLERANCE * error
    near = np.flatnonzero((distance <= tolerance) & (tolerance <= widest_tolerance(a_frame / night.area)))
    near = near[np.lexsort((candidates[near], distance[near]))]
    _, first = np.unique(night.frame[candidates[near]], return_index=True)
    more = _followed(night, body, candidates[near[first]])
    if not len(more):
        return body
    return _on_line(night, np.union1d(body.rows, more), body.plane, scatter, body.false_alarm)


def _followed(night: FieldNight, body: MovingBody, more: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return which of these, one a frame, are not beyond a gap over which no line is followed."""
    own = night.frame[body.rows]
    frames = np.union1d(own, night.frame[more])
    covered = _covered(night, body.plane, body.line, np.arange(night.n_frames))
    covered[frames] = True
    gap = np.diff(np.cumsum(covered)[frames]) > MOST_MISSES + 1
    piece = np.concatenate([[0], np.cumsum(gap)])
    first, last = piece[np.searchsorted(frames, [own.min(), own.max()])]
    of_more = piece[np.searchsorted(frames, night.frame[more])]
    return more[(first <= of_more) & (of_more <= last)]


def concluded(night: FieldNight, body: MovingBody, n_loose: int, scatter: StaticScatter) -> MovingBody:
    """Return a body as it follows from its own detections alone, however they were found.

    Parameters
    ----------
    night : FieldNight
    body : MovingBody
    n_loose : int
        Detections of the night that belong to nothing.
    scatter : StaticScatter
    """
    plane = Plane(*middle(night.ra[body.rows], night.dec[body.rows]))
    final = _on_line(night, body.rows, plane, scatter, body.false_alarm)
    a_frame = n_loose / night.n_frames
    sigma = float(np.median(body_sigma(night, final.rows, scatter)))
    chance = chance_lines(n_loose * a_frame, a_frame / night.area, sigma, len(final.rows), final.n_frames)
    return replace(final, false_alarm=chance)


def _on_line(
    night: FieldNight, rows: NDArray[np.intp], plane: Plane, scatter: StaticScatter, false_alarm: float
) -> MovingBody:
    x, y = plane.project(night.ra[rows], night.dec[rows])
    line = fit_line(night.hours[rows], x, y, body_sigma(night, rows, scatter))
    kept = rows[line.kept]
    return MovingBody(
        rows=kept,
        plane=plane,
        line=line,
        n_frames=_crossed(night, kept, plane, line),
        false_alarm=false_alarm,
    )


def _crossed(night: FieldNight, rows: NDArray[np.intp], plane: Plane, line: Line) -> int:
    """Return how many frames covered a line from the first to the last of its detections."""
    frames = night.frame[rows]
    some = np.arange(int(frames.min()), int(frames.max()) + 1)
    covered = _covered(night, plane, line, some)
    covered[frames - some[0]] = True
    return int(np.count_nonzero(covered))


def _covered(night: FieldNight, plane: Plane, line: Line, frames: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which of these frames cover the place that a line has at their time."""
    if night.footprints is None:
        return np.ones(len(frames), bool)
    return night.footprints.covers(frames, plane.vectors(*line.at(night.footprints.hours[frames])))
