"""Which raw calibration frames go together into the master for a frame.

Frames of one key that follow each other without a gap are a *set*; the sets of one night make one master. A
set is *closed* when it is as large as it is to become, or when none was added to it for some time; until then
it grows, and what is made of it would change with every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import MasterSettings
from nightflow.masters.keys import MasterKey, days_apart, key_fields, mismatches, same_exposure

__all__ = [
    "Excluded",
    "Group",
    "RawCalibration",
    "calibration_sets",
    "group_inputs",
    "is_closed",
    "night_blocks",
    "raw_calibration",
]

NIGHT_GAP = 0.5
"""Days without a calibration frame that part one night's from the next: dusk and dawn are nearer."""

MOST_ALTERNATIVES = 6
"""How many sets are looked at for one frame, the nearest first."""

_MINUTES = 1440.0


@dataclass(frozen=True, kw_only=True)
class RawCalibration(MasterKey):
    """A raw bias, dark or flat.

    Attributes
    ----------
    identity : str
        What the caller knows it by.
    received : float or None
        UTC, MJD at which it landed; None where that does not matter any more.
    """

    identity: str
    received: float | None = None


@dataclass(frozen=True)
class Excluded:
    """A frame of the right kind that does not go in, the key that ruled it out, and the values in words."""

    frame: RawCalibration
    key: str
    detail: str


Inputs = tuple[RawCalibration, ...]


@dataclass(frozen=True)
class Group:
    """What goes into one master.

    Attributes
    ----------
    inputs : tuple of RawCalibration
        In order of time; empty where there are fewer than ``minimum_inputs``.
    excluded : tuple of Excluded
        Frames of the same kind that do not match: fewest mismatches first, then nearest in time.
    found : int
        How many matched; tells a reader how many were short.
    alternatives : tuple of tuple of RawCalibration
        Other sets that would do: the parts of the same night, then other nights, nearest first.
    growing : tuple of RawCalibration
        What ``inputs`` would be together with sets that are not closed; empty where all are.
    """

    inputs: Inputs
    excluded: tuple[Excluded, ...]
    found: int
    alternatives: tuple[Inputs, ...] = ()
    growing: Inputs = ()


def raw_calibration(header: FrameHeader, identity: str) -> RawCalibration:
    """Return what the grouping needs of a raw frame."""
    return RawCalibration(**key_fields(header), identity=identity)


def group_inputs(
    kind: FrameKind,
    wanted: MasterKey,
    frames: Iterable[RawCalibration],
    settings: MasterSettings,
    *,
    any_exposure: bool = False,
    now: float | None = None,
) -> Group:
    """Return the raw frames for the master that fits a frame.

    Frames that match are taken from the night nearest in time; where that has too few, from the next
    nearest too, within ``settings.validity_days``. Darks that are to be scaled are of one exposure: that of
    the frame if there are enough of it, else the nearest longer one, else the nearest shorter.

    Parameters
    ----------
    kind : FrameKind
        Bias, dark or flat.
    wanted : MasterKey
        Of the frame that is to be calibrated.
    frames : iterable of RawCalibration
        Of any kind; those of other kinds are passed over.
    settings : MasterSettings
        Keys that must match, tolerances, how many are needed, when a set is closed.
    any_exposure : bool
        Darks are scaled.
    now : float, optional
        MJD: sets that are still growing then are kept out of ``inputs``. By default all are closed.
    """
    fitting: list[RawCalibration] = []
    failing: list[tuple[int, float, str, Excluded]] = []
    for frame in frames:
        if frame.kind != kind:
            continue
        faults = [
            (fault.key, fault.detail)
            for fault in mismatches(kind, wanted, frame, settings, any_exposure=any_exposure)
        ]
        if days_apart(wanted, frame) > settings.validity_days:
            faults.append(("validity", f"more than {settings.validity_days:g} d away"))
        if faults:
            failing.append(
                (len(faults), days_apart(wanted, frame), frame.identity, Excluded(frame, *faults[0]))
            )
        else:
            fitting.append(frame)
    excluded = tuple(item[-1] for item in sorted(failing, key=lambda item: item[:3]))
    closed = _closed(kind, fitting, settings, now)
    choices = _choices(kind, wanted, closed, settings)
    growing = _choices(kind, wanted, fitting, settings) if len(closed) < len(fitting) else ()
    return Group(
        inputs=choices[0] if choices else (),
        excluded=excluded,
        found=len(fitting),
        alternatives=choices[1:],
        growing=growing[0] if growing and growing[:1] != choices[:1] else (),
    )


def calibration_sets(
    frames: Iterable[RawCalibration], settings: MasterSettings
) -> list[list[RawCalibration]]:
    """Return frames of one key in order of time, parted where a set's gap goes by without one.

    Frames whose time is unknown form a set of their own, the last.
    """
    return _parted(frames, lambda frame: gap_minutes(frame.exptime, settings) / _MINUTES)


