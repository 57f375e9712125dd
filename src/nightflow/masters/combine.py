"""Combine frames pixel by pixel, with outliers clipped about the median.

About the mean nothing can lie further than (N - 1) / sqrt(N) standard deviations, so that a limit of 3
rejects nothing in a stack of ten or fewer; about the median in units of the MAD a single cosmic ray in
three frames is seen. The MAD of three to five values is often far too small, though, and would reject good
ones: it counts as no less than the noise that is typical of the whole stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightflow.masters.kernels import combine_tile, merging_network, sorting_network
from nightflow.masters.plane_on_disk import PlaneOnDisk
from nightflow.robust import MAD_TO_SIGMA

__all__ = ["CombineMethod", "CombinedFrame", "combine", "typical_noise"]

CombineMethod = Literal["clipped_mean", "median"]

SAMPLED_ROWS = 64

CLIP, CLIPPINGS = 4.0, 4
"""Of the typical noise: in units of itself, of which a Gaussian's loses a thousandth; how often."""

QUANTISATION = 6**-0.5
"""ADU: standard deviation that rounding alone gives the difference of two whole counts."""


@dataclass(frozen=True, kw_only=True)
class CombinedFrame:
    """Frames combined into one.

    Attributes
    ----------
    data : ndarray of float32, shape (ny, nx)
        NaN where no input had a finite value.
    scatter : ndarray of float32, shape (ny, nx)
        Of one input's value, not of ``data``: standard deviation of those kept; 1.4826 MAD for the median.
    n_used : ndarray of uint16, shape (ny, nx)
        How many values were kept.
    noise : float
        Typical standard deviation of one input's pixel.
    """

    data: NDArray[np.float32] = field(repr=False)
    scatter: NDArray[np.float32] = field(repr=False)
    n_used: NDArray[np.uint16] = field(repr=False)
    noise: float


def combine(
    stack: NDArray[Any] | Iterable[NDArray[Any] | PlaneOnDisk],
    method: CombineMethod = "clipped_mean",
    sigma: float = 4.0,
    *,
    noise_floor: float | None = None,
    tile_bytes: int = 8 * 2**20,
    threads: int = 2,
) -> CombinedFrame:
    """Combine frames of one shape.

    Parameters
    ----------
    stack : ndarray, shape (n, ny, nx), or iterable of ndarray, shape (ny, nx)
        Any number type and byte order; memory maps and planes on disk are read tile by tile. NaN does not
        count.
    method : {"clipped_mean", "median"}
        Mean of what is left after clipping, or the median of all.
    sigma : float
        Clipping limit in standard deviations about the median.
    noise_floor : float, optional
        The least standard deviation that a pixel's own MAD may stand for; by default `typical_noise`.
    tile_bytes : int
        Bound on the memory of the tiles of rows that are being worked on.
    threads : int
        Tiles worked on at a time.

    Raises
    ------
    ValueError
        No frame, more than 65535, frames that differ in shape, or an unknown method.
    """
    arrays = tuple(stack)
    _check(arrays, method, sigma)
    ny, nx = arrays[0].shape
    noise = typical_noise(arrays)
    floor = noise if noise_floor is None else noise_floor
    data, scatter = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.float32)
    n_used = np.empty((ny, nx), np.uint16)
    height = max(1, tile_bytes // (threads * 4 * nx * len(arrays)))
    networks = sorting_network(len(arrays)), merging_network(len(arrays))
    clip = method == "clipped_mean"

    def work(start: int) -> None:
        rows = slice(start, min(start + height, ny))
        tile = np.empty((len(arrays), rows.stop - rows.start, nx), np.float32)
        for plane, array in zip(tile, arrays, strict=True):
            plane[...] = array[rows]
        combine_tile(tile, networks, sigma, floor, clip, data[rows], scatter[rows], n_used[rows])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(0, ny, height)))
    return CombinedFrame(data=data, scatter=scatter, n_used=n_used, noise=noise)


def typical_noise(arrays: Sequence[NDArray[Any] | PlaneOnDisk]) -> float:
    """Return the standard deviation that is typical of one frame's pixel, from a sample of rows.

    From the differences of successive frames, which hold no structure of the sky or the chip; of a single
    frame, from those of neighbouring pixels. Offsets between the frames are part of it.
    """
    step = max(1, arrays[0].shape[0] // SAMPLED_ROWS)
    sample = [np.asarray(array[::step], np.float32) for array in arrays]
    pairs = [b - a for a, b in pairwise(sample)] if len(sample) > 1 else [np.diff(sample[0], axis=1)]
    differences = np.concatenate([pair.ravel() for pair in pairs])
    differences = np.abs(differences[np.isfinite(differences)], dtype=np.float64)
    if differences.size == 0:
        return 0.0
    return _clipped_rms(differences) / float(np.sqrt(2))


def _clipped_rms(off: NDArray[np.float64]) -> float:
    """Return the root mean square of deviations without those beyond `CLIP` times itself.

    Counts of a quiet camera are whole numbers a few steps apart: a median of their deviations would be one of
    those steps, whatever the noise.
    """
    whole = bool(np.all(off == np.rint(off)))
    rms = max(float(MAD_TO_SIGMA * np.median(off)), 1.0 if whole else 0.0)
    for _ in range(CLIPPINGS):
        kept = off[off <= CLIP * rms]
        rms = float(np.sqrt(np.mean(kept**2))) if kept.size else 0.0
        rms = max(rms, QUANTISATION) if whole else rms
    return rms


def _check(arrays: tuple[NDArray[Any] | PlaneOnDisk, ...], method: str, sigma: float) -> None:
    if not 1 <= len(arrays) <= np.iinfo(np.uint16).max:
        raise ValueError(f"combine: needs 1 to 65535 frames, got {len(arrays)}")
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or len(arrays[0].shape) != 2:
        raise ValueError(f"combine: needs frames of one shape (ny, nx), got {sorted(shapes)}")
    if method not in ("clipped_mean", "median"):
        raise ValueError(f"combine: unknown method {method!r}")
    if not sigma > 0:
        raise ValueError(f"combine: sigma must be positive, got {sigma}")
