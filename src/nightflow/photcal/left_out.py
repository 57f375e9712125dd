"""Which catalogue stars a zero point was fitted without, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.photcal.robust_line import RobustFit

__all__ = ["left_out"]

_FEW = 10
"""Stars up to which each of them counts. Among more, some are always clipped."""


def left_out(fit: RobustFit, names: NDArray[np.str_], mags: NDArray[np.float64], band: str) -> str:
    """Return which stars were clipped, and by how much each is off; "" where none was or there are many.

    Parameters
    ----------
    fit : RobustFit
        Of n stars; residuals are catalogue minus measured magnitude.
    names : ndarray of str, shape (n,)
        Of the catalogue.
    mags : ndarray of float64, shape (n,)
        Of the catalogue.
    band : str
        Of ``mags``.
    """
    if len(fit.kept) > _FEW or fit.kept.all():
        return ""
    clipped = np.flatnonzero(~fit.kept)
    words = [
        f"{names[one]} ({band} = {mags[one]:.3f}), which is {abs(fit.residuals[one]):.2f} mag "
        f"{'brighter' if fit.residuals[one] > 0 else 'fainter'} on this frame than the others let expect"
        for one in clipped[np.argsort(-np.abs(fit.residuals[clipped]))]
    ]
    return f"the zero point is fitted without {'; '.join(words)}"
