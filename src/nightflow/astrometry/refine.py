"""Refine a first guess of the plate on all stars: match, fit, reject, shrink the radius, again.

While the radius is wide, few stars take part and the distortion grows as far as they demand it: a
linear model would lose the stars of the corners as the radius shrinks. The order of the final model is
the one by which stars that were left out of the fit come out best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.astrometry.matching import mutual_pairs
from nightflow.astrometry.plate import Plate, fit_plate, sip_powers
from nightflow.astrometry.solution import SolveRequest
from nightflow.astrometry.spread import cell_size, evenly
from nightflow.catalogs.stars import ReferenceStars

__all__ = [
    "Contenders", "Fit", "contenders", "heldout_rms", "in_frame", "left_out_scatter", "more_flexible",
    "pairs", "radial_rms", "refine", "refitted_without_folds", "residual_arcsec", "terms",
]  # fmt: skip

Array = NDArray[np.float64]

_SHRINK = 0.6
_FINAL_ROUNDS = 4
_CLIP = 4.0
_RAYLEIGH_MEDIAN = 1.1774
"""Median of a Rayleigh distribution in units of sigma."""
_FOLDS = 5
_FLOOR = 0.03
"""Pixels; no star is trusted better than this, however bright."""
_FAINTER_THAN_SEEN = 3
"""Catalogue stars looked at for each detection: a deep catalogue matches anything to anything."""
_FEWEST_STARS = 50
_CHANCE_NEIGHBOURS = 0.3
"""Catalogue stars that a detection may have within the radius by chance."""
_HIGHEST_ORDER = 4
_STARS_PER_TERM = 3
_STARS_PER_HIGH_TERM = 30
"""For the highest order: fewer stars leave the corners to it, where it runs away between and beyond them."""
_GAIN_WHILE_SHRINKING = 0.9
_LINEAR_ENOUGH = 0.3
"""Scatter about the linear model, in units of the final radius, that loses no star."""
_CLEAR_GAIN = 0.9
_SMALL_GAIN = 0.995
_SIGNIFICANT = 3.0
"""Standard errors by which a small gain of a higher order must stand out."""
_NEAR_FRAME = 0.1
"""Margin in units of the frame's larger side within which stars may come onto it while the plate moves."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A plate with the stars it was fitted to.

    Attributes
    ----------
    plate : Plate
        The model.
    x, y, flux : ndarray, shape (n,)
        Detections.
    error : ndarray, shape (n,)
        Their 1-sigma errors of each coordinate, pixels.
    ra, dec, mag : ndarray, shape (n,)
        Their catalogue stars at the epoch of the frame.
    radius : float
        Pixels within which they were matched at last.
    common_error : float
        What all stars scatter by beyond ``error``, pixels: the catalogue, the air, the model.
    """

    plate: Plate
    x: Array
    y: Array
    flux: Array
    error: Array
    ra: Array
    dec: Array
    mag: Array
    radius: float
    common_error: float = 0.0

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[np.bool_]) -> Fit:
        """Return the fit with a part of its stars; the plate is not fitted anew."""
        columns = {
            name: getattr(self, name)[rows] for name in ("x", "y", "flux", "error", "ra", "dec", "mag")
        }
        return replace(self, **columns)

    @property
    def sigma(self) -> Array:
        """1-sigma errors of each coordinate in pixels: the star's own and what all have in common."""
        return np.asarray(np.hypot(self.error, max(self.common_error, _FLOOR)), np.float64)

    @property
    def weights(self) -> Array:
        """Inverse variances in pixels^-2."""
        return self.sigma**-2.0


@dataclass(frozen=True, kw_only=True)
class Contenders:
    """What may be matched to each other at a radius.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Detections.
    predicted : ndarray, shape (m, 2)
        Pixels of the catalogue stars.
    stars : ReferenceStars
        The catalogue stars, m of them.
    """

    rows: NDArray[np.intp]
    predicted: Array
    stars: ReferenceStars


