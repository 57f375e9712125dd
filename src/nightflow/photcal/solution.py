"""What the flux calibration of one frame found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FluxCalibration", "PhotometricSolution"]


@dataclass(frozen=True, kw_only=True)
class PhotometricSolution:
    """Zero point of one frame.

    Attributes
    ----------
    zero_point : float
        Magnitude of a source of colour 0 and 1 electron/s on this frame, extinction included.
    zero_point_adu : float
        The same of 1 raw ADU/s.
    error : float
        1 sigma of ``zero_point``: star-to-star scatter, number of stars, the aperture correction's error,
        what is not known of the colour term. It is not smaller for a star whose colour
        the reference stars do not have.
    scatter : float
        Robust star-to-star scatter about the fit, magnitudes; NaN where no star of the frame was fitted.
    n_stars : int
        Stars in the fit.
    catalog, band : str
        Where the reference magnitudes come from, such as "V", or "V from G, BP-RP (Riello 2021)".
    system : str
        "Vega" or "AB".
    color_term, color_term_error : float or None
        Coefficient of the colour: m_catalog = m_instrumental + zero_point + color_term * colour.
        None where no colour is known or wanted: then its uncertainty is in ``error``.
    color : tuple of str or None
        The two bands of the colour.
    position_term : tuple of float or None
        Change of the zero point over half the frame's width and height, where the stars support one.
    depth_5sigma : float
        Magnitude of a point source with S/N = 5 in the aperture.
    origin : str
        "frame", or "night" where the frame has too few stars of its own.
    warnings : tuple of str
        What a reader should know.
    """

    zero_point: float
    zero_point_adu: float
    error: float
    scatter: float
    n_stars: int
    catalog: str
    band: str
    system: str
    color_term: float | None
    color: tuple[str, str] | None
    depth_5sigma: float
    color_term_error: float | None = None
    position_term: tuple[float, float] | None = None
    origin: str = "frame"
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FluxCalibration:
    """Zero point and calibrated magnitudes.

    Attributes
    ----------
    solution : PhotometricSolution
    mag, mag_err : ndarray of float64, shape (n,)
        Of every source; NaN where the flux is not positive. The error is the flux's own, without the zero
        point's. A star that took part in the fit is calibrated by a fit without it, so that no star is its
        own reference; its magnitude is NaN where there is no fit without it.
    """

    solution: PhotometricSolution
    mag: NDArray[np.float64]
    mag_err: NDArray[np.float64]
