"""What a night's zero points say of the air: extinction, transparency, and what to expect of a frame.

A frame's zero point is Z - k X - cloud: Z above the atmosphere, k the extinction, X the airmass, and grey
cloud that is never below zero. Cloud that comes while a field sinks looks like extinction. So k is taken
from the frames on the upper envelope alone (iterated one-sided clipping, as for a continuum), and only where
at least half of the frames lie on it, over a range of airmass, and no further from the line than a
photometric sky leaves them. A drift in time that airmass does not follow is looked for, and counts as an
error. What no fit can tell is cloud that grows in step with airmass alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.robust import robust_sigma

__all__ = ["Air", "Expectation", "expect_zero_point", "solve_air"]

Array = NDArray[np.float64]

_FEWEST = 5
_LEAST_RANGE = 0.25
"""Of airmass, from the lowest to the highest clear frame."""
_LEAST_CLEAR = 0.5
_UNSTEADY = 0.02
"""Scatter of the clear frames about the line, magnitudes, from which the night was not photometric."""
_THINNEST = 5e-4
"""Magnitudes, where the envelope is first looked for."""
_WIDTH = 2.5
"""Half the width of the envelope in sigmas."""
_ABOVE = 0.03
"""Share of the frames that may lie above it: errors, for nothing makes the sky clearer than clear."""
_SMALLEST = 0.002
"""Magnitudes: frames scatter by that much in the best of nights."""
_PLAUSIBLE = (-0.02, 1.5)
_SPELL = 0.5
"""Hours for which the transparency stays about what it is."""
_PARTS = 4
_UNCERTAIN = 0.02
"""Error of the extinction from which it is none, magnitudes per airmass."""
_SAME = 0.95
"""Correlation of time and airmass from which the two cannot be told apart."""


@dataclass(frozen=True, kw_only=True)
class Air:
    """The air of a night in one filter.

    Attributes
    ----------
    zero_point : float
        Above the atmosphere; the median of the frames where there is no extinction.
    extinction : float or None
        Magnitudes per airmass; None where the night does not tell, with the reason in ``reason``.
    covariance : ndarray of float64, shape (2, 2)
        Of both; zeros where there is no extinction but for the first.
    clear : ndarray of bool, shape (n,)
        Frames on the upper envelope; all False without an extinction.
    loss : ndarray of float64, shape (n,)
        Magnitudes by which each frame lies below the line.
    scatter : float
        Of ``loss``: what the transparency does from frame to frame.
    reason : str
        Why there is no extinction, or what makes it uncertain; "" where nothing does.
    """

    zero_point: float
    extinction: float | None
    covariance: Array
    clear: NDArray[np.bool_]
    loss: Array
    scatter: float
    reason: str = ""

    @property
    def zero_point_error(self) -> float:
        """1 sigma of ``zero_point``."""
        return float(np.sqrt(self.covariance[0, 0]))

    @property
    def extinction_error(self) -> float | None:
        """1 sigma of ``extinction``."""
        return None if self.extinction is None else float(np.sqrt(self.covariance[1, 1]))


@dataclass(frozen=True)
class Expectation:
    """The zero point that a frame should have, and 1 sigma of it."""

    zero_point: float
    error: float


def solve_air(zero_points: Array, covariance: Array, airmass: Array, hours: Array) -> Air:
    """Return the air of a night.

    Parameters
    ----------
    zero_points : ndarray of float64, shape (n,)
        Of the frames, all at the same colour.
    covariance : ndarray of float64, shape (n, n)
        Of their errors; what they have in common does not touch the extinction.
    airmass : ndarray of float64, shape (n,)
        NaN where unknown.
    hours : ndarray of float64, shape (n,)
        Time from any moment.
    """
    known = np.isfinite(airmass)
    if np.count_nonzero(known) < _FEWEST:
        return _without(zero_points, covariance, f"{np.count_nonzero(known)} frames of known airmass")
    if np.ptp(airmass[known]) < _LEAST_RANGE:
        return _without(zero_points, covariance, f"the airmass changes by {np.ptp(airmass[known]):.2f} only")
    clear = known.copy()
    clear[known] = _envelope(zero_points[known], airmass[known], _own_error(covariance))
    reason = _unfit(airmass, clear, known)
    if reason:
        return _without(zero_points, covariance, reason)
    return _on_line(zero_points, covariance, airmass, hours, clear)


def expect_zero_point(air: Air, airmass: float | None) -> Expectation:
    """Return the zero point to expect of a frame of the same night that has too few stars of its own.

    Its error holds what the transparency does from frame to frame, for nothing on the frame can tell.

    Parameters
    ----------
    air : Air
    airmass : float or None
        None or NaN where unknown: then the extinction's whole range is in the error.
    """
    # Cloud is as likely on this frame as on the others.
    middle = air.zero_point - float(np.nanmedian(air.loss))
    if air.extinction is None:
        return Expectation(middle, float(np.hypot(air.scatter, air.zero_point_error)))
    known = airmass is not None and np.isfinite(airmass)
    column = np.array([1.0, -airmass if known and airmass is not None else -1.5])
    of_line = float(column @ air.covariance @ column)
    unknown = 0.0 if known else air.extinction
    return Expectation(
        middle + float(column[1]) * air.extinction, float(np.sqrt(air.scatter**2 + of_line + unknown**2))
    )


def _own_error(covariance: Array) -> float:
    """Return a frame's typical error beside what all frames have in common."""
    variance = np.diag(covariance) - np.mean(covariance)
    return float(np.sqrt(max(np.median(variance), _THINNEST**2)))


