"""Subtract the fringes that the night sky's lines make in a thin chip, scaled to each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import flag_plane, require_master, require_unit
from nightflow.detector.master_frame import MasterFrame
from nightflow.detector.sky_pixels import sky_pixels
from nightflow.detector.surroundings import measure_surroundings
from nightflow.frame import Frame
from nightflow.robust import robust_sigma

__all__ = ["Amplitude", "block_means", "fit_amplitude", "subtract_fringe"]

BLOCK = 4
"""Pixels along the side of the squares whose means are fitted: fringes are wider, and noise is averaged."""

_CLIP = 4.0
_PASSES = 5
_LEAST_BLOCKS = 100
_LEAST_SIGNAL = 0.25
"""Share of a pattern's own variance that must be more than noise."""
_SIGNIFICANCE = 5.0


@dataclass(frozen=True)
class Amplitude:
    """How many times a pattern is in a frame, with its error: infinite where nothing can be told."""

    value: float
    error: float

    @property
    def significant(self) -> bool:
        """Whether it is above zero by more than five times its error."""
        return self.value > _SIGNIFICANCE * self.error


_UNKNOWN = Amplitude(0.0, float("inf"))


def subtract_fringe(frame: Frame, master: MasterFrame, *, background: int = 256) -> Frame:
    """Fit the pattern's amplitude on the sky, subtract it and propagate the variance.

    Parameters
    ----------
    frame : Frame
        Electrons, its sky still in.
    master : MasterFrame
        Pattern of mean zero, electrons; see `nightflow.masters.fringe`. Its flags are taken over where it is
        subtracted.
    background : int
        Pixels; mesh of the sky that is taken off for the fit, wider than a fringe.

    Returns
    -------
    Frame
        Unchanged but for the history where the amplitude is not significant: noise is not taken off a frame.

    Raises
    ------
    ValueError
        Wrong unit, kind or shape.
    """
    require_unit(frame, "fringe", "electron")
    require_master(frame, "fringe", master)
    sky = sky_pixels(frame, background) & (master.flags == 0)
    residual = frame.data - measure_surroundings(frame.data, sky, background).level
    amplitude = fit_amplitude(residual, master.data, master.uncertainty, sky)
    scale = f"{master.label} times {amplitude.value:.3g} +- {amplitude.error:.2g}"
    if not amplitude.significant:
        return frame.after(f"fringe: nothing subtracted, {scale} is not significant")
    variance = frame.variance
    if variance is not None:
        of_scale = amplitude.error * master.data
        variance = variance + (amplitude.value * master.uncertainty) ** 2 + of_scale**2
    return frame.after(
        f"fringe: {scale} subtracted",
        data=frame.data - np.float32(amplitude.value) * master.data,
        variance=variance,
        flags=flag_plane(frame) | master.flags,
    )


def fit_amplitude(
    residual: NDArray[np.float32],
    pattern: NDArray[np.float32],
    uncertainty: NDArray[np.float32],
    sky: NDArray[np.bool_],
) -> Amplitude:
    """Fit a constant and the amplitude of a pattern to the sky by clipped least squares.

    The noise of the pattern would make the amplitude too small (regression dilution); its variance, which is
    known, is taken out of the sum of squares.

    Parameters
    ----------
    residual : ndarray of float32, shape (ny, nx)
        Electrons, sky taken off.
    pattern, uncertainty : ndarray of float32, shape (ny, nx)
        With its standard deviation.
    sky : ndarray of bool, shape (ny, nx)
        Pixels that count.
    """
    values, shapes, noise = (block_means(plane, sky) for plane in (residual, pattern, uncertainty**2))
    known = np.isfinite(values)
    if np.count_nonzero(known) < _LEAST_BLOCKS:
        return _UNKNOWN
    d, p = values[known].astype(np.float64), shapes[known].astype(np.float64)
    # Of one pixel; that of a block's mean is smaller by their number.
    noise_of_p = float(np.mean(noise[known])) / BLOCK**2
    kept = np.ones(len(d), bool)
    amplitude = _UNKNOWN
    for _ in range(_PASSES):
        shape = p[kept] - p[kept].mean()
        squares = float(np.sum(shape**2))
        signal = squares - noise_of_p * kept.sum()
        if signal <= _LEAST_SIGNAL * squares:
            return _UNKNOWN
        value = float(np.sum(shape * d[kept])) / signal
        left = d - value * (p - p[kept].mean())
        left -= np.median(left[kept])
        scatter = robust_sigma(left[kept])
        amplitude = Amplitude(value, scatter * np.sqrt(squares) / signal)
        again = np.abs(left) <= _CLIP * scatter
        if scatter == 0 or again.sum() < _LEAST_BLOCKS or np.array_equal(again, kept):
            break
        kept = again
    return amplitude


def block_means(plane: NDArray[np.float32], counted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the means of squares of `BLOCK` pixels; NaN where fewer than half of the pixels count."""
    ny, nx = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    shape = (ny, BLOCK, nx, BLOCK)
    inside = np.s_[: ny * BLOCK, : nx * BLOCK]
    number = counted[inside].reshape(shape).sum(axis=(1, 3))
    total = np.where(counted, plane, np.float32(0))[inside].reshape(shape).sum(axis=(1, 3))
    means: NDArray[np.float32] = np.where(
        number >= BLOCK**2 / 2, total / np.maximum(number, 1).astype(np.float32), np.float32(np.nan)
    )
    return means
