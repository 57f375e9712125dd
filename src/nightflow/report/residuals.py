"""What a picture of the residuals of a WCS is drawn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameResiduals"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FrameResiduals:
    """What a picture of residuals is drawn of.

    Attributes
    ----------
    title : str
        The frame's name; text of others.
    shape : tuple of int
        (ny, nx) of the frame.
    scale : float
        Arcsec per pixel.
    x, y, dx, dy, mag : ndarray, shape (n,)
        Places and detected minus predicted places, pixels; catalogue magnitudes.
    corner_errors_arcsec : sequence of float
        Lower left, lower right, upper left, upper right; NaN where unknown.
    facts : mapping of str to str
        Lines of the caption: name -> value.
    """

    title: str
    shape: tuple[int, int]
    scale: float
    x: Array
    y: Array
    dx: Array
    dy: Array
    mag: Array
    corner_errors_arcsec: Sequence[float]
    facts: Mapping[str, str]

    @property
    def radial(self) -> Array:
        """Radial residuals in arcsec."""
        return np.asarray(np.hypot(self.dx, self.dy) * self.scale, np.float64)
