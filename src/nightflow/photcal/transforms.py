"""Magnitudes in a band that a catalogue lacks, from those that it has.

Each transform is a published polynomial in one colour, with the range in which it was found and the scatter
of the stars about it. It gives a band in that band's own system (Vega for Johnson, Cousins and Tycho, AB for
Sloan): nothing is converted between the two.

Gaia to Johnson-Cousins (Stetson's standards) and to Sloan (SDSS12): Riello et al. 2021, A&A 649, A3, tables
C.1 and C.2, the same as in the Gaia EDR3 documentation, tables 5.6 to 5.8; B is in that of DR3 (section
5.5.1, table 5.9) alone. For BP - RP above 2, g and r hold for giants only: they end there. Tycho to Johnson:
ESA 1997, SP-1200, vol. 1, section 1.3, eq. 1.3.20, with the errors it states ("generally below 0.015 mag in
V and 0.05 mag in B - V").
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from nightflow.catalogs.stars import ReferenceStars

__all__ = ["TRANSFORMS", "Transform", "find_transform"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A band as another band plus a polynomial in a colour.

    Attributes
    ----------
    band, base : str
        Band that is made, and the one that it starts from.
    color : tuple of str
        Bands of the colour.
    coefficients : tuple of float
        Of band minus base, from the constant up, magnitudes.
    valid : tuple of float
        Range of the colour.
    scatter : float
        Of the stars about it, magnitudes.
    source : str
        Where it was published.
    """

    band: str
    base: str
    color: tuple[str, str]
    coefficients: tuple[float, ...]
    valid: tuple[float, float]
    scatter: float
    source: str

    @property
    def description(self) -> str:
        """Such as "V from G, BP-RP (Riello 2021)"."""
        return f"{self.band} from {self.base}, {self.color[0]}-{self.color[1]} ({self.source})"

    def applies(self, bands: Collection[str]) -> bool:
        """Return whether a catalogue with these bands has what it takes."""
        return {self.base, *self.color} <= set(bands)

    def magnitudes(self, stars: ReferenceStars) -> Array:
        """Return the band's magnitudes, shape (n,); NaN outside of the valid colours."""
        color = self._color(stars)
        low, high = self.valid
        # A comparison with NaN is false, so that an unknown colour gives no magnitude.
        inside = (color >= low) & (color <= high)
        offset = polynomial.polyval(np.where(inside, color, 0.0), self.coefficients)
        return np.where(inside, stars.mags[self.base] + offset, np.nan)

    def slope(self, stars: ReferenceStars) -> Array:
        """Return the change of the band's magnitude per magnitude of colour, base held; shape (n,)."""
        return np.asarray(polynomial.polyval(self._color(stars), polynomial.polyder(self.coefficients)))

    def _color(self, stars: ReferenceStars) -> Array:
        return np.asarray(stars.mags[self.color[0]] - stars.mags[self.color[1]])


def _from_gaia(
    band: str, base_minus_band: tuple[float, ...], valid: tuple[float, float], scatter: float, source: str
) -> Transform:
    """Return a transform from its published form, G minus the band."""
    return Transform(
        band=band,
        base="G",
        color=("BP", "RP"),
        coefficients=tuple(-one for one in base_minus_band),
        valid=valid,
        scatter=scatter,
        source=source,
    )


_RIELLO = "Riello 2021"

TRANSFORMS: tuple[Transform, ...] = (
    _from_gaia("V", (-0.02704, 0.01424, -0.2156, 0.01426), (-0.5, 5.0), 0.03017, _RIELLO),
    _from_gaia("R", (-0.02275, 0.3961, -0.1243, -0.01396, 0.003775), (0.0, 4.0), 0.03167, _RIELLO),
    _from_gaia("I", (0.01753, 0.76, -0.0991), (-0.5, 4.5), 0.03765, _RIELLO),
    _from_gaia(
        "B", (0.01448, -0.6874, -0.3604, 0.06718, -0.006061), (-0.5, 4.0), 0.0633, "Gaia DR3 documentation"
    ),
    _from_gaia("g", (0.2199, -0.6365, -0.1548, 0.0064), (0.3, 2.0), 0.0745, _RIELLO),
    _from_gaia("r", (-0.09837, 0.08592, 0.1907, -0.1701, 0.02263), (0.0, 2.0), 0.03776, _RIELLO),
    _from_gaia("i", (-0.293, 0.6404, -0.09609, -0.002104), (0.5, 2.0), 0.04092, _RIELLO),
    Transform(
        band="V", base="VT", color=("BT", "VT"), coefficients=(0.0, -0.090), valid=(-0.2, 1.8),
        scatter=0.015, source="ESA 1997",
    ),
    Transform(
        band="B", base="VT", color=("BT", "VT"), coefficients=(0.0, 0.760), valid=(-0.2, 1.8),
        scatter=0.052, source="ESA 1997",
    ),
)  # fmt: skip
"""In order of preference."""


def find_transform(band: str, bands: Collection[str]) -> Transform | None:
    """Return the first transform that makes ``band`` of these bands, or None."""
    return next((one for one in TRANSFORMS if one.band == band and one.applies(bands)), None)
