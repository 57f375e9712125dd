"""Flag cosmic rays by L.A.Cosmic (van Dokkum 2001, PASP 113, 1420), ours or astroscrappy's: same masks."""

from __future__ import annotations

from collections.abc import Callable

import astroscrappy
import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import flag_plane, require_unit, set_flag
from nightflow.detector.lacosmic import find_hits, replace_hits
from nightflow.flag_planes import carrying
from nightflow.flags import UNUSABLE, Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import CosmicRaySettings

__all__ = ["excluded_pixels", "flag_cosmic_rays"]

Found = tuple[NDArray[np.bool_], Callable[[], NDArray[np.float32]]]
"""Which pixels were hit, and the data without the hits, made when asked for."""

SATURATED_AREA = 3
"""Saturated pixels in 3 x 3 that make an area; a single one may be a cosmic ray's core."""

SATURATED_MARGIN = 2
"""Pixels round a saturated area that are left out: its steep edge looks like a cosmic ray's."""


def flag_cosmic_rays(frame: Frame, settings: CosmicRaySettings) -> Frame:
    """Flag the pixels that cosmic rays hit.

    Parameters
    ----------
    frame : Frame
        Electrons, with its sky still in, and with its variance plane, which takes the place of
        L.A.Cosmic's own noise model (that one knows neither flat nor dark).
    settings : CosmicRaySettings
        L.A.Cosmic's parameters, and which implementation to use. With ``clean``, the mean of the good
        neighbours stands in place of the hit pixels (astroscrappy: what ``cleantype`` says), which are
        flagged INTERPOLATED too, and their variance is that of their neighbours. By default values stay as
        they were read.

    Returns
    -------
    Frame
        Unchanged but for a warning where the chip has a colour filter mosaic, whose pattern is as sharp
        as a cosmic ray.

    Raises
    ------
    ValueError
        The frame is not in electrons or has no variance plane.
    """
    require_unit(frame, "cosmic_rays", "electron")
    if frame.variance is None:
        raise ValueError("cosmic_rays: needs the variance plane")
    if frame.header.bayer:
        return frame.after(
            "cosmic_rays: not done",
            f"cosmic_rays: not looked for in the {frame.header.bayer} mosaic",
        )
    flags = flag_plane(frame)
    excluded = excluded_pixels(flags)
    find = _find_by_astroscrappy if settings.method == "astroscrappy" else _find
    hit, clean = find(frame.data, frame.variance, excluded, settings)
    set_flag(flags, hit, Flag.COSMIC_RAY)
    data, variance = frame.data, frame.variance
    if settings.clean:
        set_flag(flags, hit, Flag.INTERPOLATED)
        data, variance = clean(), replace_hits(variance, hit, excluded)
    return frame.after(
        f"cosmic_rays: {np.count_nonzero(hit)} pixels{' replaced' if settings.clean else ''} "
        f"(sigclip {settings.sigclip:g}, sigfrac {settings.sigfrac:g}, objlim {settings.objlim:g}, "
        f"niter {settings.niter})",
        flags=flags,
        data=data,
        variance=variance,
    )


def excluded_pixels(flags: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Return where no cosmic ray is looked for: unusable pixels, and the surroundings of saturated areas.

    A single saturated pixel may be a cosmic ray's core, so only areas of three and more get a margin.
    """
    excluded = carrying(flags, UNUSABLE)
    saturated = carrying(flags, Flag.SATURATED)
    # In one dimension numpy finds a few pixels among many in a fifth of the time.
    rows, columns = np.divmod(np.flatnonzero(saturated), saturated.shape[1])
    if len(rows):
        padded = np.pad(saturated, 1)
        count = sum(padded[rows + dy, columns + dx].astype(np.uint8) for dy, dx in _window(3))
        area = count >= SATURATED_AREA
        _set_around(excluded, rows[area], columns[area], 2 * SATURATED_MARGIN + 1)
    return excluded


def _window(side: int) -> list[tuple[int, int]]:
    """Return (row, column) of a square's pixels from its corner."""
    return [(dy, dx) for dy in range(side) for dx in range(side)]


def _set_around(
    mask: NDArray[np.bool_], rows: NDArray[np.intp], columns: NDArray[np.intp], side: int
) -> None:
    """Set the square of ``side`` pixels around each of a few places."""
    for dy, dx in _window(side):
        row = np.clip(rows + dy - side // 2, 0, mask.shape[0] - 1)
        column = np.clip(columns + dx - side // 2, 0, mask.shape[1] - 1)
        mask[row, column] = True


def _find(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    excluded: NDArray[np.bool_],
    settings: CosmicRaySettings,
) -> Found:
    hit = find_hits(
        data,
        variance,
        excluded,
        sigclip=settings.sigclip,
        sigfrac=settings.sigfrac,
        objlim=settings.objlim,
        niter=settings.niter,
    )
    return hit, lambda: replace_hits(data, hit, excluded)


def _find_by_astroscrappy(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    excluded: NDArray[np.bool_],
    settings: CosmicRaySettings,
) -> Found:
    """Call astroscrappy in electrons: gain 1, so that nothing is rescaled; ``invar`` means variance there."""
    if excluded.all():
        return np.zeros(data.shape, bool), data.copy
    hit, clean = astroscrappy.detect_cosmics(
        np.ascontiguousarray(data, np.float32),
        inmask=excluded,
        invar=np.ascontiguousarray(variance, np.float32),
        gain=1.0,
        satlevel=np.inf,
        **settings.model_dump(exclude={"enabled", "method", "clean"}),
    )
    return np.asarray(hit, bool), lambda: np.asarray(clean, np.float32)
