"""Stars as sep finds them, and catalogues of a frame's own stars: nothing of nightflow's takes part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import sep
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

__all__ = ["detect", "share_seen", "write_own_stars"]

Array = NDArray[np.float64]


def detect(data: NDArray, sharpest: float = 0.0) -> tuple[Array, Array, Array]:
    """Return x, y (0-based) and flux of the round sources of a frame.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
    sharpest : float
        Half-light radius below which a source is left out, in units of the median: hits and hot pixels.
    """
    pixels = np.ascontiguousarray(data, np.float32)
    background = sep.Background(pixels)
    flat = pixels - background.back()
    found = sep.extract(flat, 4.0, err=background.globalrms, minarea=5)
    clean = found["b"] > 0.5 * found["a"]
    if sharpest:
        radius, _ = sep.flux_radius(flat, found["x"], found["y"], np.full(len(found), 8.0), 0.5)
        clean &= radius > sharpest * np.median(radius[clean])
    x, y, _ = sep.winpos(flat, found["x"][clean], found["y"][clean], np.full(clean.sum(), 1.5))
    flux, _, _ = sep.sum_circle(flat, x, y, 4.0)
    return x, y, flux


def write_own_stars(file: Path, data: NDArray, sky: Callable[[Array, Array], tuple[Array, Array]]) -> Path:
    """Write the stars of a frame as a catalogue, and return its path.

    Parameters
    ----------
    sky : callable
        (x, y) 0-based -> (ra, dec) in degrees.
    """
    x, y, flux = detect(data, sharpest=0.8)
    good = flux > 0
    ra, dec = sky(x[good], y[good])
    Table({"ra": ra, "dec": dec, "G": 25.0 - 2.5 * np.log10(flux[good])}).write(file, format="ascii.csv")
    return file


def share_seen(wcs: WCS, catalog: Table, data: NDArray, radius: float, brightest: int = 40) -> float:
    """Return how many of a frame's brightest catalogue stars have a source within ``radius`` pixels: 0 to 1.

    Where the sources cover only a few percent of the frame, a false WCS has a share of a few percent.
    """
    ny, nx = data.shape
    magnitude = next(catalog[name] for name in ("G", "vt") if name in catalog.colnames)
    x, y = wcs.all_world2pix(catalog["ra"], catalog["dec"], 0, quiet=True)
    on_frame = np.flatnonzero((x > 5) & (x < nx - 6) & (y > 5) & (y < ny - 6))
    on_frame = on_frame[np.argsort(magnitude[on_frame])][:brightest]
    seen_x, seen_y, _ = detect(data)
    assert len(on_frame) >= 6
    assert len(seen_x) * np.pi * radius**2 < 0.05 * nx * ny, "too many sources for this radius to prove much"
    distance = np.hypot(seen_x[:, None] - x[on_frame], seen_y[:, None] - y[on_frame])
    return float(np.mean(np.min(distance, axis=0) < radius))
