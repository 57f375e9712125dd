"""Which masters a frame got and why, or which were nearest and what ruled each out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.keys import KIND_KEYS, MasterKey, days_apart
from nightflow.pipeline.master_plan import plan_master, policy_of, wanted_kinds
from nightflow.pipeline.night_block import block_fingerprints, night_is_over
from nightflow.pipeline.survey import Survey, key_of_row, survey
from nightflow.store.database import Database
from nightflow.store.masters import find_master
from nightflow.store.models import Frame, Master

__all__ = ["MasterStory", "explain_masters"]

_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class MasterStory:
    """One kind of master, as one frame sees it.

    Attributes
    ----------
    kind, policy : str
        bias, dark or flat; "optional" or "required" as the profile says.
    used : dict or None
        The master of the current reduction; None where there was none.
    why : str
        Why this one, or what is missing.
    now : str
        What a reduction would take once the night is over, where that is another; "" otherwise.
    ruled_out : tuple of str
        The nearest masters and raw frames that do not fit, each with the key that ruled it out.
    """

    kind: str
    policy: str
    used: dict[str, Any] | None
    why: str
    now: str
    ruled_out: tuple[str, ...]


def explain_masters(
    database: Database, profile: CameraProfile, frame: Frame, used: dict[str, str]
) -> tuple[MasterStory, ...]:
    """Explain each kind of master that a profile asks for.

    Parameters
    ----------
    database : Database
    profile : CameraProfile
        Of the frame's camera.
    frame : Frame
        A light.
    used : dict
        Kind -> fingerprint of the masters of its current reduction; empty without one.
    """
    kinds = wanted_kinds(profile, frame.steps_done.split())
    return tuple(_story(database, profile, frame, kind, used.get(kind)) for kind in kinds)


def _story(
    database: Database, profile: CameraProfile, frame: Frame, kind: FrameKind, used: str | None
) -> MasterStory:
    wanted = key_of_row(frame)
    found = survey(database, kind, wanted, profile)
    row = find_master(database, used) if used is not None else None
    planned = _planned(database, profile, kind, frame)
    return MasterStory(
        kind=str(kind),
        policy=policy_of(profile, kind),
        used=_facts(row, wanted) if row is not None else None,
        why=_reason(database, kind, frame, row, found, profile)
        if row is not None
        else f"none used; {planned[1]}",
        now=planned[1] if row is not None and planned[0] != used else "",
        ruled_out=_ruled_out(found, wanted),
    )


def _planned(
    database: Database, profile: CameraProfile, kind: FrameKind, frame: Frame
) -> tuple[str | None, str]:
    """Return the fingerprint that a reduction now would take, and the same in words."""
    now = datetime.now(UTC)
    over = night_is_over(database, frame.instrument, frame.night, profile, now)
    try:
        plan = plan_master(database, kind, key_of_row(frame), profile, definitive=over, block=frame, now=now)
    except MissingCalibration as missing:
        return None, str(missing)
    if plan.row is not None:
        return plan.fingerprint, f"a reduction now would use {plan.fingerprint[:12]}"
    return plan.fingerprint, f"a reduction now would build one from {len(plan.inputs)} raw frames"


def _facts(row: Master, wanted: MasterKey) -> dict[str, Any]:
    return {
        "fingerprint": row.fingerprint,
        "id": row.id,
        "filter": row.filter,
        "exptime": row.exptime,
        "ccd_temp": row.ccd_temp,
        "n_inputs": row.n_inputs,
        "days_away": round(days_apart(wanted, key_of_row(row)), 3),
        "state": row.state,
        "reason": row.reason,
        "path": row.path,
        "warnings": row.statistics.get("warnings", []),
    }


def _reason(
    database: Database, kind: FrameKind, frame: Frame, row: Master, found: Survey, profile: CameraProfile
) -> str:
    keys = ", ".join(dict.fromkeys((*profile.masters.match, *KIND_KEYS.get(kind, ()))))
    away = days_apart(key_of_row(frame), key_of_row(row))
    return f"{_rank(database, kind, frame, row, found)}: {away:.2f} d away; compared by {keys}"


def _rank(database: Database, kind: FrameKind, frame: Frame, row: Master, found: Survey) -> str:
    """Return in words how a master stands among those that fit."""
    if row.state == "rejected":
        return f"rejected since ({row.reason})"
    fitting = found.choice.fitting
    doubt = f", provisional ({row.reason})" if row.state == "provisional" else ""
    if [one.fingerprint for one in fitting] == [row.fingerprint]:
        return f"the only one that fits{doubt}"
    if fitting and fitting[0].fingerprint == row.fingerprint:
        approved = sum(one.state == "approved" for one in fitting)
        return f"the nearest in time of {approved or len(fitting)} that fit{doubt}"
    if len(block_fingerprints(database, kind, frame)) == 1:
        return f"that of the night's block, kept until the night is over{doubt}; {len(fitting)} fit"
    return f"the best when it was reduced{doubt}; {len(fitting)} fit by now"


def _ruled_out(found: Survey, wanted: MasterKey) -> tuple[str, ...]:
    masters = [
        f"master {out.candidate.fingerprint[:12]} {out.candidate.describe(wanted)}: {out.key}: {out.detail}"
        for out in found.choice.ruled_out[:_LISTED]
    ]
    raw = [
        f"raw {out.frame.describe(wanted)}: {out.key}: {out.detail}" for out in found.group.excluded[:_LISTED]
    ]
    return (*masters, *raw)
