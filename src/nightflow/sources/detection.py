"""Detection of sources above the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray

from nightflow.errors import FrameRejected
from nightflow.instruments.profile import DetectionSettings

__all__ = ["Detections", "convolution_threshold", "detect", "is_thin", "matched_filter"]

_OVERFLOWS = ("overflow", "internal pixel buffer full")
"""How sep says that more is above the threshold than it has room for."""

_PIXEL_STACK = 1_000_000
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
    half = max(1, int(np.ceil(fwhm)))
    yy, xx = np.mgrid[-half : half + 1, -half : half + 1]
    kernel: NDArray[np.float32] = np.exp(-4 * np.log(2) * (xx**2 + yy**2) / fwhm**2).astype(np.float32)
    return kernel / kernel.sum()


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
    """Find sources with sep (Barbary 2016; the algorithm of Bertin & Arnouts 1996).

    Where the noise changes over scales much larger than the filter, as that of the sky does, a convolved
    image has the noise of a pixel times the root of the kernel's squared sum: thresholded there, it is the
    matched filter. sep's own finds the same pixels in eight times the time, but its cleaning compares counts
    with signal-to-noise ratios, and takes most of the faint stars for wings of bright ones.

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
    sep.set_extract_pixstack(max(_PIXEL_STACK, data.size // 4))
    kernel = matched_filter(settings.expected_fwhm)
    try:
        objects, segments = sep.extract(
            data,
            convolution_threshold(settings, kernel),
            err=rms,
            mask=mask,
            minarea=settings.minimum_area,
            filter_kernel=kernel,
            filter_type="conv",
            deblend_nthresh=settings.deblend_levels,
            deblend_cont=settings.deblend_contrast,
            segmentation_map=True,
        )
    except Exception as error:  # sep raises a bare Exception; all but its overflows go on up
        if not any(symptom in str(error) for symptom in _OVERFLOWS):
            raise
        raise FrameRejected(
            f"a quarter of the frame is above the threshold of {settings.threshold} sigma: no star field"
        ) from error
    objects = objects[~is_thin(objects["a"], objects["b"])]
    return Detections(
        objects["x"],
        objects["y"],
        objects["a"],
        objects["b"],
        objects["theta"],
        objects["peak"].astype(np.float64),
        (objects["flag"] & sep.OBJ_MERGED) > 0,
        segments,
    )
