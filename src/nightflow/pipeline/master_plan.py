"""Which masters a frame gets: chosen among those in the store and those that its raw frames would make.

Planning reads the ledger and nothing else; `nightflow.pipeline.master_library` builds what a plan asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.choose import Candidate, Choice, choose, missing_calibration
from nightflow.masters.combine import CombineMethod
from nightflow.masters.fingerprint import fingerprint, recipe
from nightflow.masters.group import NIGHT_GAP, Group, RawCalibration, group_inputs
from nightflow.masters.keys import MasterKey, days_apart
from nightflow.store.database import Database
from nightflow.store.masters import CalibrationFrame, calibration_frames, master_inputs, masters
from nightflow.store.models import Frame as FrameRow
from nightflow.store.models import Master

__all__ = [
    "METHOD",
    "MasterPlan",
    "Survey",
    "key_of_row",
    "plan_again",
    "plan_master",
    "policy_of",
    "survey",
    "wanted_kinds",
]

METHOD: CombineMethod = "clipped_mean"

_NEEDS: dict[FrameKind, tuple[FrameKind, ...]] = {
    FrameKind.BIAS: (),
    FrameKind.DARK: (FrameKind.BIAS,),
    FrameKind.FLAT: (FrameKind.BIAS, FrameKind.DARK),
}
"""What is taken off the inputs of a master before they are combined."""


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
    """

    kind: FrameKind
    fingerprint: str
    row: Master | None
    inputs: tuple[CalibrationFrame, ...] = ()
    needs: Mapping[FrameKind, MasterPlan]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What there is of a kind of master for a frame, and what rules out the rest.

    Attributes
    ----------
    stored : sequence of Master
        Rows of the kind, the camera and the detector.
    choice : Choice
        The best of them, and those that do not fit.
    raw : sequence of CalibrationFrame
        Raw frames of the kind within reach in time.
    group : Group
        Those of them that would make a master for the frame, and those that do not fit.
    """

    stored: Sequence[Master]
    choice: Choice
    raw: Sequence[CalibrationFrame]
    group: Group


def policy_of(profile: CameraProfile, kind: FrameKind) -> str:
    """Return what a profile says of a kind of master: off, optional or required."""
    return str(getattr(profile.calibration, str(kind)))


def wanted_kinds(profile: CameraProfile) -> tuple[FrameKind, ...]:
    """Return the kinds of master that a profile's light frames are calibrated with."""
    return tuple(kind for kind in _NEEDS if policy_of(profile, kind) != "off")


def key_of_row(row: FrameRow | Master) -> MasterKey:
    """Return the matching key of a frame or a master in the store."""
    x, _, y = row.binning.partition("x")
    return MasterKey(
        kind=FrameKind(row.kind),
        instrument=row.instrument,
        detector=row.detector,
        shape=(row.ny, row.nx),
        binning=(int(x), int(y)),
        gain_setting=row.gain_setting,
        readout_mode=row.readout_mode,
        ccd_temp=row.ccd_temp,
        exptime=row.exptime,
        filter=row.filter,
        mjd_mid=row.mjd_mid,
    )


def survey(database: Database, kind: FrameKind, wanted: MasterKey, profile: CameraProfile) -> Survey:
    """Look at all masters and raw frames of a kind with the eyes of one frame; arguments as `plan_master`."""
    any_exposure = kind is FrameKind.DARK and profile.calibration.dark_scaling == "scaled"
    stored = masters(database, kind=str(kind), instrument=wanted.instrument, detector=wanted.detector)
    choice = choose(
        kind, wanted, [_candidate(row) for row in stored], profile.masters, any_exposure=any_exposure
    )
    raw = _raw_frames(database, kind, wanted, profile)
    group = group_inputs(
        kind, wanted, [_raw(frame) for frame in raw], profile.masters, any_exposure=any_exposure
    )
    return Survey(stored=stored, choice=choice, raw=raw, group=group)


def plan_master(
    database: Database, kind: FrameKind, wanted: MasterKey, profile: CameraProfile, *, definitive: bool
) -> MasterPlan:
    """Choose the master of a kind for a frame.

    Parameters
    ----------
    database : Database
    kind : FrameKind
        Bias, dark or flat.
    wanted : MasterKey
        Of the frame.
    profile : CameraProfile
        Of its camera.
    definitive : bool
        True: the master of all raw frames of the nearest night, built anew where the store has it of fewer.
        False: what the store has of that night is good enough, so that masters do not change in mid-night.

    Raises
    ------
    MissingCalibration
        Nothing fits; lists the nearest candidates and the key that ruled out each.
    """
    found = survey(database, kind, wanted, profile)
    refused = ""
    if found.group.inputs and (definitive or _nearer(wanted, found.group, found.choice)):
        plan = _plan_group(database, kind, found, profile, definitive)
        if plan.row is None or plan.row.state != "rejected":
            return plan
        refused = plan.row.reason
    chosen = found.choice.candidate
    if chosen is None:
        raise _missing(kind, wanted, found, profile, refused)
    row = next(row for row in found.stored if row.fingerprint == chosen.fingerprint)
    return MasterPlan(kind=kind, fingerprint=row.fingerprint, row=row, needs={})