def contenders(
    plate: Plate, request: SolveRequest, stars: ReferenceStars, radius: float, margin: float = 0.0
) -> Contenders:
    """Return the detections and the catalogue stars that are matched within ``radius`` (pixels).

    Both are the brightest, evenly over the frame: as many detections as leave few neighbours to chance at
    this radius, and three times as many stars. A catalogue much deeper than the frame would match anything.

    Parameters
    ----------
    margin : float
        Pixels around the frame in which catalogue stars count, too.
    """
    cell = cell_size(request.shape)
    crowd = _CHANCE_NEIGHBOURS * float(np.prod(request.shape)) / (np.pi * radius**2)
    most_seen = max(int(crowd / _FAINTER_THAN_SEEN), _FEWEST_STARS)
    rows = np.arange(len(request.x))
    if len(rows) > most_seen:
        rows = evenly(request.x, request.y, request.flux, cell, most_seen)
    predicted, candidates = in_frame(plate, stars, request.shape, margin)
    most = max(_FAINTER_THAN_SEEN * len(rows), _FEWEST_STARS)
    if len(candidates) > most:
        chosen = evenly(predicted[:, 0], predicted[:, 1], -candidates.brightness(), cell, most)
        predicted, candidates = predicted[chosen], candidates.take(chosen)
    return Contenders(rows=rows, predicted=predicted, stars=candidates)


def in_frame(
    plate: Plate, stars: ReferenceStars, shape: tuple[int, int], margin: float = 0.0
) -> tuple[Array, ReferenceStars]:
    """Return the predicted pixels, shape (n, 2), and the stars that fall on the frame."""
    x, y = plate.pixels(stars.ra, stars.dec)
    ny, nx = shape
    with np.errstate(invalid="ignore"):
        inside = (x > -0.5 - margin) & (x < nx - 0.5 + margin) & (y > -0.5 - margin) & (y < ny - 0.5 + margin)
    return np.column_stack([x[inside], y[inside]]), stars.take(inside)


def refine(
    plate: Plate, request: SolveRequest, stars: ReferenceStars, *, start_radius: float, final_radius: float
) -> Fit:
    """Match and fit with a radius that shrinks from ``start_radius`` to ``final_radius`` (pixels).

    Parameters
    ----------
    plate : Plate
        First guess.
    request : SolveRequest
        Detections and shape of the frame.
    stars : ReferenceStars
        Catalogue at the epoch of the frame, brightest first.

    Returns
    -------
    Fit
        Of the distortion order that stars left out of the fit support; with few stars (none, even) where
        the guess was wrong.
    """
    near = _near_frame(plate, request, stars, start_radius)
    fit = pairs(plate, request, near, start_radius, 0.5 * start_radius)[0]
    for radius in _radii(start_radius, final_radius):
        matched = pairs(fit.plate, request, near, radius, fit.common_error)[0]
        if len(matched) < 3:
            return matched
        fit = _fit_on_the_way(matched, final_radius)
    return _with_best_order(fit, request, near)


def radial_rms(fit: Fit, plate: Plate | None = None) -> float:
    """Return the radial rms in arcsec of the stars of ``fit`` about ``plate`` (by default its own)."""
    if not len(fit):
        return float("nan")
    d_xi, d_eta = (plate or fit.plate).residuals(fit.x, fit.y, fit.ra, fit.dec)
    return float(np.sqrt(np.mean(d_xi**2 + d_eta**2)))


def heldout_rms(fit: Fit, order: int | None = None) -> float:
    """Return the radial rms in arcsec of stars left out of the fit in turn (5-fold cross-validation).

    Stars are dealt to the folds by their distance from the middle, so that each fold spans the frame.
    """
    squares = _heldout_squares(fit, fit.plate.order if order is None else order)
    return float("nan") if squares is None else float(np.sqrt(squares.mean()))


def left_out_scatter(fit: Fit) -> float:
    """Return the weighted radial rms in arcsec of stars left out of the fit in turn, at the best order.

    Weighted, it tells which of two models of the same stars is right, where `heldout_rms` tells what the
    faintest stars scatter by.
    """
    squares = _heldout_squares(fit, _best_order(fit))
    return float("nan") if squares is None else float(np.sqrt(np.average(squares, weights=fit.weights)))


def terms(order: int) -> int:
    """Return how many stars fix the parameters of a plate of this order."""
    return 2 if order == 0 else 3 + len(sip_powers(order))


def _heldout_squares(fit: Fit, order: int) -> Array | None:
    """Return the squared residual (arcsec^2) of each star from the fit without it; None: too few stars."""
    if _too_few(fit, order):
        return None
    fold = _folds(fit)
    squares = np.empty(len(fit))
    for k in range(_FOLDS):
        left_out = fold == k
        kept, tested = fit.take(~left_out), fit.take(left_out)
        plate = _refit(kept, order).plate
        d_xi, d_eta = plate.residuals(tested.x, tested.y, tested.ra, tested.dec)
        squares[left_out] = d_xi**2 + d_eta**2
    return squares


