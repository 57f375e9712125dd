"""One detector's readout on its way through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from nightflow.instruments.header import FrameHeader

__all__ = ["Frame"]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Pixels of one detector with what is known of them.

    A step takes a frame and returns a new one; arrays are not changed in place
    once they are inside a frame.

    Attributes
    ----------
    data : ndarray of float32, shape (ny, nx)
        Counts in ``unit``, indexed [y, x]; the centre of the first pixel is (0, 0).
    unit : {"adu", "electron"}
        Raw counts before the gain is applied, electrons after.
    header : FrameHeader
        Normalised metadata.
    raw_header : astropy.io.fits.Header
        The header as it was read. Untrusted.
    variance : ndarray of float32 or None, shape (ny, nx)
        In ``unit`` squared.
    flags : ndarray of uint16 or None, shape (ny, nx)
        Bits of `nightflow.flags.Flag`.
    wcs : astropy.wcs.WCS or None
        Set once solved.
    history : tuple of str
        One line for each step done, with the masters' fingerprints.
    warnings : tuple of str
        What was guessed or left out.
    """

    data: NDArray[np.float32]
    unit: str
    header: FrameHeader
    raw_header: fits.Header = field(repr=False)
    variance: NDArray[np.float32] | None = None
    flags: NDArray[np.uint16] | None = None
    wcs: WCS | None = None
    history: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def after(self, step: str, *warnings: str, **changes: Any) -> Self:
        """Return the frame after ``step``, with ``changes`` to its attributes and a line of history."""
        return replace(self, history=(*self.history, step), warnings=(*self.warnings, *warnings), **changes)
