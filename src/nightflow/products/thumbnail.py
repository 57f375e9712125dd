"""A small picture of a frame, with its sources marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nightflow.fits_output import replacing
from nightflow.sources.table import SourceTable

__all__ = ["stretch", "write_thumbnail"]

_SIDE = 512
_MARKED = 200
_CYAN = (0, 220, 255)


def stretch(data: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an 8-bit image: linear near the sky, logarithmic in the stars (asinh; Lupton et al. 2004)."""
    finite = data[np.isfinite(data)]
    if finite.size == 0:
        return np.zeros(data.shape, np.uint8)
    sample = finite[:: max(1, finite.size // 100_000)]
    low, middle, high = np.percentile(sample, [1.0, 50.0, 99.8])
    soft = max(float(middle - low), 1e-6)
    top = np.arcsinh(max(float(high - low), soft) / soft)
    scaled = np.arcsinh(np.nan_to_num(data - low, nan=0.0) / soft) / top
    return np.asarray(np.clip(255 * scaled, 0, 255), np.uint8)


def write_thumbnail(path: Path, data: NDArray[np.float32], sources: SourceTable | None) -> None:
    """Write a PNG at most 512 pixels wide and high, y upwards; the 200 brightest sources are circled.

    Parameters
    ----------
    path : Path
        Written to a temporary name, then renamed.
    data : ndarray of float32, shape (ny, nx)
    sources : SourceTable or None
    """
    step = max(1, int(np.ceil(max(data.shape) / _SIDE)))
    ny, nx = (size // step * step for size in data.shape)
    blocks = data[:ny, :nx].reshape(ny // step, step, nx // step, step).mean(axis=(1, 3))
    picture = Image.fromarray(stretch(blocks)[::-1]).convert("RGB")
    if sources is not None:
        _mark(picture, sources, step)
    with replacing(path) as temporary:
        # Level 2 is five times as fast as the default, and its files are no larger.
        picture.save(temporary, format="PNG", compress_level=2)


def _mark(picture: Image.Image, sources: SourceTable, step: int) -> None:
    draw = ImageDraw.Draw(picture)
    radius = 5
    for row in np.argsort(-sources.flux)[:_MARKED]:
        x, y = sources.x[row] / step, picture.height - 1 - sources.y[row] / step
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_CYAN)