def refitted_without_folds(fit: Fit) -> list[Plate]:
    """Return the plates of the cross-validation, each without a fifth of the stars; [] where too few."""
    if _too_few(fit, fit.plate.order):
        return []
    fold = _folds(fit)
    return [_refit(fit.take(fold != k), fit.plate.order).plate for k in range(_FOLDS)]


def more_flexible(fit: Fit) -> Fit | None:
    """Return the fit with the next higher order that its stars support, a bent one where there can be one.

    None where no higher order is supported.
    """
    higher = [order for order in _orders(len(fit), fit.plate) if order > fit.plate.order]
    if not higher:
        return None
    return _refit(fit, next((order for order in higher if order > 1), higher[-1]))


def _too_few(fit: Fit, order: int) -> bool:
    return len(fit) < max(_FOLDS, terms(order) + 1)


def _folds(fit: Fit) -> NDArray[np.intp]:
    """Return the fold of each star: dealt by the distance from the middle."""
    distance = np.hypot(fit.x - fit.plate.x0, fit.y - fit.plate.y0)
    fold = np.empty(len(fit), np.intp)
    fold[np.argsort(distance, kind="stable")] = np.arange(len(fit)) % _FOLDS
    return fold


def _radii(start: float, final: float) -> list[float]:
    radii = [start]
    while radii[-1] * _SHRINK > final:
        radii.append(radii[-1] * _SHRINK)
    return [*radii, final]


def _near_frame(
    plate: Plate, request: SolveRequest, stars: ReferenceStars, start_radius: float
) -> ReferenceStars:
    """Return the stars that may come onto the frame during the refinement."""
    return in_frame(
        plate, stars, request.shape, margin=2.0 * start_radius + _NEAR_FRAME * max(request.shape)
    )[1]


def pairs(
    plate: Plate, request: SolveRequest, stars: ReferenceStars, radius: float, common_error: float = 0.0
) -> tuple[Fit, NDArray[np.intp]]:
    """Return the stars of a frame that lie within ``radius`` (pixels) of a catalogue star, and their rows."""
    chosen = contenders(plate, request, stars, radius, margin=radius)
    seen = np.column_stack([request.x[chosen.rows], request.y[chosen.rows]])
    seen_rows, refs = mutual_pairs(seen, chosen.predicted, radius)
    rows = chosen.rows[seen_rows]
    fit = Fit(
        plate=plate,
        x=request.x[rows],
        y=request.y[rows],
        flux=request.flux[rows],
        error=request.position_errors()[rows],
        ra=chosen.stars.ra[refs],
        dec=chosen.stars.dec[refs],
        mag=chosen.stars.brightness()[refs],
        radius=radius,
        common_error=common_error,
    )
    return fit, rows


def _same_stars(fit: Fit, other: Fit) -> bool:
    return all(np.array_equal(getattr(fit, name), getattr(other, name)) for name in ("x", "y", "ra", "dec"))


def _orders(n: int, plate: Plate) -> list[int]:
    """Return the orders that ``n`` stars support, lowest first; a distortion that is given stays."""
    highest = 1 if plate.given else _HIGHEST_ORDER
    enough = [
        order
        for order in range(1, highest + 1)
        if n >= terms(order) * (_STARS_PER_TERM if order < _HIGHEST_ORDER else _STARS_PER_HIGH_TERM)
    ]
    return [0, *enough]


def _fit_on_the_way(matched: Fit, final_radius: float) -> Fit:
    """Fit at the order at which the radius may shrink: linear, unless that would lose stars.

    Once raised it stays, as far as there are the stars for it.
    """
    orders = _orders(len(matched), matched.plate)
    start = max(order for order in orders if order <= max(matched.plate.order, 1))
    fit = _fit_clipped(matched, start)
    limit = _LINEAR_ENOUGH * final_radius * fit.plate.scale
    higher = [order for order in orders if order > max(start, 1)]
    if not higher or _scatter(replace(matched, plate=fit.plate)) <= limit:
        return fit
    best, scatter = start, _scatter(_refit(matched, start))
    for order in higher:
        trial = _scatter(_refit(matched, order))
        if trial < _GAIN_WHILE_SHRINKING * scatter:
            best, scatter = order, trial
    return fit if best == start else _fit_clipped(matched, best)


