"""Images in flux density: electrons to microjansky a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nightflow.lightcurves.microjansky import AB_ZERO_POINT, ab_offset

__all__ = ["FluxScale", "flux_scale"]


@dataclass(frozen=True, kw_only=True)
class FluxScale:
    """What makes electrons of an exposure flux densities.

    Attributes
    ----------
    factor : float
        Microjansky per electron.
    relative_error : float
        1 sigma of the factor over it; common to all pixels.
    zero_point : float
        AB magnitude of 1 microjansky: 23.9.
    band, system : str
        Of the zero point that it comes from; "AB" or "Vega".
    vega_to_ab : float
        Magnitudes that were added to come to AB; 0 for an AB band.
    """

    factor: float
    relative_error: float
    zero_point: float
    band: str
    system: str
    vega_to_ab: float


def flux_scale(
    zero_point: float, error: float, exptime: float, *, system: str, band: str
) -> FluxScale | None:
    """Return the scale of an image, or None where the band's place in the AB system is not known.

    It is that of a source of colour 0: a colour term cannot be given to a pixel.

    Parameters
    ----------
    zero_point, error : float
        Magnitude of 1 electron/s of the whole star, and 1 sigma.
    exptime : float
        Seconds.
    system : str
        "AB" or "Vega".
    band : str
        Of the zero point.
    """
    offset = ab_offset(system, band)
    if not np.isfinite([offset, zero_point, exptime]).all() or exptime <= 0:
        return None
    return FluxScale(
        factor=float(10 ** (0.4 * (AB_ZERO_POINT - zero_point - offset)) / exptime),
        relative_error=float(0.4 * np.log(10) * error),
        zero_point=AB_ZERO_POINT,
        band=band,
        system=system,
        vega_to_ab=offset,
    )
