"""How a frame was taken and measured, for its zero point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nightflow.photcal.depth import limiting_magnitude
from nightflow.photcal.instrumental import POGSON
from nightflow.photcal.no_zero_point import NoZeroPoint

__all__ = ["Conditions"]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How a frame was taken and measured, as far as its zero point depends on it.

    Attributes
    ----------
    filter : str
    exptime : float
        Seconds.
    gain : float
        Electrons per raw ADU.
    aperture_noise : float
        Noise of an aperture on empty sky, electrons.
    aperture_correction : float
        Total flux over flux in the aperture; the fluxes hold it already.
    aperture_correction_error : float
        1 sigma of it; NaN where unknown. Magnitudes do not feel it, the zero point of an electron does.
    shape : tuple of int, optional
        Rows and columns of the frame; without them no change over the frame is looked for.
    """

    filter: str
    exptime: float
    gain: float
    aperture_noise: float
    aperture_correction: float = 1.0
    aperture_correction_error: float = 0.0
    shape: tuple[int, int] | None = None

    @property
    def aperture_error(self) -> float:
        """Error of the aperture correction in magnitudes; 0 where it is not known."""
        error = POGSON * self.aperture_correction_error / self.aperture_correction
        return float(error) if np.isfinite(error) else 0.0

    def depth(self, zero_point: float) -> float:
        """Return the magnitude of a point source with S/N = 5 in the aperture."""
        return limiting_magnitude(
            zero_point, self.exptime, self.aperture_noise, aperture_correction=self.aperture_correction
        )

    def refuse_absurd(self) -> None:
        """Raise `NoZeroPoint` where a value is not finite and positive, such as an exposure time of 0."""
        for name in ("exptime", "gain", "aperture_noise", "aperture_correction"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise NoZeroPoint(f"{name} = {value:g} of the frame is not a positive number")
