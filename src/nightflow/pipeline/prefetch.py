"""Reference stars around the targets, fetched before the night that needs them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from astropy.time import Time

from nightflow.catalogs.cone import Cone
from nightflow.catalogs.online import TIME_LIMIT, FetchReport, fetch_into
from nightflow.catalogs.services import Service
from nightflow.errors import RetryLater
from nightflow.store.database import Database
from nightflow.store.models import Target
from nightflow.store.targets import list_targets, position_at

__all__ = ["prefetch"]

TONIGHT = 0.5
"""Days from now to the middle of the night that is meant; a moving target goes on meanwhile."""


def prefetch(
    database: Database,
    folder: Path,
    service: Service,
    *,
    name: str,
    radius: float,
    limit_mag: float | None,
    now: datetime,
    time_limit: float = TIME_LIMIT,
    fetch: Callable[[Cone, str, Path, Service, float], FetchReport] = fetch_into,
) -> list[dict[str, Any]]:
    """Fetch what the local catalogue lacks around all targets; one that fails costs the others nothing.

    Parameters
    ----------
    database : Database
        Its targets are meant, moving ones where they are tonight.
    folder : Path
        Of the local catalogues.
    service : Service
    name : str
        Of the catalogue.
    radius : float
        Degrees around each target.
    limit_mag : float or None
        None: the service's.
    now : datetime
        Aware.
    time_limit : float
        Seconds for one question.
    fetch : callable
        As `nightflow.catalogs.online.fetch_into`.

    Returns
    -------
    list of dict
        One row a target: target, state (here, fetched, away, or "no place tonight"), n_new, reason.

    Raises
    ------
    ConfigurationError
        The radius or the catalogue's name cannot be meant.
    """
    mjd = float(Time(now).utc.mjd) + TONIGHT
    depth = service.limit_mag if limit_mag is None else limit_mag

    def row(target: Target) -> dict[str, Any]:
        place = position_at(target, mjd)
        if place is None:
            return {"target": target.name, "state": "no place tonight", "n_new": 0, "reason": ""}
        cone = Cone(ra=place[0] % 360.0, dec=place[1], radius=radius, limit_mag=depth)
        try:
            report = fetch(cone, name, folder, service, time_limit)
        except RetryLater as error:
            return {"target": target.name, "state": "away", "n_new": 0, "reason": str(error)}
        state = "fetched" if report.n_questions else "here"
        return {"target": target.name, "state": state, "n_new": report.n_new, "reason": ""}

    return [row(target) for target in list_targets(database)]
