"""All frames of a night at once: zero points, one colour term, extinction, and what the catalogue got wrong.

The model of star i on frame j is

    m_catalogue[i] - m_instrumental[i, j] = z[j] + (c + d (X[j] - X0)) colour[i] + u[i] + noise[i, j]

with the zero points z as free parameters (grey offsets: cloud goes there and nowhere else), one colour term
c, its change d with airmass (second-order extinction), and u, the error of the catalogue's magnitude. That
error is the same on every frame, however many there are: u is a random effect whose variance is the
catalogue's stated one, enlarged until the stars agree (Henderson's mixed-model equations; Pinheiro & Bates
2000, Mixed-Effects Models, ch. 2). So the errors of z, c and Z stay those of the number of stars, while
those of the differences between frames fall with the measurements. Extinction is then read from z
(`nightflow.photcal.extinction`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.photcal.bands import ASSUMED_ERROR, Reference
from nightflow.photcal.colors import StarColors, calibrate_colors, unknown_color_error
from nightflow.photcal.extinction import Air, solve_air
from nightflow.robust import robust_sigma

__all__ = ["NightFrames", "NightSolution", "NightStars", "solve_night"]

Array = NDArray[np.float64]

_CLIP = 4.0
_ROUNDS = 8
_SECOND_ORDER = 0.05
"""1 sigma of second-order extinction before a star is seen; in B it is about -0.03, else less."""
_SECOND_ORDER_KNOWN = 0.01
"""Error to which the night must give it; else it is left at 0."""
_LEAST_RANGE = 0.25
_FLOOR = 1e-3
_SMALLEST = 1e-8
"""Magnitudes squared: no star is without any error."""


@dataclass(frozen=True, kw_only=True)
class NightFrames:
    """The frames of one camera, chip and filter, shape (n_frames,) each.

    Attributes
    ----------
    airmass : ndarray of float64
        NaN where unknown.
    hours : ndarray of float64
        Time from any moment.
    """

    airmass: Array
    hours: Array

    def __len__(self) -> int:
        return len(self.hours)


@dataclass(frozen=True, kw_only=True)
class NightStars:
    """What was measured of the reference stars: n rows, one a star and frame.

    Attributes
    ----------
    frame, star : ndarray of int, shape (n,)
        Rows of the frames and of the reference stars.
    mag, error : ndarray of float64, shape (n,)
        Instrumental magnitude, -2.5 log10 of electrons per second, and its error.
    """

    frame: NDArray[np.intp]
    star: NDArray[np.intp]
    mag: Array
    error: Array

    def take(self, rows: NDArray[np.bool_]) -> NightStars:
        """Return the rows selected by a mask."""
        return NightStars(
            frame=self.frame[rows], star=self.star[rows], mag=self.mag[rows], error=self.error[rows]
        )


@dataclass(frozen=True, kw_only=True)
class NightSolution:
    """A night in one filter of one camera.

    Attributes
    ----------
    zero_point, error : ndarray of float64, shape (n_frames,)
        Of each frame at colour 0, and 1 sigma, what all have in common included; NaN without a star.
    own_error : ndarray of float64, shape (n_frames,)
        Without what all have in common: between frames.
    color_term, color_term_error : float or None
        At airmass ``pivot``; None where most stars' colours are not known.
    color_extinction, color_extinction_error : float or None
        Change of the colour term per airmass; None where the night does not give it to 0.01.
    pivot : float
        Airmass.
    air : Air
        Transparency, and extinction at the mean colour of the stars.
    color : float
        That mean.
    extinction, extinction_error : float or None
        Magnitudes per airmass at ``extinction_color``; None where the night does not tell: ``air.reason``.
    extinction_color : float
        0 where the second order is known, else the mean.
    above, above_error : float or None
        Zero point above the atmosphere, at colour 0.
    star_scatter, noise : float
        What had to be added to the catalogue's errors, and to those of the measurements; magnitudes.
    n_stars, n_measurements : int
        Used.
    rejected : tuple of int
        Stars, by row, that the others disagree with.
    """

    zero_point: Array
    error: Array
    own_error: Array
    color_term: float | None
    color_term_error: float | None
    color_extinction: float | None
    color_extinction_error: float | None
    pivot: float
    air: Air
    color: float
    extinction: float | None
    extinction_error: float | None
    extinction_color: float
    above: float | None
    above_error: float | None
    star_scatter: float
    noise: float
    n_stars: int
    n_measurements: int
    rejected: tuple[int, ...]

    def color_term_at(self, airmass: float | None) -> tuple[float, float] | None:
        """Return the colour term at an airmass and 1 sigma, or None; at the pivot where that is unknown."""
        if self.color_term is None or self.color_term_error is None:
            return None
        off = (airmass if airmass is not None and np.isfinite(airmass) else self.pivot) - self.pivot
        second, second_error = self.color_extinction or 0.0, self.color_extinction_error or 0.0
        return self.color_term + off * second, float(np.hypot(self.color_term_error, off * second_error))


@dataclass(frozen=True)
class _Model:
    """The mixed model: k fixed effects (frames first, then colour columns), one random effect a star."""

    rows: NightStars
    values: Array
    columns: Array
    n_frames: int
    prior: Array

    def solve(self, noise: float, star_variance: Array) -> _Solved:
        """Solve Henderson's equations by eliminating the stars, whose block is diagonal."""
        rows, n_stars = self.rows, len(star_variance)
        weight = 1 / (rows.error**2 + noise**2)
        fixed = self.n_frames + self.columns.shape[1]
        between = np.zeros((fixed, n_stars))
        np.add.at(between, (rows.frame, rows.star), weight)
        own = np.bincount(rows.star, weight, n_stars)
        right_star = np.bincount(rows.star, weight * self.values, n_stars)
        right = np.zeros(fixed)
        right[: self.n_frames] = np.bincount(rows.frame, weight * self.values, self.n_frames)
        normal = np.zeros((fixed, fixed))
        frames = np.arange(self.n_frames)
        normal[frames, frames] = np.bincount(rows.frame, weight, self.n_frames)
        for number, column in enumerate(self.columns.T):
            k = self.n_frames + number
            between[k] = np.bincount(rows.star, weight * column, n_stars)
            right[k] = float(np.sum(weight * column * self.values))
            normal[k, : self.n_frames] = np.bincount(rows.frame, weight * column, self.n_frames)
            normal[: self.n_frames, k] = normal[k, : self.n_frames]
            for other, second in enumerate(self.columns.T):
                normal[k, self.n_frames + other] = float(np.sum(weight * column * second))
        normal[np.diag_indices(fixed)] += self.prior
        inverse_star = 1 / (own + 1 / star_variance)
        covariance = np.linalg.pinv(normal - (between * inverse_star) @ between.T, hermitian=True)
        effects = covariance @ (right - between @ (inverse_star * right_star))
        stars = inverse_star * (right_star - between.T @ effects)
        model = effects[rows.frame] + self.columns @ effects[self.n_frames :]
        return _Solved(
            effects, np.asarray(covariance, np.float64), stars, self.values - model - stars[rows.star], weight
        )


