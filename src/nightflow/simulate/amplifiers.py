"""A chip that is read through several amplifiers at once, each with its own faults."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightflow.simulate.detector import Detector, compressed, digitised, saturation_level, with_overscan
from nightflow.simulate.instrument_plan import AmplifierPlan, CameraPlan

__all__ = ["as_camera", "ceiling_plane", "in_order_of_readout", "read_out_amplifiers"]

Array = NDArray[np.float64]


def as_camera(camera: CameraPlan, amplifier: AmplifierPlan) -> CameraPlan:
    """Return the camera as it would be if the whole chip were read by one of its amplifiers."""
    return replace(
        camera,
        gain=amplifier.gain,
        read_noise=amplifier.read_noise,
        bias_level=camera.bias_level + amplifier.bias_offset,
        overscan_side=amplifier.overscan_side,
        nonlinearity=amplifier.nonlinearity,
        amplifiers=(),
        crosstalk=(),
    )


def in_order_of_readout(plane: Array, amplifier: AmplifierPlan) -> Array:
    """Return an amplifier's part of the chip, the pixel that is read first at [0, 0]."""
    part = plane[slice(*amplifier.rows), slice(*amplifier.columns)]
    vertical, horizontal = amplifier.corner
    part = part[::-1] if vertical == "upper" else part
    return part[:, ::-1] if horizontal == "right" else part


def read_out_amplifiers(
    rng: np.random.Generator, camera: CameraPlan, detector: Detector, electrons: Array, bias_level: float
) -> list[NDArray[np.uint16]]:
    """Return what each amplifier writes; parameters as `nightflow.simulate.detector.read_out`.

    The signal is bent by the amplifier that it comes from, and leaks, so bent, into the others that read at
    the same time.
    """
    signals = [
        compressed(
            in_order_of_readout(np.minimum(electrons, camera.full_well), one) / one.gain, one.nonlinearity
        )
        for one in camera.amplifiers
    ]
    frames = []
    for victim, amplifier in enumerate(camera.amplifiers):
        shape, light = with_overscan(signals[victim].shape, camera.overscan, amplifier.overscan_side)
        counts = rng.normal(bias_level + amplifier.bias_offset, amplifier.read_noise / amplifier.gain, shape)
        counts[light] += in_order_of_readout(detector.bias, amplifier) + signals[victim]
        for source, share in enumerate(camera.crosstalk[victim] if camera.crosstalk else ()):
            _leak(counts[light], signals[source], share)
        frames.append(digitised(counts))
    return frames


def ceiling_plane(camera: CameraPlan, bias_level: float) -> Array:
    """Return the electrons at which each pixel of the chip saturates, shape (ny, nx)."""
    if not camera.amplifiers:
        ceiling = min(camera.full_well, (saturation_level(camera) - bias_level) * camera.gain)
        return np.full(camera.shape, ceiling)
    plane = np.empty(camera.shape)
    for amplifier in camera.amplifiers:
        range_adu = saturation_level(as_camera(camera, amplifier)) - bias_level - amplifier.bias_offset
        ceiling = min(camera.full_well, range_adu * amplifier.gain)
        plane[slice(*amplifier.rows), slice(*amplifier.columns)] = ceiling
    return plane


def _leak(counts: Array, signal: Array, share: float) -> None:
    """Add a share of another amplifier's signal where both still read."""
    ny, nx = np.minimum(counts.shape, signal.shape)
    counts[:ny, :nx] += share * signal[:ny, :nx]