def _scatter(fit: Fit) -> float:
    """Return the robust scatter of a coordinate in arcsec, for the degrees of freedom that are left."""
    median = float(np.median(residual_arcsec(fit))) / _RAYLEIGH_MEDIAN
    return median * float(np.sqrt(len(fit) / max(len(fit) - terms(fit.plate.order), 1)))


def residual_arcsec(fit: Fit) -> Array:
    """Return the radial residuals in arcsec of the stars of ``fit`` about its plate, shape (n,)."""
    return np.asarray(np.hypot(*fit.plate.residuals(fit.x, fit.y, fit.ra, fit.dec)), np.float64)


def _refit(fit: Fit, order: int) -> Fit:
    plate = fit_plate(fit.x, fit.y, fit.ra, fit.dec, start=fit.plate, order=order, weights=fit.weights)
    return replace(fit, plate=plate)


def _fit_clipped(fit: Fit, order: int) -> Fit:
    """Fit, leave out what lies beyond `_CLIP` of its sigmas, fit again; learn what all stars scatter by."""
    for _ in range(3):
        fit = _refit(fit, order)
        residual = residual_arcsec(fit) / fit.plate.scale
        fit = replace(fit, common_error=_common_error(residual, fit.error))
        normalised = residual / fit.sigma
        good = normalised <= _CLIP * max(float(np.median(normalised)) / _RAYLEIGH_MEDIAN, 1.0)
        if good.all() or good.sum() < terms(order) + 1:
            break
        fit = fit.take(good)
    return fit


def _common_error(residual: Array, error: Array) -> float:
    """Return the scatter of a coordinate (pixels) that the stars' own errors do not explain."""
    # the median of the bright half: faint stars scatter by their own errors, and say nothing of the rest
    bright = error <= np.median(error)
    total = float(np.median(residual[bright])) / _RAYLEIGH_MEDIAN
    return float(np.sqrt(max(total**2 - float(np.median(error[bright])) ** 2, 0.0)))


def _with_best_order(fit: Fit, request: SolveRequest, stars: ReferenceStars) -> Fit:
    """Fit with the order that stars left out of the fit support, and match anew until nothing changes."""
    matched = pairs(fit.plate, request, stars, fit.radius, fit.common_error)[0]
    if len(matched) < 3:
        return matched
    # the most flexible model says which stars are no outliers: a stiff one would say it of the corners
    order = _best_order(_fit_clipped(matched, _orders(len(matched), matched.plate)[-1]))
    for _ in range(_FINAL_ROUNDS):
        fit = _fit_clipped(matched, order)
        again = pairs(fit.plate, request, stars, fit.radius, fit.common_error)[0]
        if len(again) < terms(order) + 1 or _same_stars(again, matched):
            break
        matched = again
    return fit


def _best_order(fit: Fit) -> int:
    """Return the lowest order that no higher one beats clearly on stars left out of the fit."""
    best, best_squares = 0, _heldout_squares(fit, 0)
    least = _reduced_chi2(_refit(fit, 0))
    for order in _orders(len(fit), fit.plate)[1:]:
        reduced = _reduced_chi2(_refit(fit, order))
        if reduced >= least:
            continue  # what does not even help the stars in the fit helps no other
        squares = _heldout_squares(fit, order)
        if squares is not None and (best_squares is None or _better(squares, best_squares, fit.weights)):
            best, best_squares, least = order, squares, reduced
    return best


def _reduced_chi2(fit: Fit) -> float:
    chi2 = float(np.sum(fit.weights * (residual_arcsec(fit) / fit.plate.scale) ** 2))
    return chi2 / max(len(fit) - terms(fit.plate.order), 1)


def _better(squares: Array, than: Array, weights: Array) -> bool:
    """Whether held-out squares are smaller, by much or beyond doubt."""
    gain = weights * (than - squares)
    ratio = float(np.sqrt(np.sum(weights * squares) / np.sum(weights * than)))
    doubt = float(np.std(gain)) * np.sqrt(len(gain))
    return ratio < _CLEAR_GAIN or (ratio < _SMALL_GAIN and float(np.sum(gain)) > _SIGNIFICANT * doubt)
