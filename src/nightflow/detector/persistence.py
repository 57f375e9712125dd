"""Flag pixels that were saturated in an exposure shortly before and may still glow.

The chain knows one frame at a time. What was saturated in earlier ones is kept by its caller, in a
`SaturationMemory`, and handed over with the masters.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from nightflow.detector.checks import flag_plane, set_flag
from nightflow.detector.master_frame import SaturatedPixels
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader

__all__ = ["SaturationMemory", "Window", "flag_persistence", "saturated_pixels", "shutter_times"]

_SECONDS_A_DAY = 86400.0
_SLACK = 1.0
"""Seconds by which an exposure may seem to begin before the one before it ended: headers round."""


@dataclass(frozen=True)
class Window:
    """Which exposures count as shortly before another one: the only place where that is decided.

    Attributes
    ----------
    begin : float
        MJD; of the other one. What began with it or later is not before it.
    first_end, last_end : float
        MJD; between these, both included, they ended.
    """

    begin: float
    first_end: float
    last_end: float

    @classmethod
    def of(cls, header: FrameHeader, seconds: float) -> Self | None:
        """Return what ended up to ``seconds`` before a frame began; None without a time, or for 0 seconds."""
        if seconds <= 0 or header.mjd_mid is None:
            return None
        begin, _ = shutter_times(header.mjd_mid, header.exptime)
        return cls(begin, begin - seconds / _SECONDS_A_DAY, begin + _SLACK / _SECONDS_A_DAY)

    def holds(self, begin: float, end: float) -> bool:
        """Return whether an exposure with these `shutter_times` counts."""
        return begin < self.begin and self.first_end <= end <= self.last_end

    def widened(self, seconds: float) -> Self:
        """Return one with a margin, for a first choice by whoever rounds otherwise."""
        margin = seconds / _SECONDS_A_DAY
        return type(self)(self.begin + margin, self.first_end - margin, self.last_end + margin)


def saturated_pixels(frame: Frame) -> SaturatedPixels | None:
    """Return what a frame saturated; None where its time is unknown, or no pixel was looked at."""
    if frame.header.mjd_mid is None or frame.flags is None:
        return None
    ny, nx = frame.data.shape
    index = np.flatnonzero(frame.flags & int(Flag.SATURATED)).astype(np.int32)
    begin, end = shutter_times(frame.header.mjd_mid, frame.header.exptime)
    return SaturatedPixels(mjd_begin=begin, mjd_end=end, shape=(ny, nx), index=index)


def flag_persistence(frame: Frame, earlier: Sequence[SaturatedPixels], seconds: float) -> Frame:
    """Flag what was saturated in exposures that ended up to ``seconds`` before this one began.

    Parameters
    ----------
    frame : Frame
        Trimmed. Without a time it is left as it is, with a warning.
    earlier : sequence of SaturatedPixels
        Exposures of the same detector, in any order; later ones, and those of another shape, do not count.
    seconds : float
        0: nothing is flagged.
    """
    if seconds <= 0:
        return frame
    window = Window.of(frame.header, seconds)
    if window is None:
        return frame.after("persistence: not done", "persistence: the time of the exposure is unknown")
    if not earlier:
        return frame.after("persistence: not done", "persistence: no earlier exposure is known")
    counted = [
        one for one in earlier if one.shape == frame.data.shape and window.holds(one.mjd_begin, one.mjd_end)
    ]
    flags = flag_plane(frame)
    for one in counted:
        set_flag(flags.reshape(-1), one.index, Flag.PERSISTENCE)
    count = np.count_nonzero(flags & int(Flag.PERSISTENCE))
    return frame.after(
        f"persistence: {count} pixels saturated in {len(counted)} exposures of the last {seconds:g} s",
        flags=flags,
    )


def shutter_times(mjd_mid: float, exptime: float) -> tuple[float, float]:
    """Return when an exposure of ``exptime`` seconds began and ended, MJD."""
    half = exptime / 2 / _SECONDS_A_DAY
    return mjd_mid - half, mjd_mid + half


class SaturationMemory:
    """What the last exposures of each detector saturated; safe for threads.

    Frames may come in any order: a frame asks for what was exposed before it, not for what was reduced
    before it. An exposure that is reduced again takes the place of its former self.

    Parameters
    ----------
    exposures : int
        Kept of each detector; those that were reduced longest ago are forgotten first, so that a night that
        is reduced again in order finds what came before.
    detectors : int
        Kept; the one that was heard of least recently is forgotten first.
    """

    def __init__(self, exposures: int = 32, detectors: int = 256) -> None:
        self._exposures = exposures
        self._detectors = detectors
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], dict[float, SaturatedPixels]] = OrderedDict()

    def earlier(self, header: FrameHeader, seconds: float = math.inf) -> tuple[SaturatedPixels, ...]:
        """Return what exposures up to so long before this one saturated on its detector, in order of time."""
        window = Window.of(header, seconds)
        if window is None:
            return ()
        with self._lock:
            kept = self._kept.get((header.instrument, header.detector), {})
            return tuple(kept[end] for end in sorted(kept) if window.holds(kept[end].mjd_begin, end))

    def make_room(self, exposures: int) -> None:
        """Keep so many of each detector from now on, where it kept fewer: as many as its frames ask for."""
        with self._lock:
            self._exposures = max(self._exposures, exposures)

    def remember(self, header: FrameHeader, saturated: SaturatedPixels) -> None:
        """Keep what an exposure saturated that was reduced here; the service's memory tells it to others."""
        self.learn(header, saturated)

    def learn(self, header: FrameHeader, saturated: SaturatedPixels) -> None:
        """Keep what an exposure saturated, whoever knows it."""
        key = (header.instrument, header.detector)
        with self._lock:
            kept = self._kept.setdefault(key, {})
            self._kept.move_to_end(key)
            kept.pop(saturated.mjd_end, None)
            kept[saturated.mjd_end] = saturated
            for end in [*kept][: -self._exposures]:
                del kept[end]
            while len(self._kept) > self._detectors:
                self._kept.popitem(last=False)
