"""Whether the sky scatters as gain and read noise let expect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["noise_doubt"]

_TOLERATED = 1.2
"""Ratio of the measured scatter and the expected one, either way. Noise that neighbouring pixels share
and unresolved stars make less of it where gain and read noise were measured."""
_STEP = 8
"""Every so manieth pixel along each side tells enough."""
_FEWEST = 200


def noise_doubt(variance: NDArray[np.float32], sky: NDArray[np.bool_], measured: float) -> str:
    """Return what speaks against the stated gain and read noise; "" where nothing does.

    Parameters
    ----------
    variance : ndarray of float32, shape (ny, nx)
        Of each pixel by gain, read noise and counts, electrons squared.
    sky : ndarray of bool, shape (ny, nx)
        True where there is empty sky.
    measured : float
        Scatter of the sky's pixels, electrons.
    """
    some = variance[::_STEP, ::_STEP][sky[::_STEP, ::_STEP]]
    if len(some) < _FEWEST:
        return ""
    expected = float(np.sqrt(np.median(some)))
    if expected / _TOLERATED <= measured <= expected * _TOLERATED:
        return ""
    errors = "small" if measured > expected else "large"
    return (
        f"the sky scatters by {measured:.3g} electrons a pixel where gain and read noise let expect "
        f"{expected:.3g}: the error bars are too {errors}; correct detector.gain and detector.read_noise in "
        "the profile, unless the sky is that crowded or nebulous"
    )
