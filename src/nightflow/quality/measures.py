"""What the stars of a frame say of the frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.robust import robust_sigma

__all__ = ["frame_ellipticity", "frame_fwhm", "frame_trailing"]

_BRIGHT = 10.0
"""Peak over sky noise from which a profile's width is measured well enough."""
_CLIP = 2.5
_ROUNDS = 5


def frame_fwhm(
    fwhm: NDArray[np.float64], signal_to_noise: NDArray[np.float64], isolated: NDArray[np.bool_]
) -> float:
    """Return the median width of the stars, galaxies and artefacts clipped; NaN without a star.

    Parameters
    ----------
    fwhm : ndarray of float64, shape (n,)
        Pixels.
    signal_to_noise : ndarray of float64, shape (n,)
        Peak over sky noise.
    isolated : ndarray of bool, shape (n,)
        Unflagged and not blended.
    """
    values = fwhm[_good(fwhm, signal_to_noise, isolated)]
    for _ in range(_ROUNDS):
        if len(values) < 3:
            break
        middle = np.median(values)
        values = values[np.abs(values - middle) <= max(_CLIP * robust_sigma(values), 1e-6)]
    return float(np.median(values)) if len(values) else float("nan")


def frame_ellipticity(
    ellipticity: NDArray[np.float64], signal_to_noise: NDArray[np.float64], isolated: NDArray[np.bool_]
) -> float:
    """Return the median of 1 - b/a of the stars; NaN without a star. Arguments as for `frame_fwhm`."""
    values = ellipticity[_good(ellipticity, signal_to_noise, isolated)]
    return float(np.median(values)) if len(values) else float("nan")


def frame_trailing(
    ellipticity: NDArray[np.float64],
    theta: NDArray[np.float64],
    signal_to_noise: NDArray[np.float64],
    isolated: NDArray[np.bool_],
) -> tuple[float, float]:
    """Return the ellipticity that the stars have in one common direction, and that direction.

    The median of the two components of the ellipticity: noise and optics turn it another way in each star or
    corner, a mount or the wind the same way in all. NaN and NaN without a star.

    Parameters
    ----------
    theta : ndarray of float64, shape (n,)
        Position angle of the major axis, radians from +x towards +y.

    Returns
    -------
    amount, angle : float
        1 - b/a; degrees from +x towards +y, 0 to 180.
    """
    good = _good(ellipticity, signal_to_noise, isolated)
    if not good.any():
        return float("nan"), float("nan")
    double = 2.0 * theta[good]
    along, across = (float(np.median(ellipticity[good] * one)) for one in (np.cos(double), np.sin(double)))
    return float(np.hypot(along, across)), float(np.degrees(np.arctan2(across, along)) / 2.0 % 180.0)


def _good(
    values: NDArray[np.float64], signal_to_noise: NDArray[np.float64], isolated: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    good = isolated & np.isfinite(values) & (signal_to_noise > _BRIGHT)
    # A poor frame has no bright star: then any unflagged one must do.
    return good if good.any() else isolated & np.isfinite(values)
