"""Where a path would be made that may not exist yet."""

from __future__ import annotations

from pathlib import Path

__all__ = ["nearest_existing"]


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
