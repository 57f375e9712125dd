"""Build masters ahead of the frames that need them."""

from __future__ import annotations

from typing import Any

from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.pipeline.master_plan import MasterPlan, key_of_row, plan_master, wanted_kinds
from nightflow.pipeline.reducer import Reducer
from nightflow.store.masters import calibration_frames

__all__ = ["build_all"]


def build_all(
    reducer: Reducer, *, instrument: str | None = None, night: str | None = None
) -> list[dict[str, Any]]:
    """Build every master that the calibration frames of the ledger make; those that exist stay as they are.

    Parameters
    ----------
    reducer : Reducer
    instrument : str, optional
        Only this camera.
    night : str, optional
        Only calibrations of this night, such as "2024-05-12".

    Returns
    -------
    list of dict
        One row a set: kind, instrument, filter, exptime, n_inputs, state, fingerprint, reason.
    """
    rows = []
    for name, profile in reducer.context.profiles.items():
        if instrument is not None and name != instrument:
            continue
        for kind in wanted_kinds(profile):
            rows.extend(_build_kind(reducer, name, kind, night))
    return rows


def _build_kind(
    reducer: Reducer, instrument: str, kind: FrameKind, night: str | None
) -> list[dict[str, Any]]:
    profile = reducer.context.profiles[instrument]
    rows: dict[str, dict[str, Any]] = {}
    for raw in calibration_frames(reducer.database, str(kind), instrument=instrument):
        if night is not None and raw.frame.night != night:
            continue
        wanted = key_of_row(raw.frame)
        try:
            plan = plan_master(reducer.database, kind, wanted, profile, definitive=True)
        except MissingCalibration as error:
            rows.setdefault(
                str(error), _row(kind, instrument, raw.frame.filter, raw.frame.exptime, str(error))
            )
            continue
        if plan.fingerprint not in rows:
            rows[plan.fingerprint] = _built(reducer, plan, instrument)
    return list(rows.values())


def _built(reducer: Reducer, plan: MasterPlan, instrument: str) -> dict[str, Any]:
    try:
        master = reducer.context.masters.get(plan, reducer.context.profiles[instrument])
    except MissingCalibration as error:
        return _row(plan.kind, instrument, "", 0.0, str(error))
    used = [file for file in master.inputs if not file.dropped]
    row = _row(plan.kind, instrument, master.header.filter, master.header.exptime, "; ".join(master.warnings))
    return {**row, "n_inputs": len(used), "state": "approved", "fingerprint": plan.fingerprint[:12]}


def _row(kind: FrameKind, instrument: str, filter_name: str, exptime: float, reason: str) -> dict[str, Any]:
    return {
        "kind": str(kind),
        "instrument": instrument,
        "filter": filter_name if kind is FrameKind.FLAT else "",
        "exptime": exptime,
        "n_inputs": 0,
        "state": "missing",
        "fingerprint": "",
        "reason": reason,
    }