def plan_again(database: Database, row: Master, profile: CameraProfile, damage: str) -> MasterPlan:
    """Plan to build a master of the store once more, from the frames that it was built from.

    Parameters
    ----------
    database : Database
    row : Master
    profile : CameraProfile
        Of its camera.
    damage : str
        What happened to its file, for the message.

    Raises
    ------
    MissingCalibration
        A raw frame of it is gone, or the settings would make another master of them today.
    """
    inputs = tuple(master_inputs(database, row.id or 0))
    gone = [one.path for one in inputs if not Path(one.path).is_file()]
    mend = f"or reject it with `nightflow masters reject {row.fingerprint[:12]}`"
    if gone or not inputs:
        raise MissingCalibration(
            f"{damage}; raw frames of it are gone, too: {', '.join(gone[:3]) or 'none is known'}; "
            f"put them back, {mend}"
        )
    kind = FrameKind(row.kind)
    wanted = key_of_row(inputs[len(inputs) // 2].frame)
    for definitive in (True, False):
        needs = _plan_needs(database, kind, wanted, profile, definitive)
        if _fingerprint(kind, profile, needs, inputs) == row.fingerprint:
            return MasterPlan(kind=kind, fingerprint=row.fingerprint, row=row, inputs=inputs, needs=needs)
    raise MissingCalibration(
        f"{damage}; with the settings of {profile.name} its raw frames make another master now: "
        f"put the file back, {mend}"
    )


def _plan_group(
    database: Database,
    kind: FrameKind,
    found: Survey,
    profile: CameraProfile,
    definitive: bool,
) -> MasterPlan:
    middle = found.group.inputs[len(found.group.inputs) // 2]
    needs = _plan_needs(database, kind, middle, profile, definitive)
    chosen = {one.identity for one in found.group.inputs}
    inputs = tuple(frame for frame in found.raw if _identity(frame) in chosen)
    made = _fingerprint(kind, profile, needs, inputs)
    row = next((row for row in found.stored if row.fingerprint == made), None)
    return MasterPlan(
        kind=kind, fingerprint=made, row=row, inputs=() if row is not None else inputs, needs=needs
    )


def _fingerprint(
    kind: FrameKind,
    profile: CameraProfile,
    needs: Mapping[FrameKind, MasterPlan],
    inputs: Sequence[CalibrationFrame],
) -> str:
    used = {str(need): plan.fingerprint for need, plan in needs.items()}
    content = recipe(profile, used, METHOD, inputs[0].frame.detector)
    return fingerprint(str(kind), content, (frame.sha256 for frame in inputs))


def _plan_needs(
    database: Database, kind: FrameKind, wanted: MasterKey, profile: CameraProfile, definitive: bool
) -> dict[FrameKind, MasterPlan]:
    """Plan what the inputs are calibrated with; what is missing is left out, and the master says so."""
    needs = {}
    for need in _NEEDS[kind]:
        if policy_of(profile, need) == "off":
            continue
        try:
            needs[need] = plan_master(database, need, wanted, profile, definitive=definitive)
        except MissingCalibration:
            # The detector chain warns of the step it had to leave out; the warning stays on the master.
            continue
    return needs


def _nearer(wanted: MasterKey, group: Group, choice: Choice) -> bool:
    """Return whether the raw frames are of a night nearer to the frame than the chosen master's."""
    if choice.candidate is None:
        return True
    nearest = min(days_apart(wanted, frame) for frame in group.inputs)
    return nearest + NIGHT_GAP < days_apart(wanted, choice.candidate)


def _raw_frames(
    database: Database, kind: FrameKind, wanted: MasterKey, profile: CameraProfile
) -> list[CalibrationFrame]:
    reach = profile.masters.validity_days
    return calibration_frames(
        database,
        str(kind),
        instrument=wanted.instrument,
        detector=wanted.detector,
        mjd_from=wanted.mjd_mid - reach if wanted.mjd_mid is not None else None,
        mjd_until=wanted.mjd_mid + reach if wanted.mjd_mid is not None else None,
    )


def _candidate(row: Master) -> Candidate:
    key = key_of_row(row)
    return Candidate(
        **vars(key),
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        state=row.state,
        fingerprint=row.fingerprint,
    )


def _raw(frame: CalibrationFrame) -> RawCalibration:
    return RawCalibration(**vars(key_of_row(frame.frame)), identity=_identity(frame))


def _identity(frame: CalibrationFrame) -> str:
    return f"{frame.sha256}:{frame.frame.detector}"


def _missing(
    kind: FrameKind, wanted: MasterKey, found: Survey, profile: CameraProfile, refused: str
) -> MissingCalibration:
    error = missing_calibration(kind, wanted, found.choice.ruled_out)
    group, needed = found.group, profile.masters.minimum_inputs
    # A set of like frames is one reason, said once.
    reasons = dict.fromkeys(f"raw {out.frame.describe(wanted)} ({out.detail})" for out in group.excluded)
    raw = list(reasons)[:3]
    if group.inputs:
        raw.insert(
            0, f"{len(group.inputs)} raw {kind} frames fit, but the master of them is rejected: {refused}"
        )
    elif group.found:
        raw.insert(0, f"{group.found} raw {kind} frames fit, {needed} are needed")
    return MissingCalibration(str(error), raw)
