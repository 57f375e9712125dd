"""A night of a camera that is not there, through everything that is compiled: no frame has to wait for it.

A small frame goes the ways of the detector chain (one pass, and step by step), with masters built of small
calibration frames, and is measured as lights are. Nothing is read, nothing written but numba's cache:
`python -m nightflow.rehearsal` fills that for other processes; with a number it ends with its parent of that
number, for which it works.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numba.core.dispatcher import Dispatcher
from numpy.typing import NDArray

from nightflow.detector.chain import MasterFrame, MasterSet, calibrate
from nightflow.flag_planes import count_carrying
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.kernel_cache import note_ready
from nightflow.masters.build import build_master
from nightflow.mortal import die_with
from nightflow.sources.forced import forced_fluxes
from nightflow.sources.measure import measure_frame
from nightflow.sources.psf.crowding import with_psf

__all__ = ["Rehearsed", "kernels", "rehearse"]

_SIZE, _STRIP = 256, 16
_GAIN, _READ_NOISE, _SATURATION, _BIAS = 2.0, 5.0, 50000.0, 500.0
_SKY, _FWHM, _TRAIL = 300.0, 3.0, 500.0
"""Electrons, pixels, and electrons again."""
_STARS = 7
"""Along each side of their grid."""
_INPUTS = 3
_NICE = 5
"""Behind the watcher's sensor, and before a backfill: frames wait for what is compiled here."""

_IN_ONE_PASS: dict[str, Any] = {
    "detector": {"bad_pixel_regions": ["[101:102,101:103]"]},
    "calibration": {"overscan": "median"},
    "bad_pixels": {"fill": "gaussian"},
    "photometry": {"psf": "always"},
}
_BY_STEPS: dict[str, Any] = {
    "detector": {"linearity": {"all": {"table": [(0.0, 0.0), (30000.0, 30000.0), (60000.0, 60600.0)]}}},
    "cosmic_rays": {"clean": True},
}
_BY_POLYNOMIAL: dict[str, Any] = {
    "detector": {"linearity": {"all": {"polynomial": [1.0, 1e-7], "maximum": 60000.0}}},
}


@dataclass(frozen=True)
class Rehearsed:
    """How a rehearsal went.

    Attributes
    ----------
    seconds : float
    compiled : int
        Kernels that no cache had; each takes some tenths of a second.
    """

    seconds: float
    compiled: int


def rehearse() -> Rehearsed:
    """Let all kernels be compiled, or read from numba's cache."""
    started, before = time.perf_counter(), _compiled()
    camera = _Camera(np.random.default_rng(1))
    profile = CameraProfile(name="rehearsal", **_IN_ONE_PASS)
    masters = _masters(camera, profile)
    light = camera.expose(FrameKind.LIGHT)
    for sections in (_BY_STEPS, _BY_POLYNOMIAL):
        calibrate(light, CameraProfile(name="rehearsal", **sections), masters)
    _measure(calibrate(light, profile, masters), profile)
    return Rehearsed(time.perf_counter() - started, _compiled() - before)


def kernels() -> Iterator[Dispatcher]:
    """Yield the kernels of all modules of nightflow that are imported."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("nightflow.")]
    found = {id(one): one for module in modules for one in vars(module).values()}
    return (one for one in found.values() if isinstance(one, Dispatcher))


def _compiled() -> int:
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels())


def _masters(camera: _Camera, profile: CameraProfile) -> MasterSet:
    masters: dict[str, MasterFrame] = {}
    for kind in (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT):
        frames = [camera.expose(kind) for _ in range(_INPUTS)]
        masters[str(kind)] = build_master(kind, frames, profile, MasterSet.of(masters))
    return MasterSet.of(masters)


def _measure(frame: Frame, profile: CameraProfile) -> None:
    measured = measure_frame(frame, profile.detection, profile.photometry)
    measured = with_psf(measured, profile.detection, profile.photometry)
    forced_fluxes(measured, measured.sources.x + 5.0, measured.sources.y)
    assert frame.flags is not None
    count_carrying(frame.flags, Flag.COSMIC_RAY)


class _Camera:
    """A chip with a strip of overscan, before a sky of stars of all brightnesses and one satellite."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def expose(self, kind: FrameKind) -> Frame:
        """Return a raw frame."""
        light = {FrameKind.FLAT: 40000.0, FrameKind.LIGHT: _SKY}.get(kind, 0.0)
        electrons = np.full((_SIZE, _SIZE), light)
        if kind is FrameKind.LIGHT:
            electrons += self._sky()
        counts = np.pad(self._random.poisson(electrons) / _GAIN, ((0, 0), (0, _STRIP)))
        counts += _BIAS + self._random.normal(0.0, _READ_NOISE / _GAIN, counts.shape)
        if kind is FrameKind.LIGHT:
            counts[40:80, 60] = 65535.0  # a bright star has bled
            counts[200, 200:202] = 20000.0  # and a cosmic ray has passed
        pixels = np.minimum(counts, 65535.0).round().astype(np.float32)
        return Frame(data=pixels, unit="adu", header=_header(kind, pixels), raw_header=fits.Header())

    def _sky(self) -> NDArray[np.float64]:
        y, x = np.indices((_SIZE, _SIZE))
        total = np.where(abs(y - 0.6 * x - 50.0) < 1.5, _TRAIL, 0.0)
        places = np.linspace(20.0, _SIZE - 20.0, _STARS)
        for number, (x0, y0) in enumerate((x0, y0) for x0 in places for y0 in places):
            dx, dy = self._random.uniform(-4.0, 4.0, 2)
            shape = np.exp(-4 * np.log(2) * ((x - x0 - dx) ** 2 + (y - y0 - dy) ** 2) / _FWHM**2)
            total += 10 ** (2.0 + 0.06 * number) * shape
        return total


def _header(kind: FrameKind, pixels: NDArray[np.float32]) -> FrameHeader:
    whole = slice(0, _SIZE)
    return FrameHeader(
        instrument="rehearsal",
        kind=kind,
        filter="R",
        exptime=0.0 if kind is FrameKind.BIAS else 30.0,
        mjd_mid=60000.0,
        shape=(pixels.shape[0], pixels.shape[1]),
        gain=_GAIN,
        read_noise=_READ_NOISE,
        saturation=_SATURATION,
        trim=(whole, whole),
        overscan=(whole, slice(_SIZE, _SIZE + _STRIP)),
    )


if __name__ == "__main__":
    for number in sys.argv[1:]:
        die_with(int(number))
    os.nice(_NICE)
    rehearse()
    note_ready()
