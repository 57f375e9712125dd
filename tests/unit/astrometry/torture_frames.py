"""Whole frames as hard as the sky makes them: the kinds of `torture`, as pixels.

The simulator paints the stars, a saturated core and a halo for the planet, a line for the satellite; the
pipeline's own trail finder, detection and choice of stars make the list that the ladder is asked about.
"""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.astrometry.spread import select_stars
from nightflow.detector.trails import flag_trails
from nightflow.flags import Flag, new_plane
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings, TrailSettings
from nightflow.simulate.optics import StarShape
from nightflow.simulate.plan import CameraPlan
from nightflow.simulate.render import paint_stars
from nightflow.sources.measure import measure_frame
from nightflow.sources.table import SourceTable
from tests.unit.astrometry.synthetic import SHAPE
from tests.unit.astrometry.torture import LIMIT, NX, NY, Case, Scene, Sky, asked, scene

Array = NDArray[np.float64]

_CAMERA = CameraPlan(shape=SHAPE)
_ZERO_POINT = 24.0
_SKY, _READ_NOISE, _FULL = 100.0, 5.0, 60_000.0
_PLANET = (700.0, 250.0)


def build_frame(kind: str, seed: int) -> Case:
    """Return frame number ``seed`` of a kind, detected and ready for the ladder."""
    sky = scene(kind, seed)
    flux = _light(sky)
    frame = rendered(sky, flux)
    sources = measure_frame(frame, DetectionSettings(), PhotometrySettings()).sources
    stars = sources.take(select_stars(sources, SHAPE, LIMIT))
    offset = _off_truth(stars, sky.places, flux, max(1.0, 0.35 * sky.recipe.fwhm))
    seen = np.isfinite(offset)
    request = asked(
        sky,
        np.column_stack([stars.x, stars.y]),
        stars.flux,
        np.hypot(stars.x_err, stars.y_err) / np.sqrt(2.0),
    )
    return Case(
        kind=kind,
        seed=seed,
        request=request,
        catalogs=Sky(sky.catalog),
        truth=sky.truth,
        noise=float(np.sqrt(np.mean(offset[seen] ** 2))) if seen.any() else 0.0,
        usable=int(seen.sum()),
    )


def rendered(sky: Scene, flux: Array) -> Frame:
    """Return the frame, calibrated: electrons, variance, flags of saturation and trails."""
    recipe, rng = sky.recipe, sky.rng
    fakes = round(recipe.fakes / (1.0 - recipe.fakes) * min(_bright(flux), LIMIT))
    places = np.vstack([sky.places, rng.uniform(0.0, [NX - 1, NY - 1], (fakes, 2))])
    light = np.concatenate([flux, rng.choice(flux[flux > np.median(flux)], fakes)])
    shape = StarShape(fwhm=recipe.fwhm, ellipticity=1.0 - 1.0 / recipe.along, angle=33.0, beta=3.2)
    expected = _SKY + paint_stars(_CAMERA, *places.T, light, shape)
    if recipe.halo:
        expected += _planet()
    if recipe.trail:
        expected += _satellite(rng)
    electrons = rng.poisson(expected) + rng.normal(0.0, _READ_NOISE, SHAPE)
    flags = new_plane(SHAPE)
    flags[electrons >= _FULL] |= np.uint16(Flag.SATURATED)
    data = np.minimum(electrons, _FULL).astype(np.float32)
    frame = Frame(
        data=data,
        unit="electron",
        header=FrameHeader(
            instrument="torture", kind=FrameKind.LIGHT, exptime=10.0, shape=SHAPE, bias_included=False
        ),
        raw_header=fits.Header(),
        variance=(np.maximum(data, 0.0) + np.float32(_READ_NOISE**2)).astype(np.float32),
        flags=flags,
    )
    return flag_trails(frame, TrailSettings())


def _light(sky: Scene) -> Array:
    flux = 10.0 ** (-0.4 * (sky.magnitude - _ZERO_POINT))
    return np.where(sky.places[:, 0] < 0.5 * NX, flux * 10.0**-1.6, flux) if sky.recipe.clouded else flux


def _bright(flux: Array) -> int:
    """Return about how many stars are detected."""
    return int(np.sum(flux > 1000.0))


def _off_truth(stars: SourceTable, places: Array, flux: Array, reach: float) -> Array:
    """Return how far each detection is from the star that it is; NaN where none is within ``reach``."""
    distance, rows = cKDTree(places).query(
        np.column_stack([stars.x, stars.y]), k=min(4, len(places)), distance_upper_bound=reach
    )
    known = np.append(flux, 0.0)
    # a faint star beside a blend is not what was detected
    distance = np.where(known[rows] > 0.3 * np.minimum(stars.flux, _FULL)[:, None], distance, np.inf)
    nearest = distance.min(axis=1)
    return np.where(np.isfinite(nearest), nearest, np.nan)


def _planet() -> Array:
    """A core far beyond saturation, and a halo that falls as the square of the distance."""
    y, x = np.indices(SHAPE, dtype=float)
    r2 = (x - _PLANET[0]) ** 2 + (y - _PLANET[1]) ** 2
    return np.asarray(3e6 * (1.0 + r2 / 4.0) ** -2.0 + 3e6 / (100.0 + r2))


def _satellite(rng: np.random.Generator) -> Array:
    """A line from edge to edge, three pixels wide, of ten times the sky's noise."""
    y, x = np.indices(SHAPE, dtype=float)
    start, end = rng.uniform(0.0, NY, 2)
    slope = (end - start) / NX
    across = (y - start - slope * x) / np.hypot(1.0, slope)
    return np.asarray(10.0 * np.sqrt(_SKY) * np.exp(-0.5 * (across / 1.3) ** 2))
