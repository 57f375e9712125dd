"""Where a path would be made that may not exist yet, and what room there is."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["free_bytes", "nearest_existing"]


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def free_bytes(folder: Path) -> int | None:
    """Return the bytes free where a folder is, or will be made; None where its disk is away."""
    try:
        return shutil.disk_usage(nearest_existing(folder)).free
    except OSError:
        return None
