"""Location and scatter that a minority of wrong values does not move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAD_TO_SIGMA", "robust_sigma"]

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a Gaussian over its median absolute deviation."""


def robust_sigma(values: NDArray[np.floating]) -> float:
    """Return the standard deviation by the median absolute deviation, NaN ignored; NaN of nothing."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan")
    return float(MAD_TO_SIGMA * np.median(np.abs(finite - np.median(finite))))
