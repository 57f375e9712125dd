"""Differential magnitudes against an ensemble of comparison stars.

`nightflow.lightcurves.candidates` says who may be in it, `nightflow.lightcurves.ensemble_fit` how much each
counts, and here those that vary are dropped. The target is never in its own ensemble. There is no random
number: the same input gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nightflow.lightcurves.candidates import Candidates, choose_candidates
from nightflow.lightcurves.ensemble_fit import NOISE_FLOOR, EnsembleFit, fit_ensemble

__all__ = [
    "Comparison",
    "EnsembleCurve",
    "FieldOffsets",
    "ensemble_curve",
    "field_offsets",
    "magnitudes",
    "star_residuals",
    "tied",
]

_UNSTABLE = 3.0
"""How many times the noise of its peers a star may scatter."""
_FEWEST = 3
"""An ensemble is not made smaller than this for the sake of stability."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What became of a star as a comparison star.

    Attributes
    ----------
    star : int
        Its column.
    weight : float
        Its share in the ensemble, 0 to 1; 0 where it is not in.
    scatter : float
        Robust scatter of its own differential magnitudes, NaN where it was not tried.
    reason : str
        Why it is not in; "" where it is.
    """

    star: int
    weight: float
    scatter: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class EnsembleCurve:
    """A differential light curve and how it came about.

    Attributes
    ----------
    diff_mag : ndarray of float64, shape (n_frames,)
        Median 0; NaN where the target or the ensemble is missing.
    diff_mag_err : ndarray of float64, shape (n_frames,)
        Photon error of the target and error of the ensemble.
    n_stars : ndarray of intp, shape (n_frames,)
        Comparison stars on each frame.
    comparisons : tuple of Comparison
        All stars but the target: those in the ensemble, the heaviest first, then the others.
    """

    diff_mag: NDArray[np.float64]
    diff_mag_err: NDArray[np.float64]
    n_stars: NDArray[np.intp]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, kw_only=True)
class FieldOffsets:
    """What the stable stars of a field say of each frame.

    Attributes
    ----------
    frame : ndarray of float64, shape (n_frames,)
        By how much instrumental magnitudes are too faint there; NaN without a star.
    variance : ndarray of float64, shape (n_frames,)
        Of ``frame``.
    stars : ndarray of intp, shape (k,)
        Columns of the stars that it rests on.
    weight : ndarray of float64, shape (n_frames, k)
        Inverse variance with which each counted.
    """

    frame: NDArray[np.float64]
    variance: NDArray[np.float64]
    stars: NDArray[np.intp]
    weight: NDArray[np.float64]


def field_offsets(
    flux: NDArray[np.floating], flux_err: NDArray[np.floating], usable: NDArray[np.bool_]
) -> FieldOffsets:
    """Return the offset of each frame of a field from the stars that are stable.

    Parameters
    ----------
    flux, flux_err : ndarray of float, shape (n_frames, n_stars)
        Of one filter and instrument, any linear unit; NaN where a star was not measured.
    usable : ndarray of bool, shape (n_frames, n_stars)
        False where a star must not count.
    """
    mag, noise = magnitudes(flux, flux_err)
    good = usable & np.isfinite(mag) & np.isfinite(noise)
    stars, fit, _ = _stable(mag, noise, good, np.flatnonzero(good.any(axis=0)))
    return FieldOffsets(frame=fit.frame, variance=fit.variance, stars=stars, weight=fit.weight)


def tied(frame: NDArray[np.integer], star: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return to which group each measurement belongs: those that frames and stars tie together.

    Only within a group is there a common zero; each needs offsets of its own.

    Parameters
    ----------
    frame, star : ndarray of int, shape (n,)
        Of each measurement, from 0.

    Returns
    -------
    ndarray of intp, shape (n,)
        From 0, in the order of each group's first frame.
    """
    if not len(frame):
        return np.empty(0, np.intp)
    first_star = int(frame.max()) + 1
    size = first_star + int(star.max()) + 1
    edges = np.ones(len(frame), bool), (frame, first_star + star)
    label = connected_components(coo_array(edges, shape=(size, size)), directed=False)[1][frame]
    return np.asarray(np.unique(label, return_inverse=True)[1], np.intp)