def is_closed(one: Sequence[RawCalibration], settings: MasterSettings, now: float) -> bool:
    """Return whether a set is complete at the time ``now`` (MJD): by its size, or since none was added."""
    if settings.set_count is not None and len(one) >= settings.set_count:
        return True
    landed = [frame.received for frame in one if frame.received is not None]
    if not landed:
        return True
    gap = max(gap_minutes(frame.exptime, settings) for frame in one)
    return (now - max(landed)) * _MINUTES >= gap


def gap_minutes(exptime: float, settings: MasterSettings) -> float:
    """Return how long a set waits for its next frame; long darks follow each other slowly."""
    return max(settings.set_gap_minutes, 2 * exptime / 60.0)


def night_blocks(frames: Sequence[RawCalibration]) -> list[list[RawCalibration]]:
    """Return the frames in order of time, parted where `NIGHT_GAP` goes by without one.

    Frames whose time is unknown form a block of their own, the last.
    """
    return _parted(frames, lambda frame: NIGHT_GAP)


def _parted(
    frames: Iterable[RawCalibration], gap: Callable[[RawCalibration], float]
) -> list[list[RawCalibration]]:
    frames = list(frames)
    timed = sorted((f for f in frames if f.mjd_mid is not None), key=_in_time)
    blocks: list[list[RawCalibration]] = [timed[:1]] if timed else []
    for before, frame in pairwise(timed):
        if days_apart(before, frame) > gap(frame):
            blocks.append([])
        blocks[-1].append(frame)
    untimed = sorted((f for f in frames if f.mjd_mid is None), key=_in_time)
    return [*blocks, untimed] if untimed else blocks


def _in_time(frame: RawCalibration) -> tuple[bool, float, str]:
    return frame.mjd_mid is None, frame.mjd_mid or 0.0, frame.identity


def _closed(
    kind: FrameKind, frames: Sequence[RawCalibration], settings: MasterSettings, now: float | None
) -> list[RawCalibration]:
    if now is None:
        return list(frames)
    # Twilight flats of one series differ in exposure; darks of several exposures are several series.
    series = _by_exposure(frames, settings) if kind == FrameKind.DARK else [frames]
    sets = (one for alike in series for one in calibration_sets(alike, settings))
    return [frame for one in sets if is_closed(one, settings, now) for frame in one]


def _choices(
    kind: FrameKind, wanted: MasterKey, frames: Sequence[RawCalibration], settings: MasterSettings
) -> tuple[Inputs, ...]:
    """Return the sets that have enough frames, the best fitting first."""
    found: list[Inputs] = []
    for alike in _alike(kind, wanted, frames, settings):
        if len(alike) < settings.minimum_inputs:
            continue
        blocks = sorted(night_blocks(alike), key=lambda block: _distance(wanted, block))
        parts = sorted(calibration_sets(blocks[0], settings), key=lambda part: _distance(wanted, part))
        found.append(_filled(blocks, settings.minimum_inputs))
        found += [tuple(part) for part in (*parts, *blocks[1:]) if len(part) >= settings.minimum_inputs]
    return tuple(dict.fromkeys(found))[:MOST_ALTERNATIVES]


def _distance(wanted: MasterKey, block: Sequence[RawCalibration]) -> tuple[bool, float]:
    return block[0].mjd_mid is None, min(days_apart(wanted, frame) for frame in block)


def _filled(blocks: Sequence[Sequence[RawCalibration]], needed: int) -> Inputs:
    """Return the nearest night's frames, and those of the next nearest until there are enough."""
    taken: list[RawCalibration] = []
    for block in blocks:
        if len(taken) >= needed:
            break
        taken.extend(block)
    return tuple(sorted(taken, key=_in_time))


def _alike(
    kind: FrameKind, wanted: MasterKey, frames: Sequence[RawCalibration], settings: MasterSettings
) -> list[list[RawCalibration]]:
    """Return the sets of frames that may be combined with each other, the best fitting first."""
    if kind != FrameKind.DARK:
        return [list(frames)]

    def rank(group: list[RawCalibration]) -> tuple[bool, bool, float]:
        exptime = group[len(group) // 2].exptime
        matched = same_exposure(wanted.exptime, exptime, settings.exposure_tolerance)
        return not matched, exptime < wanted.exptime, abs(exptime - wanted.exptime)

    return [_one_temperature(group, settings) for group in sorted(_by_exposure(frames, settings), key=rank)]


def _by_exposure(frames: Sequence[RawCalibration], settings: MasterSettings) -> list[list[RawCalibration]]:
    groups: list[list[RawCalibration]] = []
    for frame in sorted(frames, key=lambda f: (f.exptime, f.identity)):
        if groups and same_exposure(groups[-1][0].exptime, frame.exptime, settings.exposure_tolerance):
            groups[-1].append(frame)
        else:
            groups.append([frame])
    return groups


def _one_temperature(frames: Sequence[RawCalibration], settings: MasterSettings) -> list[RawCalibration]:
    """Return the frames within the tolerance of their median temperature; unknown ones stay."""
    known = [frame.ccd_temp for frame in frames if frame.ccd_temp is not None]
    if not known:
        return list(frames)
    center = float(np.median(known))
    return [
        f for f in frames if f.ccd_temp is None or abs(f.ccd_temp - center) <= settings.temperature_tolerance
    ]
