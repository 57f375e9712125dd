"""Whom to ask for the sets of many raw frames: one of those that would give the same answer."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise

from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import MasterSettings
from nightflow.masters.group import RawCalibration, night_blocks
from nightflow.masters.keys import COMPARED_WITHIN_TOLERANCE, counting_keys, days_apart, same_exposure

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
    crowded = _crowded(frames, settings) if kind is FrameKind.DARK else set()
    families = _families(kind, frames, settings)
    times = {
        key: sorted(f.mjd_mid for f in family if f.mjd_mid is not None) for key, family in families.items()
    }
    endless = {frame.identity for family in families.values() for frame in _in_endless(family, settings)}
    alike: defaultdict[Hashable, list[RawCalibration]] = defaultdict(list)
    for frame in asking:
        if frame.exptime not in crowded:
            keys = [getattr(frame, key) for key in counting_keys(kind, settings)]
            # A dark must be near the median temperature of all within reach, whatever their night.
            bounded = kind is FrameKind.DARK or frame.identity in endless
            of_family = times.get(_family(kind, frame, settings), [])
            alike[frame.detector, *keys, _reach(frame, of_family, settings) if bounded else None].append(
                frame
            )
    for lot in alike.values():
        yield from (block for block in night_blocks(lot) if len(block) >= settings.minimum_inputs)


def _family(kind: FrameKind, frame: RawCalibration, settings: MasterSettings) -> Hashable:
    """Return what all frames that may go with one have in common, as `mismatches` compares it."""
    exact = [key for key in counting_keys(kind, settings) if key not in COMPARED_WITHIN_TOLERANCE]
    return tuple(str(getattr(frame, key)) or "unknown" for key in exact)


def _families(
    kind: FrameKind, frames: Sequence[RawCalibration], settings: MasterSettings
) -> dict[Hashable, list[RawCalibration]]:
    families: defaultdict[Hashable, list[RawCalibration]] = defaultdict(list)
    for frame in frames:
        families[_family(kind, frame, settings)].append(frame)
    return families


def _in_endless(family: Sequence[RawCalibration], settings: MasterSettings) -> Iterator[RawCalibration]:
    """Yield the frames of nights that are longer than a master is valid: they look different from their ends.

    Where there are frames at dusk and at dawn, a season of long nights is one of these.
    """
    for block in night_blocks(family):
        if days_apart(block[0], block[-1]) > settings.validity_days:
            yield from block


def _reach(frame: RawCalibration, times: Sequence[float], settings: MasterSettings) -> tuple[int, int] | None:
    """Return which of the times are within the validity of a frame: the first, and the first that is not."""
    middle = frame.mjd_mid
    if middle is None:
        return None
    # The difference is compared, as `group_inputs` does: a sum would be rounded otherwise.
    return (
        bisect_left(times, -settings.validity_days, key=lambda time: time - middle),
        bisect_right(times, settings.validity_days, key=lambda time: time - middle),
    )


def _crowded(frames: Sequence[RawCalibration], settings: MasterSettings) -> set[float]:
    """Return exposures that are nearly another's: such a dark may belong to a set of that one."""
    near = [
        pair
        for pair in pairwise(sorted({frame.exptime for frame in frames}))
        if same_exposure(*pair, settings.exposure_tolerance)
    ]
    return {exptime for pair in near for exptime in pair}
