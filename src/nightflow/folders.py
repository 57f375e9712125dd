"""Where a path would be made that may not exist yet, and what room there is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["free_bytes", "nearest_existing", "not_writable"]


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists, as far as this user may look.

    Raises
    ------
    OSError
        A disk on the way there does not answer as it should.
    """
    absolute = path.absolute()
    return next(one for one in (absolute, *absolute.parents) if _is_seen(one))


def _is_seen(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # a folder above it may not be searched
        return False


def free_bytes(folder: Path) -> int | None:
    """Return the bytes free where a folder is, or will be made; None where its disk is away."""
    try:
        return shutil.disk_usage(nearest_existing(folder)).free
    except OSError:
        return None


def not_writable(folder: Path) -> str | None:
    """Return why nothing can be written where a folder is, or will be made; None where it can.

    Raises
    ------
    OSError
        As `nearest_existing`.
    """
    existing = nearest_existing(folder)
    if not existing.is_dir():
        return f"{existing} is a file"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} cannot be written"
    return None
