"""A night of constant stars of known truth: the simulator's optics and air, painted on frames in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.flags import new_plane
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.simulate.atmosphere import scintillation, wander
from nightflow.simulate.optics import StarShape
from nightflow.simulate.plan import CameraPlan
from nightflow.simulate.render import paint_stars
from nightflow.sources.measure import MeasuredFrame, measure_frame

__all__ = ["ConstantNight", "NightMeasured", "frames", "measured"]


@dataclass(frozen=True)
class ConstantNight:
    """What is simulated; 60 s frames of a telescope of half a metre."""

    n_frames: int = 30
    n_stars: int = 110
    side: int = 512
    fwhm: float = 3.2
    field_growth: float = 0.3
    sky: float = 250.0
    read_noise: float = 8.0
    exptime: float = 60.0
    aperture_m: float = 0.5
    height_m: float = 500.0
    faintest: float = 2.5e3
    brightest: float = 1.2e6
    cloud: float = 0.15
    seeing_scatter: float = 0.1
    twinkles: bool = True
    seed: int = 5

    @property
    def shape(self) -> tuple[int, int]:
        return self.side, self.side


@dataclass(frozen=True)
class NightMeasured:
    """Stars of a night: shape (n_frames, n_stars), NaN where a star was not found."""

    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    flags: NDArray[np.int64]
    true_flux: NDArray[np.float64]
    """Electrons of each star above the air: shape (n_stars,)."""
    expected: NDArray[np.float64]
    """Electrons that came, cloud and twinkling included."""
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def _stars(night: ConstantNight, rng: np.random.Generator) -> tuple[NDArray[np.float64], ...]:
    """Draw stars of which none is nearer than 30 pixels to another, or to the edge."""
    places: list[NDArray[np.float64]] = []
    while len(places) < night.n_stars:
        one = rng.uniform(25, night.side - 25, 2)
        if all(np.hypot(*(one - other)) > 30 for other in places):
            places.append(one)
    x, y = np.array(places).T
    flux = np.exp(rng.uniform(np.log(night.faintest), np.log(night.brightest), night.n_stars))
    return x, y, flux


def frames(night: ConstantNight) -> Iterator[tuple[Frame, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield frames with the place of each star, shape (2, n), and the electrons that came from it."""
    rng = np.random.default_rng(night.seed)
    x, y, flux = _stars(night, rng)
    camera = CameraPlan(shape=night.shape)
    hours = np.arange(night.n_frames) * 0.05
    airmass = 1.0 + 0.5 * (hours / max(hours[-1], 1.0)) ** 2
    width = night.fwhm * np.exp(night.seeing_scatter * wander(rng, hours, 0.7))
    cloud = night.cloud * np.abs(wander(rng, hours, 0.5))
    drift = np.cumsum(rng.normal(0.0, 0.4, (night.n_frames, 2)), axis=0)
    for number in range(night.n_frames):
        noise = scintillation(night.aperture_m, airmass[number], night.height_m, night.exptime)
        twinkle = 1.0 + noise * rng.standard_normal(night.n_stars) * night.twinkles
        came = flux * 10 ** (-0.4 * cloud[number]) * twinkle
        place = np.array([x + drift[number, 0], y + drift[number, 1]])
        shape = StarShape(
            fwhm=float(width[number]), ellipticity=0.06, angle=30.0, beta=3.2, field_growth=night.field_growth
        )
        light = paint_stars(camera, place[0], place[1], came, shape) + night.sky
        data = rng.poisson(light) + rng.normal(0.0, night.read_noise, night.shape)
        yield _frame(night, data, float(airmass[number])), place, came


def _frame(night: ConstantNight, data: NDArray[np.float64], airmass: float) -> Frame:
    header = FrameHeader(
        instrument="test", kind=FrameKind.LIGHT, exptime=night.exptime, shape=night.shape, mjd_mid=61000.0,
        bias_included=False, airmass=airmass,
    )  # fmt: skip
    return Frame(
        data=data.astype(np.float32),
        unit="electron",
        header=header,
        raw_header=fits.Header(),
        variance=(np.maximum(data, 0.0) + night.read_noise**2).astype(np.float32),
        flags=new_plane(night.shape),
    )


def measured(night: ConstantNight, photometry: PhotometrySettings | None = None) -> NightMeasured:
    """Return what the reduction measures of the stars of a night."""
    settings = photometry or PhotometrySettings()
    parts = []
    for frame, place, came in frames(night):
        found = measure_frame(frame, DetectionSettings(), settings)
        parts.append((*_matched(found, place), came))
    flux, error, flags, came = (np.array(one) for one in zip(*parts, strict=True))
    x, y, true = _stars(night, np.random.default_rng(night.seed))
    return NightMeasured(flux, error, flags, true, came, x, y)


def _matched(found: MeasuredFrame, place: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    sources = found.sources
    distance, row = cKDTree(np.column_stack([sources.x, sources.y])).query(place.T)
    near = distance < 1.5
    return (
        np.where(near, sources.flux[row], np.nan),
        np.where(near, sources.flux_err[row], np.nan),
        np.where(near, sources.flags[row], 0),
    )


def only(night: ConstantNight, **changes: object) -> ConstantNight:
    return replace(night, **changes)  # type: ignore[arg-type]
