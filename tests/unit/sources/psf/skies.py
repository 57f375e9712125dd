"""Lone and crowded stars painted by the simulator, with what is true of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree

from nightflow.flags import new_plane
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.simulate.optics import StarShape
from nightflow.simulate.plan import CameraPlan
from nightflow.simulate.render import paint_stars
from nightflow.sources.measure import MeasuredFrame, measure_frame

SKY, READ_NOISE = 150.0, 5.0
FWHM = 3.0
EVEN = StarShape(fwhm=FWHM, ellipticity=0.1, angle=30.0, beta=3.0)
WIDENING = StarShape(fwhm=FWHM, ellipticity=0.1, angle=30.0, beta=3.0, field_growth=0.3)
"""By 30 % from the middle to the corner."""


@dataclass(frozen=True)
class Stars:
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


def lone_stars(side: int, seed: int, faint: float = 1500.0, bright: float = 2e5) -> Stars:
    """Return stars on a jittered grid, 8 FWHM apart."""
    rng = np.random.default_rng(seed)
    y, x = (one.ravel() for one in np.mgrid[15 : side - 14 : 24.0, 15 : side - 14 : 24.0])
    flux = np.exp(rng.uniform(np.log(faint), np.log(bright), len(x)))
    return Stars(x + rng.uniform(-2, 2, len(x)), y + rng.uniform(-2, 2, len(x)), flux)


def globular(side: int, seed: int, n: int, apart: float, faint: float = 400.0, bright: float = 2e5) -> Stars:
    """Return a cluster before a sparse field; no two stars are nearer than ``apart`` pixels.

    The brightness function rises towards the faint by 0.24 dex a magnitude.
    """
    rng = np.random.default_rng(seed)
    radius = 0.13 * side * np.sqrt((1 - rng.uniform(0, 1, n)) ** -0.8 - 1)
    angle = rng.uniform(0, 2 * np.pi, n)
    x, y = side / 2 + radius * np.cos(angle), side / 2 + radius * np.sin(angle)
    scattered = rng.uniform(0, 1, n) < 0.3
    x[scattered], y[scattered] = rng.uniform(0, side, (2, scattered.sum()))
    flux = faint * (1 - rng.uniform(0, 1, n) * (1 - (faint / bright) ** 0.6)) ** (-1 / 0.6)
    kept = np.ones(n, bool)
    for first, second in sorted(cKDTree(np.column_stack([x, y])).query_pairs(apart)):
        kept[second] &= ~kept[first]
    return Stars(x[kept], y[kept], flux[kept])


def frame_of(stars: Stars, side: int, seed: int, shape: StarShape = EVEN) -> Frame:
    """Return a calibrated frame of these stars, its variance plane made from its counts."""
    rng = np.random.default_rng(seed)
    light = paint_stars(CameraPlan(shape=(side, side)), stars.x, stars.y, stars.flux, shape)
    data = rng.poisson(light + SKY) + rng.normal(0, READ_NOISE, light.shape)
    return Frame(
        data=data.astype(np.float32),
        unit="electron",
        header=FrameHeader(
            instrument="test",
            kind=FrameKind.LIGHT,
            exptime=10.0,
            shape=light.shape,
            mjd_mid=59000.0,
            bias_included=False,
        ),
        raw_header=fits.Header(),
        variance=(np.maximum(data, 0) + READ_NOISE**2).astype(np.float32),
        flags=new_plane(light.shape),
    )


def measured(frame: Frame) -> MeasuredFrame:
    """Return the frame measured with apertures, by the settings that are usual."""
    return measure_frame(frame, DetectionSettings(), PhotometrySettings())


def pairs(x: np.ndarray, y: np.ndarray, stars: Stars, reach: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows of the stars that were found, rows of what was found of them)."""
    if len(x) == 0:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    distance, row = cKDTree(np.column_stack([x, y])).query(np.column_stack([stars.x, stars.y]))
    found = np.flatnonzero(distance < reach)
    return found, row[found]
