"""New settings for a service that runs: read, checked, and a reducer made of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from nightflow.config import Settings, is_unshown
from nightflow.pipeline.outcome import Observer
from nightflow.pipeline.reducer import Reducer
from nightflow.shown_url import shown_text

__all__ = ["SettingsReload", "live_reducer"]

log = logging.getLogger(__name__)

FIXED = ("store", "prefect")
"""Sections that count from the next start on: the ledger is locked, and Prefect has read its environment."""


def live_reducer(settings: Settings, *, observer: Observer | None = None) -> Reducer:
    """Return the reducer of a live service, or of one of its workers."""
    return Reducer(
        settings,
        missing_calibration=settings.watch.missing_calibration,
        products=settings.watch.products,
        observer=observer,
    )


class SettingsReload:
    """Reads the settings anew; see `nightflow.service.live_service.Reload`.

    Parameters
    ----------
    load : callable
        Returns the settings as they are now; raises what is wrong with them.

    Attributes
    ----------
    asked : threading.Event
        Set when somebody wants them.
    """

    def __init__(self, load: Callable[[], Settings]) -> None:
        self.asked = threading.Event()
        self._load = load

    def __call__(self, settings: Settings) -> tuple[Settings, Reducer]:
        """Return new settings, and a reducer of them, in the place of ``settings``.

        The reducer is new even where no key has changed: camera profiles and catalogues may have.

        Raises
        ------
        ConfigurationError
            A setting or a camera profile is wrong.
        RetryLater
            The store is locked or away.
        """
        asked = self._load()
        new = asked.model_copy(update={name: getattr(settings, name) for name in FIXED})
        reducer = live_reducer(new)
        changed = _changed(settings.model_dump(), new.model_dump())
        log.info("settings read; changed: %s", "; ".join(changed) or "nothing")
        for name in FIXED:
            if getattr(asked, name) != getattr(settings, name):
                log.warning("settings [%s]: what was changed there counts from the next start on", name)
        return new, reducer


def _changed(old: Any, new: Any, key: str = "") -> list[str]:
    """Return each key whose value differs, with the new one; what may hold a secret without it."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line for name in new for line in _changed(old.get(name), new[name], f"{key}.{name}".lstrip("."))
        ]
    if old == new:
        return []
    # A number that was accepted is no secret.
    is_shown = isinstance(new, int | float) or not is_unshown(key.split("."), Settings)
    return [f"{key} = {_shown(new)}" if is_shown else key]


def _shown(value: Any) -> str:
    return shown_text(f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value))
