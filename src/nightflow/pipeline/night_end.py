"""Which night is over and wants to be concluded."""

from __future__ import annotations

from datetime import datetime

from nightflow.config import Settings
from nightflow.epochs import mjd_of
from nightflow.store.database import Database
from nightflow.store.overview import nights, queue_length
from nightflow.sun import dark_hours

__all__ = ["newest_night"]


def newest_night(settings: Settings, database: Database, now: datetime) -> tuple[str, str]:
    """Return the newest night of the ledger and why it cannot be concluded yet.

    Parameters
    ----------
    settings : Settings
        `[site]` tells until when it is dark; without it a night is over when nothing waits.

    Returns
    -------
    tuple of str
        The date of its evening, "" where the ledger has none; and the reason, "" where it can be concluded.
    """
    known = nights(database)
    if not known:
        return "", "the ledger has no frame"
    night, site = known[-1], settings.site
    dark = None if site is None else dark_hours(site.latitude, site.longitude, night)
    if dark is not None and dark[0] <= mjd_of(now) < dark[1]:
        return night, f"the night of {night} goes on"
    waiting = queue_length(database)
    if waiting:
        return night, f"{waiting} exposures wait to be reduced or are in work"
    return night, ""
