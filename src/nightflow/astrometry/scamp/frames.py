"""What goes into a joint solution, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from nightflow.astrometry.scamp.ldac import Detections
from nightflow.astrometry.solution import Solution, SolveRequest
from nightflow.catalogs.stars import ReferenceStars

__all__ = ["ChipAnswer", "ChipFrame", "Exposure", "Together"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ChipFrame:
    """One chip of one exposure.

    Attributes
    ----------
    name : str
        Of the chip; one of a camera without chips is called "".
    request : SolveRequest
        Its stars, brightest first, and what is known of the pointing.
    start : astropy.wcs.WCS or None
        A solution that stands, at least nearly; None: the layout tells.
    flux_err : ndarray, shape (n,), or None
        1-sigma errors of the request's fluxes; None: that of the photons.
    hypotheses : int
        Candidates among which the start won.
    """

    name: str
    request: SolveRequest
    start: WCS | None = None
    flux_err: Array | None = None
    hypotheses: int = 1

    def detections(self) -> Detections:
        """Return all its stars as SCAMP wants them."""
        flux = self.request.flux
        return Detections(
            x=self.request.x,
            y=self.request.y,
            error=self.request.position_errors(),
            flux=flux,
            flux_err=np.sqrt(np.maximum(flux, 1.0)) if self.flux_err is None else self.flux_err,
            flags=np.zeros(len(flux), np.int16),
        )


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """What is read out after one opening of the shutter.

    Attributes
    ----------
    name : str
        Stem of its files: plain characters.
    chips : tuple of ChipFrame
    exptime : float
        Seconds.
    filter : str
    mjd : float
        UTC, middle of the exposure.
    """

    name: str
    chips: tuple[ChipFrame, ...]
    exptime: float = 1.0
    filter: str = ""
    mjd: float = 51544.5


@dataclass(frozen=True, kw_only=True)
class ChipAnswer:
    """What came of a chip.

    Attributes
    ----------
    exposure, chip : str
        Names.
    solution : Solution or None
        Verified; None where it was refused.
    reason : str
        Why; "" where it was not.
    head : astropy.io.fits.Header or None
        SCAMP's own answer, a TPV WCS; None where SCAMP was not asked.
    n_scamp : int
        Stars of the chip that SCAMP identified.
    used : ndarray of int
        Rows of its request that SCAMP was given.
    """

    exposure: str
    chip: str
    solution: Solution | None
    reason: str = ""
    head: fits.Header | None = None
    n_scamp: int = 0
    used: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))


@dataclass(frozen=True, kw_only=True)
class Together:
    """What came of all.

    Attributes
    ----------
    answers : tuple of ChipAnswer
        In the order of the exposures and their chips.
    stars : ReferenceStars
        What SCAMP was given: at the mean epoch of the exposures.
    degree : int
        Of the distortion.
    stopped : str
        What went wrong at a higher degree, which might have been better; "" where nothing did.
    """

    answers: tuple[ChipAnswer, ...]
    stars: ReferenceStars
    degree: int
    stopped: str = ""
