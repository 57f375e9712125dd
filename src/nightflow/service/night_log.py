"""The live service's log: a file a night, the old ones deleted.

Service and workers write to it at once. Each line is one write to the end of the file, so that lines stay
whole; and no file is ever renamed, which one process would do behind the others' backs.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from nightflow.nights import night_of, parse_night

__all__ = ["NightLog"]

_MJD_OF_UNIX = 40_587.0
_DAY = 86_400.0
_NAME = re.compile(r"watch-(\d{4}-\d{2}-\d{2})\.log")


class NightLog(logging.Handler):
    """Appends to ``watch-NIGHT.log``, such as watch-2026-03-01.log.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    keep_days : float
        Files of nights that are longer ago are deleted when a new one begins.
    longitude : float, optional
        Of the site, degrees; see `nightflow.nights.night_of`.

    Notes
    -----
    A full disk must not stop the night: what cannot be written is told once to stderr, where all lines go
    anyway.
    """

    def __init__(self, folder: Path, *, keep_days: float, longitude: float | None = None) -> None:
        super().__init__()
        self._folder = folder
        self._keep = timedelta(days=keep_days)
        self._longitude = longitude
        self._night = ""
        self._file = -1
        self._complained = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or more of a traceback."""
        try:
            self._turn_page(night_of(record.created / _DAY + _MJD_OF_UNIX, self._longitude))
            os.write(self._file, f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
            self._complained = False
        except OSError as error:
            self._complain(error)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._night = -1, ""
        super().close()

    def _turn_page(self, night: str) -> None:
        if night == self._night:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self._folder / f"watch-{night}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._night = file, night
        oldest = (parse_night(night) - self._keep).date().isoformat()
        for old in self._folder.iterdir():
            name = _NAME.fullmatch(old.name)
            if name is not None and name[1] < oldest:
                with suppress(FileNotFoundError):  # another process was faster
                    old.unlink()

    def _complain(self, error: OSError) -> None:
        if not self._complained and sys.stderr is not None:
            self._complained = True
            with suppress(OSError):
                sys.stderr.write(f"[paths] logs = {self._folder}: the log is not written: {error}\n")
