"""What the solver ladder is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from nightflow.astrometry.distortion import Distortion
from nightflow.astrometry.evidence import Evidence

__all__ = ["FittedStars", "Quality", "RungReport", "Solution", "SolveRequest"]


class Quality(StrEnum):
    """How far a WCS may be trusted."""

    VERIFIED = "verified"
    """Right, shown on stars that were not used in the fit."""
    PROVISIONAL = "provisional"
    """Good enough to find catalogue stars for photometry; no claim on positions."""
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class SolveRequest:
    """Everything a solver may use.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        Stars without unusable pixels, 0-based, brightest first; round saturated ones are among them.
    flux : ndarray of float64, shape (n,)
        Electrons.
    position_error : ndarray of float64, shape (n,), or None
        1-sigma error of each coordinate in pixels, from photon and read noise; None: not known.
    shape : tuple of int
        (ny, nx) of the frame.
    ra, dec : float or None
        Pointing hint, ICRS degrees.
    hint_error : float
        Degrees by which the hint may be wrong.
    scale : float or None
        Arcsec per pixel.
    scale_tolerance : float
        Relative.
    parity : int
        +1, -1, or 0 where unknown.
    epoch : float
        Julian year of the frame.
    header_wcs : astropy.wcs.WCS or None
        What the raw header says, where the profile trusts it at all.
    previous_wcs : astropy.wcs.WCS or None
        The last verified solution of this camera near this pointing.
    time_limit : float
        Seconds of CPU time for one rung.
    distortions : tuple of Distortion
        What other frames taught of this camera's optics, one for each parity.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    shape: tuple[int, int]
    ra: float | None
    dec: float | None
    hint_error: float
    scale: float | None
    scale_tolerance: float
    parity: int
    epoch: float
    header_wcs: WCS | None = None
    previous_wcs: WCS | None = None
    time_limit: float = 30.0
    position_error: NDArray[np.float64] | None = None
    distortions: tuple[Distortion, ...] = ()

    def position_errors(self) -> NDArray[np.float64]:
        """Return the 1-sigma error of each coordinate in pixels; where none is known, that of the photons."""
        # FWHM / 2.355 / sqrt(electrons) for a FWHM of 2.4 pixels
        photons = 1.0 / np.sqrt(np.maximum(self.flux, 1.0))
        if self.position_error is None:
            return photons
        known = np.isfinite(self.position_error) & (self.position_error > 0.0)
        return np.where(known, self.position_error, photons)


@dataclass(frozen=True, kw_only=True)
class RungReport:
    """What a rung that has no solution says.

    Attributes
    ----------
    rung : str
        Its name.
    reason : str
        Why it has none.
    seconds : float
        Wall time.
    """

    rung: str
    reason: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.rung}: {self.reason} ({self.seconds:.1f} s)"


@dataclass(frozen=True, kw_only=True)
class FittedStars:
    """The stars of a fit: where they are and by how much they are off; columns of equal length n.

    Attributes
    ----------
    x, y : ndarray of float64
        0-based pixels.
    dx, dy : ndarray of float64
        Detected minus predicted place, pixels.
    ra, dec : ndarray of float64
        Of the catalogue at the epoch of the frame, ICRS degrees.
    mag : ndarray of float64
        Of the catalogue.
    error : ndarray of float64
        1-sigma error of each coordinate that the weights were made of, pixels.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    mag: NDArray[np.float64]
    error: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A WCS and how it was tested.

    Attributes
    ----------
    wcs : astropy.wcs.WCS
        TAN or TAN-SIP.
    backend : str
        Rung that found it: previous, header, hint, astrometry_net, solve_field, nova.
    quality : Quality
        Verdict of the verification.
    rms_arcsec : float
        Radial rms of the stars in the fit.
    heldout_rms_arcsec : float
        Radial rms of stars left out of the fit in turn (5-fold); NaN for a provisional solution.
    n_matched : int
        Stars in the fit.
    ra_center, dec_center : float
        ICRS degrees of the middle of the frame.
    scale : float
        Arcsec per pixel in the middle.
    rotation : float
        Position angle of +y in degrees, north through east.
    parity : int
        +1 as on the sky (east to the left of north), -1 mirrored.
    catalog : str
        Catalogue of the reference stars.
    warnings : tuple of str
        What a reader should know, such as rungs that failed first.
    seconds : float
        Wall time of the whole ladder.
    rungs : tuple of RungReport
        The rungs that were tried before.
    evidence : Evidence or None
        What it was verified by; None for a provisional one.
    stars : FittedStars or None
        Those in the fit.
    lent : Distortion or None
        The distortion that it took from other frames, where it did.
    hypotheses : int
        Candidates among which it won: what is judged again on the same stars has won among them, too.
    """

    wcs: WCS
    backend: str
    quality: Quality
    rms_arcsec: float
    heldout_rms_arcsec: float
    n_matched: int
    ra_center: float
    dec_center: float
    scale: float
    rotation: float
    parity: int
    catalog: str
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    rungs: tuple[RungReport, ...] = ()
    evidence: Evidence | None = None
    stars: FittedStars | None = None
    lent: Distortion | None = None
    hypotheses: int = 1
