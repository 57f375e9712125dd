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
from nightflow.photcal.night_model import Array, NightModel, NightStars, Solved, solve_with_variances
from nightflow.photcal.wrong_stars import wrong_stars

__all__ = ["NightFrames", "NightSolution", "solve_night"]

_SECOND_ORDER = 0.05
"""1 sigma of second-order extinction before a star is seen; in B it is about -0.03, else less."""
_SECOND_ORDER_KNOWN = 0.01
"""Error to which the night must give it; else it is left at 0."""
_LEAST_RANGE = 0.25


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
    wrong = wrong_stars(len(frames), rows, reference, colors)
    rows = rows.take(~wrong[rows.star])
    found = _solve(frames, rows, reference, colors, color_prior, tuple(np.flatnonzero(wrong).tolist()))
    return found if colors is not None else _open(found, unknown_color_error(color_prior, known))


def _open(found: NightSolution, unknown: float) -> NightSolution:
    """Return a solution without a colour term, with its error at colour 0."""
    above = None if found.above_error is None else float(np.hypot(found.above_error, unknown))
    return replace(found, error=np.hypot(found.error, unknown), above_error=above)


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
    model = NightModel(
        rows,
        reference.mag[rows.star] - shift[rows.star] - rows.mag,
        np.column_stack(columns) if columns else np.empty((len(rows.mag), 0)),
        len(frames),
        np.concatenate([np.zeros(len(frames)), prior]),
    )
    solved, noise, extra, model = solve_with_variances(model, reference, colors, color_prior)
    if order == 2 and np.sqrt(solved.covariance[-1, -1]) > _SECOND_ORDER_KNOWN:
        model = NightModel(model.rows, model.values, model.columns[:, :1], model.n_frames, model.prior[:-1])
        solved, noise, extra, model = solve_with_variances(model, reference, colors, color_prior)
        order = 1
    return _described(frames, model, solved, noise, extra, order, mean, pivot, colors, reference, rejected)


def _orders(frames: NightFrames, colors: StarColors | None) -> int:
    """Return how many colour columns there are: none, the term, the term and its change with airmass."""
    if colors is None:
        return 0
    known = frames.airmass[np.isfinite(frames.airmass)]
    return 2 if len(known) == len(frames) and len(known) > 1 and np.ptp(known) >= _LEAST_RANGE else 1


def _described(
    frames: NightFrames,
    model: NightModel,
    solved: Solved,
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
