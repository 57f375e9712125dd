"""Plan of what stands above the telescope: site, field, transit, air."""

from __future__ import annotations

from dataclasses import dataclass

from nightflow.simulate.scene import Asteroid

__all__ = ["AtmospherePlan", "FieldPlan", "SitePlan", "TransitPlan"]


@dataclass(frozen=True, kw_only=True)
class SitePlan:
    """Where the telescope stands.

    Attributes
    ----------
    latitude, longitude : float
        Degrees, WGS84, east-positive.
    height : float
        Metres.
    """

    latitude: float = 31.96
    longitude: float = -111.60
    height: float = 2096.0


@dataclass(frozen=True, kw_only=True)
class FieldPlan:
    """The piece of sky.

    Attributes
    ----------
    name : str
        OBJECT in the headers.
    ra, dec : float
        Target and commanded pointing, ICRS degrees.
    target_v, target_v_r : float
        V of the target, used where the extract does not hold it, and its colour V - R.
    bright_file : str or None
        Extract of real stars in ``nightflow/simulate/data``; None: all stars are drawn.
    bright_limit : float
        V to which the extract is complete; fainter stars are drawn.
    faint_limit : float
        V of the faintest stars.
    density : float
        Drawn stars per square degree brighter than V = 16.
    half_width : float
        Degrees on either side of the target that hold stars.
    catalog_limit : float
        V of the faintest stars in the catalogue of the field.
    catalog_error : float
        Error of the catalogue's magnitudes.
    n_variables : int
        Stars between V = 11 and 14 that pulsate by 0.1 to 0.3 mag; they are on the chip in every light.
    asteroids : tuple of Asteroid
        Bodies that move through.
    """

    name: str = "HAT-P-32"
    ra: float = 31.0427
    dec: float = 46.6878
    target_v: float = 11.44
    target_v_r: float = 0.30
    bright_file: str | None = "tycho2_hatp32.csv"
    bright_limit: float = 11.5
    faint_limit: float = 18.5
    density: float = 480.0
    half_width: float = 0.72
    catalog_limit: float = 14.5
    catalog_error: float = 0.010
    n_variables: int = 0
    asteroids: tuple[Asteroid, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TransitPlan:
    """The target's transit.

    Attributes
    ----------
    depth : float
        Fraction of the light lost at mid-transit.
    duration_hours : float
        First to last contact.
    offset_minutes : float
        Mid-transit after the middle of the run.
    impact, u1, u2 : float
        Impact parameter and quadratic limb darkening.
    """

    depth: float = 0.023
    duration_hours: float = 1.8
    offset_minutes: float = 4.0
    impact: float = 0.12
    u1: float = 0.35
    u2: float = 0.25


@dataclass(frozen=True, kw_only=True)
class AtmospherePlan:
    """The air and the sky above.

    Attributes
    ----------
    seeing : float
        Arcsec at the zenith, mean of the night.
    seeing_scatter : float
        Relative wandering of the seeing.
    cloud : float
        Magnitudes that thin cloud takes at its worst, about; 0 for a clear night.
    sky_gradient : float
        Relative rise of the sky over one field width, towards a bright Moon or a town.
    sky_scatter : float
        Relative wandering of the sky's level.
    """

    seeing: float = 3.6
    seeing_scatter: float = 0.12
    cloud: float = 0.12
    sky_gradient: float = 0.08
    sky_scatter: float = 0.04
