"""When a watched folder is listed, and how much of the time that may take.

A year of nights on a slow disk takes its time to list. So that is done in slices, between which events are
followed, and no more than a tenth of all time is spent on it.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nightflow.sensor.places import Places
from nightflow.sensor.seen import Seen
from nightflow.sensor.sweep import Listing
from nightflow.sensor.watch import FolderWatcher, watch_limit

__all__ = ["Rounds"]

log = logging.getLogger(__name__)

SLICE_SECONDS = 0.1
PAUSE = 10.0
"""Times that a listing takes, until the next one may begin."""
LATE = 5.0
"""Times ``poll_seconds`` between two listings, from which on a person is told that they take long."""


@dataclass(kw_only=True)
class _Round:
    listing: Listing
    steps: Iterator[tuple[Path, Seen] | None]
    whole: bool
    """All of the folder, and not only what no events come from."""
    spent: float = 0.0
    """Seconds."""


@dataclass(kw_only=True)
class _Told:
    """What was said once."""

    links: set[Path] = field(default_factory=set)
    unheard: bool = False
    slow: bool = False


class Rounds:
    """Lists a folder again and again, a slice at a time.

    Parameters
    ----------
    root : Path
        The folder.
    places : Places
        How often.
    watcher : FolderWatcher
        Watches the folder from its first listing on.
    clock : callable
        Monotonic seconds.

    Attributes
    ----------
    polled : bool
        The folder is listed every ``poll_seconds``, because no events come from its file system.
    listed : bool
        All of the folder was listed once since it is looked at in this way.
    unlisted : str
        Why the folder could not be listed when that was last tried; "" where it could.
    """

    def __init__(
        self, root: Path, places: Places, *, watcher: FolderWatcher, clock: Callable[[], float]
    ) -> None:
        self._root = root
        self._watcher = watcher
        self._clock = clock
        self._told = _Told()
        self._unheard: tuple[Path, ...] = ()
        self._heard = False
        self.polled = False
        self.unlisted = ""
        self.look_at(places)

    def look_at(self, places: Places) -> None:
        """Begin anew, and in another way."""
        self._places = places
        self._round: _Round | None = None
        self.listed = False
        self._sweep_at = self._rest_until = self._clock()
        self._poll_at = math.inf

    def sweep_now(self) -> None:
        """List all as soon as the pauses allow it."""
        self._sweep_at = self._clock()

    @property
    def busy(self) -> bool:
        """Whether a listing has begun and not ended."""
        return self._round is not None

    def go_on(self) -> Iterator[tuple[Path, Seen]]:
        """Yield files that the next slice of a listing finds, and what it saw; nothing where none is due."""
        if self._round is None:
            self._round = self._due()
        if self._round is None:
            return
        begun, ended = self._clock(), True
        try:
            for found in self._round.steps:
                if found is not None:
                    yield found
                if self._clock() - begun >= SLICE_SECONDS:
                    ended = False
                    break
        except Exception:
            # Not as if it had come to its end: what it had not reached is looked for in the next one.
            self._round = None
            self._sweep_at = self._clock() + self._places.sweep_seconds
            raise
        if self._round.listing.fault is not None:
            self.unlisted = self._round.listing.fault
        self._round.spent += self._clock() - begun
        if ended:
            self._end(self._round)

    def _due(self) -> _Round | None:
        now = self._clock()
        if now < self._rest_until:
            return None
        if now >= self._sweep_at:
            self._look_around()
            begun = self._begun(None)
            self._sweep_at = math.inf
            return begun
        if now >= self._poll_at:
            return self._begun(self._silent())
        return None

    def _begun(self, within: tuple[Path, ...] | None) -> _Round:
        listing = Listing(self._root, self._places.excluded, within)
        return _Round(listing=listing, steps=listing.steps(), whole=within is None)

    def _look_around(self) -> None:
        """See that the folder is watched: it may have been mounted or made anew."""
        self._heard = self._watcher.watch()
        polled = self._places.is_polled(self._root)
        if polled and not self.polled:
            seconds = self._places.poll_seconds
            log.info("%s: listed every %g s, for no events come from there", self._root, seconds)
        self.polled = polled

    def _end(self, round_: _Round) -> None:
        # The first one reads into the cache, and looks up what is known.
        if self.listed and (self.polled or not round_.whole):
            self._tell_slow(round_.spent)
        if round_.whole:
            self._tell_links(round_.listing.links)
            self._mind_unheard(round_.listing.folders)
            self.listed = True
        self._round = None
        now = self._clock()
        self._rest_until = now + PAUSE * round_.spent
        self._sweep_at = min(self._sweep_at, now + self._places.sweep_seconds)
        self._poll_at = now + self._places.poll_seconds if self._silent() else math.inf

    def _silent(self) -> tuple[Path, ...]:
        """Return the folders from which no events come."""
        return (self._root,) if self.polled else self._unheard

    def _mind_unheard(self, folders: list[Path]) -> None:
        """Poll the subfolders that the system does not watch, and say it once."""
        if self.polled or self._places.polling == "never":
            self._unheard = ()
            return
        before, self._unheard = self._unheard, _topmost(self._watcher.unheard(folders))
        # One that was made a moment ago may only not be watched yet.
        lasting = [folder for folder in self._unheard if folder in before]
        if lasting and not self._told.unheard and self._heard:
            log.warning(
                "%s: no events from its folder %s, and %d more; they are listed every %g s instead. "
                "The system watches %s: raise fs.inotify.max_user_watches (sysctl), start nightflow again",
                self._root,
                lasting[0],
                len(lasting) - 1,
                self._places.poll_seconds,
                watch_limit() or "so many",
            )
        self._told.unheard = bool(lasting) and self._heard

    def _tell_slow(self, spent: float) -> None:
        """Say once that what no events come from takes long to list, and so is not listed as often as set."""
        poll_seconds, seconds = self._places.poll_seconds, (1.0 + PAUSE) * spent
        if self._told.slow or seconds < LATE * poll_seconds:
            return
        self._told.slow = True
        log.warning(
            "%s: to list it takes %.1f s, so it is listed every %.0f s, not every %g s "
            "([watch] poll_seconds), and frames are taken so much later: name only "
            "the folder of the current night in [watch] folders, or move nights that are done out of it",
            self._root,
            spent,
            seconds,
            poll_seconds,
        )

    def _tell_links(self, links: list[Path]) -> None:
        for link in links:
            target = Path(os.path.realpath(link))
            if link not in self._told.links and not self._places.hold(target):
                log.warning(
                    "%s: a link to a folder is not followed; if frames land there, add %s to [watch] folders",
                    link,
                    target,
                )
        self._told.links = set(links)


def _topmost(folders: list[Path]) -> tuple[Path, ...]:
    """Return those of the folders that lie in none of the others."""
    all_ = set(folders)
    return tuple(folder for folder in folders if all_.isdisjoint(folder.parents))
