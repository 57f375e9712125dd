"""Which masters a frame gets: chosen among those in the store and those that its raw frames would make.

Planning reads the ledger and looks whether files are there; `nightflow.pipeline.master_library` builds what a
plan asks for. The order of preference stands in `plan_master`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nightflow.errors import CalibrationAway, MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.choose import Choice
from nightflow.masters.combine import CombineMethod
from nightflow.masters.fingerprint import fingerprint, recipe
from nightflow.masters.group import NIGHT_GAP, Group, Inputs
from nightflow.masters.keys import MasterKey, days_apart, same_exposure
from nightflow.pipeline.night_block import block_fingerprints
from nightflow.pipeline.raw_content import out_of_reach
from nightflow.pipeline.survey import AWAY, SKY_KINDS, Survey, identity_of, missing, survey
from nightflow.store.database import Database
from nightflow.store.masters import CalibrationFrame
from nightflow.store.models import Frame as FrameRow
from nightflow.store.models import Master

__all__ = [
    "FIRST_CHIP",
    "METHOD",
    "MasterPlan",
    "plan_master",
    "plan_needs",
    "plan_set",
    "planned_fingerprint",
    "policy_of",
    "wanted_kinds",
]

METHOD: CombineMethod = "clipped_mean"

FIRST_CHIP = "first_chip_"
"""Before the kind of a master that the first chip of an exposure was calibrated with."""

_NEEDS: dict[FrameKind, tuple[FrameKind, ...]] = {
    FrameKind.BIAS: (),
    FrameKind.DARK: (FrameKind.BIAS,),
    FrameKind.FLAT: (FrameKind.BIAS, FrameKind.DARK),
    FrameKind.ILLUMINATION: (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT),
    FrameKind.FRINGE: (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT, FrameKind.ILLUMINATION),
}
"""What is taken off the inputs of a master before they are combined."""


_AFTER_OUR_FLAT = ("illumination", "fringe")


@dataclass(frozen=True, kw_only=True)
class MasterPlan:
    """The master that a frame gets.

    Attributes
    ----------
    kind : FrameKind
    fingerprint : str
        Of the master, built or not.
    row : Master or None
        Its row in the store; None until it is built.
    inputs : tuple of CalibrationFrame
        What it is to be built from; empty where it is in the store.
    needs : mapping of FrameKind to MasterPlan
        Masters that its inputs are calibrated with.
    first_chip_needs : mapping of FrameKind to MasterPlan
        Of an illumination: masters with which the first chip of each exposure is calibrated, whose sky sets
        the level; empty where that is the chip itself.
    kept : bool
        True where the frame's block has it, whatever is better by now.
    """

    kind: FrameKind
    fingerprint: str
    row: Master | None
    inputs: tuple[CalibrationFrame, ...] = ()
    needs: Mapping[FrameKind, MasterPlan]
    first_chip_needs: Mapping[FrameKind, MasterPlan] = field(default_factory=dict)
    kept: bool = False


def policy_of(profile: CameraProfile, kind: FrameKind) -> str:
    """Return what a profile says of a kind of master: off, optional or required."""
    return str(getattr(profile.calibration, str(kind)))


def wanted_kinds(profile: CameraProfile, steps_done: Sequence[str] = ()) -> tuple[FrameKind, ...]:
    """Return the kinds of master that a profile's light frames are calibrated with.

    Parameters
    ----------
    profile : CameraProfile
    steps_done : sequence of str
        What was done elsewhere: no master is needed for it, nor one that corrects our flat for a frame that
        had another one.
    """
    past = {*steps_done, *(_AFTER_OUR_FLAT if "flat" in steps_done else ())}
    return tuple(kind for kind in _NEEDS if policy_of(profile, kind) != "off" and str(kind) not in past)


def plan_master(
    database: Database,
    kind: FrameKind,
    wanted: MasterKey,
    profile: CameraProfile,
    *,
    definitive: bool,
    block: FrameRow | None = None,
    now: datetime | None = None,
) -> MasterPlan:
    """Choose the master of a kind for a frame.

    While a night goes on, in this order: the master that the frame's block has, as long as it fits and is not
    rejected; else, nearest in time, what the store has, or what the closed sets of a nearer night make; else
    what a set makes that is still growing. Approved masters go before provisional ones, and a set of no more
    frames than needed makes a provisional one. A rejected master is passed over for the next.

    Parameters
    ----------
    database : Database
    kind : FrameKind
        Bias, dark or flat; illumination and fringe masters are chosen among those of the store alone.
    wanted : MasterKey
        Of the frame.
    profile : CameraProfile
        Of its camera.
    definitive : bool
        True: the master of all raw frames of the nearest night, built anew where the store has it of fewer.
        False: what the store has of that night is good enough, so that masters do not change in mid-night.
    block : Frame, optional
        The light itself, where masters are to stay the same within its block.
    now : datetime, optional
        Aware. Without it, or definitively, no set grows any more.

    Raises
    ------
    MissingCalibration
        Nothing fits; lists the nearest candidates and the key that ruled out each.
    """
    found = survey(database, kind, wanted, profile, None if definitive else now)
    if block is not None and not definitive:
        kept = _kept(database, kind, block, found)
        if kept is not None:
            return kept
    refused: list[MissingCalibration] = []
    spare: MasterPlan | None = None
    for plan in _in_order(database, kind, wanted, found, profile, definitive, refused):
        if plan.row is not None and plan.row.state == "rejected":
            refused.append(MissingCalibration(f"the master of them is rejected: {plan.row.reason}"))
        elif not _is_doubtful(plan, profile):
            return plan
        elif spare is None:
            spare = plan
    if spare is not None:
        return spare
    for plan in _of_inputs(database, kind, found, found.group.growing, profile, definitive, refused):
        if plan.row is None or plan.row.state != "rejected":
            return plan
        refused.append(MissingCalibration(f"the master of them is rejected: {plan.row.reason}"))
    raise missing(kind, wanted, found, profile, refused)


def plan_set(database: Database, kind: FrameKind, wanted: MasterKey, profile: CameraProfile) -> MasterPlan:
    """Plan the master of the set that a raw frame belongs to, whatever else there is.

    Parameters
    ----------
    wanted : MasterKey
        Of the raw frame; the rest as `plan_master`.

    Returns
    -------
    MasterPlan
        Its row may be in any state.

    Raises
    ------
    MissingCalibration
        The set is too small.
    """
    found = survey(database, kind, wanted, profile)
    if not found.group.inputs:
        raise missing(kind, wanted, found, profile, [])
    return _plan_inputs(database, kind, found, found.group.inputs, profile, definitive=True)


def plan_needs(
    database: Database,
    kind: FrameKind,
    inputs: Sequence[MasterKey],
    profile: CameraProfile,
    *,
    definitive: bool,
) -> dict[FrameKind, MasterPlan]:
    """Plan what the inputs of a master are calibrated with; what is missing is left out.

    Parameters
    ----------
    inputs : sequence of MasterKey
        In order of time; the middle one stands for all. Flats of several exposures cannot share a dark that
        is not scaled: they go without.
    """
    wanted = inputs[len(inputs) // 2]
    needs = {}
    for need in _NEEDS[kind]:
        if policy_of(profile, need) == "off":
            continue
        if need is FrameKind.DARK and not _share_a_dark(inputs, profile):
            continue
        try:
            needs[need] = plan_master(database, need, wanted, profile, definitive=definitive)
        except MissingCalibration:
            # The detector chain warns of the step it had to leave out; the warning stays on the master.
            continue
    return needs


def planned_fingerprint(
    kind: FrameKind,
    profile: CameraProfile,
    needs: Mapping[FrameKind, MasterPlan],
    inputs: Sequence[CalibrationFrame],
    first_chip_needs: Mapping[FrameKind, MasterPlan] | None = None,
) -> str:
    """Return the fingerprint of the master that some inputs make, calibrated with ``needs``."""
    used = {str(need): plan.fingerprint for need, plan in needs.items()}
    used |= {f"{FIRST_CHIP}{need}": plan.fingerprint for need, plan in (first_chip_needs or {}).items()}
    detector, of_lights = inputs[0].frame.detector, kind in SKY_KINDS
    content = recipe(profile, used, METHOD, detector, of_lights=of_lights)
    return fingerprint(str(kind), content, (frame.sha256 for frame in inputs))


def _in_order(
    database: Database,
    kind: FrameKind,
    wanted: MasterKey,
    found: Survey,
    profile: CameraProfile,
    definitive: bool,
    refused: list[MissingCalibration],
) -> Iterator[MasterPlan]:
    """Yield all that fits, the best first: of the nearest night, of the store, of other nights."""
    group = found.group
    tonight = [group.inputs, *(one for one in group.alternatives if set(one) <= set(group.inputs))]
    others = [one for one in group.alternatives if one not in tonight]
    stored = [row for one in found.choice.fitting if (row := found.row(one.fingerprint)) is not None]
    first = definitive or _nearer(wanted, group, found.choice)
    for inputs in tonight if first else []:
        yield from _of_inputs(database, kind, found, inputs, profile, definitive, refused)
    for row in stored:
        yield MasterPlan(kind=kind, fingerprint=row.fingerprint, row=row, needs={})
    for inputs in others if first else [*tonight, *others]:
        yield from _of_inputs(database, kind, found, inputs, profile, definitive, refused)


def _of_inputs(
    database: Database,
    kind: FrameKind,
    found: Survey,
    inputs: Inputs,
    profile: CameraProfile,
    definitive: bool,
    refused: list[MissingCalibration],
) -> Iterator[MasterPlan]:
    """Yield the plan of a group, or note why there is none."""
    if not inputs:
        return
    try:
        plan = _plan_inputs(database, kind, found, inputs, profile, definitive)
    except CalibrationAway as away:
        refused.append(away)
        return
    yield plan


def _kept(database: Database, kind: FrameKind, block: FrameRow, found: Survey) -> MasterPlan | None:
    """Return the master that a block has, if it still fits the frame and is not rejected."""
    fitting = {one.fingerprint for one in found.choice.fitting}
    for used in block_fingerprints(database, kind, block):
        row = found.row(used)
        if used in fitting and row is not None:
            return MasterPlan(kind=kind, fingerprint=used, row=row, needs={}, kept=True)
    return None


def _is_doubtful(plan: MasterPlan, profile: CameraProfile) -> bool:
    """Return whether a master is provisional, or will be when it is built of so few."""
    if plan.row is not None:
        return plan.row.state != "approved"
    return len(plan.inputs) <= profile.masters.minimum_inputs


def _plan_inputs(
    database: Database,
    kind: FrameKind,
    found: Survey,
    group: Inputs,
    profile: CameraProfile,
    definitive: bool,
) -> MasterPlan:
    """Plan the master of a group; of those of its frames that can be read, where it is yet to be built.

    Raises
    ------
    CalibrationAway
        It is yet to be built, and too many of its files cannot be reached.
    """
    plan = _plan_of(database, kind, found, group, profile, definitive)
    away = {identity_of(one): one.path for one in out_of_reach(database, plan.inputs)}
    if not away:
        return plan
    there = tuple(one for one in group if one.identity not in away)
    if len(there) < profile.masters.minimum_inputs:
        raise CalibrationAway(f"{len(away)} {AWAY}: {', '.join([*away.values()][:3])}")
    return _plan_of(database, kind, found, there, profile, definitive)


def _plan_of(
    database: Database,
    kind: FrameKind,
    found: Survey,
    group: Inputs,
    profile: CameraProfile,
    definitive: bool,
) -> MasterPlan:
    needs = plan_needs(database, kind, group, profile, definitive=definitive)
    chosen = {one.identity for one in group}
    inputs = tuple(frame for frame in found.raw if identity_of(frame) in chosen)
    made = planned_fingerprint(kind, profile, needs, inputs)
    row = found.row(made)
    return MasterPlan(
        kind=kind, fingerprint=made, row=row, inputs=() if row is not None else inputs, needs=needs
    )


def _share_a_dark(inputs: Sequence[MasterKey], profile: CameraProfile) -> bool:
    exposures = [one.exptime for one in inputs]
    scaled = profile.calibration.dark_scaling == "scaled"
    return scaled or same_exposure(min(exposures), max(exposures), profile.masters.exposure_tolerance)


def _nearer(wanted: MasterKey, group: Group, choice: Choice) -> bool:
    """Return whether the raw frames are of a night nearer to the frame than the chosen master's."""
    if choice.candidate is None or not group.inputs:
        return True
    nearest = min(days_apart(wanted, frame) for frame in group.inputs)
    return nearest + NIGHT_GAP < days_apart(wanted, choice.candidate)
