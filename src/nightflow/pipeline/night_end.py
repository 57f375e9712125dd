"""Which nights are over and want to be concluded."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from nightflow.config import Settings
from nightflow.epochs import mjd_of
from nightflow.store.database import Database
from nightflow.store.overview import unconcluded_nights, waiting_of_night
from nightflow.sun import dark_hours
from nightflow.wording import counted

__all__ = ["LAST_DAYS", "nights_to_conclude"]

LAST_DAYS = 14
"""Nights that are older are concluded by hand."""


def nights_to_conclude(settings: Settings, database: Database, now: datetime) -> tuple[list[str], str]:
    """Return the nights that have frames which no `finish` has seen, and why the newest must still wait.

    Parameters
    ----------
    settings : Settings
        `[site]` tells until when it is dark; without it a night is over when none of its frames waits.
    now : datetime
        Aware.

    Returns
    -------
    list of str
        The dates of their evenings, in order: those that can be concluded now.
    str
        What the newest waits for, which is not among them then; "" where it waits for nothing.
    """
    since = (now - timedelta(days=LAST_DAYS)).date().isoformat()
    nights = [night for night in unconcluded_nights(database) if night >= since]
    hindrance = _hindrance(settings, database, nights[-1], now) if nights else ""
    return (nights[:-1], hindrance) if hindrance else (nights, "")


def _hindrance(settings: Settings, database: Database, night: str, now: datetime) -> str:
    site = settings.site
    dark = None if site is None else dark_hours(site.latitude, site.longitude, night)
    if dark is not None and dark[0] <= mjd_of(now) < dark[1]:
        return f"the night of {night} goes on"
    if date.fromisoformat(night) < now.date() - timedelta(days=2):
        return ""  # what still waits of it waits for something else
    waiting = waiting_of_night(database, night)
    if not waiting:
        return ""
    return f"{counted(waiting, 'exposure')} of {night} not reduced yet: in the queue or in work"
