"""By day: a backup, room for the next night, and whether the store agrees with itself and its files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from nightflow.config import Settings
from nightflow.doctor.finding import Level
from nightflow.doctor.store_check import check_consistency
from nightflow.errors import NightflowError
from nightflow.fits_output import remove_leftovers
from nightflow.store.backup import backup
from nightflow.store.database import Database
from nightflow.store.housekeeping import prune, vacuum

__all__ = ["maintain"]

log = logging.getLogger(__name__)

_STEM = "store-"
_MEGABYTE = 1e6


def maintain(
    settings: Settings,
    database: Database,
    *,
    now: datetime,
    keep_backups: int = 7,
    prune_days: float = 30.0,
    shrink: bool = False,
) -> list[dict[str, Any]]:
    """Do all of it; what fails keeps nothing else from being done.

    Parameters
    ----------
    now : datetime
        Aware.
    keep_backups : int
        Of those in the folder of backups; older ones are deleted once the new one is whole. 0: no backup.
    prune_days : float
        Superseded versions that are older lose their measurements, all but the newest of each frame.
    shrink : bool
        Vacuum an SQLite store, too: nobody can write meanwhile. Postgres is always vacuumed.

    Returns
    -------
    list of dict
        Of each step: step, state (done or failed), what.
    """
    steps: list[tuple[str, Callable[[], str]]] = []
    if keep_backups:
        folder = settings.resolve(settings.paths.backups)
        steps.append(("backup", lambda: _backup(database, folder, now, keep_backups)))
    steps.append(("tidy", lambda: _tidy(settings, now)))
    steps.append(("prune", lambda: _prune(database, now, prune_days)))
    if shrink or database.is_postgres:
        steps.append(("vacuum", lambda: _vacuum(database)))
    steps.append(("check", lambda: _check(settings, database)))
    return [_row(name, step) for name, step in steps]


def _row(name: str, step: Callable[[], str]) -> dict[str, Any]:
    try:
        state, what = "done", step()
    except (NightflowError, OSError) as error:
        state, what = "failed", str(error)
    log.log(logging.INFO if state == "done" else logging.ERROR, "%s %s: %s", name, state, what)
    return {"step": name, "state": state, "what": what}


def _backup(database: Database, folder: Path, now: datetime, keep: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "dump" if database.is_postgres else "sqlite"
    file = folder / f"{_STEM}{now:%Y%m%dT%H%M%S}.{suffix}"
    size = backup(database, file)
    # The names sort by time. Those of another kind are of a store that was used before: nobody's to delete.
    old = sorted(folder.glob(f"{_STEM}*.{suffix}"))[:-keep]
    for one in old:
        one.unlink()
    gone = f"; {len(old)} older deleted" if old else ""
    return f"{file}: {size / _MEGABYTE:.1f} MB{gone}"


def _tidy(settings: Settings, now: datetime) -> str:
    folders = (settings.paths.products, settings.paths.masters)
    gone = sum(remove_leftovers(settings.resolve(folder), now) for folder in folders)
    return f"{gone} half-written files of processes that were killed deleted"


def _prune(database: Database, now: datetime, days: float) -> str:
    gone = prune(database, now=now, days=days)
    return f"{gone.n_measurements} measurements of {gone.n_reductions} superseded reductions deleted"


def _vacuum(database: Database) -> str:
    room = vacuum(database)
    return f"{room.before / _MEGABYTE:.1f} MB before, {room.after / _MEGABYTE:.1f} MB after"


class _DisagreesError(NightflowError):
    """The store is wrong somewhere."""


def _check(settings: Settings, database: Database) -> str:
    found = list(check_consistency(settings, database))
    faults = [f"{one.subject}: {one.message}; {one.mend}" for one in found if one.level is Level.FAULT]
    if faults:
        raise _DisagreesError("; ".join(faults))
    return f"{len(found)} questions, no fault"