@dataclass(frozen=True)
class _Solved:
    effects: Array
    covariance: Array
    stars: Array
    residual: Array
    weight: Array


def solve_night(
    frames: NightFrames,
    rows: NightStars,
    reference: Reference,
    *,
    color_prior: float = 0.1,
    with_color: bool = True,
) -> NightSolution | None:
    """Return the solution of a night, or None where no star was measured.

    Parameters
    ----------
    frames : NightFrames
    rows : NightStars
        Measurements that may serve; a few wrong ones are clipped, and stars that the others disagree with.
    reference : Reference
        Of the stars: magnitudes, colours, their errors.
    color_prior : float
        1 sigma of the colour term, about 0, before a star is seen.
    with_color : bool
        Whether a colour term is wanted. Without one, wanted or not, the errors at colour 0 hold what is not
        known of it.
    """
    rows = rows.take(np.isfinite(rows.mag) & np.isfinite(rows.error) & np.isfinite(reference.mag[rows.star]))
    if not len(rows.mag):
        return None
    used = np.zeros(len(reference.mag), bool)
    used[rows.star] = True
    known = calibrate_colors(reference.color, reference.color_variance, reference.covariance, used)
    colors = known if with_color else None
    wrong = _wrong_stars(frames, rows, reference, colors)
    rows = rows.take(~wrong[rows.star])
    found = _solve(frames, rows, reference, colors, color_prior, tuple(np.flatnonzero(wrong).tolist()))
    return found if colors is not None else _open(found, unknown_color_error(color_prior, known))


def _open(found: NightSolution, unknown: float) -> NightSolution:
    """Return a solution without a colour term, with its error at colour 0."""
    above = None if found.above_error is None else float(np.hypot(found.above_error, unknown))
    return replace(found, error=np.hypot(found.error, unknown), above_error=above)


def _wrong_stars(
    frames: NightFrames, rows: NightStars, reference: Reference, colors: StarColors | None
) -> NDArray[np.bool_]:
    """Return stars whose catalogue magnitude is off by more than the others allow; by medians alone."""
    values = reference.mag[rows.star] - rows.mag
    offset = np.zeros(len(reference.mag))
    for _ in range(5):
        level = _medians(values - offset[rows.star], rows.frame, len(frames))
        offset = np.nan_to_num(_medians(values - level[rows.frame], rows.star, len(offset)))
    seen = np.bincount(rows.star, minlength=len(offset)) > 0
    if colors is not None and seen.sum() > 10:
        slope = np.polyfit(colors.value[seen], offset[seen], 1)
        offset = offset - np.polyval(slope, colors.value)
    sigma = np.hypot(max(robust_sigma(offset[seen]), _FLOOR), reference.error)
    return seen & (np.abs(offset - np.median(offset[seen])) > _CLIP * sigma)


