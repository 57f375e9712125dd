"""List the watched folders, for all that no event told of.

Network drives send no events, an event queue can overflow, and files land while nothing is running. So the
folders are listed at the start and from time to time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nightflow.sensor.candidates import ignored_folder, is_candidate

__all__ = ["sweep"]

log = logging.getLogger(__name__)


def sweep(root: Path, excluded: Sequence[Path] = (), within: Path | None = None) -> list[Path]:
    """Return the candidates below a folder, oldest first.

    Oldest first, because calibrations are mostly taken before the frames that need them.

    Parameters
    ----------
    root : Path
        The watched folder.
    excluded : sequence of Path
        Folders that hold no raw frames.
    within : Path, optional
        Look only at this subfolder of ``root``.

    Notes
    -----
    A folder that is absent or cannot be read is reported in the log and holds nothing for now.
    """
    found: list[tuple[float, Path]] = []
    for path in _walk(within or root):
        if is_candidate(path, root, excluded):
            modified = _modified(path)
            if modified is not None:
                found.append((modified, path))
    return [path for _, path in sorted(found)]


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_report):
        folders[:] = sorted(name for name in folders if not ignored_folder(name))
        yield from (Path(parent, name) for name in files)


def _modified(path: Path) -> float | None:
    """Return when a file was last changed, None if it is gone or is no regular file."""
    try:
        return path.stat().st_mtime if path.is_file() else None
    except OSError as error:
        log.warning("%s: cannot be looked at: %s", path, error)
        return None


def _report(error: OSError) -> None:
    log.warning("%s: cannot be listed: %s", error.filename, error.strerror)