def star_residuals(
    flux: NDArray[np.floating], flux_err: NDArray[np.floating], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each star against the ensemble of the others, and the errors, both of shape (n_frames, n_stars).

    The parameters are those of `field_offsets`. All stars are taken; NaN where one was not measured, must not
    count, lies far off, or is alone.
    """
    mag, noise = magnitudes(flux, flux_err)
    good = usable & np.isfinite(mag) & np.isfinite(noise)
    fit = fit_ensemble(mag, noise, good)
    counted = fit.weight > 0
    return np.where(counted, fit.residual, np.nan), np.where(counted, fit.residual_err, np.nan)


def ensemble_curve(
    flux: NDArray[np.floating],
    flux_err: NDArray[np.floating],
    target: int,
    usable: NDArray[np.bool_] | None = None,
) -> EnsembleCurve:
    """Return the differential light curve of one star against the best of the others.

    Parameters
    ----------
    flux, flux_err : ndarray of float, shape (n_frames, n_stars)
        Of one filter and instrument, any linear unit; NaN where a star was not measured.
    target : int
        Column of the target.
    usable : ndarray of bool, shape (n_frames, n_stars), optional
        False where a star must not count for the ensemble (saturated, over the edge). The target's own points
        are taken as they are.
    """
    if usable is None:
        usable = np.ones(flux.shape, bool)
    mag, noise = magnitudes(flux, flux_err)
    candidates = choose_candidates(mag, noise, target, usable)
    good = usable & np.isfinite(mag) & np.isfinite(mag[:, [target]])
    stars, fit, dropped = _stable(mag, noise, good, np.array(candidates.stars, np.intp))
    diff = mag[:, target] - fit.frame
    seen = np.isfinite(diff)
    error = np.sqrt(noise[:, target] ** 2 + fit.variance)
    return EnsembleCurve(
        diff_mag=diff - np.median(diff[seen]) if seen.any() else diff,
        diff_mag_err=np.where(seen, error, np.nan),
        n_stars=(fit.weight > 0).sum(axis=1),
        comparisons=(*_used(stars, fit), *dropped, *_untried(candidates)),
    )


def magnitudes(
    flux: NDArray[np.floating], flux_err: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return instrumental magnitudes and their errors; NaN where the flux is not positive and finite."""
    positive = np.isfinite(flux) & np.isfinite(flux_err) & (flux > 0)
    safe = np.where(positive, flux, 1.0)
    mag = np.where(positive, -2.5 * np.log10(safe), np.nan)
    noise = np.where(positive, 2.5 / np.log(10.0) * np.abs(flux_err) / safe, np.nan)
    return mag, noise


def _stable(
    mag: NDArray[np.float64],
    noise: NDArray[np.float64],
    good: NDArray[np.bool_],
    stars: NDArray[np.intp],
) -> tuple[NDArray[np.intp], EnsembleFit, list[Comparison]]:
    """Drop the stars that scatter most, round by round; return those that stay, their fit, the dropped."""
    together = _connected(good[:, stars])
    dropped = [
        Comparison(star=int(star), weight=0.0, scatter=np.nan, reason="no frame in common with the others")
        for star in np.delete(stars, together)
    ]
    stars = stars[together]
    while True:
        fit = fit_ensemble(mag[:, stars], noise[:, stars], good[:, stars])
        ratio = _excess_ratio(fit)
        if len(stars) <= _FEWEST or not np.any(ratio > _UNSTABLE):
            return stars, fit, dropped
        worst = _worst(ratio, len(stars) - _FEWEST)
        dropped += [_unstable(int(stars[one]), float(fit.scatter[one]), float(ratio[one])) for one in worst]
        stars = np.delete(stars, worst)


def _connected(good: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the largest group of stars that frames tie together; only these have a common zero."""
    if not good.shape[1]:
        return np.empty(0, np.intp)
    together = good.T.astype(float) @ good.astype(float) > 0
    _, label = connected_components(together, directed=False)
    points = np.bincount(label, weights=good.sum(axis=0))
    return np.flatnonzero(label == np.argmax(points))


def _excess_ratio(fit: EnsembleFit) -> NDArray[np.float64]:
    """Return each star's scatter in units of what its photon noise and its peers' excess let expect."""
    excess = np.maximum(fit.scatter**2 - fit.expected**2, 0.0)
    typical = np.nanmedian(excess) if np.isfinite(excess).any() else 0.0
    return fit.scatter / np.sqrt(fit.expected**2 + typical + NOISE_FLOOR**2)


def _worst(ratio: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Return the stars to drop in one go, worst first: those nearly as bad as the worst.

    The others may only look bad because of these.
    """
    known = np.where(np.isfinite(ratio), ratio, 0.0)
    order = np.argsort(-known, kind="stable")[:most]
    return order[known[order] > max(_UNSTABLE, 0.5 * known.max())]


def _unstable(star: int, scatter: float, ratio: float) -> Comparison:
    reason = f"scatters {scatter:.4f} mag, {ratio:.1f} times what its peers let expect"
    return Comparison(star=star, weight=0.0, scatter=scatter, reason=reason)


def _used(stars: NDArray[np.intp], fit: EnsembleFit) -> list[Comparison]:
    total = fit.weight.sum()
    share = fit.weight.sum(axis=0) / (total if total > 0 else 1.0)
    used = [
        Comparison(star=int(star), weight=float(weight), scatter=float(scatter), reason="")
        for star, weight, scatter in zip(stars, share, fit.scatter, strict=True)
    ]
    return sorted(used, key=lambda one: (-one.weight, one.star))


def _untried(candidates: Candidates) -> list[Comparison]:
    return [
        Comparison(star=star, weight=0.0, scatter=np.nan, reason=reason)
        for star, reason in candidates.rejected.items()
    ]
