"""A new master meets those of the store that it is compared with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.errors import MissingCalibration
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.judge import FIRST, Doubted, Judgement, judge
from nightflow.masters.keys import MasterKey, days_apart, key_of, mismatches
from nightflow.pipeline.survey import key_of_row, rejected_masters
from nightflow.store.database import Database
from nightflow.store.masters import master_inputs, masters
from nightflow.store.models import Master

__all__ = ["vetted"]

log = logging.getLogger(__name__)

Reader = Callable[[Master], MasterFrame]


def vetted(
    database: Database,
    read: Reader,
    master: MasterFrame,
    inputs: set[int],
    profile: CameraProfile,
    made_with: MasterSet,
) -> Judgement:
    """Judge a new master against the approved one of its key that is nearest in time.

    Made of other frames goes before nearest: what shares inputs agrees too easily.

    Parameters
    ----------
    database : Database
    read : callable
        Reads a master of the store.
    master : MasterFrame
        The new one.
    inputs : set of int
        Rows of the frames that it is made of.
    profile : CameraProfile
    made_with : MasterSet
        What its inputs were calibrated with.
    """
    key = key_of(master.header)
    rows = [
        row for row in _of_the_key(database, master, key, profile) if row.fingerprint != master.fingerprint
    ]
    shared = {row.id: len(inputs & _frames(database, row)) for row in rows}
    rows.sort(key=lambda row: (shared[row.id] > 0, days_apart(key, key_of_row(row)), row.fingerprint))
    approved = next(_read(read, master, [row for row in rows if row.state == "approved"]), None)
    others = [row for row in rows if _is_doubted(row) and not shared[row.id]]
    doubted = next(_read(read, master, others), None)
    return judge(
        master,
        profile,
        made_with,
        approved[1] if approved is not None else None,
        Doubted(doubted[1], rejected=doubted[0].state == "rejected") if doubted is not None else None,
        confirmed=approved is not None and _is_confirmed(approved[0]),
    )


def _of_the_key(
    database: Database, master: MasterFrame, key: MasterKey, profile: CameraProfile
) -> Iterator[Master]:
    """Yield the masters that a new one may be compared with; not those that were made with a rejected one."""
    header = master.header
    rejected = rejected_masters(database, header.instrument)
    for row in masters(
        database, kind=str(master.kind), instrument=header.instrument, detector=header.detector
    ):
        if rejected.keys() & set(row.made_with.values()):
            continue
        other = row.fingerprint != master.fingerprint
        if other and row.path and not mismatches(master.kind, key, key_of_row(row), profile.masters):
            yield row


def _is_confirmed(row: Master) -> bool:
    """Return whether a person, or the agreement with another master, stands behind an approved one."""
    return FIRST not in row.reason


def _is_doubted(row: Master) -> bool:
    """Return whether vetting, and no person, kept a master from being approved."""
    return row.state == "provisional" or (
        row.state == "rejected" and row.statistics.get("vetted") == row.state
    )


def _read(read: Reader, like: MasterFrame, rows: list[Master]) -> Iterator[tuple[Master, MasterFrame]]:
    """Yield the masters that can be read and have the same pixels."""
    for row in rows:
        try:
            found = read(row)
        except (MissingCalibration, FileNotFoundError) as damage:
            log.warning("%s; the new master is compared with another one", damage)
            continue
        if found.data.shape == like.data.shape:
            yield row, found


def _frames(database: Database, row: Master) -> set[int]:
    return {one.frame.id for one in master_inputs(database, row.id or 0) if one.frame.id is not None}
