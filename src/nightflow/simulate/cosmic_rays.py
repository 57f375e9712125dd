"""Cosmic rays: straight tracks of muons and curled ones of electrons, with the charge they leave.

A minimum ionising particle frees about 80 electron-hole pairs per micrometre of silicon. Muons come with a
flux that goes as cos^2 of the zenith angle, so through a horizontal chip the cosine of the angle of
incidence is distributed as the fourth root of a uniform number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CosmicRays", "draw_cosmic_rays"]

Array = NDArray[np.float64]

_ELECTRONS_PER_MICRON = 80.0
_PIXEL_MICRON = 9.0
_THICKNESS_PIXELS = 20.0 / _PIXEL_MICRON
_LONGEST_TRACK = 150.0
_DIFFUSION_PIXELS = 0.25
_SAMPLES_PER_PIXEL = 12
_CURLED_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class CosmicRays:
    """What cosmic rays left on the chip during one exposure.

    Attributes
    ----------
    n_hits : int
        Particles.
    x, y : ndarray of int, shape (n,)
        Pixels that were touched, each once.
    electrons : ndarray, shape (n,)
        Charge in each.
    """

    n_hits: int
    x: NDArray[np.intp]
    y: NDArray[np.intp]
    electrons: Array


def draw_cosmic_rays(
    rng: np.random.Generator, shape: tuple[int, int], per_minute: float, exptime: float
) -> CosmicRays:
    """Draw the hits of an exposure of ``exptime`` seconds on a chip of ``shape`` (ny, nx)."""
    n_hits = int(rng.poisson(per_minute * exptime / 60.0))
    plane: dict[str, list[Array]] = {"x": [], "y": [], "electrons": []}
    for is_curled in rng.random(n_hits) < _CURLED_SHARE:
        x, y, electrons = _curled_track(rng) if is_curled else _straight_track(rng)
        plane["x"].append(x + rng.uniform(-0.5, shape[1] - 0.5))
        plane["y"].append(y + rng.uniform(-0.5, shape[0] - 0.5))
        plane["electrons"].append(electrons)
    columns = {key: np.concatenate([*values, np.array([])]) for key, values in plane.items()}
    return _collect(columns["x"], columns["y"], columns["electrons"], shape, n_hits)


def _straight_track(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    cosine = rng.random() ** 0.25
    tangent = np.sqrt(1.0 - cosine**2) / cosine
    length = min(_THICKNESS_PIXELS * tangent, _LONGEST_TRACK)
    path = np.hypot(length, _THICKNESS_PIXELS)
    n_samples = max(16, int(_SAMPLES_PER_PIXEL * path))
    along = rng.uniform(0.0, length, n_samples)
    angle = rng.uniform(0.0, 2 * np.pi)
    return _deposit(rng, along * np.cos(angle), along * np.sin(angle), path, np.ones(n_samples))


def _curled_track(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return the path of a slow electron: it scatters, and loses most where it stops."""
    path = rng.uniform(4.0, 30.0)
    n_samples = int(_SAMPLES_PER_PIXEL * path)
    heading = rng.uniform(0.0, 2 * np.pi) + np.cumsum(rng.normal(0.0, 0.14, n_samples))
    step = path / n_samples
    weight = 0.7 + 1.5 * (np.arange(n_samples) / n_samples) ** 3
    return _deposit(rng, np.cumsum(np.cos(heading)) * step, np.cumsum(np.sin(heading)) * step, path, weight)


def _deposit(
    rng: np.random.Generator, x: Array, y: Array, path: float, weight: Array
) -> tuple[Array, Array, Array]:
    total = _ELECTRONS_PER_MICRON * _PIXEL_MICRON * path * rng.lognormal(0.0, 0.3)
    # Energy loss comes in lumps (Landau): gamma-distributed shares along the way.
    share = weight * rng.gamma(1.5, 1.0, len(x))
    spread = rng.normal(0.0, _DIFFUSION_PIXELS, (2, len(x)))
    return x + spread[0], y + spread[1], total * share / share.sum()


def _collect(x: Array, y: Array, electrons: Array, shape: tuple[int, int], n_hits: int) -> CosmicRays:
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    inside = (column >= 0) & (column < shape[1]) & (row >= 0) & (row < shape[0])
    pixel, which = np.unique(row[inside] * shape[1] + column[inside], return_inverse=True)
    charge = np.zeros(len(pixel))
    np.add.at(charge, which, electrons[inside])
    return CosmicRays(n_hits=n_hits, x=pixel % shape[1], y=pixel // shape[1], electrons=charge)
