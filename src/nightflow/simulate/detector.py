"""The chip: its fixed faults, and what becomes of electrons on the way to the file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from nightflow.simulate.instrument_plan import CameraPlan, Side
from nightflow.simulate.optics import vignetting

__all__ = [
    "ADC_MAXIMUM",
    "Detector",
    "compressed",
    "digitised",
    "make_detector",
    "read_out",
    "saturation_level",
    "with_overscan",
]

Array = NDArray[np.float64]

ADC_MAXIMUM = 65535
"""Highest count of a 16-bit converter."""

_LINEAR_SHARE = 0.985
_NONLINEARITY_LEVEL = 50_000.0
_DEAD_RESPONSE = 0.02
_HOT_RATES = (0.5, 100.0)


@dataclass(frozen=True, kw_only=True)
class Detector:
    """The truth about one chip; planes of shape (ny, nx).

    Attributes
    ----------
    bias : ndarray
        Fixed pattern above the overscan, ADU.
    dark_rate : ndarray
        Electrons per second.
    flat : ndarray
        Throughput of optics and pixel, median 1.
    hot : ndarray of bool
        Hot pixels.
    dead : ndarray of bool
        Pixels of dead columns.
    """

    bias: Array
    dark_rate: Array
    flat: Array
    hot: NDArray[np.bool_]
    dead: NDArray[np.bool_]


def make_detector(rng: np.random.Generator, camera: CameraPlan, vignetting_corner: float) -> Detector:
    """Draw the faults of a chip behind a telescope that passes ``vignetting_corner`` into the corner."""
    hot = rng.random(camera.shape) < camera.hot_fraction
    dead = _dead_columns(rng, camera)
    response = _pixel_response(rng, camera) * _dust(rng, camera) * vignetting(camera, vignetting_corner)
    flat = np.where(dead, _DEAD_RESPONSE * response, response)
    return Detector(
        bias=_bias_pattern(rng, camera),
        dark_rate=_dark_rate(rng, camera, hot),
        flat=flat / np.median(flat),
        hot=hot,
        dead=dead,
    )


def _dead_columns(rng: np.random.Generator, camera: CameraPlan) -> NDArray[np.bool_]:
    dead = np.zeros(camera.shape, dtype=bool)
    dead[:, rng.choice(camera.shape[1], camera.n_dead_columns, replace=False)] = True
    return dead


def _pixel_response(rng: np.random.Generator, camera: CameraPlan) -> Array:
    ny, nx = camera.shape
    y, x = np.indices(camera.shape) / max(ny, nx)
    waves = 0.004 * np.sin(2 * np.pi * (1.3 * x + 0.4 * y + rng.random()))
    columns = rng.normal(0.0, camera.pixel_response / 4, nx)
    return np.asarray(1.0 + rng.normal(0.0, camera.pixel_response, camera.shape) + waves + columns)


def _dust(rng: np.random.Generator, camera: CameraPlan) -> Array:
    """Return the shadows of specks: rings, since the telescope's central obstruction shows in each."""
    shadow = np.ones(camera.shape)
    y, x = np.indices(camera.shape)
    for _ in range(camera.n_dust):
        center_y, center_x = rng.uniform(0, camera.shape[0]), rng.uniform(0, camera.shape[1])
        outer, depth = rng.uniform(12.0, 30.0), rng.uniform(0.03, 0.10)
        distance = np.hypot(x - center_x, y - center_y)
        shadow *= 1.0 - depth * (_soft_disc(distance, outer) - _soft_disc(distance, 0.4 * outer))
    return shadow


def _soft_disc(distance: Array, radius: float) -> Array:
    return np.asarray(expit((radius - distance) / 1.5))


def _bias_pattern(rng: np.random.Generator, camera: CameraPlan) -> Array:
    """Return columns of uneven offset, a ramp along the rows and a glow in a corner; ADU."""
    ny, nx = camera.shape
    columns = rng.normal(0.0, camera.bias_structure, nx)
    ramp = camera.bias_structure * (np.arange(ny) / ny)[:, None]
    y, x = np.indices(camera.shape) / max(ny, nx)
    glow = 3.0 * camera.bias_structure * np.exp(-(x**2 + y**2) / 0.01)
    return np.asarray(columns + ramp + glow)


def _dark_rate(rng: np.random.Generator, camera: CameraPlan, hot: NDArray[np.bool_]) -> Array:
    rate = camera.dark_rate * rng.lognormal(0.0, 0.3, camera.shape)
    low, high = np.log(_HOT_RATES)
    return np.where(hot, np.exp(rng.uniform(low, high, camera.shape)), rate)


def saturation_level(camera: CameraPlan) -> int:
    """Return the ADU up to which the counts can be trusted (SATURATE)."""
    ceiling = min(ADC_MAXIMUM, camera.bias_level + camera.full_well / camera.gain)
    return int(_LINEAR_SHARE * ceiling)


def read_out(
    rng: np.random.Generator,
    camera: CameraPlan,
    detector: Detector,
    electrons: Array,
    bias_level: float,
) -> NDArray[np.uint16]:
    """Return the raw frame of a chip of one amplifier: wells cut off, overscan, noise, offset, conversion.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the read noise.
    camera, detector : CameraPlan, Detector
        The chip.
    electrons : ndarray, shape (ny, nx)
        Charge that was collected.
    bias_level : float
        ADU of this frame's overscan.

    Returns
    -------
    ndarray of uint16, shape (ny, nx + overscan), or (ny + overscan, nx) for rows of it
    """
    shape, light = with_overscan(camera.shape, camera.overscan, camera.overscan_side)
    counts = rng.standard_normal(shape, dtype=np.float32)
    counts *= camera.read_noise / camera.gain
    counts += bias_level
    signal = np.minimum(electrons, camera.full_well) / camera.gain
    counts[light] += detector.bias + compressed(signal, camera.nonlinearity)
    return digitised(counts)


def with_overscan(
    shape: tuple[int, int], overscan: int, side: Side
) -> tuple[tuple[int, int], tuple[slice, slice]]:
    """Return the shape of a readout with its overscan, and the part of it that sees light."""
    ny, nx = shape
    start = overscan if side in ("left", "bottom") else 0
    if side in ("left", "right"):
        return (ny, nx + overscan), (slice(0, ny), slice(start, start + nx))
    return (ny + overscan, nx), (slice(start, start + ny), slice(0, nx))


def compressed(signal: Array, nonlinearity: float) -> Array:
    """Return what an amplifier shows of a signal in ADU; it loses ``nonlinearity`` of 50,000 ADU."""
    return signal * (1.0 - nonlinearity / _NONLINEARITY_LEVEL * signal) if nonlinearity else signal


def digitised(counts: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Return counts as the converter writes them."""
    return np.clip(np.rint(counts), 0, ADC_MAXIMUM).astype(np.uint16)
