"""Disks that may not answer: asked in a thread of their own, and for so long only.

A disk whose server is away holds whoever looks at it for as long as it pleases. Who can do without the answer
asks here, so that what another disk holds up is one thread that nobody waits for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

__all__ = ["Disks", "asked"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")


def asked(look: Callable[[], _T], name: str = "look") -> Future[_T]:
    """Look in a thread for which the end of the process does not wait; return where the answer comes."""
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()  # who gives up waiting cannot cancel it: it may still say its end

    def target() -> None:
        try:
            future.set_result(look())
        except BaseException as error:  # noqa: BLE001  # it is raised again where the answer is waited for
            future.set_exception(error)

    threading.Thread(target=target, name=name, daemon=True).start()
    return future


class Disks:
    """Looks at files whose disk may be away; a place that has not answered is not asked until it has."""

    def __init__(self) -> None:
        self._unanswered: dict[Path, Future[object]] = {}

    def look(self, path: Path, look: Callable[[], _T], *, otherwise: _T, seconds: float) -> _T:
        """Return what a look at a file says.

        Parameters
        ----------
        path : Path
            The file; its folder is the place that answers or not.
        look : callable
            Looks at it.
        otherwise : object
            What is taken for the answer where none comes in time.
        seconds : float
            How long one is waited for.
        """
        before = self._unanswered.get(path.parent)
        if before is not None and not before.done():
            return otherwise
        answer = asked(look)
        try:
            found = answer.result(seconds)
        except TimeoutError:
            if not answer.done():
                log.warning("%s: does not answer: is its disk or server away?", path)
                self._unanswered[path.parent] = answer  # type: ignore[assignment]
            return otherwise
        self._unanswered.pop(path.parent, None)
        return found
