"""How far a solution may be believed in the corners of the frame, where it is worst."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nightflow.astrometry.projection import to_plane
from nightflow.astrometry.refine import Fit, refitted_without_folds, residual_arcsec

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

    The error is a delete-a-group jackknife (Kott 2001, J. Off. Stat. 17, 521) over the five folds of the
    cross-validation: how far the corners move when a fifth of the stars is left out. It holds the noise of
    the stars, not what a model that is too stiff gets wrong everywhere: that is in ``rms_arcsec``.
    """
    ny, nx = shape
    distance = np.hypot(fit.x - (nx - 1) / 2.0, fit.y - (ny - 1) / 2.0)
    outer = distance > _OUTER * 0.5 * float(np.hypot(nx, ny))
    residual = residual_arcsec(fit)[outer]
    return CornerFigures(
        rms_arcsec=float(np.sqrt(np.mean(residual**2))) if len(residual) else float("nan"),
        n_stars=int(outer.sum()),
        errors_arcsec=_jackknife(fit, shape),
    )


def _jackknife(fit: Fit, shape: tuple[int, int]) -> tuple[float, float, float, float]:
    ny, nx = shape
    x = np.array([0.0, nx - 1.0, 0.0, nx - 1.0])
    y = np.array([0.0, 0.0, ny - 1.0, ny - 1.0])
    places = []
    for plate in refitted_without_folds(fit):
        places.append(np.stack(to_plane(*plate.sky(x, y), fit.plate.ra0, fit.plate.dec0)) * 3600.0)
    if not places:
        return (float("nan"),) * 4
    moved = np.stack(places) - np.mean(places, axis=0)
    variance = (len(places) - 1) / len(places) * np.sum(moved**2, axis=(0, 1))
    lower_left, lower_right, upper_left, upper_right = (float(one) for one in np.sqrt(variance))
    return lower_left, lower_right, upper_left, upper_right
