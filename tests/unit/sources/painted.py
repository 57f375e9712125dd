"""Frames with the simulator's stars, and noise that the variance plane may or may not know."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from scipy.ndimage import gaussian_filter

from nightflow.flags import new_plane
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.simulate.optics import StarShape
from nightflow.simulate.plan import CameraPlan
from nightflow.simulate.render import paint_stars

SHAPE = (420, 440)
STAR = StarShape(fwhm=3.0, ellipticity=0.0, angle=0.0, beta=3.5)
SKY, READ_NOISE = 150.0, 5.0


def grid(step: float, offset: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return places on a jittered grid over the frame."""
    rng = np.random.default_rng(seed)
    y, x = (one.ravel() for one in np.mgrid[offset : SHAPE[0] - 15 : step, offset : SHAPE[1] - 15 : step])
    return x + rng.uniform(-1, 1, len(x)), y + rng.uniform(-1, 1, len(y))


def painted(
    x: np.ndarray, y: np.ndarray, electrons: np.ndarray, *, seed: int, correlated: float = 0.0
) -> Frame:
    """Return a frame of these stars and of 25 bright ones that tell its profile.

    ``correlated`` is the rms, in electrons, of a background that neighbouring pixels share (over 2 pixels)
    and that no variance plane tells of.
    """
    rng = np.random.default_rng(seed)
    bright_x, bright_y = grid(84.0, 42.0, seed)
    bright = np.full(len(bright_x), 4e4)
    light = paint_stars(
        CameraPlan(shape=SHAPE),
        np.append(x, bright_x),
        np.append(y, bright_y),
        np.append(electrons, bright),
        STAR,
    )
    data = rng.poisson(light + SKY) + rng.normal(0, READ_NOISE, SHAPE)
    if correlated:
        waves = gaussian_filter(rng.normal(0, 1, SHAPE), 2.0)
        data += waves * correlated / waves.std()
    return Frame(
        data=data.astype(np.float32),
        unit="electron",
        header=FrameHeader(
            instrument="test",
            kind=FrameKind.LIGHT,
            exptime=10.0,
            shape=SHAPE,
            mjd_mid=59000.0,
            bias_included=False,
        ),
        raw_header=fits.Header(),
        variance=(np.maximum(data, 0) + READ_NOISE**2).astype(np.float32),
        flags=new_plane(SHAPE),
    )
