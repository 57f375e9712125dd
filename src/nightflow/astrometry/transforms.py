"""Similarity transforms that pairs of triangles propose, and where they agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CELL", "Transforms", "gathered", "similarities"]

CELL = 0.03
"""Width of a cell of centres in units of the frame's diagonal."""
_TURN = np.radians(2.0)


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """Similarity transforms from pixels about the middle of the frame to the tangent plane.

    ``w = a z + b`` where ``mirrored`` is false, ``w = a conj(z) + b`` where it is true.
    """

    a: NDArray[np.complex128]
    b: NDArray[np.complex128]
    mirrored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.a)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Transforms:
        """Return the rows selected by a mask or by indices."""
        return Transforms(a=self.a[rows], b=self.b[rows], mirrored=self.mirrored[rows])


def similarities(
    z: NDArray[np.complex128], w: NDArray[np.complex128], *, mirrored: NDArray[np.bool_]
) -> Transforms:
    """Return the least-squares similarity of each triangle z (n, 3) onto its partner w (n, 3)."""
    z = np.where(mirrored[:, None], np.conj(z), z)
    z_mean, w_mean = z.mean(axis=1), w.mean(axis=1)
    z_part = z - z_mean[:, None]
    a = np.sum(np.conj(z_part) * (w - w_mean[:, None]), axis=1) / np.sum(np.abs(z_part) ** 2, axis=1)
    return Transforms(a=a, b=w_mean - a * z_mean, mirrored=mirrored)


def gathered(transforms: Transforms, diagonal: float, limit: int) -> Transforms:
    """Return the mean transforms of the ``limit`` fullest cells of (centre, rotation, parity).

    Parameters
    ----------
    diagonal : float
        Of the frame, in the unit of the plane; cells are `CELL` of it wide.
    """
    if not len(transforms):
        return transforms
    size = CELL * diagonal
    cells = np.column_stack(
        [
            np.round(transforms.b.real / size),
            np.round(transforms.b.imag / size),
            np.round(np.angle(transforms.a) / _TURN),
            transforms.mirrored,
        ]
    ).astype(np.int64)
    _, cell, votes = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    fullest = np.argsort(-votes, kind="stable")[:limit]
    members = cell.reshape(-1)
    a, b = _means(members, transforms.a, votes), _means(members, transforms.b, votes)
    mirrored = np.bincount(members, transforms.mirrored) > 0
    return Transforms(a=a, b=b, mirrored=mirrored).take(fullest)


def _means(
    members: NDArray[np.intp], values: NDArray[np.complex128], counts: NDArray[np.intp]
) -> NDArray[np.complex128]:
    real, imag = np.bincount(members, values.real), np.bincount(members, values.imag)
    return np.asarray((real + 1j * imag) / counts, np.complex128)