def _medians(values: Array, group: NDArray[np.intp], count: int) -> Array:
    """Return the median of each group, NaN of an empty one."""
    out = np.full(count, np.nan)
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(count + 1))
    for number in np.flatnonzero(np.diff(bounds)):
        out[number] = np.median(values[order[bounds[number] : bounds[number + 1]]])
    return out


def _solve(
    frames: NightFrames,
    rows: NightStars,
    reference: Reference,
    colors: StarColors | None,
    color_prior: float,
    rejected: tuple[int, ...],
) -> NightSolution:
    shift, color = np.zeros(len(reference.mag)), np.zeros(len(reference.mag))
    if colors is not None:
        shift, color = colors.magnitude_error, colors.value
    pivot = float(np.nanmean(frames.airmass)) if np.isfinite(frames.airmass).any() else 1.0
    order = _orders(frames, colors)
    mean = 0.0 if colors is None else float(np.mean(color[np.unique(rows.star)]))
    # Colours about their mean, so that frames without many stars do not lean on the colour term.
    airmass = np.nan_to_num(frames.airmass - pivot)[rows.frame]
    columns = [color[rows.star] - mean, (color[rows.star] - mean) * airmass][:order]
    prior = np.array([color_prior**-2, _SECOND_ORDER**-2][:order])
    model = _Model(
        rows,
        reference.mag[rows.star] - shift[rows.star] - rows.mag,
        np.column_stack(columns) if columns else np.empty((len(rows.mag), 0)),
        len(frames),
        np.concatenate([np.zeros(len(frames)), prior]),
    )
    solved, noise, extra, model = _variances(model, reference, colors, color_prior)
    if order == 2 and np.sqrt(solved.covariance[-1, -1]) > _SECOND_ORDER_KNOWN:
        model = _Model(model.rows, model.values, model.columns[:, :1], model.n_frames, model.prior[:-1])
        solved, noise, extra, model = _variances(model, reference, colors, color_prior)
        order = 1
    return _described(frames, model, solved, noise, extra, order, mean, pivot, colors, reference, rejected)


def _orders(frames: NightFrames, colors: StarColors | None) -> int:
    """Return how many colour columns there are: none, the term, the term and its change with airmass."""
    if colors is None:
        return 0
    known = frames.airmass[np.isfinite(frames.airmass)]
    return 2 if len(known) == len(frames) and len(known) > 1 and np.ptp(known) >= _LEAST_RANGE else 1


def _variances(
    model: _Model, reference: Reference, colors: StarColors | None, color_prior: float
) -> tuple[_Solved, float, float, _Model]:
    """Find what must be added to both errors, clipping single measurements on the way.

    Each variance is brought to where its sum of squares is what it should be: within stars, and between them.
    """
    noise, extra = 0.0, 0.0
    stated = _star_variance(reference, colors, 0.0, color_prior)
    for _ in range(_ROUNDS):
        solved = model.solve(noise, stated + extra**2 + _SMALLEST)
        sigma = np.maximum(1.0, robust_sigma(solved.residual * np.sqrt(solved.weight)))
        kept = np.abs(solved.residual) * np.sqrt(solved.weight) < _CLIP * sigma
        model = _Model(
            model.rows.take(kept), model.values[kept], model.columns[kept], model.n_frames, model.prior
        )
        solved = model.solve(noise, stated + extra**2 + _SMALLEST)
        if colors is not None:
            term, error = (
                solved.effects[model.n_frames],
                np.sqrt(solved.covariance[model.n_frames, model.n_frames]),
            )
            stated = _star_variance(reference, colors, float(term), float(error))
        noise = _added(model, solved, noise)
        extra = _added_to_stars(model, solved, stated, extra)
    few = len(np.unique(model.rows.star)) - 1 - model.columns.shape[1]
    # With few stars their scatter is itself uncertain: Student's variance, finite for one and two.
    widened = (stated + extra**2) * (1 + 2 / max(few, 1))
    return model.solve(noise, widened + _SMALLEST), noise, extra, model


def _star_variance(reference: Reference, colors: StarColors | None, term: float, error: float) -> Array:
    """Return the variance of the random effects that the catalogue's errors make."""
    if colors is None:
        return reference.error**2
    return np.maximum(reference.error**2 + colors.added_variance(term, error), _SMALLEST)


