"""Which raw calibration frames go together into the master for a frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import MasterSettings
from nightflow.masters.keys import MasterKey, days_apart, key_fields, mismatches, same_exposure

__all__ = ["Excluded", "Group", "RawCalibration", "group_inputs", "night_blocks", "raw_calibration"]

NIGHT_GAP = 0.5
"""Days without a calibration frame that part one night's from the next: dusk and dawn are nearer."""


@dataclass(frozen=True, kw_only=True)
class RawCalibration(MasterKey):
    """A raw bias, dark or flat; ``identity`` is what the caller knows it by."""

    identity: str


@dataclass(frozen=True)
class Excluded:
    """A frame of the right kind that does not go in, the key that ruled it out, and the values in words."""

    frame: RawCalibration
    key: str
    detail: str


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
    """

    inputs: tuple[RawCalibration, ...]
    excluded: tuple[Excluded, ...]
    found: int


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
        Keys that must match, tolerances, how many are needed.
    any_exposure : bool
        Darks are scaled.
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
    for choice in _alike(kind, wanted, fitting, settings):
        if len(choice) >= settings.minimum_inputs:
            return Group(_nearest(wanted, choice, settings.minimum_inputs), excluded, len(fitting))
    return Group((), excluded, len(fitting))


def night_blocks(frames: Sequence[RawCalibration]) -> list[list[RawCalibration]]:
    """Return the frames in order of time, parted where `NIGHT_GAP` goes by without one.

    Frames whose time is unknown form a block of their own, the last.
    """
    timed = sorted((f for f in frames if f.mjd_mid is not None), key=lambda f: (f.mjd_mid, f.identity))
    blocks: list[list[RawCalibration]] = [timed[:1]] if timed else []
    for before, frame in pairwise(timed):
        if days_apart(before, frame) > NIGHT_GAP:
            blocks.append([])
        blocks[-1].append(frame)
    untimed = sorted((f for f in frames if f.mjd_mid is None), key=lambda f: f.identity)
    return [*blocks, untimed] if untimed else blocks


def _nearest(wanted: MasterKey, frames: Sequence[RawCalibration], needed: int) -> tuple[RawCalibration, ...]:
    """Return the nearest night's frames, and those of the next nearest until there are enough."""
    blocks = night_blocks(frames)
    blocks.sort(key=lambda block: (block[0].mjd_mid is None, min(days_apart(wanted, f) for f in block)))
    taken: list[RawCalibration] = []
    for block in blocks:
        if len(taken) >= needed:
            break
        taken.extend(block)
    return tuple(sorted(taken, key=lambda f: (f.mjd_mid is None, f.mjd_mid or 0.0, f.identity)))


def _alike(
    kind: FrameKind, wanted: MasterKey, frames: Sequence[RawCalibration], settings: MasterSettings
) -> list[list[RawCalibration]]:
    """Return the sets of frames that may be combined with each other, the best fitting first."""
    if kind != FrameKind.DARK:
        return [list(frames)]
    return [_one_temperature(group, settings) for group in _by_exposure(wanted, frames, settings)]


def _by_exposure(
    wanted: MasterKey, frames: Sequence[RawCalibration], settings: MasterSettings
) -> list[list[RawCalibration]]:
    groups: list[list[RawCalibration]] = []
    for frame in sorted(frames, key=lambda f: (f.exptime, f.identity)):
        if groups and same_exposure(groups[-1][0].exptime, frame.exptime, settings.exposure_tolerance):
            groups[-1].append(frame)
        else:
            groups.append([frame])

    def rank(group: list[RawCalibration]) -> tuple[bool, bool, float]:
        exptime = group[len(group) // 2].exptime
        matched = same_exposure(wanted.exptime, exptime, settings.exposure_tolerance)
        return not matched, exptime < wanted.exptime, abs(exptime - wanted.exptime)

    return sorted(groups, key=rank)


def _one_temperature(frames: Sequence[RawCalibration], settings: MasterSettings) -> list[RawCalibration]:
    """Return the frames within the tolerance of their median temperature; unknown ones stay."""
    known = [frame.ccd_temp for frame in frames if frame.ccd_temp is not None]
    if not known:
        return list(frames)
    center = float(np.median(known))
    return [
        f for f in frames if f.ccd_temp is None or abs(f.ccd_temp - center) <= settings.temperature_tolerance
    ]
