"""A piece of sky to ask a service for."""

from __future__ import annotations

from dataclasses import dataclass

from nightflow.errors import ConfigurationError

__all__ = ["LARGEST_RADIUS", "Cone"]

LARGEST_RADIUS = 10.0
"""Degrees."""


@dataclass(frozen=True, kw_only=True)
class Cone:
    """A piece of sky, and how deep.

    Attributes
    ----------
    ra, dec, radius : float
        ICRS degrees.
    limit_mag : float
        Faintest star, in the band that the service counts by.
    """

    ra: float
    dec: float
    radius: float
    limit_mag: float = 19.0

    def __post_init__(self) -> None:
        """Refuse what is not on the sky.

        Raises
        ------
        ConfigurationError
            A value is out of bounds.
        """
        if not (0.0 <= self.ra < 360.0 and -90.0 <= self.dec <= 90.0):
            raise ConfigurationError(f"ra {self.ra}, dec {self.dec} is not on the sky; both are ICRS degrees")
        if not 0.0 < self.radius <= LARGEST_RADIUS:
            raise ConfigurationError(
                f"radius {self.radius}: give degrees, above 0 and at most {LARGEST_RADIUS:g}"
            )