def _added(model: _Model, solved: _Solved, noise: float) -> float:
    """Return the noise that brings the sum of squares within stars to its degrees of freedom."""
    rows = model.rows
    freedom = len(rows.mag) - len(np.unique(rows.frame)) - len(np.unique(rows.star)) - model.columns.shape[1]
    if freedom < 1:
        return noise
    excess = float(np.sum(solved.residual**2)) / freedom - float(np.mean(rows.error**2))
    return float(np.sqrt(max(excess, 0.0)))


def _added_to_stars(model: _Model, solved: _Solved, stated: Array, extra: float) -> float:
    """Return what the stars scatter beyond the catalogue's errors (one step of expectation-maximisation)."""
    seen = np.unique(model.rows.star)
    freedom = len(seen) - 1 - model.columns.shape[1]
    if freedom < 1:
        return max(extra, ASSUMED_ERROR)
    own = np.bincount(model.rows.star, solved.weight, len(stated))[seen]
    # The offset itself, not drawn towards zero: as if nothing were known of it beforehand.
    raw = solved.stars[seen] * (own + 1 / (stated[seen] + extra**2 + _SMALLEST)) / own
    excess = float(np.sum(raw**2)) / freedom - float(np.mean(stated[seen] + 1 / own))
    return float(np.sqrt(max(excess, 0.0)))


def _described(
    frames: NightFrames,
    model: _Model,
    solved: _Solved,
    noise: float,
    extra: float,
    order: int,
    mean: float,
    pivot: float,
    colors: StarColors | None,
    reference: Reference,
    rejected: tuple[int, ...],
) -> NightSolution:
    n, effects, covariance = len(frames), solved.effects, solved.covariance
    seen = np.bincount(model.rows.frame, minlength=n) > 0
    airmass = np.nan_to_num(frames.airmass - pivot)
    # From the mean colour to colour 0, frame by frame.
    to_zero = np.zeros((n, len(effects)))
    to_zero[np.arange(n), np.arange(n)] = 1.0
    for number, column in enumerate((np.ones(n), airmass)[:order]):
        to_zero[:, n + number] = -mean * column
    at_zero, errors = to_zero @ effects, to_zero @ covariance @ to_zero.T
    air = solve_air(
        effects[:n][seen], covariance[:n, :n][np.ix_(seen, seen)], frames.airmass[seen], frames.hours[seen]
    )
    own = np.sqrt(_among_each_other(errors, seen))
    tilt = _tilt(colors, reference, order)
    above = _above(air, effects, covariance, n, order, mean, pivot, tilt)
    second, second_error = (effects[n + 1], np.sqrt(covariance[n + 1, n + 1])) if order == 2 else (0.0, 0.0)
    return NightSolution(
        zero_point=np.where(seen, at_zero, np.nan),
        error=np.where(seen, np.hypot(np.sqrt(np.diag(errors)), tilt * mean), np.nan),
        own_error=np.where(seen, own, np.nan),
        color_term=float(effects[n]) if order else None,
        color_term_error=float(np.hypot(np.sqrt(covariance[n, n]), tilt)) if order else None,
        color_extinction=float(second) if order == 2 else None,
        color_extinction_error=float(second_error) if order == 2 else None,
        pivot=pivot,
        air=air,
        color=mean,
        extinction=None if air.extinction is None else air.extinction + float(second) * mean,
        extinction_error=None
        if air.extinction_error is None
        else float(np.hypot(air.extinction_error, second_error * mean)),
        extinction_color=0.0 if order == 2 else mean,
        above=above[0],
        above_error=above[1],
        star_scatter=extra,
        noise=noise,
        n_stars=len(np.unique(model.rows.star)),
        n_measurements=len(model.rows.mag),
        rejected=rejected,
    )


def _among_each_other(errors: Array, seen: NDArray[np.bool_]) -> Array:
    """Return the variance of each frame's zero point about the mean of all, shape (n_frames,)."""
    with_mean = errors[:, seen].mean(axis=1)
    return np.maximum(np.diag(errors) - 2 * with_mean + with_mean[seen].mean(), 0.0)


def _tilt(colors: StarColors | None, reference: Reference, order: int) -> float:
    """Return the colour term's error where the catalogue states none: see `nightflow.photcal.colors`."""
    if colors is None or not order or np.isfinite(reference.color_variance).any():
        return 0.0
    return ASSUMED_ERROR**2 / colors.spread**2


def _above(
    air: Air, effects: Array, covariance: Array, n: int, order: int, mean: float, pivot: float, tilt: float
) -> tuple[float | None, float | None]:
    """Return the zero point above the atmosphere at colour 0, where the colour term is that of airmass 0."""
    if air.extinction is None:
        return None, None
    shift = np.array([-mean, mean * pivot][:order])
    colored = covariance[n:, n:]
    variance = air.zero_point_error**2 + float(shift @ colored @ shift) + (tilt * mean) ** 2
    return air.zero_point + float(shift @ effects[n:]), float(np.sqrt(variance))