def _envelope(zero_points: Array, airmass: Array, noise: float) -> NDArray[np.bool_]:
    """Return the frames on the upper envelope: the line with most frames on it and next to none above.

    Lines of all plausible slopes are tried, first as thin as the frames' own errors, then thicker until half
    of the frames lie on one: so it is the sky's own scatter that decides, and nothing random.
    """
    best = np.zeros(len(zero_points), bool)
    for thickness in noise * 1.5 ** np.arange(20):
        if thickness > max(_UNSTEADY, noise):
            break
        best = _most_on_a_line(zero_points, airmass, float(thickness))
        if best.mean() >= _LEAST_CLEAR:
            return _near_the_line(zero_points, airmass, best, 2 * _WIDTH * float(thickness))
    return best


def _near_the_line(
    zero_points: Array, airmass: Array, on: NDArray[np.bool_], reach: float
) -> NDArray[np.bool_]:
    """Return the frames near the line through some of them, which may be a part of the noise only."""
    slope, level = np.polyfit(airmass[on], zero_points[on], 1)
    return np.asarray(np.abs(zero_points - level - slope * airmass) < reach)


def _most_on_a_line(zero_points: Array, airmass: Array, thickness: float) -> NDArray[np.bool_]:
    width = 2 * _WIDTH * thickness
    step = max(thickness / max(float(np.ptp(airmass)), _LEAST_RANGE), 1e-3)
    slopes = np.arange(_PLAUSIBLE[0], _PLAUSIBLE[1], step)
    level = zero_points + slopes[:, None] * airmass
    falling = -np.sort(-level, axis=1)
    best, most = (0, 0), 0
    for above in range(int(_ABOVE * len(airmass)) + 1):
        top = falling[:, above : above + 1]
        counts = np.count_nonzero(falling > top - width, axis=1) - above
        row = int(np.argmax(counts))
        if counts[row] > most:
            best, most = (row, above), int(counts[row])
    row, above = best
    top = falling[row, above]
    return np.asarray((level[row] <= top) & (level[row] > top - width))


def _unfit(airmass: Array, clear: NDArray[np.bool_], known: NDArray[np.bool_]) -> str:
    """Return why these frames give no extinction, "" where they do."""
    share = clear.sum() / known.sum()
    if clear.sum() < _FEWEST or share < _LEAST_CLEAR:
        return f"{clear.sum()} of {known.sum()} frames are clear: not photometric"
    if np.ptp(airmass[clear]) < _LEAST_RANGE:
        return f"the airmass of the clear frames changes by {np.ptp(airmass[clear]):.2f} only"
    return ""


def _on_line(
    zero_points: Array, covariance: Array, airmass: Array, hours: Array, clear: NDArray[np.bool_]
) -> Air:
    design = np.column_stack([np.ones(clear.sum()), -airmass[clear]])
    values, errors = zero_points[clear], covariance[np.ix_(clear, clear)]
    (line, formal), steadiness = _generalised(design, values, errors)
    if steadiness > _UNSTEADY:
        return _without(
            zero_points, covariance, f"clear frames scatter by {steadiness:.3f} mag: not photometric"
        )
    if not _PLAUSIBLE[0] <= line[1] <= _PLAUSIBLE[1]:
        return _without(
            zero_points, covariance, f"{line[1]:.2f} mag per airmass is no extinction: not photometric"
        )
    reason, shift = _drift(design, values, errors, hours[clear], float(line[1]))
    shift = max(shift, _by_parts_of_the_night(design, values, errors))
    plain = np.linalg.pinv(design.T @ np.linalg.pinv(errors) @ design)
    formal = plain + (formal - plain) * _memory(values - design @ line, hours[clear])
    formal = formal + np.outer([np.mean(airmass[clear]), 1.0], [np.mean(airmass[clear]), 1.0]) * max(
        shift**2 - formal[1, 1], 0.0
    )
    if formal[1, 1] > _UNCERTAIN**2:
        return _without(
            zero_points,
            covariance,
            f"extinction {line[1]:.3f} +- {np.sqrt(formal[1, 1]):.3f}: not photometric",
        )
    loss = line[0] - line[1] * np.where(np.isfinite(airmass), airmass, np.nan) - zero_points
    return Air(
        zero_point=float(line[0]),
        extinction=float(line[1]),
        covariance=formal,
        clear=clear,
        loss=loss,
        scatter=_spread(loss),
        reason=reason,
    )


