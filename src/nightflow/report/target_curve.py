"""The light curve of a target, wherever it stands today."""

from __future__ import annotations

from nightflow.lightcurves.light_curve import LightCurve
from nightflow.store.database import Database
from nightflow.store.forced_curve import forced_curve
from nightflow.store.models import Target
from nightflow.store.movers import find_mover
from nightflow.store.moving_curve import mover_curve, moving_target_curve
from nightflow.store.queries import Motion, find_source, light_curve
from nightflow.store.targets import find_target, position_at

__all__ = ["curve_at", "named_curve", "target_curve"]

FORCED = "forced"
_SAME_PLACE = 1.0
"""Arcsec. Apertures were put where the target is, unless its entry has been changed since."""


def _about(target: Target) -> tuple[float, float] | None:
    """Return about where a fixed target stands, ICRS degrees; None for one that moves."""
    if target.ephemeris is not None or target.ra is None or target.dec is None:
        return None
    return target.ra, target.dec


def curve_at(
    database: Database,
    place: tuple[float, float],
    *,
    radius: float | None = None,
    filter_name: str | None = None,
    kind: str = "aperture",
    motion: Motion | None = None,
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
    motion : Motion, optional
        Proper motion of what is there.
    """
    if kind == FORCED:
        found_there = forced_curve(database, lambda _: place, fixed=place, radius=radius, filter=filter_name)
        return found_there if len(found_there) else None
    found = find_source(database, place[0], place[1], radius, motion)
    if found is None or found.source.id is None:
        return None
    return light_curve(database, found.source.id, filter=filter_name, kind=kind)


def target_curve(
    database: Database,
    target: Target,
    *,
    radius: float | None = None,
    filter_name: str | None = None,
    kind: str = "aperture",
) -> LightCurve | None:
    """Return the light curve of a target, fixed or moving; None where nothing was measured.

    Parameters are those of `curve_at`.
    """
    curve: LightCurve | None
    if kind == FORCED:
        curve = forced_curve(
            database,
            lambda mjd: position_at(target, mjd),
            fixed=_about(target),
            radius=_SAME_PLACE if radius is None else radius,
            filter=filter_name,
        )
    elif target.ephemeris is not None:
        curve = moving_target_curve(database, target, radius=radius, filter=filter_name, kind=kind)
    elif target.ra is None or target.dec is None:
        return None
    else:
        motion = Motion(pmra=target.pmra, pmdec=target.pmdec, epoch=target.epoch)
        curve = curve_at(
            database,
            (target.ra, target.dec),
            radius=radius,
            filter_name=filter_name,
            kind=kind,
            motion=motion,
        )
    return curve if curve is not None and len(curve) else None


def named_curve(
    database: Database,
    name: str,
    *,
    radius: float | None = None,
    filter_name: str | None = None,
    kind: str = "aperture",
) -> LightCurve | None:
    """Return the light curve of a target, or of a body that `finish` found; None where nothing was measured.

    Parameters
    ----------
    name : str
        Of a target, or the label of a body, such as "N20260301-1".

    Raises
    ------
    LookupError
        Nothing has that name.
    """
    target = find_target(database, name)
    if target is not None:
        return target_curve(database, target, radius=radius, filter_name=filter_name, kind=kind)
    body = find_mover(database, name)
    if body is None or body.id is None:
        raise LookupError(
            f"no target is called {name!r}; `nightflow targets list` names them, `targets add` adds one"
        )
    curve = mover_curve(database, body.id, filter=filter_name, kind=kind)
    return curve if len(curve) else None
