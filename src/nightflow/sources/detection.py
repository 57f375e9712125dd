"""Detection of sources above the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.instruments.profile import DetectionSettings
from nightflow.sources.above import runs_above
from nightflow.sources.blends import Parts, take_apart
from nightflow.sources.components import connected, rename
from nightflow.sources.isophotes import Isophotes, measure_isophotes
from nightflow.sources.wings import in_wings

__all__ = ["Detections", "convolution_threshold", "detect", "is_thin", "matched_filter"]

_SMALLEST_AXIS = 0.4
"""Pixels. Thinner than any image of a star: a row, a column or a cosmic ray that was missed."""
_LONGEST = 10.0
"""Axis ratio. Longer than any trailed star: a bad row or column, or the trail of a satellite."""


@dataclass(frozen=True)
class Detections:
    """What stands above the background.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        First-moment centroids, 0-based pixels.
    semi_major, semi_minor : ndarray of float64, shape (n,)
        Second moments, pixels.
    theta : ndarray of float64, shape (n,)
        Radians from +x towards +y.
    peak : ndarray of float64, shape (n,)
        Highest pixel above background, electrons.
    blended : ndarray of bool, shape (n,)
        Taken apart from a neighbour.
    segments : ndarray of int32, shape (ny, nx)
        0 on sky, else the number of the detection before thin ones were dropped: only for masking.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    semi_major: NDArray[np.float64]
    semi_minor: NDArray[np.float64]
    theta: NDArray[np.float64]
    peak: NDArray[np.float64]
    blended: NDArray[np.bool_]
    segments: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.x)


def matched_filter(fwhm: float) -> NDArray[np.float32]:
    """Return a Gaussian of that width in pixels whose sum is 1."""
    line = _line(fwhm)
    return np.outer(line, line)


def _line(fwhm: float) -> NDArray[np.float32]:
    """Return the matched filter along one axis; it is the product of two of them."""
    half = max(1, int(np.ceil(fwhm)))
    offsets = np.arange(-half, half + 1)
    weights = np.exp(-4 * np.log(2) * offsets**2 / fwhm**2)
    return (weights / weights.sum()).astype(np.float32)


def convolution_threshold(settings: DetectionSettings, kernel: NDArray[np.float32]) -> float:
    """Return the threshold of a convolved image in units of the noise of a pixel before the convolution."""
    return settings.threshold * float(np.sqrt(np.sum(kernel**2)))


def is_thin(semi_major: NDArray[np.float64], semi_minor: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return what is no image of a star or galaxy: a row, a column, a trail, a cosmic ray that was missed."""
    return (semi_minor < _SMALLEST_AXIS) | (semi_major > _LONGEST * semi_minor)


def detect(
    data: NDArray[np.float32],
    rms: NDArray[np.float32],
    mask: NDArray[np.bool_],
    settings: DetectionSettings,
) -> Detections:
    """Find sources by the algorithm of Bertin & Arnouts (1996), as `sep.extract` does with the same settings.

    Where the noise changes over scales much larger than the filter, as that of the sky does, a convolved
    image has the noise of a pixel times the root of the kernel's squared sum: thresholded there, it is the
    matched filter. sep's own finds the same pixels in eight times the time, but its cleaning compares counts
    with signal-to-noise ratios, and takes most of the faint stars for wings of bright ones.

    A group of pixels with one peak is one source at any threshold. Only those with several, one in fifteen,
    go to sep (Barbary 2016), which takes them apart.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons.
    rms : ndarray of float32, shape (ny, nx)
        Noise of each pixel, electrons.
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel must not count.
    settings : DetectionSettings
        Threshold in units of ``rms``, smallest area, deblending, width of the matched filter.

    Raises
    ------
    FrameRejected
        More objects or pixels above the threshold than any sky holds: the background failed.
    """
    line = _line(settings.expected_fwhm)
    threshold = convolution_threshold(settings, np.outer(line, line))
    smooth, runs = runs_above(data, rms, mask, line, threshold)
    component, count = connected(runs)
    large = np.bincount(component, runs[:, 2] - runs[:, 1], minlength=count) >= settings.minimum_area
    kept = large[component]
    runs, component = runs[kept], (np.cumsum(large, dtype=np.int32) - 1)[component[kept]]
    parts = take_apart(smooth, rms, threshold, runs, component, settings)
    found = measure_isophotes(
        data, smooth, (rms, threshold), parts.segments, runs, len(parts.blended), settings.minimum_area
    )
    _as_taken_apart(found, parts)
    lost = in_wings(found)
    names = np.where(lost, 0, np.arange(1, len(lost) + 1)).astype(np.int32)
    rename(runs, np.append(np.int32(0), names), parts.segments, parts.segments)
    semi_major, semi_minor, theta = found.axes
    kept = ~(lost | is_thin(semi_major, semi_minor))
    return Detections(
        found.x[kept],
        found.y[kept],
        semi_major[kept],
        semi_minor[kept],
        theta[kept],
        found.peak[kept],
        parts.blended[kept],
        parts.segments,
    )


def _as_taken_apart(found: Isophotes, parts: Parts) -> None:
    """Replace what the pixels of a part do not tell: a blend's are shared out by its parts' profiles."""
    for name in ("x", "y", "xx", "yy", "xy", "threshold"):
        getattr(found, name)[parts.number] = getattr(parts, name)