def _generalised(design: Array, values: Array, errors: Array) -> tuple[tuple[Array, Array], float]:
    """Return coefficients with covariance by generalised least squares, and the scatter that was added."""
    freedom = len(values) - design.shape[1]
    low, high = 0.0, max(float(np.std(values)), _SMALLEST)
    for _ in range(25):
        middle = 0.5 * (low + high)
        inverse = np.linalg.pinv(errors + (middle**2 + 1e-10) * np.eye(len(values)))
        normal = np.linalg.pinv(design.T @ inverse @ design)
        line = normal @ design.T @ inverse @ values
        residual = values - design @ line
        low, high = (middle, high) if residual @ inverse @ residual > freedom else (low, middle)
    return (line, normal * (1 + 2 / freedom)), high


def _memory(residual: Array, hours: Array) -> float:
    """Return by how much the variances that the sky causes grow because frames that follow each other are
    off alike.

    The effective number of points of a series with correlation rho from one to the next is (1 - rho) / (1 +
    rho) times theirs (Bartlett 1946); and no more than one in half an hour, within which thin cloud changes
    little.
    """
    total = float(residual @ residual)
    rho = float(residual[1:] @ residual[:-1]) / total if total > 0 else 0.0
    rho = min(max(rho, 0.0), 0.95)
    spells = float(np.ptp(hours)) / _SPELL + 1
    return max((1 + rho) / (1 - rho), len(residual) / spells)


def _by_parts_of_the_night(design: Array, values: Array, errors: Array) -> float:
    """Return the error of the extinction by leaving out each quarter of the night in turn.

    The delete-a-group jackknife (Shao & Tu 1995, ch. 2.3): what is off for an hour is off in one of them.
    """
    if len(values) < 2 * _PARTS:
        return 0.0
    part = np.arange(len(values)) * _PARTS // len(values)
    slopes = []
    for one in range(_PARTS):
        kept = part != one
        (line, _), _ = _generalised(design[kept], values[kept], errors[np.ix_(kept, kept)])
        slopes.append(float(line[1]))
    return float(np.sqrt((_PARTS - 1) / _PARTS * np.sum((np.array(slopes) - np.mean(slopes)) ** 2)))


def _drift(design: Array, values: Array, errors: Array, hours: Array, extinction: float) -> tuple[str, float]:
    """Return what a drift of the transparency in time would do to the extinction, in words and magnitudes."""
    along = float(np.corrcoef(hours, design[:, 1])[0, 1]) if np.ptp(hours) > 0 else 1.0
    if abs(along) > _SAME:
        return "time and airmass go together: a drift of the transparency would not show", 0.0
    if len(values) <= _FEWEST:
        return "", 0.0
    wider = np.column_stack([design, hours - hours.mean()])
    (line, covariance), _ = _generalised(wider, values, errors)
    if abs(line[2]) < 3 * np.sqrt(covariance[2, 2]):
        return "", 0.0
    return f"the transparency drifts by {line[2]:+.4f} mag an hour", abs(float(line[1]) - extinction)


def _without(zero_points: Array, covariance: Array, reason: str) -> Air:
    middle = float(np.median(zero_points))
    scatter = _spread(middle - zero_points)
    variance = float(np.mean(covariance)) + np.pi / 2 * scatter**2 / len(zero_points)
    return Air(
        zero_point=middle,
        extinction=None,
        covariance=np.diag([variance, 0.0]),
        clear=np.zeros(len(zero_points), bool),
        loss=middle - zero_points,
        scatter=scatter,
        reason=reason,
    )


def _spread(loss: Array) -> float:
    """Return the scatter of the frames: cloud has a tail, which must not be clipped, nor rule alone."""
    known = loss[np.isfinite(loss)]
    low, high = np.percentile(known, [16, 84])
    few = np.sqrt(1 + 2 / max(len(known) - 1, 1))
    return float(few * max(robust_sigma(known), 0.5 * (high - low), _SMALLEST))
