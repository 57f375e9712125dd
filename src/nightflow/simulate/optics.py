"""Telescope and mount: where a star falls on the chip, how wide, and how much of the light arrives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.simulate.atmosphere import wander
from nightflow.simulate.plan import CameraPlan, TelescopePlan

__all__ = [
    "Pointing",
    "StarShape",
    "draw_pointings",
    "draw_shapes",
    "radius_squared",
    "stay_on_chips",
    "vignetting",
]

Array = NDArray[np.float64]

_TRACKING_HOURS = 0.5
_LEAST_BENT = 0.5


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """The true mapping of sky to chip of one frame: a gnomonic (TAN) projection, and what the optics bend.

    Attributes
    ----------
    ra, dec : float
        ICRS degrees of the tangent point (CRVAL).
    x, y : float
        0-based pixel of the tangent point (CRPIX - 1).
    scale : float
        Arcsec per pixel.
    rotation : float
        Position angle of +y in degrees, north through east.
    parity : int
        +1 as on the sky, -1 mirrored.
    flipped : bool
        True after the meridian flip.
    distortion : float
        Relative displacement of a star at ``corner`` pixels from the axis; it grows with the cube of the
        distance. Positive is a pincushion.
    corner : float
        Distance from the axis in pixels.
    """

    ra: float
    dec: float
    x: float
    y: float
    scale: float
    rotation: float
    parity: int
    flipped: bool
    distortion: float = 0.0
    corner: float = 1.0

    @property
    def cd(self) -> Array:
        """The CD matrix in degrees per pixel, shape (2, 2)."""
        angle = np.radians(self.rotation)
        return (self.scale / 3600.0) * np.array(
            [
                [-self.parity * np.cos(angle), np.sin(angle)],
                [self.parity * np.sin(angle), np.cos(angle)],
            ]
        )

    def to_pixels(self, ra: Array, dec: Array) -> tuple[Array, Array]:
        """Return 0-based pixels of ICRS positions in degrees; NaN for the far half of the sky."""
        alpha, delta = np.radians(np.asarray(ra) - self.ra), np.radians(np.asarray(dec))
        delta0 = np.radians(self.dec)
        cosine = np.sin(delta) * np.sin(delta0) + np.cos(delta) * np.cos(delta0) * np.cos(alpha)
        cosine = np.where(cosine > 0, cosine, np.nan)
        xi = np.cos(delta) * np.sin(alpha) / cosine
        eta = (np.sin(delta) * np.cos(delta0) - np.cos(delta) * np.sin(delta0) * np.cos(alpha)) / cosine
        offset = np.linalg.solve(self.cd, np.degrees(np.array([xi.ravel(), eta.ravel()])))
        bent = 1.0 + self.distortion * np.sum(offset**2, axis=0) / self.corner**2
        # The law holds on the chip and near it; a star far off must not come back through the other side.
        offset = offset * np.maximum(bent, _LEAST_BENT)
        return self.x + offset[0].reshape(xi.shape), self.y + offset[1].reshape(xi.shape)


@dataclass(frozen=True, kw_only=True)
class StarShape:
    """The Moffat profile of a star on the axis.

    Attributes
    ----------
    fwhm : float
        Pixels, geometric mean of the two axes.
    ellipticity : float
        1 - b/a.
    angle : float
        Of the major axis in degrees, from +x towards +y.
    beta : float
        Exponent.
    field_growth : float
        Relative growth of the width from the axis to the corner.
    """

    fwhm: float
    ellipticity: float
    angle: float
    beta: float
    field_growth: float = 0.0


def draw_pointings(
    rng: np.random.Generator,
    telescope: TelescopePlan,
    camera: CameraPlan,
    commanded: tuple[float, float],
    hours_after_meridian: Array,
) -> list[Pointing]:
    """Draw the true pointing of each light frame.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of errors.
    telescope, camera : TelescopePlan, CameraPlan
        The instrument.
    commanded : tuple of float
        Right ascension and declination that were asked for, ICRS degrees.
    hours_after_meridian : ndarray, shape (n,)
        Of each frame, in order of time.
    """
    n_frames = len(hours_after_meridian)
    flipped = (hours_after_meridian > telescope.flip_delay_minutes / 60.0) & telescope.flip
    side_errors = rng.normal(0.0, telescope.pointing_error, (2, 2))
    drift_angle = rng.uniform(0.0, 2 * np.pi)
    drift = telescope.drift * np.array([np.cos(drift_angle), np.sin(drift_angle)])
    hours = hours_after_meridian - hours_after_meridian[:1]
    offsets = side_errors[flipped.astype(int)] + hours[:, None] * drift
    offsets += rng.normal(0.0, telescope.jitter, (n_frames, 2))
    x, y = _axis(camera)
    return [
        Pointing(
            ra=(commanded[0] + east / 3600.0 / np.cos(np.radians(commanded[1]))) % 360.0,
            dec=commanded[1] + north / 3600.0,
            x=x,
            y=y,
            scale=telescope.scale,
            rotation=(telescope.rotation + 180.0 * turned) % 360.0,
            parity=telescope.parity,
            flipped=bool(turned),
            distortion=telescope.distortion,
            corner=0.5 * float(np.hypot(*camera.shape)),
        )
        for (east, north), turned in zip(offsets, flipped, strict=True)
    ]


def stay_on_chips(
    pointings: Iterable[Pointing], cameras: Sequence[CameraPlan], ra: Array, dec: Array, margin: float
) -> NDArray[np.bool_]:
    """Return which places are on some chip, ``margin`` pixels from its edges, in every pointing.

    Parameters
    ----------
    pointings : iterable of Pointing
        Of the lights.
    cameras : sequence of CameraPlan
        The chips; more than one where it is a mosaic.
    ra, dec : ndarray, shape (n,)
        ICRS degrees.
    margin : float
        Pixels.
    """
    always = np.ones(len(ra), bool)
    for pointing in pointings:
        x, y = pointing.to_pixels(ra, dec)
        seen = np.zeros(len(ra), bool)
        for camera in cameras:
            axis_x, axis_y = _axis(camera)
            on_x, on_y = x - pointing.x + axis_x, y - pointing.y + axis_y
            ny, nx = camera.shape
            seen |= (np.minimum(on_x, nx - 1 - on_x) >= margin) & (np.minimum(on_y, ny - 1 - on_y) >= margin)
        always &= seen
    return always


def _axis(camera: CameraPlan) -> tuple[float, float]:
    """Return the 0-based pixel of the optical axis."""
    ny, nx = camera.shape
    return (nx - 1) / 2 + camera.center_offset[0], (ny - 1) / 2 + camera.center_offset[1]


def draw_shapes(
    rng: np.random.Generator, telescope: TelescopePlan, hours: Array, seeing: Array
) -> list[StarShape]:
    """Draw the star shape of each frame from the seeing in arcsec, the focus and the tracking."""
    progress = hours / np.maximum(hours[-1:], 1e-9)
    optics = telescope.optics_fwhm + telescope.focus_drift * (progress - 0.5)
    fwhm = np.hypot(optics, seeing / telescope.scale)
    ellipticity = np.abs(telescope.ellipticity * (1.0 + 0.4 * wander(rng, hours, _TRACKING_HOURS)))
    angle = 30.0 + 25.0 * wander(rng, hours, _TRACKING_HOURS)
    return [
        StarShape(
            fwhm=float(width),
            ellipticity=float(min(oval, 0.5)),
            angle=float(direction),
            beta=telescope.beta,
            field_growth=telescope.field_growth,
        )
        for width, oval, direction in zip(fwhm, ellipticity, angle, strict=True)
    ]


def radius_squared(camera: CameraPlan, x: Array, y: Array) -> Array:
    """Return the squared distance from the optical axis; 1 in the corner of a centred chip."""
    ny, nx = camera.shape
    axis_x, axis_y = _axis(camera)
    dx, dy = np.asarray(x) - axis_x, np.asarray(y) - axis_y
    return np.asarray((dx**2 + dy**2) / ((nx / 2) ** 2 + (ny / 2) ** 2))


def vignetting(camera: CameraPlan, corner: float) -> Array:
    """Return the throughput of each pixel, shape (ny, nx): 1 on the axis, ``corner`` in the corner.

    A cos^4 law, written in the tangent of the field angle.
    """
    y, x = np.indices(camera.shape, dtype=float)
    tangent_squared = corner**-0.5 - 1.0
    return np.asarray((1.0 + tangent_squared * radius_squared(camera, x, y)) ** -2.0)
