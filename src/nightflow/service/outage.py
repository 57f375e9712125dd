"""Something outside that is away: said once, asked again ever less often, and said when it is back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

__all__ = ["Outage"]

log = logging.getLogger(__name__)


class Outage:
    """Counts the failures of one thing in a row.

    Parameters
    ----------
    what : str
        For the log, as in "the store".
    first_seconds, longest_seconds : float
        Pause after the first failure, which doubles with each further one, and its bound.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        what: str,
        *,
        first_seconds: float = 1.0,
        longest_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._first = first_seconds
        self._longest = longest_seconds
        self._clock = clock
        self._began: float | None = None
        self._pause = first_seconds
        self._said = ""

    @property
    def lasts(self) -> bool:
        """Whether the last answer was a failure."""
        return self._began is not None

    def failed(self, error: Exception) -> float:
        """Take note of a failure; return after how many seconds to ask again.

        A reason is said once, and another one when it takes its place: "locked" may turn into "disk full".
        """
        if self._began is None:
            self._began, self._pause, self._said = self._clock(), self._first, ""
        if str(error) != self._said:
            self._said = str(error)
            log.warning("%s is away; what lands meanwhile waits on the disk: %s", self._what, error)
        pause, self._pause = self._pause, min(2 * self._pause, self._longest)
        return pause

    def answered(self) -> None:
        """Take note that it is there."""
        if self._began is not None:
            log.info("%s is back after %.0f s", self._what, self._clock() - self._began)
            self._began = None
