"""Reference stars: what a catalogue says of a piece of sky."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["BANDS", "ReferenceStars"]

BANDS: dict[str, str] = {
    "U": "Vega", "B": "Vega", "V": "Vega", "R": "Vega", "I": "Vega",
    "u": "AB", "g": "AB", "r": "AB", "i": "AB", "z": "AB",
    "G": "Vega", "BP": "Vega", "RP": "Vega", "BT": "Vega", "VT": "Vega",
}  # fmt: skip
"""Photometric bands that a catalogue may carry, and the magnitude system of each."""

_MAS_PER_DEGREE = 3.6e6


@dataclass(frozen=True, kw_only=True)
class ReferenceStars:
    """Stars of one catalogue in one piece of sky; columns of equal length n.

    Attributes
    ----------
    catalog : str
        Name under which the catalogue was imported.
    ra, dec : ndarray of float64, shape (n,)
        ICRS degrees at ``epoch``.
    pmra, pmdec : ndarray of float64, shape (n,)
        Proper motion in mas/yr, pmra with the cosine of the declination in it; 0 where unknown.
    epoch : float
        Julian year of the positions.
    ids : ndarray of str, shape (n,)
        Name in the catalogue, or "" where it has none.
    mags, mag_errs : mapping of band to ndarray of float64, shape (n,)
        NaN where unknown.
    """

    catalog: str
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    pmra: NDArray[np.float64]
    pmdec: NDArray[np.float64]
    epoch: float
    ids: NDArray[np.str_]
    mags: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    mag_errs: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ra)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return the rows selected by a mask or by indices."""
        return replace(
            self,
            ra=self.ra[rows],
            dec=self.dec[rows],
            pmra=self.pmra[rows],
            pmdec=self.pmdec[rows],
            ids=self.ids[rows],
            mags={band: values[rows] for band, values in self.mags.items()},
            mag_errs={band: values[rows] for band, values in self.mag_errs.items()},
        )

    def at_epoch(self, epoch: float) -> Self:
        """Return the stars moved by their proper motion to Julian year ``epoch``."""
        years = epoch - self.epoch
        cos_dec = np.maximum(np.cos(np.radians(self.dec)), 1e-6)
        return replace(
            self,
            ra=(self.ra + years * self.pmra / _MAS_PER_DEGREE / cos_dec) % 360.0,
            dec=np.clip(self.dec + years * self.pmdec / _MAS_PER_DEGREE, -90.0, 90.0),
            epoch=epoch,
        )

    def brightness(self) -> NDArray[np.float64]:
        """Return a magnitude for ranking, from the first band each star has; NaN where it has none."""
        ranking = np.full(len(self), np.nan)
        for band in ("G", "VT", "V", "r", "R", "g", "RP", "BP", "i", "B", "I", "BT", "z", "u", "U"):
            if band in self.mags:
                ranking = np.where(np.isnan(ranking), self.mags[band], ranking)
        return ranking
