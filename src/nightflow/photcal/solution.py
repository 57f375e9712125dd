"""What the flux calibration of one frame found."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PhotometricSolution"]


@dataclass(frozen=True, kw_only=True)
class PhotometricSolution:
    """Zero point of one frame.

    Attributes
    ----------
    zero_point : float
        Magnitude of a source of 1 electron/s on this frame, extinction included.
    zero_point_adu : float
        The same of 1 raw ADU/s.
    error : float
        1 sigma of ``zero_point``, star-to-star scatter and number of stars included.
    scatter : float
        Robust star-to-star scatter about the fit, magnitudes.
    n_stars : int
        Stars in the fit.
    catalog, band : str
        Where the reference magnitudes come from.
    system : str
        "Vega" or "AB".
    color_term : float or None
        Coefficient of the colour: m_catalog = m_instrumental + zero_point + color_term * colour.
    color : tuple of str or None
        The two bands of the colour.
    depth_5sigma : float
        Magnitude of a point source with S/N = 5 in the aperture.
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
    warnings: tuple[str, ...] = ()
