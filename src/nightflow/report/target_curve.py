"""The light curve of a target, wherever it stands today."""

from __future__ import annotations

from datetime import UTC, datetime

from nightflow.lightcurves.light_curve import LightCurve
from nightflow.store.database import Database
from nightflow.store.models import Target
from nightflow.store.queries import find_source, light_curve
from nightflow.store.targets import position_at

__all__ = ["curve_at", "fixed_place", "target_curve"]

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


def fixed_place(target: Target) -> tuple[float, float] | None:
    """Return where a fixed target stands today, ICRS degrees; None for a moving one: it is no one source."""
    if target.ephemeris is not None:
        return None
    return position_at(target, (datetime.now(UTC) - _MJD_EPOCH).total_seconds() / 86400.0)


def curve_at(
    database: Database,
    place: tuple[float, float],
    *,
    radius: float | None = None,
    filter_name: str | None = None,
    kind: str = "aperture",
) -> LightCurve | None:
    """Return the light curve of the source nearest to a place; None where none is there.

    Parameters
    ----------
    database : Database
    place : tuple of float
        ICRS degrees.
    radius : float, optional
        Arcsec; default as `nightflow.store.queries.find_source` has it.
    filter_name : str, optional
        Only this filter.
    kind : str
        aperture, psf or forced.
    """
    found = find_source(database, place[0], place[1], radius)
    if found is None or found.source.id is None:
        return None
    return light_curve(database, found.source.id, filter=filter_name, kind=kind)


def target_curve(database: Database, target: Target) -> LightCurve | None:
    """Return the light curve of a fixed target; None where nothing was measured, or where it moves."""
    place = fixed_place(target)
    curve = curve_at(database, place) if place is not None else None
    return curve if curve is not None and len(curve) else None
