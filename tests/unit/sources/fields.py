"""Star fields of known truth for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from nightflow.flags import new_plane
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind


@dataclass(frozen=True)
class Field:
    frame: Frame
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    fwhm: float
    sky: float


def gaussian_field(
    flux: np.ndarray,
    *,
    seed: int = 1,
    shape: tuple[int, int] = (300, 400),
    fwhm: float = 3.0,
    sky: float = 200.0,
    read_noise: float = 5.0,
    spacing: float = 28.0,
    bayer: str = "",
) -> Field:
    """Gaussian stars on a jittered grid, Poisson and read noise, in electrons."""
    rng = np.random.default_rng(seed)
    columns = int((shape[1] - 2 * spacing) // spacing) + 1
    rows, cols = np.divmod(np.arange(len(flux)), columns)
    x = spacing + cols * spacing + rng.uniform(-2, 2, len(flux))
    y = spacing + rows * spacing + rng.uniform(-2, 2, len(flux))
    assert y.max() < shape[0] - spacing / 2, "too many stars for the field"
    sigma = fwhm / 2.3548
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    truth = np.full(shape, sky)
    for x0, y0, total in zip(x, y, flux, strict=True):
        truth += total / (2 * np.pi * sigma**2) * np.exp(-((xx - x0) ** 2 + (yy - y0) ** 2) / (2 * sigma**2))
    data = (rng.poisson(truth) + rng.normal(0, read_noise, shape)).astype(np.float32)
    header = FrameHeader(
        instrument="test",
        kind=FrameKind.LIGHT,
        exptime=10.0,
        shape=shape,
        bayer=bayer,
        mjd_mid=59000.0,
        bias_included=False,
    )
    frame = Frame(
        data=data,
        unit="electron",
        header=header,
        raw_header=fits.Header(),
        variance=(np.maximum(data, 0) + read_noise**2).astype(np.float32),
        flags=new_plane(shape),
    )
    return Field(frame, x, y, flux, fwhm, sky)
