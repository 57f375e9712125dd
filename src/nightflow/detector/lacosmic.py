"""L.A.Cosmic (van Dokkum 2001, PASP 113, 1420), evaluated only where it can find anything.

The steps and their bounds are those of `astroscrappy.detect_cosmics` with true medians (``sepmed=False``),
``fsmode="median"``, ``cleantype="meanmask"`` and a variance plane. That program takes four medians of every
pixel; here the Laplacian tells first which pixels, about one in a hundred, need any.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.lacosmic_kernels import grow, laplacian, low_variance, mark, replace
from nightflow.parallel import in_bands

__all__ = ["find_hits", "replace_hits"]

_TILE = 32
_ROWS = 128
"""Rows that a thread takes at a time."""


def find_hits(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    excluded: NDArray[np.bool_],
    *,
    sigclip: float = 4.5,
    sigfrac: float = 0.3,
    objlim: float = 5.0,
    niter: int = 1,
    threads: int = 2,
) -> NDArray[np.bool_]:
    """Return which pixels cosmic rays hit.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Electrons, with the sky still in.
    variance : ndarray of float32, shape (ny, nx)
        Electrons squared. Its median around a pixel is the noise: that of a hit itself says nothing.
    excluded : ndarray of bool, shape (ny, nx)
        Pixels where none is looked for; their neighbours are left out too.
    sigclip : float
        Significance of a hit, in units of the noise.
    sigfrac : float
        Share of ``sigclip`` that is enough next to a hit.
    objlim : float
        By how much a hit must be sharper than the stars.
    niter : int
        Rounds, at most; between them hits are replaced by the mean of their good neighbours.
    threads : int
        Blocks of rows worked on at a time.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    """
    image, noise_image = np.ascontiguousarray(data, np.float32), np.ascontiguousarray(variance, np.float32)
    hit = np.zeros(image.shape, bool)
    for number in range(niter):
        found = _one_round(image, noise_image, excluded, (sigclip, sigfrac, objlim), threads)
        if not found.any():
            break
        hit |= found
        if number + 1 < niter:
            image, noise_image = (replace_hits(plane, hit, excluded) for plane in (image, noise_image))
    return hit


def replace_hits(
    data: NDArray[np.float32], hit: NDArray[np.bool_], excluded: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return ``data`` with the mean of the good pixels in 5 x 5 in place of each hit.

    A hit without a good pixel around it gets the median of all good ones.
    """
    out = np.array(data, np.float32)
    if replace(np.ascontiguousarray(data, np.float32), hit, excluded, out):
        out[hit & np.isnan(out)] = np.median(data[~(excluded | hit)])
    return out


def _one_round(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    excluded: NDArray[np.bool_],
    limits: tuple[float, float, float],
    threads: int,
) -> NDArray[np.bool_]:
    sigclip, sigfrac, objlim = limits
    ny = image.shape[0]
    sharp, noise = np.empty_like(image), np.zeros(image.shape, np.float32)
    marks = np.zeros(image.shape, np.uint8)
    blocks = [(start, min(start + _ROWS, ny)) for start in range(0, ny, _ROWS)]
    with ThreadPoolExecutor(threads) as pool:
        low = pool.submit(low_variance, variance, _TILE)
        list(pool.map(lambda block: laplacian(image, sharp, *block), blocks))
        least = low.result()
        # Blocks may both work out the noise of a pixel at their border: to the same value.
        list(
            pool.map(
                lambda block: mark(
                    image, variance, sharp, noise, least, _TILE, excluded, sigclip, objlim, marks, *block
                ),
                blocks,
            )
        )
    hit = np.zeros(image.shape, bool)
    # They may both set a hit at their border, and take each other's for known.
    lower = sigclip * sigfrac
    in_bands(lambda start, stop: grow(variance, sharp, noise, excluded, marks, lower, hit, start, stop), ny)
    return hit
