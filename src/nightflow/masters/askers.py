"""Whom to ask for the sets of many raw frames: one of those that would give the same answer."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise

from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import MasterSettings
from nightflow.masters.group import RawCalibration, night_blocks
from nightflow.masters.keys import counting_keys, days_apart, same_exposure

__all__ = ["one_of_each_set"]


def one_of_each_set(
    kind: FrameKind,
    asking: Sequence[RawCalibration],
    frames: Sequence[RawCalibration],
    settings: MasterSettings,
) -> list[RawCalibration]:
    """Return those of some frames that together know all sets which each of them would give.

    `nightflow.masters.group.group_inputs` looks at all frames for the one that asks, so that asking each in
    turn takes the square of their number. Of frames that are certain to be told the same, only the first is
    left; where it depends on something else, as on the distance of other nights, each stays.

    Parameters
    ----------
    kind : FrameKind
        Bias, dark or flat.
    asking : sequence of RawCalibration
        Those whose sets are looked for, such as a night's.
    frames : sequence of RawCalibration
        All of the kind and camera.
    settings : MasterSettings
    """
    spared = {frame.identity for lot in _lots(kind, asking, frames, settings) for frame in lot[1:]}
    return [frame for frame in asking if frame.identity not in spared]


def _lots(
    kind: FrameKind,
    asking: Sequence[RawCalibration],
    frames: Sequence[RawCalibration],
    settings: MasterSettings,
) -> Iterator[list[RawCalibration]]:
    """Yield frames of equal keys and one night that are enough for a master: their night's it is for each."""
    stray = _stray(kind, frames, settings)
    times = sorted(frame.mjd_mid for frame in frames if frame.mjd_mid is not None)
    alike: defaultdict[Hashable, list[RawCalibration]] = defaultdict(list)
    for frame in asking:
        if frame.identity not in stray:
            keys = [getattr(frame, key) for key in counting_keys(kind, settings)]
            # A dark must be near the median temperature of all within reach, whatever their night.
            reach = _reach(frame, times, settings) if kind is FrameKind.DARK else None
            alike[frame.detector, *keys, reach].append(frame)
    for lot in alike.values():
        yield from (block for block in night_blocks(lot) if len(block) >= settings.minimum_inputs)


def _reach(frame: RawCalibration, times: Sequence[float], settings: MasterSettings) -> tuple[int, int] | None:
    """Return which of the times are within the validity of a frame: the first, and the first that is not."""
    if frame.mjd_mid is None:
        return None
    return (
        bisect_left(times, frame.mjd_mid - settings.validity_days),
        bisect_right(times, frame.mjd_mid + settings.validity_days),
    )


def _stray(kind: FrameKind, frames: Sequence[RawCalibration], settings: MasterSettings) -> set[str]:
    """Return the frames that equal keys tell too little of.

    A night that is longer than a master is valid looks different from its two ends; and a dark whose exposure
    is nearly another's may belong to a set of that one.
    """
    blocks = [
        block for block in night_blocks(frames) if days_apart(block[0], block[-1]) > settings.validity_days
    ]
    stray = {frame.identity for block in blocks for frame in block}
    if kind is FrameKind.DARK:
        near = [
            pair
            for pair in pairwise(sorted({frame.exptime for frame in frames}))
            if same_exposure(*pair, settings.exposure_tolerance)
        ]
        crowded = {exptime for pair in near for exptime in pair}
        stray |= {frame.identity for frame in frames if frame.exptime in crowded}
    return stray
