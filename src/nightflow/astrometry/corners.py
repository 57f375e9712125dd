"""How far a solution may be believed in the corners of the frame, where it is worst."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.astrometry.plate import Plate
from nightflow.astrometry.projection import to_plane
from nightflow.astrometry.refine import Fit, more_flexible, refitted_without_folds, residual_arcsec

__all__ = ["CornerFigures", "corner_figures"]

_OUTER = 0.75
"""Distance from the middle, in units of that of the corners, beyond which a star counts as in the corners."""


@dataclass(frozen=True, kw_only=True)
class CornerFigures:
    """The corners of a frame.

    Attributes
    ----------
    rms_arcsec : float
        Radial rms of the fitted stars in the outer parts; NaN where there are none.
    n_stars : int
        How many those are.
    errors_arcsec : tuple of float
        1-sigma radial error of the model in the four corners (lower left, lower right, upper left, upper
        right); NaN where the stars are too few to tell.
    """

    rms_arcsec: float
    n_stars: int
    errors_arcsec: tuple[float, float, float, float]


def corner_figures(fit: Fit, shape: tuple[int, int]) -> CornerFigures:
    """Return how well ``fit`` holds in the corners of a frame of ``shape`` (ny, nx).

    The error has two parts. One is the noise of the stars: a delete-a-group jackknife (Kott 2001, J. Off.
    Stat. 17, 521) over the five folds of the cross-validation, how far the corners move when a fifth of the
    stars is left out. The other is what too stiff a model may get wrong everywhere, so that no star left out
    shows it clearly: how far the next model that the stars support moves the corners. That holds the noise of
    the next model, too: where the stiff one is right, the error is given twice too large.
    """
    ny, nx = shape
    distance = np.hypot(fit.x - (nx - 1) / 2.0, fit.y - (ny - 1) / 2.0)
    outer = distance > _OUTER * 0.5 * float(np.hypot(nx, ny))
    residual = residual_arcsec(fit)[outer]
    return CornerFigures(
        rms_arcsec=float(np.sqrt(np.mean(residual**2))) if len(residual) else float("nan"),
        n_stars=int(outer.sum()),
        errors_arcsec=_errors(fit, shape),
    )


def _errors(fit: Fit, shape: tuple[int, int]) -> tuple[float, float, float, float]:
    variance = _jackknife(fit, shape)
    flexible = more_flexible(fit)
    if flexible is not None:
        moved = _corners(flexible.plate, fit.plate, shape) - _corners(fit.plate, fit.plate, shape)
        variance = variance + np.sum(moved**2, axis=0)
    lower_left, lower_right, upper_left, upper_right = (float(one) for one in np.sqrt(variance))
    return lower_left, lower_right, upper_left, upper_right


def _jackknife(fit: Fit, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the variance of the four corners by the noise of the stars, arcsec^2; NaN where they are few."""
    places = [_corners(plate, fit.plate, shape) for plate in refitted_without_folds(fit)]
    if not places:
        return np.full(4, np.nan)
    moved = np.stack(places) - np.mean(places, axis=0)
    return np.asarray((len(places) - 1) / len(places) * np.sum(moved**2, axis=(0, 1)), np.float64)


def _corners(plate: Plate, about: Plate, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return where ``plate`` puts the corners, arcsec in the tangent plane of ``about``, shape (2, 4)."""
    ny, nx = shape
    x = np.array([0.0, nx - 1.0, 0.0, nx - 1.0])
    y = np.array([0.0, 0.0, ny - 1.0, ny - 1.0])
    return np.stack(to_plane(*plate.sky(x, y), about.ra0, about.dec0)) * 3600.0
