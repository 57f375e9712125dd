"""A plane of pixels that waits in a file without a name, so that any number of inputs fits into memory."""

from __future__ import annotations

import os
import tempfile
import weakref

import numpy as np
from numpy.typing import NDArray

__all__ = ["Plane", "PlaneOnDisk", "divide"]

_ITEM = np.dtype(np.float32).itemsize


class PlaneOnDisk:
    """A float32 plane in a temporary file, read by rows; the file vanishes with the object.

    It is read, not mapped: mapped pages would count as the process's memory.

    Parameters
    ----------
    plane : ndarray of float32, shape (ny, nx)
        Its pixels are copied.

    Raises
    ------
    OSError
        The temporary folder (TMPDIR) is full or cannot be written to.
    """

    def __init__(self, plane: NDArray[np.float32]) -> None:
        self.shape: tuple[int, int] = (plane.shape[0], plane.shape[1])
        self._divisor = np.float32(1)
        self._file = tempfile.TemporaryFile(prefix="nightflow-masters-")  # noqa: SIM115 - closed with the object
        weakref.finalize(self, self._file.close)
        np.ascontiguousarray(plane, np.float32).tofile(self._file)
        self._file.flush()

    def __getitem__(self, key: slice | tuple[slice, slice]) -> NDArray[np.float32]:
        """Return rows, or a rectangle; threads may read at the same time."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        start, stop, step = rows.indices(self.shape[0])
        lines = [(start, stop)] if step == 1 else [(row, row + 1) for row in range(start, stop, step)]
        parts = [self._read(first, last)[:, columns] for first, last in lines]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def divide(self, divisor: float) -> None:
        """Divide every pixel, when it is read."""
        self._divisor *= np.float32(divisor)

    def _read(self, start: int, stop: int) -> NDArray[np.float32]:
        width = self.shape[1]
        size, offset = max(0, stop - start) * width * _ITEM, start * width * _ITEM
        content = os.pread(self._file.fileno(), size, offset)
        pixels = np.frombuffer(content, np.float32).reshape(-1, width)
        return pixels if self._divisor == 1 else pixels / self._divisor


Plane = NDArray[np.float32] | PlaneOnDisk
"""A plane of pixels, shape (ny, nx), that gives its rows."""


def divide(plane: Plane, divisor: float) -> None:
    """Divide a plane in place."""
    if isinstance(plane, PlaneOnDisk):
        plane.divide(divisor)
    else:
        plane /= np.float32(divisor)
