"""Refine a first guess of the plate on all stars: match, fit, reject, shrink the radius, again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.astrometry.matching import mutual_pairs
from nightflow.astrometry.plate import Plate, fit_plate, sip_powers
from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.stars import ReferenceStars

__all__ = ["Fit", "heldout_rms", "in_frame", "radial_rms", "refine"]

Array = NDArray[np.float64]

_SHRINK = 0.6
_FINAL_ROUNDS = 4
_CLIP = 4.0
_FOLDS = 5
_FLOOR = 0.05
"""Pixels; no star is trusted better than this, however bright."""
_FAINTER_THAN_SEEN = 3
"""Catalogue stars looked at for each detection: a deep catalogue matches anything to anything."""
_STARS_FOR_ORDER = {2: 30, 3: 60}
_GAIN_FOR_ORDER = 0.95
_STARS_FOR_AFFINE = 8


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A plate with the stars it was fitted to.

    Attributes
    ----------
    plate : Plate
        The model.
    x, y, flux : ndarray, shape (n,)
        Detections.
    ra, dec, mag : ndarray, shape (n,)
        Their catalogue stars at the epoch of the frame.
    radius : float
        Pixels within which they were matched at last.
    """

    plate: Plate
    x: Array
    y: Array
    flux: Array
    ra: Array
    dec: Array
    mag: Array
    radius: float

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[np.bool_]) -> Fit:
        """Return the fit with a part of its stars; the plate is not fitted anew."""
        columns = {name: getattr(self, name)[rows] for name in ("x", "y", "flux", "ra", "dec", "mag")}
        return replace(self, **columns)

    @property
    def weights(self) -> Array:
        """Inverse variances in pixels^-2: photon noise of a centroid above a floor."""
        return 1.0 / (_FLOOR**2 + 1.0 / np.maximum(self.flux, 1.0))


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
    radii = _radii(start_radius, final_radius)
    fit = _match(plate, request, stars, radii[0])
    for radius in radii:
        fit = _match(fit.plate, request, stars, radius)
        if len(fit) < 3:
            return fit
        fit = _fit_clipped(fit, _linear_order(len(fit)))
    return _with_distortion(fit, request, stars)


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
    order = fit.plate.order if order is None else order
    n = len(fit)
    if n < max(_FOLDS, _minimum_stars(order) + 1):
        return float("nan")
    distance = np.hypot(fit.x - fit.plate.x0, fit.y - fit.plate.y0)
    fold = np.empty(n, np.intp)
    fold[np.argsort(distance, kind="stable")] = np.arange(n) % _FOLDS
    squares = np.empty(n)
    for k in range(_FOLDS):
        left_out = fold == k
        kept, tested = fit.take(~left_out), fit.take(left_out)
        plate = _refit(kept, order).plate
        d_xi, d_eta = plate.residuals(tested.x, tested.y, tested.ra, tested.dec)
        squares[left_out] = d_xi**2 + d_eta**2
    return float(np.sqrt(squares.mean()))


def _radii(start: float, final: float) -> list[float]:
    radii = [start]
    while radii[-1] * _SHRINK > final:
        radii.append(radii[-1] * _SHRINK)
    return radii + [final] * _FINAL_ROUNDS


def _match(plate: Plate, request: SolveRequest, stars: ReferenceStars, radius: float) -> Fit:
    predicted, candidates = in_frame(plate, stars, request.shape, margin=radius)
    most = max(_FAINTER_THAN_SEEN * len(request.x), 50)
    predicted, candidates = predicted[:most], candidates.take(np.arange(min(most, len(candidates))))
    seen = np.column_stack([request.x, request.y])
    rows, refs = mutual_pairs(seen, predicted, radius)
    return Fit(
        plate=plate,
        x=request.x[rows],
        y=request.y[rows],
        flux=request.flux[rows],
        ra=candidates.ra[refs],
        dec=candidates.dec[refs],
        mag=candidates.brightness()[refs],
        radius=radius,
    )


def _minimum_stars(order: int) -> int:
    return {0: 2, 1: 3}.get(order, 3 + len(sip_powers(order)))


def _linear_order(n: int) -> int:
    return 1 if n >= _STARS_FOR_AFFINE else 0


def _refit(fit: Fit, order: int) -> Fit:
    plate = fit_plate(fit.x, fit.y, fit.ra, fit.dec, start=fit.plate, order=order, weights=fit.weights)
    return replace(fit, plate=plate)


def _fit_clipped(fit: Fit, order: int) -> Fit:
    """Fit, leave out what lies beyond `_CLIP` robust sigmas, fit again."""
    for _ in range(3):
        fit = _refit(fit, order)
        d_xi, d_eta = fit.plate.residuals(fit.x, fit.y, fit.ra, fit.dec)
        residual = np.hypot(d_xi, d_eta)
        # the median of a Rayleigh distribution is 1.1774 sigma
        sigma = max(float(np.median(residual)) / 1.1774, _FLOOR * fit.plate.scale)
        good = residual <= _CLIP * sigma
        if good.all() or good.sum() < _minimum_stars(order) + 1:
            break
        fit = fit.take(good)
    return fit


def _with_distortion(fit: Fit, request: SolveRequest, stars: ReferenceStars) -> Fit:
    """Raise the SIP order as long as stars left out of the fit come out clearly better."""
    best, best_rms = fit, heldout_rms(fit)
    for order, needed in _STARS_FOR_ORDER.items():
        if len(best) < needed:
            break
        trial = _fit_clipped(_match(_refit(best, order).plate, request, stars, fit.radius), order)
        rms = heldout_rms(trial)
        if len(trial) >= 0.9 * len(best) and rms < _GAIN_FOR_ORDER * best_rms:
            best, best_rms = trial, rms
    return best
