"""Which groups of pixels are several sources, and which pixels belong to which of those."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray

from nightflow.errors import FrameRejected
from nightflow.instruments.profile import DetectionSettings
from nightflow.sources.components import n_peaks, paint, rename

__all__ = ["Parts", "take_apart"]

_PIXEL_STACK, _SPARE = 1_000_000, 16
_PARTS, _MOST_PARTS = 1024, 32767
"""Of one group that sep has room for, as a rule and at most: it counts them in 16 bits."""
_TOO_MANY_PARTS = "deblending overflow"
_SEP = threading.Lock()
"""Its room is the same for all threads of a process."""


@dataclass(frozen=True)
class Parts:
    """Groups of pixels, those of several sources taken apart.

    Attributes
    ----------
    segments : ndarray of int32, shape (ny, nx)
        Number of the source of each pixel, from 1; 0 on sky.
    blended : ndarray of bool
        Of each source: it was taken apart from a neighbour.
    number : ndarray of int64
        Index of the sources that went to sep, and below what it says of them.
    x, y, xx, yy, xy, threshold : ndarray of float64
        As `nightflow.sources.isophotes.Isophotes` has them.
    """

    segments: NDArray[np.int32]
    blended: NDArray[np.bool_]
    number: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    xy: NDArray[np.float64]
    threshold: NDArray[np.float64]


def take_apart(
    smooth: NDArray[np.float32],
    rms: NDArray[np.float32],
    threshold: float,
    runs: NDArray[np.int32],
    component: NDArray[np.int32],
    settings: DetectionSettings,
) -> Parts:
    """Take groups with more than one peak apart, by sep.

    Parameters
    ----------
    smooth, rms : ndarray of float32, shape (ny, nx)
        The convolved image, and the noise of each pixel.
    threshold : float
        In units of ``rms``.
    runs, component : ndarray of int32
        Of the groups; see `nightflow.sources.components.connected`.
    settings : DetectionSettings
        Smallest area and deblending.

    Raises
    ------
    FrameRejected
        A group of more pixels, or of more sources, than any sky holds.
    """
    count = int(component.max(initial=-1)) + 1
    pixels = np.bincount(component, weights=runs[:, 2] - runs[:, 1], minlength=count)
    if pixels.max(initial=0) > max(_PIXEL_STACK, smooth.size // 4):
        raise FrameRejected(
            f"a quarter of the frame is above the threshold of {settings.threshold} sigma: no star field"
        )
    segments = np.zeros(smooth.shape, np.int32)
    paint(runs, component, np.arange(1, count + 1, dtype=np.int32), segments)
    several = n_peaks(smooth, segments, runs, component, count) > 1
    of_several = several[component]
    objects, within = _by_sep(
        smooth, rms, threshold, runs[of_several], component[of_several], count, settings
    )
    group = segments[objects["ycpeak"], objects["xcpeak"]] - 1
    if np.any(np.diff(group) < 0):
        raise RuntimeError("sep does not give the parts of a group one after another any more")
    n_sources = np.where(several, np.bincount(group, minlength=count), 1)
    before = np.cumsum(n_sources) - n_sources
    # sep gives the parts of a group one after another, the groups in our order.
    number = before[group] + np.arange(len(group)) - np.searchsorted(group, group)
    paint(runs, component, (before + 1).astype(np.int32), segments)
    rename(runs[of_several], np.append(0, number + 1).astype(np.int32), within, segments)
    blended = np.zeros(int(n_sources.sum()), bool)
    blended[number] = (objects["flag"] & sep.OBJ_MERGED) > 0
    measures = (objects[name].astype(np.float64) for name in ("x", "y", "x2", "y2", "xy", "thresh"))
    return Parts(segments, blended, number, *measures)


def _by_sep(
    smooth: NDArray[np.float32],
    rms: NDArray[np.float32],
    threshold: float,
    runs: NDArray[np.int32],
    component: NDArray[np.int32],
    count: int,
    settings: DetectionSettings,
) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    """Return the objects that sep makes of some groups, and the number of each pixel's, from 1."""
    elsewhere = np.ones(smooth.shape, bool)
    paint(runs, component, np.zeros(count, bool), elsewhere)
    area = int((runs[:, 2] - runs[:, 1]).sum())
    # It goes through all of its stack before it begins: no more than is needed.
    for parts in (_PARTS, _MOST_PARTS):
        try:
            with _room(pixels=area + _SPARE, parts=parts):
                objects, within = sep.extract(
                    smooth,
                    threshold,
                    err=rms,
                    mask=elsewhere,
                    minarea=settings.minimum_area,
                    filter_kernel=None,
                    clean=False,
                    deblend_nthresh=settings.deblend_levels,
                    deblend_cont=settings.deblend_contrast,
                    segmentation_map=True,
                )
        except Exception as error:  # sep raises a bare Exception; all but this one go on up
            if _TOO_MANY_PARTS not in str(error):
                raise
        else:
            return objects, within
    raise FrameRejected(
        f"one group of pixels above {settings.threshold} sigma is more than {_MOST_PARTS} sources: "
        "a higher detection.threshold in the profile takes it apart"
    )


@contextmanager
def _room(*, pixels: int, parts: int) -> Iterator[None]:
    """Give sep room for so many pixels and parts of one group; others find it as it was."""
    with _SEP:
        before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
        sep.set_extract_pixstack(pixels)
        sep.set_sub_object_limit(parts)
        try:
            yield
        finally:
            sep.set_extract_pixstack(before[0])
            sep.set_sub_object_limit(before[1])
