"""Room on the disk for products: the oldest of them go where they would take more than they may.

Only what nightflow has written as the product of a frame is ever removed (its name ends with the numbers of
exposure and frame, as `nightflow.pipeline.products.product_stem` makes it); reports, tables and pictures of a
night stay, and so does a product that was received as a raw frame by somebody who reduces it again.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NoRoom", "Quota"]

log = logging.getLogger(__name__)

LIST_SECONDS = 60.0
"""How often the folder is listed anew: others write there too."""
FREED_SECONDS = 6.0
"""How long a disk may take to count what was removed as free (ZFS: with its next transaction)."""
_LOOK_SECONDS = 0.05
_ASKED_AT_ONCE = 50
"""Files of which the store is asked whether they are raw frames, the oldest first: few have to go."""
_PRODUCT = re.compile(r".+-e\d+-f\d+(-residuals)?\.(fits|fits\.fz|png)")


class NoRoom(OSError):  # noqa: N818  # treated as a full disk
    """The quota has no room for a product, whatever else is removed."""


@dataclass(frozen=True, order=True)
class _File:
    written: float
    path: Path
    size: int


class Quota:
    """Keeps the products of frames within so many bytes; safe for threads.

    Parameters
    ----------
    folder : Path
        Of the products, with a folder a night.
    limit : int
        Bytes.
    received : callable
        Returns which of some paths were received as raw frames; those are never removed.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        limit: int,
        *,
        received: Callable[[Collection[str]], Collection[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._limit = limit
        self._received = received
        self._clock = clock
        self._lock = threading.Lock()
        self._listed_at: float | None = None
        self._held = 0
        self._in_vain_below = 0

    def make_room(self, size: int) -> list[Path]:
        """Remove the oldest products until one of so many bytes has room; return what was removed.

        Parameters
        ----------
        size : int
            Bytes of the product, at most.

        Raises
        ------
        NoRoom
            There is none even when all are gone.
        OSError
            The folder cannot be read, or a file cannot be removed.
        """
        with self._lock:
            removed: list[Path] = []
            if not self._is_fresh() or self._held + size > self._limit:
                files = sorted(_products(self._folder))
                self._held, self._listed_at = sum(file.size for file in files), self._clock()
                removed = self._remove(files, self._held + size - self._limit)
            if self._held + size > self._limit:
                raise NoRoom(
                    f"products.quota = {self._limit / 1e9:g} (GB) has no room for {size / 1e9:.3g} GB; "
                    "make it larger, or 0 for none"
                )
            self._held += size
            return removed

    def give_way(self, lacking: int, free: Callable[[], int]) -> list[Path]:
        """Remove the oldest products for so many bytes that their disk lacks; return what was removed.

        Where that frees nothing, as snapshots keep what is removed, nothing more is removed for the disk
        until it has more room by itself.

        Parameters
        ----------
        lacking : int
            Bytes.
        free : callable
            Returns the bytes that are free on the disk.

        Raises
        ------
        OSError
            The folder cannot be read, or a file cannot be removed.
        """
        with self._lock:
            before = free()
            if before < self._in_vain_below:
                return []
            held = self._held
            removed = self._remove(sorted(_products(self._folder)), lacking)
            freed = held - self._held
            if removed and not _grows(free, before):
                self._in_vain_below = before + freed // 2
                log.warning(
                    "%s: %.3g GB of products removed, and the disk has no more room than before: do "
                    "snapshots keep them? No more are removed for notify.room_gib until there is room",
                    self._folder,
                    freed / 1e9,
                )
            return removed

    def _is_fresh(self) -> bool:
        return self._listed_at is not None and self._clock() - self._listed_at < LIST_SECONDS

    def _remove(self, files: list[_File], surplus: int) -> list[Path]:
        """Remove the oldest files until so many bytes are free."""
        if surplus <= 0:
            return []
        removed, freed = [], 0
        for start in range(0, len(files), _ASKED_AT_ONCE):
            if freed >= surplus:
                break
            for file in self._removable(files[start : start + _ASKED_AT_ONCE]):
                if freed < surplus:
                    file.path.unlink(missing_ok=True)
                    removed.append(file.path)
                    freed += file.size
        self._held -= freed
        if removed:
            log.info(
                "products.quota = %g (GB): the oldest %d products removed, %.3g GB, from %s to %s; "
                "`nightflow backfill --force` writes them again",
                self._limit / 1e9,
                len(removed),
                freed / 1e9,
                removed[0].relative_to(self._folder),
                removed[-1].relative_to(self._folder),
            )
        return removed

    def _removable(self, files: list[_File]) -> list[_File]:
        """Return which of them were not received as raw frames."""
        raw = set(self._received([*(str(file.path) for file in files), *(_real(file) for file in files)]))
        return [file for file in files if not raw & {str(file.path), _real(file)}]


def _grows(free: Callable[[], int], before: int) -> bool:
    """Return whether a disk has more room than before, at the latest when it has counted what was removed."""
    deadline = time.monotonic() + FREED_SECONDS
    while free() <= before:
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _real(file: _File) -> str:
    return os.path.realpath(file.path)


def _products(folder: Path) -> Iterator[_File]:
    """Find the products of frames in the folders of the nights; links are neither followed nor removed."""
    if not folder.is_dir():
        return
    for night in os.scandir(folder):
        if not night.is_dir(follow_symlinks=False):
            continue
        for entry in os.scandir(night.path):
            if not _PRODUCT.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(FileNotFoundError):  # another worker has just removed it
                found = entry.stat(follow_symlinks=False)
                yield _File(written=found.st_mtime, path=Path(entry.path), size=found.st_size)
