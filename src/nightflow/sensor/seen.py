"""By what a file is known again without reading it."""

from __future__ import annotations

import os
from datetime import datetime
from typing import NamedTuple

__all__ = ["Seen", "seen"]


class Seen(NamedTuple):
    """What the file system says of a file: a copy that keeps the time of its content has another ctime.

    Attributes
    ----------
    size : int
        Bytes.
    mtime_ns, ctime_ns : int
        Last changes of its content, and of its inode [ns], by the clock of the file system.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    def is_as(self, size: int, mtime_ns: int | None, ctime_ns: int | None, received_at: datetime) -> bool:
        """Return whether the file is as it was read: by its own times, else by when it was."""
        if size != self.size:
            return False
        if mtime_ns is None or ctime_ns is None:
            return max(self.mtime_ns, self.ctime_ns) <= received_at.timestamp() * 1e9
        return (mtime_ns, ctime_ns) == (self.mtime_ns, self.ctime_ns)


def seen(status: os.stat_result) -> Seen:
    """Return by what a file is known again."""
    return Seen(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
