"""Decide whether a new master is approved, provisional or rejected, and say why in words and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.flags import UNUSABLE
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile, VettingSettings
from nightflow.masters.compare import (
    LEAST_NOISE,
    Difference,
    compare_masters,
    is_relative,
    large_scale_range,
)
from nightflow.masters.inputs import least_inputs

__all__ = ["FIRST", "Doubted", "Judgement", "judge"]

MasterState = Literal["approved", "provisional", "rejected"]

FIRST = "the first of its kind"
"""In the reason of an approved master that nothing was there to be compared with."""

_HELD_BIAS = 0.1
"""A dark whose level is that of the bias to within so much holds the bias."""

_CLEAR_BIAS = 20.0
"""... where the bias is so many times one pixel's noise: else it could not be told."""


@dataclass(frozen=True)
class Judgement:
    """The state of a master, and why.

    Attributes
    ----------
    state : "approved", "provisional" or "rejected"
    reason : str
        In words and numbers.
    """

    state: MasterState
    reason: str


@dataclass(frozen=True)
class Doubted:
    """A master of the same key that was not approved.

    Attributes
    ----------
    master : MasterFrame
    rejected : bool
        By vetting, not by a person; else it is provisional.
    """

    master: MasterFrame
    rejected: bool = False


def judge(
    new: MasterFrame,
    profile: CameraProfile,
    masters: MasterSet | None = None,
    approved: MasterFrame | None = None,
    doubted: Doubted | None = None,
    *,
    confirmed: bool = True,
) -> Judgement:
    """Judge a new master by itself, and by what it was before.

    Parameters
    ----------
    new : MasterFrame
    profile : CameraProfile
        Its ``vetting`` holds the limits.
    masters : MasterSet, optional
        What its inputs were calibrated with.
    approved : MasterFrame, optional
        The approved master of the same key that is nearest in time; None: it is the first.
    doubted : Doubted, optional
        The one of the same key, made of other frames, that was not approved. A new master that differs from
        the approved one just as that did shows that the change is there to stay: it is trusted more.
    confirmed : bool
        Whether another master, or a person, has confirmed the approved one. Against the first of its kind a
        difference says no more than that one of the two is wrong: it rejects nothing.

    Returns
    -------
    Judgement
        Rejected where any measure says so, else provisional where any does, else approved.
    """
    limits = profile.vetting
    seen_before = doubted is not None and not list(_by_comparison(new, doubted.master, limits))
    faults = list(_by_itself(new, profile, masters or MasterSet()))
    if new.kind is FrameKind.BIAS and not seen_before:
        faults += _structured_bias(new, limits)
    changes: list[Fault] = []
    if approved is not None:
        changes = list(_by_comparison(new, approved, limits))
        if not confirmed:
            changes = [_of_two(fault) for fault in changes]
        if doubted is not None and seen_before:
            changes = [_lasting(fault, doubted) for fault in changes]
    return _verdict(new, [*faults, *changes], approved)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong; ``state`` is what follows from it."""

    state: MasterState
    reason: str


def _verdict(new: MasterFrame, faults: list[Fault], approved: MasterFrame | None) -> Judgement:
    ranked = sorted(faults, key=lambda fault: _SEVERITY.index(fault.state))
    state = ranked[0].state if ranked else "approved"
    reasons = [fault.reason for fault in ranked]
    if state == "approved":
        like = f"agrees with {approved.label}" if approved is not None else FIRST
        reasons = [f"{_inputs(new)}; {like}", *reasons]
    return Judgement(state, "; ".join([*reasons, *_dropped(new)]))


_SEVERITY: tuple[MasterState, ...] = ("rejected", "provisional", "approved")


def _inputs(new: MasterFrame) -> str:
    used = _n_used(new)
    return f"{used} inputs" if used != 1 else "1 input"


def _n_used(new: MasterFrame) -> int:
    return sum(not file.dropped for file in new.inputs)


def _dropped(new: MasterFrame) -> list[str]:
    return [f"left out {file.name}: {file.dropped}" for file in new.inputs if file.dropped]


def _by_itself(new: MasterFrame, profile: CameraProfile, masters: MasterSet) -> Iterable[Fault]:
    """Yield what is wrong with a master whatever it was before."""
    used = _n_used(new)
    if used <= least_inputs(new.kind, profile.masters)[0]:
        yield Fault("provisional", f"{_inputs(new)}, no more than needed")
    if used * 2 < len(new.inputs):
        yield Fault("provisional", f"only {used} of {len(new.inputs)} inputs usable")
    yield from _graded(
        _unusable(new, profile), profile.vetting.unusable, profile.vetting, "{:.1%} of its pixels unusable"
    )
    if new.kind is FrameKind.DARK:
        yield from _bias_in_dark(new, profile, masters)
    if new.kind is FrameKind.FLAT and new.header.bias_included and profile.calibration.bias != "off":
        yield Fault("provisional", "it still holds its bias: no master bias fits it")


def _unusable(new: MasterFrame, profile: CameraProfile) -> float:
    bad = (new.flags & int(UNUSABLE)) != 0
    if new.kind is FrameKind.FLAT:
        bad |= (new.data < profile.calibration.flat_low) | (new.data > profile.calibration.flat_high)
    return float(np.mean(bad))


def _structured_bias(new: MasterFrame, limits: VettingSettings) -> Iterable[Fault]:
    structure = large_scale_range(new) / max(new.statistics.noise, LEAST_NOISE)
    if structure > limits.bias_structure:
        yield Fault(
            "provisional",
            f"its areas range over {structure:.1f} times one pixel's noise "
            f"(limit {limits.bias_structure:g}): a light leak, unless this chip is so",
        )


def _bias_in_dark(new: MasterFrame, profile: CameraProfile, masters: MasterSet) -> Iterable[Fault]:
    level = new.statistics.median
    if new.header.bias_included:
        if profile.calibration.bias != "off":
            yield Fault(
                "provisional", f"it still holds its bias (level {level:.0f} adu): no master bias fits it"
            )
        return
    if masters.bias is None:
        return
    bias, noise = masters.bias.statistics.median, max(masters.bias.statistics.noise, LEAST_NOISE)
    if abs(bias) > _CLEAR_BIAS * noise and abs(level - bias) < _HELD_BIAS * abs(bias):
        yield Fault(
            "rejected",
            f"it still holds its bias, whatever its inputs' headers say: level {level:.0f} adu, "
            f"that of the bias {bias:.0f}",
        )


def _by_comparison(new: MasterFrame, old: MasterFrame, limits: VettingSettings) -> Iterable[Fault]:
    """Yield what has changed by more than it may."""
    if new.kind is FrameKind.FRINGE:
        return  # its strength is the night's sky's
    difference = compare_masters(new, old)
    against = f"against {old.label}"
    yield from _graded(
        difference.outliers, limits.outliers, limits, f"{{:.1%}} of its pixels off by over 6 sigma {against}"
    )
    yield from _changed_noise(difference, limits, against)
    if is_relative(new.kind):
        yield from _changed_response(difference, limits, against)
    else:
        yield from _changed_counts(new.kind, difference, limits, against)


def _changed_noise(difference: Difference, limits: VettingSettings, against: str) -> Iterable[Fault]:
    yield from _graded(abs(difference.noise), limits.noise, limits, f"noise changed by {{:.0%}} {against}")


def _changed_response(difference: Difference, limits: VettingSettings, against: str) -> Iterable[Fault]:
    yield from _graded(
        difference.gradient,
        limits.flat_gradient,
        limits,
        f"smooth change of {{:.1%}} across the chip {against}",
    )
    x, y = difference.defect_at
    yield from _graded(
        abs(difference.defect),
        limits.flat_defect,
        limits,
        f"an area at ({x}, {y}) {'darker' if difference.defect < 0 else 'brighter'} by {{:.1%}} {against}",
    )


def _changed_counts(
    kind: FrameKind, difference: Difference, limits: VettingSettings, against: str
) -> Iterable[Fault]:
    noise = difference.unit_noise
    if kind is FrameKind.DARK:
        relative = abs(difference.level) / max(abs(difference.old_level), noise)
        yield from _graded(relative, limits.dark_level, limits, f"level changed by {{:.0%}} {against}")
    else:
        yield from _graded(
            abs(difference.level) / noise,
            limits.level,
            limits,
            f"level changed by {{:.1f}} times one pixel's noise {against}",
        )
    x, y = difference.defect_at
    for measure, words in (
        (difference.gradient, "smooth change across the chip of {:.1f} times one pixel's noise"),
        (abs(difference.defect), f"an area at ({x}, {y}) changed by {{:.1f}} times one pixel's noise"),
    ):
        yield from _graded(measure / noise, limits.structure, limits, f"{words} {against}")


def _graded(measure: float, limit: float, limits: VettingSettings, words: str) -> Iterable[Fault]:
    """Yield a fault where a measure is beyond its limit; ``words`` has a place for the measure's number."""
    if measure <= limit:
        return
    state: MasterState = "rejected" if measure > limits.rejected_at * limit else "provisional"
    shown = words[words.index("{") : words.index("}") + 1]
    allowed = limits.rejected_at * limit if state == "rejected" else limit
    yield Fault(state, f"{words.replace(shown, shown.format(measure))} (limit {shown.format(allowed)})")


def _of_two(fault: Fault) -> Fault:
    """Return what a difference says of two masters of which none is confirmed."""
    return Fault("provisional", f"{fault.reason}, {FIRST}: one of the two is wrong")


def _lasting(fault: Fault, doubted: Doubted) -> Fault:
    """Return what remains of a change that was seen before, on other frames."""
    if fault.state == "rejected" or doubted.rejected:
        state: MasterState = "provisional"
    else:
        state = "approved"
    return Fault(state, f"{fault.reason}, but so was {doubted.master.label}: the change lasts")
