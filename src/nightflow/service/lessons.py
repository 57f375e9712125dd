"""What workers learn from the sky, for each other and for those that take their place.

The last solution of each pointing, and what the last exposures saturated, live in the memories of one
process. Whatever a worker remembers is told to the service when its exposure has ended, and by it to others.
"""

from __future__ import annotations

import itertools
import pickle
import threading
from collections import OrderedDict
from typing import Any

from nightflow.detector.persistence import SaturationMemory
from nightflow.pipeline.pointings import Pointings
from nightflow.service.messages import Learned

__all__ = ["Lessons", "TellingPointings", "TellingSaturation", "Untold", "take_in"]

KEPT = 32
"""Lessons that a new worker is told; of a mosaic more are worth little to it."""


class Untold:
    """What was remembered since it was told last; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._untold: list[tuple[str, tuple[object, ...], tuple[Any, ...]]] = []

    def note(self, memory: str, key: tuple[object, ...], *arguments: Any) -> None:
        """Keep what was remembered under which key."""
        with self._lock:
            self._untold.append((memory, key, arguments))

    def take(self) -> list[Learned]:
        """Return it in the form that is sent, and forget it."""
        with self._lock:
            untold, self._untold = self._untold, []
        return [
            Learned(memory=memory, key=(memory, *key), content=pickle.dumps(arguments))
            for memory, key, arguments in untold
        ]


class TellingPointings(Pointings):
    """Notes what it remembers of its own frames."""

    def __init__(self, untold: Untold) -> None:
        super().__init__()
        self._untold = untold

    def remember(self, instrument: str, detector: str, ra: float, dec: float, wcs: Any) -> None:
        """Keep a solution, and note it."""
        super().remember(instrument, detector, ra, dec, wcs)
        key = (instrument, detector, round(ra, 1), round(dec, 1))
        self._untold.note("pointings", key, instrument, detector, ra, dec, wcs)

    def learn(self, *arguments: Any) -> None:
        """Keep a solution that another worker found."""
        super().remember(*arguments)


class TellingSaturation(SaturationMemory):
    """Notes what it remembers of its own frames."""

    def __init__(self, untold: Untold) -> None:
        super().__init__()
        self._untold = untold

    def remember(self, header: Any, saturated: Any) -> None:
        """Keep what an exposure saturated, and note it."""
        super().remember(header, saturated)
        key = (header.instrument, header.detector, saturated.mjd_end)
        self._untold.note("saturation", key, header, saturated)


def take_in(lesson: Learned, pointings: TellingPointings, saturation: TellingSaturation) -> None:
    """Remember what another worker has learnt."""
    memory = pointings if lesson.memory == "pointings" else saturation
    memory.learn(*pickle.loads(lesson.content))


class Lessons:
    """The service's collection: the newest of each kind, told to whoever has not heard it."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._kept: OrderedDict[tuple[object, ...], tuple[int, Learned]] = OrderedDict()

    def add(self, lesson: Learned) -> int:
        """Keep a lesson in the place of an older one, and return its number; the oldest are forgotten."""
        self._kept.pop(lesson.key, None)
        number = next(self._numbers)
        self._kept[lesson.key] = number, lesson
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return number

    def all(self) -> dict[int, Learned]:
        """Return what a new worker has to be told, by number, the oldest first."""
        return dict(self._kept.values())
