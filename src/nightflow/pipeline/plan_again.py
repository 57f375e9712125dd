"""Plan to build a master of the store once more, whose file is lost or damaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.pipeline.master_plan import FIRST_CHIP, MasterPlan, plan_needs, planned_fingerprint
from nightflow.pipeline.raw_content import out_of_reach
from nightflow.pipeline.sky_plan import plan_first_chip
from nightflow.pipeline.survey import key_of_row
from nightflow.store.database import Database
from nightflow.store.masters import CalibrationFrame, master_inputs, masters
from nightflow.store.models import Master

__all__ = ["plan_again"]

Needs = Mapping[FrameKind, MasterPlan]


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
    gone = [one.path for one in out_of_reach(database, inputs)]
    mend = f"or reject it with `nightflow masters reject {row.fingerprint[:12]}`"
    if gone or not inputs:
        raise MissingCalibration(
            f"{damage}; raw frames of it are gone, too: {', '.join(gone[:3]) or 'none is known'}; "
            f"put them back, {mend}"
        )
    kind = FrameKind(row.kind)
    for needs, first in _possible_needs(database, kind, row, inputs, profile):
        if planned_fingerprint(kind, profile, needs, inputs, first) == row.fingerprint:
            return MasterPlan(
                kind=kind,
                fingerprint=row.fingerprint,
                row=row,
                inputs=inputs,
                needs=needs,
                first_chip_needs=first,
            )
    raise MissingCalibration(
        f"{damage}; with the settings of {profile.name} its raw frames make another master now: "
        f"put the file back, {mend}"
    )


def _possible_needs(
    database: Database,
    kind: FrameKind,
    row: Master,
    inputs: Sequence[CalibrationFrame],
    profile: CameraProfile,
) -> Iterator[tuple[Needs, Needs]]:
    """Yield what a master, and the first chip's level, may have been made with: as noted, then as today."""
    noted = row.made_with
    stored = {one.fingerprint: one for one in masters(database, instrument=row.instrument)}
    if all(one in stored for one in noted.values()):
        plans = {need: _stored(need.removeprefix(FIRST_CHIP), stored[one]) for need, one in noted.items()}
        needs = {plan.kind: plan for need, plan in plans.items() if not need.startswith(FIRST_CHIP)}
        yield needs, {plan.kind: plan for need, plan in plans.items() if need.startswith(FIRST_CHIP)}
    keys = [key_of_row(one.frame) for one in inputs]
    first = plan_first_chip(database, kind, inputs, profile)
    for definitive in (True, False):
        yield plan_needs(database, kind, keys, profile, definitive=definitive), first


def _stored(kind: str, row: Master) -> MasterPlan:
    return MasterPlan(kind=FrameKind(kind), fingerprint=row.fingerprint, row=row, needs={})
