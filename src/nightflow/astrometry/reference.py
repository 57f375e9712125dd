"""Reference stars for a piece of sky, at the epoch of the frame."""

from __future__ import annotations

from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["reference_stars"]

_ROUNDING = 0.02


def reference_stars(
    catalogs: LocalCatalogs,
    request: SolveRequest,
    settings: AstrometrySettings,
    *,
    ra: float,
    dec: float,
    radius: float,
    minimum: int,
) -> ReferenceStars:
    """Return the stars around (ra, dec) from the first catalogue that has enough of them there.

    Parameters
    ----------
    ra, dec, radius : float
        Degrees.
    minimum : int
        Stars below which a catalogue is passed over.

    Returns
    -------
    ReferenceStars
        At ``request.epoch``, brightest first.

    Raises
    ------
    NoSolution
        No local catalogue has ``minimum`` stars there.
    """
    found = []
    for name in catalogs.covering(ra, dec, radius + _ROUNDING, settings.catalogs):
        stars = catalogs.cone(name, ra, dec, radius + _ROUNDING)
        if len(stars) >= minimum:
            return stars.at_epoch(request.epoch)
        found.append(f"{name} has {len(stars)}")
    names = catalogs.names()
    if not names:
        known, wanted = "there is no catalogue", "one"
    elif len(names) == 1:
        known, wanted = f"{names[0]}, the only catalogue, does not cover it", "a deeper or wider one"
    else:
        known, wanted = f"none of {len(names)} catalogues covers it", "a deeper or wider one"
    raise NoSolution(
        f"fewer than {minimum} catalogue stars within {radius:.2f} deg of ra {ra:.4f} dec {dec:.4f} "
        f"({', '.join(found) or known}); import {wanted} with `nightflow catalog import`"
    )
