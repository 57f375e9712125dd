"""What was found in masters, kept as long as they are in memory."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from numpy.typing import NDArray

from nightflow.instruments.profile import BadPixelSettings

__all__ = ["SeenMasters"]

Found = TypeVar("Found")


class SeenMasters:
    """Findings by the identity of the pixels that they were made in; safe for threads.

    Parameters
    ----------
    capacity : int
        Findings kept; the one that was asked for least recently is forgotten first.
    """

    def __init__(self, capacity: int = 64) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, tuple[tuple[weakref.ref[Any], ...], Any]] = OrderedDict()

    def get(
        self,
        kind: str,
        arrays: tuple[NDArray[Any], ...],
        settings: BadPixelSettings,
        look: Callable[[], Found],
    ) -> Found:
        """Return what ``look`` finds in these arrays; they are looked through once, others wait for it.

        Parameters
        ----------
        kind : str
            What is looked for.
        arrays : tuple of ndarray
            Where; never changed in place.
        settings : BadPixelSettings
            With which limits.
        look : callable
            () -> what is found; must not hold on to the arrays.
        """
        key = (kind, *map(id, arrays), settings.model_dump_json())
        with self._lock:
            known = self._found.pop(key, None)
            # A number that was an array's may have become another's.
            if known is None or any(ref() is not array for ref, array in zip(known[0], arrays, strict=True)):
                known = tuple(weakref.ref(array) for array in arrays), look()
            self._found[key] = known
            while len(self._found) > self._capacity:
                self._found.popitem(last=False)
            found: Found = known[1]
            return found
