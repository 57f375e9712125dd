"""Files that could not be registered: when each is tried again, and when a person is told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Refusals"]

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class _Refusal:
    """A file that could not be registered."""

    since: float
    """When it first could not."""
    retry_at: float
    pause: float
    reason: str
    of_the_file: bool
    """The system does not let it be read; else the store is away, or the file changes."""


class Refusals:
    """Remembers files that could not be registered.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refused: dict[Path, _Refusal] = {}
        self._unreadable: dict[Path, str] = {}

    @property
    def unreadable(self) -> dict[Path, str]:
        """The files that the system has not let be read for a while, with its reason; for any thread."""
        return self._unreadable

    def wait(self, path: Path) -> bool:
        """Return whether it is too early to try a file again."""
        refused = self._refused.get(path)
        return refused is not None and self._clock() < refused.retry_at

    def add(self, path: Path, error: Exception) -> None:
        """Take note of a file that was refused, perhaps once more; its reason is logged once."""
        before = self._refused.get(path)
        now, pause = self._clock(), FIRST_RETRY_SECONDS if before is None else before.pause
        refusal = _Refusal(
            since=now if before is None else before.since,
            retry_at=now + pause,
            pause=min(2 * pause, LAST_RETRY_SECONDS),
            reason=str(error),
            of_the_file=isinstance(error, OSError) or isinstance(error.__cause__, OSError),
        )
        # A file is often unreadable for a moment, while its owner and rights are being set.
        said = refusal.of_the_file or (before is not None and before.reason == refusal.reason)
        level = logging.DEBUG if said else logging.WARNING
        log.log(level, "%s: not registered, next try in %.0f s: %s", path, pause, error)
        self._refused[path] = refusal

    def forget(self, path: Path) -> None:
        """Drop a file: it was registered, or it is gone."""
        self._refused.pop(path, None)

    def tell_unreadable(self, patience_seconds: float) -> None:
        """Say once of each file that it cannot be read, when that has lasted."""
        last = self._clock() - patience_seconds
        unreadable = {
            path: refused.reason
            for path, refused in self._refused.items()
            if refused.of_the_file and refused.since <= last
        }
        for path in unreadable.keys() - self._unreadable.keys():
            log.warning("%s; it is taken when it can be read: look at its owner and rights", unreadable[path])
        self._unreadable = unreadable
