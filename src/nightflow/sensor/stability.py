"""When is a file that lands finished? A tracker that knows paths, sizes, times and a clock, and nothing else.

Whoever watches the disk tells it what was seen (`StabilityTracker.observe`); it answers what is ready. It
opens no file, reads no clock of its own and starts no thread, so that every habit of every copying tool can
be tested without one.

The rules, in order:

0. nobody looks into a file that is being written: only one that was closed, or is at rest for a moment, is
   judged by its content (to unpack a growing ``.gz`` at each change would cost the square of its length);
1. whole by its own headers, and its writer has closed it: ready at once;
2. whole by its own headers, but nobody said that it was closed: ready after that moment of rest, because
   Windows and some file servers set the final length before the first byte is there. On the disk of a network
   the moment is longer: what such a disk says of a file may be some seconds old (nfs(5), acregmin);
3. length unknown (no FITS file at all): ready when nothing changed for ``settle_seconds``, and that moment;
4. shorter than its headers say, or its data are not those that its check sums were made of: not ready;
   handed over all the same when nothing changed for ``patience_seconds``, so that a file whose copying died
   is rejected with a reason, and not forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nightflow.instruments.completeness import Completeness

__all__ = ["Stability", "StabilityTracker"]

MOMENT_SECONDS = 0.25
"""How long a whole file that nobody reported closed must stay as it is."""


@dataclass(frozen=True, kw_only=True)
class Stability:
    """What was last seen of one file."""

    size: int
    mtime_ns: int
    since: float
    """When this size and time were first seen, by the tracker's clock [s]."""
    closed: bool = False
    """Whether the writer closed the file, or renamed it into place, after its last change."""
    completeness: Completeness | None = None
    """What its content says of it; None where nobody has looked into it as it is now."""


class StabilityTracker:
    """Remembers files that are landing and says which are finished.

    Parameters
    ----------
    settle_seconds : float
        Rest that a file of unknown length needs.
    patience_seconds : float
        Rest after which a file that stays short is handed over nonetheless.
    clock : callable
        Monotonic seconds.
    moment_seconds : float
        Rest that a file needs that nobody reported closed.
    """

    def __init__(
        self,
        *,
        settle_seconds: float,
        patience_seconds: float,
        clock: Callable[[], float],
        moment_seconds: float = MOMENT_SECONDS,
    ) -> None:
        self._clock = clock
        self._files: dict[Path, Stability] = {}
        self.retune(
            settle_seconds=settle_seconds, patience_seconds=patience_seconds, moment_seconds=moment_seconds
        )

    def retune(
        self, *, settle_seconds: float, patience_seconds: float, moment_seconds: float = MOMENT_SECONDS
    ) -> None:
        """Judge by other times from now on."""
        self._settle_seconds = settle_seconds
        self._patience_seconds = patience_seconds
        self._moment_seconds = moment_seconds

    def __contains__(self, path: Path) -> bool:
        return path in self._files

    def landing(self) -> list[Path]:
        """Return the files that are followed, in no order; for any thread."""
        return list(self._files)

    def changed(self, path: Path, size: int, mtime_ns: int) -> bool:
        """Return whether this size and time differ from what was last observed."""
        last = self._files.get(path)
        return last is None or (last.size, last.mtime_ns) != (size, mtime_ns)

    def observe(self, path: Path, *, size: int, mtime_ns: int, closed: bool = False) -> None:
        """Take note of a file as it is now.

        Parameters
        ----------
        path : Path
            The file.
        size : int
            Bytes.
        mtime_ns : int
            Time of its last change [ns].
        closed : bool
            The writer has just closed it or renamed it into place.
        """
        last = self._files.get(path)
        if last is None or self.changed(path, size, mtime_ns):
            self._files[path] = Stability(size=size, mtime_ns=mtime_ns, since=self._clock(), closed=closed)
        elif closed:
            # Two changes within one tick of the file system's clock look like one: what was not whole before
            # it was closed may be so now.
            whole = last.completeness is Completeness.COMPLETE
            self._files[path] = replace(last, closed=True, completeness=last.completeness if whole else None)

    def resting(self) -> list[Path]:
        """Return the files to be watched for changes: the others are looked at as they are taken."""
        now = self._clock()
        return [
            path
            for path, file in self._files.items()
            if not self._is_due(file, now) and not self._is_ready(file, now)
        ]

    def unjudged(self) -> list[Path]:
        """Return the files that it is time to look into, the longest at rest first."""
        now = self._clock()
        return [path for path in self.paths() if self._is_due(self._files[path], now)]

    def judge(self, path: Path, completeness: Completeness) -> None:
        """Take note of what the content of a file says, as it was last observed."""
        self._files[path] = replace(self._files[path], completeness=completeness)

    def forget(self, path: Path) -> None:
        """Drop a file: it was handed over, or it is gone."""
        self._files.pop(path, None)

    def paths(self) -> list[Path]:
        """Return the files that are landing, the longest at rest first."""
        return sorted(self._files, key=lambda path: (self._files[path].since, path))

    def ready(self) -> list[Path]:
        """Return the files that are finished, the longest at rest first; they stay until forgotten."""
        now = self._clock()
        return [path for path in self.paths() if self._is_ready(self._files[path], now)]

    def _is_due(self, file: Stability, now: float) -> bool:
        return file.completeness is None and (file.closed or self._rested(file, now))

    def _is_ready(self, file: Stability, now: float) -> bool:
        match file.completeness:
            case Completeness.COMPLETE:
                return file.closed or self._rested(file, now)
            case Completeness.UNKNOWN:
                return now - file.since >= max(self._settle_seconds, self._moment_seconds)
            case Completeness.INCOMPLETE:
                return now - file.since >= self._patience_seconds
            case None:
                return False

    def _rested(self, file: Stability, now: float) -> bool:
        return now - file.since >= self._moment_seconds
