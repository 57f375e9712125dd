"""The sources found on one frame, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["SourceTable", "no_sources"]


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """Columns of equal length n, one row a source; row order is detection order.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        Windowed centroid in pixels, 0-based.
    x_err, y_err : ndarray of float64, shape (n,)
        1-sigma error of the centroid from photon and read noise, pixels.
    flux, flux_err : ndarray of float64, shape (n,)
        Electrons of the whole star: those in the circular aperture above the local background, times the
        frame's aperture correction. The error propagates the variance plane and the background's own error,
        and nothing of the correction or the zero point, which are common to all sources of the frame.
    peak : ndarray of float64, shape (n,)
        Highest pixel above background, electrons.
    background : ndarray of float64, shape (n,)
        Local background, electrons a pixel.
    fwhm : ndarray of float64, shape (n,)
        Pixels.
    ellipticity : ndarray of float64, shape (n,)
        1 - b/a.
    theta : ndarray of float64, shape (n,)
        Position angle of the major axis, radians from +x towards +y.
    flags : ndarray of uint16, shape (n,)
        Bits of `nightflow.flags.Flag` of any pixel in the aperture.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_err: NDArray[np.float64]
    y_err: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    peak: NDArray[np.float64]
    background: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    ellipticity: NDArray[np.float64]
    theta: NDArray[np.float64]
    flags: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return the rows selected by a mask or by indices."""
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def no_sources() -> SourceTable:
    """Return the table of a frame without a source."""
    empty = np.empty(0)
    return SourceTable(
        x=empty, y=empty, x_err=empty, y_err=empty, flux=empty, flux_err=empty, peak=empty, background=empty,
        fwhm=empty, ellipticity=empty, theta=empty, flags=np.empty(0, np.uint16),
    )  # fmt: skip
